package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// proxy HOST… lets the hosts exist that the script needs and loopback cannot be: every
// name leads to upstream, over TLS with a certificate for that name, or in plain text
// where the program asks for that. The program gets there by HTTPS_PROXY and HTTP_PROXY.
// The authority that signed the certificate is written to ca/ca.crt.
func (s *stage) proxy(ts *testscript.TestScript, _ bool, hosts []string) {
	certificate, authority, err := certificateFor(hosts)
	ts.Check(err)
	secure := httptest.NewUnstartedServer(s.upstream)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	plain := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.upstream.host})
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			tunnel(w, r, s.tunnelTo(r.Host, secure.Listener.Addr().String()))
			return
		}
		plain.ServeHTTP(w, r)
	}))
	s.t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
		secure.CloseClientConnections()
		secure.Close()
	})
	ts.Setenv("HTTPS_PROXY", proxy.URL)
	ts.Setenv("HTTP_PROXY", proxy.URL)
	dir := ts.MkAbs("ca")
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Check(os.WriteFile(filepath.Join(dir, "ca.crt"), authority, 0o600))
}

// tunnelTo is where a CONNECT leads: hosts named plain.… speak no TLS.
func (s *stage) tunnelTo(host, secure string) string {
	if strings.HasPrefix(host, "plain.") {
		return s.upstream.host
	}
	return secure
}

// tunnel connects the client of a CONNECT with an address, and copies both ways.
func tunnel(w http.ResponseWriter, r *http.Request, address string) {
	there, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = there.Close()
		return
	}
	go func() {
		_, _ = io.Copy(there, buffered)
		_ = there.Close()
	}()
	_, _ = io.Copy(here, there)
	_ = here.Close()
}

// certificateFor returns a certificate for the hosts, and the authority that signed it.
func certificateFor(hosts []string) (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              hosts,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority, nil
}

// ecr-names lets every host name lead to the local ECR, in plain text, by HTTP_PROXY. The
// program then meets AWS's own names, of partitions that nobody can dial.
func (s *stage) ecrNames(ts *testscript.TestScript, _ bool, _ []string) {
	proxy := httptest.NewServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.ecr.Host}))
	s.t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
	})
	ts.Setenv("HTTP_PROXY", proxy.URL)
}
