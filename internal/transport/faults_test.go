package transport_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// Writes keep a Retry-After as reads do.
func TestAWriteThatIsThrottledWaits(t *testing.T) {
	faults.Covers(t, "F17")
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, inTurn(with("Retry-After", "20", refuse(429, "", "")), created))
		start := time.Now()
		if err := put(t.Context(), t, w.client(transport.Options{RetryTimes: 1}), "1.0"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 20*time.Second || took > 25*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// A connection that the other side has closed while it was idle costs no attempt.
func TestAClosedIdleConnection(t *testing.T) {
	faults.Covers(t, "F28")
	for name, ask := range map[string]func(t *testing.T, c *transport.Client) error{
		"read": func(t *testing.T, c *transport.Client) error {
			t.Helper()
			_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
			return err
		},
		"write": func(t *testing.T, c *transport.Client) error {
			t.Helper()
			return put(t.Context(), t, c, "1.0")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n := 0
				w.serve(host, func(rw http.ResponseWriter, r *http.Request) {
					switch n++; {
					case n == 2:
						hangUp(rw, r) // after the connection has been used before
					case r.Method == http.MethodPut:
						created(rw, r)
					default:
						manifest(rw, r)
					}
				})
				c := w.client(transport.Options{RetryTimes: 1, Settings: everywhere(registry.Settings{Security: registry.Plain})})
				for range 3 {
					if err := ask(t, c); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// Tokens of a service whose clock is wrong are used for as long as the registry takes
// them: nobody believes when they were issued.
func TestTokensOfAWrongClock(t *testing.T) {
	for name, issued := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				at := time.Now().Add(issued).UTC()
				j := w.serve(realm, with("Date", at.Format(http.TimeFormat), func(w http.ResponseWriter, _ *http.Request) {
					fmt.Fprintf(w, `{"token":"t","expires_in":60,"issued_at":%q}`, at.Format(time.RFC3339))
				}))
				w.serve(host, guarded(bearer("repository:team/app:pull"), only("Bearer t"), manifest))
				c := w.client(transport.Options{})
				for range 60 {
					if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second)
				}
				if n := len(j.all()); n != 1 {
					t.Errorf("%d tokens in a minute", n)
				}
			})
		})
	}
}

// A refusal of a registry whose clock is far off says so.
func TestClockSkewIsNamed(t *testing.T) {
	faults.Covers(t, "F32")
	for _, tt := range []struct {
		ahead  time.Duration
		status int
		says   string
	}{
		{time.Hour, 401, "clock skew: the registry's clock is 1h0m0s ahead of this machine's"},
		{-time.Hour, 403, "clock skew: the registry's clock is 1h0m0s behind this machine's"},
		{6 * time.Minute, 403, "clock skew"},
		{4 * time.Minute, 403, ""},
		{time.Hour, 404, ""},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			date := time.Now().Add(tt.ahead).UTC().Format(http.TimeFormat)
			w.serve(host, with("Date", date, refuse(tt.status, "DENIED", "no")))
			_, err := w.client(transport.Options{}).Manifest(t.Context(), repo.Tagged("1.0"))
			if err == nil || strings.Contains(err.Error(), "clock") != (tt.says != "") || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s, %d: %v", tt.ahead, tt.status, err)
			}
		})
	}
}

// A portal that answers everything with its page has nothing, and takes nothing.
func TestACaptivePortal(t *testing.T) {
	faults.Covers(t, "F23")
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, with("Content-Type", "text/html", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>log in</html>") }))
		c := w.client(transport.Options{RetryTimes: 2})
		if _, err := c.Resolve(t.Context(), repo.Tagged("1.0")); err == nil {
			t.Error("a tag was found")
		}
		if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err == nil {
			t.Error("a manifest was read")
		}
		if _, err := list(t, c); err == nil {
			t.Error("tags were listed")
		}
		if err := put(t.Context(), t, c, "1.0"); err == nil {
			t.Error("a manifest was written")
		}
		if err := upload(t, c, blobDesc, content(blob)); err == nil {
			t.Error("a blob was written")
		}
	})
}

// A write that is sent to a login page is not written.
func TestAWriteThatIsRedirected(t *testing.T) {
	faults.Covers(t, "F22")
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve("login.test:5000", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
		w.serve(host, with("Location", "http://login.test:5000/", refuse(302, "", "")))
		c := w.client(transport.Options{RetryTimes: 2, Credentials: auth.Static{host: someone}})
		wantKind(t, put(t.Context(), t, c, "1.0"), registry.ErrPermanent)
		if n := len(j.all()); n != 0 {
			t.Errorf("the page was asked %d times", n)
		}
	})
}

// A token service that is refused is refused once.
func TestARefusedRealmIsFinal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, with("Www-Authenticate", `Bearer realm="http://10.0.0.1/token"`, refuse(401, "", "")))
		_, err := w.client(transport.Options{RetryTimes: 5}).Manifest(t.Context(), repo.Tagged("1.0"))
		wantKind(t, err, registry.ErrPermanent)
		if n := len(j.all()); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}
