package cli_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/authority"
)

// proxy [-tls] HOST… lets the hosts exist that the script needs and loopback cannot be:
// every name leads to upstream, over TLS with a certificate for that name, or in plain
// text where the program asks for that. Hosts named mtls.… want a client certificate, and
// those named old.… speak TLS 1.2 only. The program gets there by HTTPS_PROXY and
// HTTP_PROXY; with -tls it speaks TLS with the proxy, too. The authority that signed the
// certificates is written to ca/ca.crt, and a client certificate to client/jane.cert.
func (s *stage) proxy(ts *testscript.TestScript, _ bool, hosts []string) {
	overTLS := hosts[0] == "-tls"
	if overTLS {
		hosts = hosts[1:]
	}
	signer, err := authority.New()
	ts.Check(err)
	certificate, err := signer.Server(append(hosts, "127.0.0.1")...)
	ts.Check(err)
	secure := httptest.NewUnstartedServer(s.upstream)
	secure.TLS = secured(certificate, signer)
	secure.StartTLS()
	proxy := httptest.NewUnstartedServer(s.forward(secure.Listener.Addr().String()))
	if overTLS {
		proxy.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		proxy.StartTLS()
	} else {
		proxy.Start()
	}
	s.t.Cleanup(func() {
		proxy.CloseClientConnections()
		proxy.Close()
		secure.CloseClientConnections()
		secure.Close()
	})
	ts.Setenv("HTTPS_PROXY", proxy.URL)
	ts.Setenv("HTTP_PROXY", proxy.URL)
	ts.Check(os.MkdirAll(ts.MkAbs("ca"), 0o700))
	ts.Check(os.MkdirAll(ts.MkAbs("client"), 0o700))
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs("ca"), "ca.crt"), signer.PEM(), 0o600))
	_, _, err = signer.Client(ts.MkAbs("client"), "jane")
	ts.Check(err)
}

// secured is how the hosts of a proxy speak TLS, each by its name.
func secured(certificate tls.Certificate, clients *authority.Authority) *tls.Config {
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		own := config.Clone()
		switch {
		case strings.HasPrefix(hello.ServerName, "mtls."):
			own.ClientAuth, own.ClientCAs = tls.RequireAndVerifyClientCert, clients.Pool()
		case strings.HasPrefix(hello.ServerName, "old."):
			own.MaxVersion = tls.VersionTLS12
		}
		return own, nil
	}
	return config
}

// forward is what a proxy does: it connects, or asks upstream itself where the request is
// for plain text. It notes for which hosts.
func (s *stage) forward(secure string) http.Handler {
	plain := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.upstream.host})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.proxies.Store(r.Method+" "+r.Host, true)
		if r.Method == http.MethodConnect {
			tunnel(w, r, s.tunnelTo(r.Host, secure))
			return
		}
		plain.ServeHTTP(w, r)
	})
}

// proxied METHOD HOST:PORT insists that the proxy was asked for that host since the last
// time, or with ! that it was not; METHOD is CONNECT for TLS.
func (s *stage) proxied(ts *testscript.TestScript, neg bool, args []string) {
	_, asked := s.proxies.LoadAndDelete(args[0] + " " + args[1])
	if asked == neg {
		ts.Fatalf("the proxy was asked to %s %s: %t", args[0], args[1], asked)
	}
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
