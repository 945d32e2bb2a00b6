package transport_test

import (
	"bytes"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	certificates "github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/authority"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// onRepetition is a log that has something done when a request is about to be tried again.
func onRepetition(t *testing.T, do func()) *zap.Logger {
	t.Helper()
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&bytes.Buffer{}), zap.DebugLevel)
	return zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == "trying again" {
			do()
		}
		return nil
	}))
}

// A name server that is down is asked again; one that says that there is no such name is
// believed.
func TestNamesThatAreNotFound(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(manifest))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	known := &names{known: map[string][]string{"registry.test": {"127.0.0.1"}}}
	var repeated atomic.Int32
	opts := transport.Options{
		RetryTimes: 2, Settings: everywhere(registry.Settings{Security: registry.Plain}),
		Log: onRepetition(t, func() { repeated.Add(1); known.set(false) }),
	}
	c := transport.New(opts.Resolving(known.resolver()))
	t.Cleanup(func() { _ = c.Close() })
	at := func(host string) ref.Reference {
		return ref.Repository{Host: host + ":" + port, Path: "team/app"}.Tagged("1.0")
	}

	_, err = c.Manifest(t.Context(), at("nobody.test"))
	wantKind(t, err, registry.ErrPermanent)
	if repeated.Load() != 0 || !strings.Contains(err.Error(), "no such host") || !strings.Contains(err.Error(), "is the name of the registry right?") {
		t.Errorf("tried again %d times: %v", repeated.Load(), err)
	}
	known.set(true)
	if _, err := c.Manifest(t.Context(), at("registry.test")); err != nil || repeated.Load() != 1 {
		t.Errorf("tried again %d times: %v", repeated.Load(), err)
	}
	faults.Covers(t, "F02")
}

// A registry that cannot prove who it is is sent nothing, in no way, and the error says
// what is wrong with its proof.
func TestCertificatesThatProveNothing(t *testing.T) {
	own, err := certificates.New()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := certificates.New()
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, own.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		make func(...string) (tls.Certificate, error)
		host string
		says string // "" for what is in order
	}{
		"in order":          {own.Server, "registry.test", ""},
		"out of date":       {own.Expired, "registry.test", "expired"},
		"another's":         {own.Server, "other.test", "other.test, not registry.test"},
		"unknown authority": {stranger.Server, "registry.test", "tls.ca of a configuration file"},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, err := test.make(test.host)
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			var complaints bytes.Buffer
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				manifest(w, r)
			}))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
			server.Config.ErrorLog = log.New(&complaints, "", 0)
			server.StartTLS()
			known := &names{known: map[string][]string{"registry.test": {"127.0.0.1"}}}
			opts := transport.Options{RetryTimes: 2, Settings: everywhere(registry.Settings{CA: ca})}
			c := transport.New(opts.Resolving(known.resolver()))
			_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
			_, err = c.Manifest(t.Context(), ref.Repository{Host: "registry.test:" + port, Path: "team/app"}.Tagged("1.0"))
			_ = c.Close()
			server.Close() // which waits for its log
			if strings.Contains(complaints.String(), "first record does not look like a TLS handshake") {
				t.Errorf("it was spoken to in plain text: %s", &complaints)
			}
			if test.says == "" {
				if err != nil || asked == 0 {
					t.Errorf("asked %d times: %v", asked, err)
				}
				return
			}
			wantKind(t, err, registry.ErrPermanent)
			if asked != 0 || !strings.Contains(err.Error(), test.says) {
				t.Errorf("asked %d times: %v", asked, err)
			}
		})
	}
	faults.Covers(t, "F04")
}
