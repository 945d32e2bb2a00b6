package certs_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/certs"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/authority"
)

// machine is a server with a certificate for registry.test, and the files of those who
// want to speak to it.
type machine struct {
	t         *testing.T
	authority *authority.Authority
	address   string
	dir       string
	ca        string
	cert, key string // of the client jane
}

// startMachine starts a server that speaks TLS as config says, and answers with the name
// of the client certificate that it was shown.
func startMachine(t *testing.T, config *tls.Config) *machine {
	t.Helper()
	a, err := authority.New()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := a.Server("registry.test")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, shown := range r.TLS.PeerCertificates {
			_, _ = io.WriteString(w, shown.Subject.CommonName)
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // broken handshakes are the point
	config.Certificates, config.ClientCAs = []tls.Certificate{certificate}, a.Pool()
	s.TLS = config
	s.StartTLS()
	t.Cleanup(s.Close)
	m := &machine{t: t, authority: a, address: s.Listener.Addr().String(), dir: t.TempDir()}
	m.ca = m.write("ca.crt", a.PEM())
	if m.cert, m.key, err = a.Client(m.dir, "jane"); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) write(name string, text []byte) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// ask returns the name that the server was shown.
func (m *machine) ask(s registry.Settings) (string, error) {
	m.t.Helper()
	config, err := certs.Config("registry.test", s)
	if err != nil {
		return "", err
	}
	config.ServerName = "registry.test"
	conn := &http.Transport{TLSClientConfig: config}
	defer conn.CloseIdleConnections()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, "https://"+m.address, http.NoBody)
	if err != nil {
		m.t.Fatal(err)
	}
	resp, err := conn.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	return string(said), err
}

func TestWhoIsTrusted(t *testing.T) {
	m := startMachine(t, &tls.Config{MinVersion: tls.VersionTLS12})
	m.write("own/registry.test/ca.crt", m.authority.PEM())
	m.write("etc/registry.test:5000/ca.crt", m.authority.PEM())
	other, err := authority.New()
	if err != nil {
		t.Fatal(err)
	}
	stranger := m.write("stranger/ca.crt", other.PEM())
	m.write("strangers/registry.test/ca.crt", other.PEM())
	at := func(names ...string) (dirs []string) {
		for _, name := range names {
			dirs = append(dirs, filepath.Join(m.dir, name))
		}
		return dirs
	}
	for _, test := range []struct {
		name    string
		s       registry.Settings
		trusted bool
	}{
		{"nobody", registry.Settings{}, false},
		{"ca", registry.Settings{CA: m.ca}, true},
		{"another ca", registry.Settings{CA: stranger}, false},
		{"certDir", registry.Settings{CertDir: at("own/registry.test")[0]}, true},
		{"certDir beside another ca", registry.Settings{CertDir: at("own/registry.test")[0], CA: stranger}, true},
		{"a certs.d folder", registry.Settings{CertFolders: at("absent", "own")}, true},
		{"a certs.d folder for another port", registry.Settings{CertFolders: at("etc")}, false},
		{"the first folder that knows the host", registry.Settings{CertFolders: at("etc", "own", "strangers")}, true},
		{"and no other", registry.Settings{CertFolders: at("strangers", "own")}, false},
		{"ca over the folder", registry.Settings{CA: stranger, CertFolders: at("own")}, false},
		{"certDir over the folder", registry.Settings{CertDir: at("stranger")[0], CertFolders: at("own")}, false},
		{"cert over the folder", registry.Settings{Cert: m.cert, Key: m.key, CertFolders: at("own")}, false},
	} {
		if _, err := m.ask(test.s); (err == nil) != test.trusted {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestClientCertificate(t *testing.T) {
	m := startMachine(t, &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert})
	own := filepath.Join(m.dir, "own")
	m.write("own/ca.crt", m.authority.PEM())
	if _, _, err := m.authority.Client(own, "john"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		s    registry.Settings
		want string // "" where the server hangs up
	}{
		{"none", registry.Settings{CA: m.ca}, ""},
		{"cert and key", registry.Settings{CA: m.ca, Cert: m.cert, Key: m.key}, "jane"},
		{"a directory", registry.Settings{CertDir: own}, "john"},
		{"both", registry.Settings{CertDir: own, Cert: m.cert, Key: m.key}, "jane"},
	} {
		if got, err := m.ask(test.s); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q was shown, %v", test.name, got, err)
		}
	}
}

func TestMinVersion(t *testing.T) {
	old := startMachine(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	usual := startMachine(t, &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12})
	for _, test := range []struct {
		m    *machine
		min  uint16
		good bool
	}{{old, 0, false}, {old, tls.VersionTLS10, false}, {usual, 0, true}, {usual, tls.VersionTLS12, true}, {usual, tls.VersionTLS13, false}} {
		if _, err := test.m.ask(registry.Settings{CA: test.m.ca, MinVersion: test.min}); (err == nil) != test.good {
			t.Errorf("from %s: %v", tls.VersionName(test.min), err)
		}
	}
}

// A file that cannot be used says so. Passed over, it would look like a registry's fault.
func TestFilesThatCannotBeUsed(t *testing.T) {
	m := startMachine(t, &tls.Config{MinVersion: tls.VersionTLS12})
	empty := m.write("empty.pem", []byte("no certificate"))
	m.write("half/registry.test/jane.cert", nil)
	m.write("file/registry.test", nil)
	in := func(name string) string { return filepath.Join(m.dir, name) }
	for name, test := range map[string]struct {
		s     registry.Settings
		blame string
	}{
		"no CA":                  {registry.Settings{CA: in("absent")}, "absent"},
		"an empty CA":            {registry.Settings{CA: empty}, "empty.pem"},
		"no directory":           {registry.Settings{CertDir: in("absent")}, "absent"},
		"a file for a directory": {registry.Settings{CertDir: empty}, "empty.pem"},
		"no key":                 {registry.Settings{Cert: m.cert, Key: in("absent")}, "absent"},
		"only a cert":            {registry.Settings{Cert: m.cert}, "jane.cert"},
		"a cert for a key":       {registry.Settings{Cert: m.cert, Key: m.cert}, "jane.cert"},
		"half a pair":            {registry.Settings{CertFolders: []string{in("half")}}, "jane.key"},
		"a file in a folder":     {registry.Settings{CertFolders: []string{in("file")}}, "registry.test"},
	} {
		_, err := certs.Config("registry.test", test.s)
		if !errors.Is(err, registry.ErrPermanent) || !strings.Contains(err.Error(), test.blame) || !strings.Contains(err.Error(), "for registry.test") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFolders(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		want []string
	}{
		{nil, nil},
		{map[string]string{"HOME": "/home/jane"}, []string{"/home/jane/.config/containers/certs.d", "/home/jane/.config/docker/certs.d", "/home/jane/.docker/certs.d"}},
		{map[string]string{"XDG_CONFIG_HOME": "/cfg"}, []string{"/cfg/containers/certs.d", "/cfg/docker/certs.d"}},
		{map[string]string{"HOME": "/home/jane", "XDG_CONFIG_HOME": "/cfg"}, []string{"/cfg/containers/certs.d", "/cfg/docker/certs.d", "/home/jane/.docker/certs.d"}},
	} {
		got := certs.Folders(func(name string) (string, bool) { v, ok := test.env[name]; return v, ok })
		if diff := cmp.Diff(append(test.want, "/etc/containers/certs.d", "/etc/docker/certs.d"), got); diff != "" {
			t.Errorf("%v (-want +got)\n%s", test.env, diff)
		}
	}
}
