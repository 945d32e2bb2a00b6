package transport_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// server is a real one, on 127.0.0.1; start makes it speak TLS or not.
func server(t *testing.T, start func(*httptest.Server), handler http.HandlerFunc) (address string, j *journal, s *httptest.Server) {
	t.Helper()
	j = &journal{}
	s = httptest.NewUnstartedServer(j.record(handler))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // broken handshakes are the point
	start(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String(), j, s
}

// onto lets every name lead to one address.
func onto(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

func ask(t *testing.T, opts transport.Options, host string) error {
	t.Helper()
	c := transport.New(opts)
	t.Cleanup(func() { _ = c.Close() })
	_, err := c.Manifest(t.Context(), ref.Repository{Host: host, Path: "team/app"}.Tagged("1.0"))
	return err
}

// named are settings by which these hosts may do without TLS.
func named(names ...string) func(string) registry.Settings {
	return func(host string) registry.Settings {
		if slices.Contains(names, host) {
			return registry.Settings{Security: registry.Insecure}
		}
		return registry.Settings{}
	}
}

// everywhere are the same settings for every host.
func everywhere(s registry.Settings) func(string) registry.Settings {
	return func(string) registry.Settings { return s }
}

func TestLoopbackSpeaksEither(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"plain": (*httptest.Server).Start, "TLS": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			address, _, _ := server(t, start, manifest)
			if err := ask(t, transport.Options{}, address); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNamedInsecureSpeaksEither(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"plain": (*httptest.Server).Start, "TLS": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			address, _, _ := server(t, start, manifest)
			opts := transport.Options{Settings: named("registry.test")}
			if err := ask(t, opts.Over(onto(address)), "registry.test"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A server that listens on port 80 alone, or hangs up on a handshake, was never found to
// be plain HTTP.
func TestPlainHTTPThatDoesNotSaySo(t *testing.T) {
	t.Run("nothing on port 443", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.serve("registry.test:80", manifest)
			c := w.client(transport.Options{})
			if _, err := c.Manifest(t.Context(), ref.Repository{Host: "registry.test", Path: "team/app"}.Tagged("1.0")); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("hangs up on a handshake", func(t *testing.T) {
		address, _, _ := server(t, (*httptest.Server).Start, manifest)
		proxy, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer proxy.Close()
		go silently(proxy, address)
		if err := ask(t, transport.Options{}, proxy.Addr().String()); err != nil {
			t.Error(err)
		}
	})
}

// silently passes on what is HTTP, and closes connections that begin with a handshake.
func silently(l net.Listener, to string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var first [1]byte
			if _, err := io.ReadFull(conn, first[:]); err != nil || first[0] == 0x16 {
				return
			}
			far, err := net.Dial("tcp", to) //nolint:noctx // ends with the server
			if err != nil {
				return
			}
			defer far.Close()
			_, _ = far.Write(first[:])
			go func() { _, _ = io.Copy(conn, far) }()
			_, _ = io.Copy(far, conn)
		}()
	}
}

func TestNoPlainTextForAHostThatIsNotInsecure(t *testing.T) {
	secret := auth.Static{"registry.test": someone}
	t.Run("it speaks no TLS", func(t *testing.T) {
		address, j, _ := server(t, (*httptest.Server).Start, manifest)
		if err := ask(t, transport.Options{Credentials: secret}.Over(onto(address)), "registry.test"); err == nil {
			t.Error("no error")
		}
		if n := len(j.all()); n != 0 {
			t.Errorf("%d requests in the clear", n)
		}
	})
	t.Run("its certificate is unknown", func(t *testing.T) {
		address, j, _ := server(t, (*httptest.Server).StartTLS, manifest)
		start := time.Now()
		err := ask(t, transport.Options{Credentials: secret, RetryTimes: 9}.Over(onto(address)), "registry.test")
		wantKind(t, err, registry.ErrPermanent)
		if !strings.Contains(err.Error(), "certificate") || time.Since(start) > 10*time.Second {
			t.Errorf("error %q after %s: it does not heal by waiting", err, time.Since(start))
		}
		if n := len(j.all()); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("an insecure host of that name with another port", func(t *testing.T) {
		address, j, _ := server(t, (*httptest.Server).Start, manifest)
		opts := transport.Options{Settings: named("registry.test:5000")}
		if err := ask(t, opts.Over(onto(address)), "registry.test:6000"); err == nil || len(j.all()) != 0 {
			t.Errorf("error %v, %d requests", err, len(j.all()))
		}
	})
}

// authority writes the certificate of a test server where CertDir looks for it.
func authority(t *testing.T, s *httptest.Server) string {
	t.Helper()
	dir := t.TempDir()
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), block, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCertDir(t *testing.T) {
	address, _, s := server(t, (*httptest.Server).StartTLS, manifest)
	opts := transport.Options{Settings: everywhere(registry.Settings{CertDir: authority(t, s)})}.Over(onto(address))
	if err := ask(t, opts, "example.com"); err != nil { // the name in httptest's certificate
		t.Error(err)
	}
	if err := ask(t, opts, "example.org"); err == nil {
		t.Error("a certificate for another name was accepted")
	}
	opts.Settings = everywhere(registry.Settings{CertDir: filepath.Join(t.TempDir(), "mistyped")})
	wantKind(t, ask(t, opts, "example.com"), registry.ErrPermanent)
}

func TestCA(t *testing.T) {
	address, _, s := server(t, (*httptest.Server).StartTLS, manifest)
	dir := authority(t, s)
	with := func(ca string) transport.Options {
		return transport.Options{Settings: everywhere(registry.Settings{CA: ca})}.Over(onto(address))
	}
	if err := ask(t, with(filepath.Join(dir, "ca.crt")), "example.com"); err != nil {
		t.Error(err)
	}
	if err := ask(t, with(filepath.Join(dir, "ca.crt")), "example.org"); err == nil {
		t.Error("a certificate for another name was accepted")
	}
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ca := range []string{filepath.Join(dir, "mistyped"), empty} {
		wantKind(t, ask(t, with(ca), "example.com"), registry.ErrPermanent)
	}
}

// A host whose certificate need not be verified still speaks TLS, and one that speaks
// none is not asked whether it does.
func TestSecurity(t *testing.T) {
	secure, fromTLS, _ := server(t, (*httptest.Server).StartTLS, manifest)
	plain, inTheClear, _ := server(t, (*httptest.Server).Start, manifest)
	asked := func(address string, s registry.Security) error {
		return ask(t, transport.Options{Settings: everywhere(registry.Settings{Security: s})}.Over(onto(address)), "registry.test")
	}
	for s, want := range map[registry.Security]struct{ secure, plain bool }{
		registry.Verified:   {false, false},
		registry.Unverified: {true, false},
		registry.Insecure:   {true, true},
		registry.Plain:      {false, true},
	} {
		if err := asked(secure, s); (err == nil) != want.secure {
			t.Errorf("security %v of TLS: %v", s, err)
		}
		before := len(inTheClear.all())
		if err := asked(plain, s); (err == nil) != want.plain {
			t.Errorf("security %v of plain text: %v", s, err)
		}
		if n := len(inTheClear.all()) - before; !want.plain && n > 0 {
			t.Errorf("security %v: %d requests in the clear", s, n)
		}
	}
	if n := len(fromTLS.all()); n < 2 {
		t.Errorf("%d requests over TLS", n)
	}
}

func TestRedirects(t *testing.T) {
	faults.Covers(t, "F24", "F25")
	var plain, address string
	address, _, s := server(t, (*httptest.Server).StartTLS, func(w http.ResponseWriter, r *http.Request) {
		hop := func(to string) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
		switch {
		case r.URL.Path == "/data":
			manifest(w, r)
		case strings.HasSuffix(r.URL.Path, "/plain"):
			hop("http://" + plain + "/data")
		case strings.HasSuffix(r.URL.Path, "/loop"):
			hop(r.URL.Path)
		case strings.HasSuffix(r.URL.Path, "/five"):
			hop("/hop/4")
		case strings.HasSuffix(r.URL.Path, "/six"):
			hop("/hop/5")
		case r.URL.Path == "/hop/1":
			hop("/data")
		default:
			hop("/hop/" + string(r.URL.Path[len(r.URL.Path)-1]-1))
		}
	})
	plain, j, _ := server(t, (*httptest.Server).Start, manifest)
	opts := transport.Options{Settings: everywhere(registry.Settings{CertDir: authority(t, s)})}
	c := transport.New(opts)
	defer c.Close()
	for tag, want := range map[string]error{"five": nil, "six": registry.ErrPermanent, "loop": registry.ErrPermanent, "plain": registry.ErrPermanent} {
		r := ref.Repository{Host: address, Path: "team/app"}
		for name, ask := range map[string]func() error{
			"HEAD": func() error { _, err := c.Resolve(t.Context(), r.Tagged(tag)); return err },
			"GET":  func() error { _, err := c.Manifest(t.Context(), r.Tagged(tag)); return err },
		} {
			if err := ask(); !errors.Is(err, want) {
				t.Errorf("%s %s: %v, want %v", name, tag, err, want)
			}
		}
	}
	if n := len(j.all()); n != 0 {
		t.Errorf("%d requests in the clear", n)
	}
}

// That a registry's certificate need not be verified says nothing about the hosts it
// names: anybody between could have answered for them.
func TestInsecurityDoesNotSpread(t *testing.T) {
	other, j, _ := server(t, (*httptest.Server).StartTLS, manifest)
	address, _, _ := server(t, (*httptest.Server).StartTLS, with("Location", "https://storage.test/data", refuse(307, "", "")))
	dial := func(ctx context.Context, network, name string) (net.Conn, error) {
		if strings.HasPrefix(name, "storage.test") {
			return onto(other)(ctx, network, name)
		}
		return onto(address)(ctx, network, name)
	}
	opts := transport.Options{Settings: named("registry.test")}
	wantKind(t, ask(t, opts.Over(dial), "registry.test"), registry.ErrPermanent)
	if n := len(j.all()); n != 0 {
		t.Errorf("%d requests", n)
	}
	opts.Settings = named("registry.test", "storage.test")
	if err := ask(t, opts.Over(dial), "registry.test"); err != nil {
		t.Error(err)
	}
}

func TestAClientCertificateIsForItsHost(t *testing.T) {
	var mu sync.Mutex
	shown := map[string]int{}
	handler := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		shown[r.Host] += len(r.TLS.PeerCertificates)
		mu.Unlock()
		if r.URL.Path == "/data" {
			manifest(w, r)
			return
		}
		http.Redirect(w, r, "https://example.org/data", http.StatusTemporaryRedirect)
	}
	address, _, s := server(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		s.StartTLS()
	}, handler)
	dir := authority(t, s)
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"client.cert": {Type: "CERTIFICATE", Bytes: s.Certificate().Raw}, "client.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts := transport.Options{Settings: func(host string) registry.Settings {
		if host == "example.org" { // whose certificate is example.com's
			return registry.Settings{CertDir: dir, Security: registry.Insecure}
		}
		return registry.Settings{CertDir: dir}
	}}
	if err := ask(t, opts.Over(onto(address)), "example.com"); err != nil {
		t.Fatal(err)
	}
	if shown["example.com"] != 1 || shown["example.org"] != 0 {
		t.Errorf("client certificates shown: %v", shown)
	}
}

// The first caller's context used to be everybody's: while it lasted all others waited,
// whatever their own deadlines.
func TestWaitingForTheSchemeEndsWithOnesOwnContext(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		hold := make(chan struct{})
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case <-hold:
				return w.dial(ctx, "tcp", host)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		w.serve(host, manifest)
		c := transport.New(transport.Options{Settings: everywhere(registry.Settings{Security: registry.Insecure})}.Over(dial))
		t.Cleanup(func() { _ = c.Close() })
		var wait sync.WaitGroup
		for _, patience := range []time.Duration{time.Second, 2 * time.Second} {
			wait.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				start := time.Now()
				_, err := c.Manifest(ctx, repo.Tagged("1.0"))
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != patience {
					t.Errorf("error %v after %s", err, time.Since(start))
				}
			})
		}
		wait.Go(func() {
			if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
				t.Error(err) // though the one who asked first has given up
			}
		})
		time.Sleep(5 * time.Second)
		close(hold)
		wait.Wait()
	})
}

func TestIsLoopback(t *testing.T) {
	for name, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1": true, "127.1.2.3:5000": true,
		"[::1]:5000": true, "[::1]": true, "::1": true,
		"registry.test": false, "10.0.0.1:5000": false, "127.0.0.1.evil.test": false, "localhost.evil.test:5000": false, "": false,
	} {
		if got := transport.IsLoopback(name); got != want {
			t.Errorf("IsLoopback(%q) = %t", name, got)
		}
	}
}

func TestLinkLocalAddressesAreNotDialled(t *testing.T) {
	faults.Covers(t, "I15")
	for _, host := range []string{"169.254.169.254", "169.254.170.2:80"} {
		wantKind(t, ask(t, transport.Options{RetryTimes: 3, Settings: everywhere(registry.Settings{Security: registry.Insecure})}, host), registry.ErrPermanent)
	}
	// Nor where a registry says so.
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": with("Location", "http://169.254.169.254/latest/meta-data/", refuse(307, "", "")),
		"realm":    with("Www-Authenticate", `Bearer realm="http://169.254.169.254/token"`, refuse(401, "", "")),
	} {
		address, _, _ := server(t, (*httptest.Server).Start, answer)
		err := ask(t, transport.Options{}, address)
		if err == nil || !strings.Contains(err.Error(), "169.254.169.254") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
