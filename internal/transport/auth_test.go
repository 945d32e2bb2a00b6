package transport_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// realm is a token service beside the registry.
const realm = "registry.test:5001"

var someone = auth.Credential{Username: "someone", Password: "hunter2"}

func basic(c auth.Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password.Reveal()))
}

// guarded lets a request pass whose Authorization is accepted, and challenges others.
func guarded(challenge string, accepted func(authorization string) bool, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if accepted(r.Header.Get("Authorization")) {
			next(w, r)
			return
		}
		w.Header().Set("Www-Authenticate", challenge)
		refuse(401, "UNAUTHORIZED", "authentication required")(w, r)
	}
}

func bearer(scope string) string {
	return fmt.Sprintf(`Bearer realm="http://%s/token",service="%s",scope="%s"`, realm, host, scope)
}

func only(want string) func(string) bool { return func(got string) bool { return got == want } }

// issue is a token service that numbers its tokens.
func issue() http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		n++
		fmt.Fprintf(w, `{"token":"t%d"}`, n)
		mu.Unlock()
	}
}

// provider is an auth.Provider whose credential can be renewed.
type provider struct {
	mu      sync.Mutex
	current auth.Credential
	next    []auth.Credential // what follows when the current one is refused
	asked   []string
	refused []auth.Credential
}

func (p *provider) Credential(_ context.Context, host string) (auth.Credential, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, host)
	return p.current, nil
}

func (p *provider) Refused(_ string, c auth.Credential) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = append(p.refused, c)
	if c == p.current && len(p.next) > 0 {
		p.current, p.next = p.next[0], p.next[1:]
	}
}

func TestAnonymousBearer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tokens := w.serve(realm, issue())
		j := w.serve(host, guarded(bearer("repository:team/app:pull"), only("Bearer t1"), manifest))
		c := w.client(transport.Options{})
		for range 3 {
			if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(j.all()); n != 4 {
			t.Errorf("%d requests, want a challenge and 3 answers", n)
		}
		all := tokens.all()
		if len(all) != 1 || all[0].auth != "" {
			t.Fatalf("token requests %v", all)
		}
		if q := all[0].query; !strings.Contains(q, "scope=repository%3Ateam%2Fapp%3Apull") || !strings.Contains(q, "service=") {
			t.Errorf("token query %q", q)
		}
	})
}

func TestPushAsksForAPushToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tokens := w.serve(realm, issue())
		w.serve(host, guarded(bearer("repository:team/app:pull,push"), only("Bearer t1"), created))
		if err := put(t.Context(), t, w.client(transport.Options{}), "1.0"); err != nil {
			t.Fatal(err)
		}
		if q := tokens.all()[0].query; !strings.Contains(q, "scope=repository%3Ateam%2Fapp%3Apull%2Cpush") {
			t.Errorf("token query %q", q)
		}
	})
}

// A registry may ask for more than the protocol says: public.ecr.aws wants the scope
// "aws". A token kept under that name alone was never found again, and every request was
// refused once first.
func TestATokenOfAnotherScopeIsFoundAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tokens := w.serve(realm, issue())
		j := w.serve(host, guarded(bearer("aws"), only("Bearer t1"), manifest))
		c := w.client(transport.Options{})
		for range 5 {
			if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
				t.Fatal(err)
			}
		}
		if len(tokens.all()) != 1 || len(j.all()) != 6 {
			t.Errorf("%d tokens and %d requests, want 1 and 6", len(tokens.all()), len(j.all()))
		}
	})
}

func TestOneTokenForAllWhoAskAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		issuing := issue()
		tokens := w.serve(realm, func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			issuing(rw, r)
		})
		var n, valid atomic.Int64
		w.serve(host, guarded(bearer("repository:team/app:pull"), func(got string) bool {
			if got == fmt.Sprint("Bearer t", valid.Load()) {
				return true
			}
			// Refusals arrive before, while and after the token is fetched.
			time.Sleep(time.Duration(n.Add(1)%4) * 500 * time.Millisecond)
			return false
		}, manifest))
		c := w.client(transport.Options{})
		for round := range 3 { // the first without a token, the others with one that is too old
			valid.Store(int64(round + 1))
			var wait sync.WaitGroup
			for range 32 {
				wait.Go(func() {
					if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
						t.Error(err)
					}
				})
			}
			wait.Wait()
			if n := len(tokens.all()); n != round+1 {
				t.Errorf("%d tokens were fetched, want %d", n, round+1)
			}
		}
	})
}

// A token is everybody's: the worker whose image happens to be cancelled while it fetches
// one failed all who waited for it.
func TestOneWhoGivesUpDoesNotFailTheOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		issuing := issue()
		w.serve(realm, func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(10 * time.Second)
			issuing(rw, r)
		})
		w.serve(host, guarded(bearer("repository:team/app:pull"), only("Bearer t1"), manifest))
		c := w.client(transport.Options{})
		var wait sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		wait.Go(func() {
			if _, err := c.Manifest(ctx, repo.Tagged("1.0")); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
		time.Sleep(time.Second)
		wait.Go(func() {
			if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
				t.Error(err)
			}
		})
		wait.Wait()
	})
}

func TestCredentials(t *testing.T) {
	tests := []struct {
		name      string
		cred      auth.Credential
		challenge string
		accepted  string
		token     func(*testing.T, *http.Request) bool // what the token service must see
	}{
		{name: "basic", cred: someone, challenge: `Basic realm="http://` + host + `/"`, accepted: basic(someone)},
		{
			name: "password for a token", cred: someone, challenge: bearer("x"), accepted: "Bearer t1",
			token: func(_ *testing.T, r *http.Request) bool { return r.Header.Get("Authorization") == basic(someone) },
		},
		{
			name: "identity token for a token", cred: auth.Credential{IdentityToken: "refresh"}, challenge: bearer("x"), accepted: "Bearer t1",
			token: func(t *testing.T, r *http.Request) bool {
				if err := r.ParseForm(); err != nil {
					t.Error(err)
				}
				return r.Method == http.MethodPost && r.PostForm.Get("refresh_token") == "refresh" && r.PostForm.Get("grant_type") == "refresh_token"
			},
		},
		{
			name: "registry token, as it is", cred: auth.Credential{RegistryToken: "mine"}, challenge: bearer("x"), accepted: "Bearer mine",
			token: func(t *testing.T, _ *http.Request) bool { t.Error("a token was asked for"); return false },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(realm, func(rw http.ResponseWriter, r *http.Request) {
					if !tt.token(t, r) {
						t.Errorf("token request %s with %q", r.URL, r.Header.Get("Authorization"))
					}
					_, _ = io.WriteString(rw, `{"access_token":"t1"}`)
				})
				w.serve(host, guarded(tt.challenge, only(tt.accepted), manifest))
				c := w.client(transport.Options{Credentials: auth.Static{host: tt.cred}})
				for range 2 {
					if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

// ECR takes its password with any request: at the beginning of a run, when many requests
// go out at once, none of them is refused for want of it.
func TestAPasswordThatIsTakenUnaskedIsSentAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cred := someone
		cred.Unasked = true
		j := w.serve(host, guarded(`Basic realm="https://x/",service="ecr.amazonaws.com"`, only(basic(someone)), manifest))
		c := w.client(transport.Options{Credentials: auth.Static{host: cred}})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := len(j.all()); n != 20 {
			t.Errorf("%d requests for 20 answers", n)
		}
	})
}

// A registry in ECR's place that wants a token gets what it asks for.
func TestAPasswordThatIsNotTakenUnasked(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cred := someone
		cred.Unasked = true
		w.serve(realm, issue())
		j := w.serve(host, guarded(bearer("repository:team/app:pull"), only("Bearer t1"), manifest))
		c := w.client(transport.Options{Credentials: auth.Static{host: cred}})
		for range 3 {
			if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(j.all()); n != 4 {
			t.Errorf("%d requests, want a challenge and 3 answers", n)
		}
	})
}

func TestTheProviderIsAskedByTheNameInReferences(t *testing.T) {
	for name, want := range map[string]string{
		"docker.io": "registry-1.docker.io", "quay.io:443": "quay.io:443", "ghcr.io": "ghcr.io",
	} {
		if got := transport.APIAddress(name); got != want {
			t.Errorf("the API of %s is at %s, want %s", name, got, want)
		}
	}
	inWorld(t, func(t *testing.T, w *world) {
		w.serve("registry-1.docker.io:80", guarded(`Basic realm="x"`, only(basic(someone)), manifest))
		p := &provider{current: someone}
		c := w.client(transport.Options{Credentials: p})
		if _, err := c.Manifest(t.Context(), ref.MustParse("nginx:1.27")); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(p.asked, func(h string) bool { return h != "docker.io" }) {
			t.Errorf("asked for %v", p.asked)
		}
	})
}

func TestNoPasswordIsKnown(t *testing.T) {
	for name, cred := range map[string]auth.Credential{
		"none": {}, "half a one": {Username: "someone"}, "another kind": {IdentityToken: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j := w.serve(host, guarded(`Basic realm="x"`, only("never"), manifest))
				_, err := w.client(transport.Options{RetryTimes: 3, Credentials: auth.Static{host: cred}}).Manifest(t.Context(), repo.Tagged("1.0"))
				wantKind(t, err, registry.ErrDenied)
				if n := len(j.all()); n != 1 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

func ecrLike(current func() auth.Credential, next http.HandlerFunc) http.HandlerFunc {
	expired := refuse(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "":
			guarded(`Basic realm="https://x/",service="ecr.amazonaws.com"`, only("never"), nil)(w, r)
		case basic(current()):
			next(w, r)
		default:
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusForbidden) // ECR has no words for a HEAD
				return
			}
			expired(w, r)
		}
	}
}

var oldPassword, newPassword = auth.Credential{Username: "AWS", Password: "old"}, auth.Credential{Username: "AWS", Password: "new"}

func TestAnExpiredECRPasswordIsRenewed(t *testing.T) {
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := &provider{current: oldPassword, next: []auth.Credential{newPassword}}
				w.serve(host, ecrLike(func() auth.Credential { return newPassword }, q.answer))
				if err := q.ask(t.Context(), t, w.client(transport.Options{RetryTimes: 1, Credentials: p})); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]auth.Credential{oldPassword}, p.refused); diff != "" {
					t.Errorf("refused (-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestAPasswordThatExpiresUnderAnUpload(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := &provider{current: oldPassword, next: []auth.Credential{newPassword}}
		var mu sync.Mutex
		valid := oldPassword
		var got []byte
		w.serve(host, ecrLike(func() auth.Credential { mu.Lock(); defer mu.Unlock(); return valid }, store(location, func(rw http.ResponseWriter, r *http.Request) {
			take(&got)(rw, r)
		})))
		c := w.client(transport.Options{Credentials: p})
		open := func(ctx context.Context) (io.ReadCloser, error) {
			mu.Lock()
			valid = newPassword // between the POST and the PUT, or before both
			mu.Unlock()
			return content(blob)(ctx)
		}
		err := upload(t, c, blobDesc, open)
		// The one who streams the blob tries again, and finds a refusal if it does not.
		if !errors.Is(err, registry.ErrDenied) || !errors.Is(err, registry.ErrExpired) || registry.Final(err) {
			t.Fatalf("error %v, want a refusal that may pass", err)
		}
		var status *transport.StatusError
		if !errors.As(err, &status) || status.Status != 403 {
			t.Errorf("error %v has no StatusError", err)
		}
		if err := upload(t, c, blobDesc, open); err != nil {
			t.Error(err)
		}
	})
}

// Who is refused with the old password while another has fetched the new one must not
// talk the provider out of the new one: each round of refusals would fetch another.
func TestARefusalIsPutDownToThePasswordThatWasSent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := &provider{current: oldPassword, next: []auth.Credential{newPassword}}
		hold := make(chan struct{})
		var first atomic.Bool
		answer := ecrLike(func() auth.Credential { return newPassword }, manifest)
		w.serve(host, func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == basic(oldPassword) && first.CompareAndSwap(false, true) {
				<-hold
			}
			answer(rw, r)
		})
		c := w.client(transport.Options{RetryTimes: 1, Credentials: p})
		var wait sync.WaitGroup
		wait.Go(func() {
			if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second) // the first is held up with the old password in its hand
		for range 8 {
			wait.Go(func() {
				if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(10 * time.Second)
		close(hold)
		wait.Wait()
		for _, c := range p.refused {
			if c != oldPassword {
				t.Errorf("the provider was told that %q is refused", c.Password.Reveal())
			}
		}
		if p.current != newPassword {
			t.Errorf("the provider was talked out of the new password")
		}
	})
}

func TestARegistryThatRefusesEveryPassword(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var endless []auth.Credential
		for i := range 1000 {
			endless = append(endless, auth.Credential{Username: "AWS", Password: auth.Secret(fmt.Sprint("p", i))})
		}
		p := &provider{current: oldPassword, next: endless}
		w.serve(host, ecrLike(func() auth.Credential { return newPassword }, manifest))
		c := w.client(transport.Options{RetryTimes: 5, Credentials: p})
		for range 20 {
			_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
			wantKind(t, err, registry.ErrDenied)
		}
		if n := len(p.refused); n > 3 {
			t.Errorf("%d passwords were fetched for nothing", n)
		}
	})
}

func TestAWrongPasswordThatCannotBeRenewed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, guarded(`Basic realm="x"`, only("never"), manifest))
		_, err := w.client(transport.Options{RetryTimes: 5, Credentials: auth.Static{host: someone}}).Manifest(t.Context(), repo.Tagged("1.0"))
		wantKind(t, err, registry.ErrDenied)
		if n := len(j.all()); n != 2 {
			t.Errorf("%d requests, want one without and one with the password", n)
		}
	})
}

func TestAnExpiredBearerTokenIsRenewed(t *testing.T) {
	for name, refusal := range map[string]http.HandlerFunc{
		"401": guarded(bearer("repository:team/app:pull"), only("never"), nil),
		"403": refuse(403, "DENIED", "token has expired"),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				tokens := w.serve(realm, issue())
				var mu sync.Mutex
				valid := "Bearer t1"
				w.serve(host, func(rw http.ResponseWriter, r *http.Request) {
					mu.Lock()
					want := valid
					mu.Unlock()
					switch r.Header.Get("Authorization") {
					case want:
						manifest(rw, r)
					case "":
						guarded(bearer("repository:team/app:pull"), only("never"), nil)(rw, r)
					default:
						refusal(rw, r)
					}
				})
				c := w.client(transport.Options{RetryTimes: 1})
				for _, want := range []string{"Bearer t1", "Bearer t2"} {
					mu.Lock()
					valid = want
					mu.Unlock()
					if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
						t.Fatal(err)
					}
				}
				if n := len(tokens.all()); n != 2 {
					t.Errorf("%d tokens", n)
				}
			})
		})
	}
}

func TestATokenServiceThatRefuses(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		kind   error
	}{
		{"401", refuse(401, "UNAUTHORIZED", "bad password"), registry.ErrDenied},
		{"403", refuse(403, "DENIED", "no"), registry.ErrDenied},
		// Nothing is absent because its registry names a token service that is.
		{"404", refuse(404, "", ""), registry.ErrDenied},
		{"400", refuse(400, "", ""), registry.ErrDenied},
		{"429", refuse(429, "TOOMANYREQUESTS", "slow down"), registry.ErrThrottled},
		{"500", refuse(500, "", ""), nil},
		{"portal", with("Content-Type", "text/html", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(realm, tt.answer)
				w.serve(host, guarded(bearer("repository:team/app:pull"), only("never"), manifest))
				_, err := w.client(transport.Options{}).Manifest(t.Context(), repo.Tagged("1.0"))
				wantKind2(t, err, tt.kind)
				if strings.Contains(err.Error(), "scope") {
					t.Errorf("error %q quotes a query", err)
				}
			})
		})
	}
}

func TestAPasswordThatTheTokenServiceRefusesIsRenewed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(realm, func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != basic(newPassword) {
				refuse(401, "UNAUTHORIZED", "bad password")(rw, r)
				return
			}
			_, _ = io.WriteString(rw, `{"token":"t1"}`)
		})
		w.serve(host, guarded(bearer("repository:team/app:pull"), only("Bearer t1"), manifest))
		p := &provider{current: oldPassword, next: []auth.Credential{newPassword}}
		if _, err := w.client(transport.Options{RetryTimes: 1, Credentials: p}).Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCredentialsStayWithTheirHost(t *testing.T) {
	const other = "storage.test:5000"
	to := func(where string) http.HandlerFunc { return with("Location", where, refuse(307, "", "")) }
	login := `Basic realm="give it to me"`
	unasked := someone
	unasked.Unasked = true
	for name, kind := range map[string]struct {
		challenge string
		cred      auth.Credential
	}{
		"basic":         {`Basic realm="x"`, someone},
		"bearer":        {bearer("repository:team/app:pull,push"), someone},
		"basic unasked": {`Basic realm="x"`, unasked},
	} {
		challenge := kind.challenge
		in := func(next http.HandlerFunc) http.HandlerFunc {
			return guarded(challenge, func(a string) bool { return a != "" }, next)
		}
		serve := func(w *world, next http.HandlerFunc) *transport.Client {
			w.serve(realm, issue())
			w.serve(host, in(next))
			return w.client(transport.Options{Credentials: auth.Static{host: kind.cred}})
		}
		silent := func(t *testing.T, j *journal) {
			t.Helper()
			if len(j.all()) == 0 {
				t.Error("it was never asked")
			}
			for _, e := range j.all() {
				if e.auth != "" {
					t.Errorf("%s was sent %s", e.what, e.auth)
				}
			}
		}
		t.Run(name+"/redirect", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := serve(w, to("http://"+other+"/data"))
				j := w.serve(other, manifest)
				if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
					t.Fatal(err)
				}
				silent(t, j)
			})
		})
		t.Run(name+"/redirect to a host that asks for it", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := serve(w, to("http://"+other+"/data"))
				j := w.serve(other, guarded(login, func(string) bool { return false }, manifest))
				_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
				wantKind(t, err, registry.ErrDenied)
				silent(t, j)
			})
		})
		t.Run(name+"/redirect to a sub-domain", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				const sub = "cdn.registry.test:5000" // net/http would send the header along
				c := serve(w, to("http://"+sub+"/data"))
				j := w.serve(sub, manifest)
				if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
					t.Fatal(err)
				}
				silent(t, j)
			})
		})
		t.Run(name+"/upload location", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := serve(w, store("http://"+other+"/put?signature=s3cret", nil))
				j := w.serve(other, take(new([]byte)))
				if err := upload(t, c, blobDesc, content(blob)); err != nil {
					t.Fatal(err)
				}
				silent(t, j)
			})
		})
		t.Run(name+"/upload location that asks for it", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := serve(w, store("http://"+other+"/put?signature=s3cret", nil))
				j := w.serve(other, func(rw http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					guarded(login, func(string) bool { return false }, nil)(rw, r)
				})
				err := upload(t, c, blobDesc, content(blob))
				if err == nil || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("error %v", err)
				}
				silent(t, j)
			})
		})
		t.Run(name+"/upload location that could be asked again", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				const service = "storage.test:5001"
				nothing := ref.Descriptor{Digest: digest.FromBytes(nil)}
				for _, challenge := range []string{login, `Bearer realm="http://` + service + `/token"`} {
					c := serve(w, store("http://"+other+"/put", nil))
					tokens := w.serve(service, issue())
					j := w.serve(other, guarded(challenge, func(string) bool { return false }, nil))
					if err := upload(t, c, nothing, content(nil)); err == nil {
						t.Error("no error")
					}
					for _, e := range append(j.all(), tokens.all()...) {
						if strings.HasPrefix(e.auth, "Basic") {
							t.Errorf("%s was sent %s", e.what, e.auth)
						}
					}
				}
			})
		})
		t.Run(name+"/user in an upload location", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := serve(w, store("http://their:own@"+other+"/put", nil))
				j := w.serve(other, take(new([]byte)))
				if err := upload(t, c, blobDesc, content(blob)); err != nil {
					t.Fatal(err)
				}
				silent(t, j)
			})
		})
	}
}

func TestARealmElsewhereGetsNoPasswordInTheClear(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const other = "127.0.0.1:5001" // a token service inside the house, named from outside
		j := w.serve(other, issue())
		w.serve(host, guarded(`Bearer realm="http://`+other+`/token?leak=s3cret"`, only("never"), manifest))
		_, err := w.client(transport.Options{Credentials: auth.Static{host: someone}}).Manifest(t.Context(), repo.Tagged("1.0"))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error %v", err)
		}
		if n := len(j.all()); n != 0 {
			t.Errorf("it was asked %d times", n)
		}
	})
}

// A pre-signed URL that is too old is no reason to drop a password; the next redirect
// will be fresh.
func TestAStorageHostsRefusalIsNotThePasswordsFault(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const other = "storage.test:5000"
		w.serve(host, guarded(`Basic realm="x"`, only(basic(oldPassword)), with("Location", "http://"+other+"/data?X-Amz-Signature=s3cret", refuse(307, "", ""))))
		w.serve(other, inTurn(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Retry-After", "60")
			rw.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(rw, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>`)
		}, manifest))
		p := &provider{current: oldPassword, next: []auth.Credential{newPassword}}
		c := w.client(transport.Options{RetryTimes: 1, Credentials: p})
		if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
			t.Fatal(err)
		}
		if len(p.refused) != 0 {
			t.Error("the password was dropped")
		}
	})
	inWorld(t, func(t *testing.T, w *world) {
		const other = "storage.test:5000"
		w.serve(host, guarded(`Basic realm="x"`, only(basic(oldPassword)), with("Location", "http://"+other+"/data", refuse(307, "", ""))))
		w.serve(other, inTurn(with("Retry-After", "60", refuse(401, "", "")), with("Retry-After", "60", refuse(503, "", "")), manifest))
		p := &provider{current: oldPassword, next: []auth.Credential{newPassword}}
		c := w.client(transport.Options{Credentials: p})
		_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
		wantKind(t, err, registry.ErrDenied)
		if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err == nil {
			t.Error("no error")
		}
		start := time.Now()
		if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err != nil {
			t.Error(err)
		}
		if len(p.refused) != 0 || time.Since(start) != 0 {
			t.Errorf("%d passwords were dropped, and the registry rested %s", len(p.refused), time.Since(start))
		}
	})
}

func TestAProviderThatFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, guarded(`Basic realm="x"`, only("never"), manifest))
		p := new(failing)
		_, err := w.client(transport.Options{Credentials: p}).Manifest(t.Context(), repo.Tagged("1.0"))
		if !errors.Is(err, errFailing) || p.asked != 1 {
			t.Errorf("error %v of asking %d times, want the provider's, once", err, p.asked)
		}
	})
}

type failing struct {
	auth.Anonymous
	asked int
}

var errFailing = errors.New("the vault is closed")

func (f *failing) Credential(context.Context, string) (auth.Credential, error) {
	f.asked++
	return auth.Credential{}, errFailing
}

// Each repository is asked for with the credential of its own path, and a token that was
// issued for one is not sent for another, also when they are asked at once.
func TestCredentialsOfPaths(t *testing.T) {
	team, rest := auth.Credential{Username: "team", Password: "pw"}, auth.Credential{Username: "rest", Password: "pw"}
	by := auth.ByHost{
		Hosts: map[string]auth.Provider{host + "/team": auth.Static{host: team}, host: auth.Static{host: rest}},
		Rest:  auth.Anonymous{},
	}
	who := func(path string) auth.Credential {
		if strings.HasPrefix(path, "/v2/team/") {
			return team
		}
		return rest
	}
	for _, kind := range []string{"basic", "bearer"} {
		t.Run(kind, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(realm, func(rw http.ResponseWriter, r *http.Request) {
					user, _, _ := r.BasicAuth()
					fmt.Fprintf(rw, `{"token":%q}`, user+" "+r.FormValue("scope"))
				})
				w.serve(host, func(rw http.ResponseWriter, r *http.Request) {
					cred := who(r.URL.Path)
					name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
					challenge, want := `Basic realm="x"`, basic(cred)
					if kind == "bearer" {
						scope := "repository:" + name + ":pull"
						challenge, want = bearer(scope), "Bearer "+cred.Username+" "+scope
					}
					guarded(challenge, only(want), manifest)(rw, r)
				})
				c := w.client(transport.Options{Credentials: by})
				var g errgroup.Group
				for _, path := range []string{"team/one", "other/one", "team/two", "teams/one"} {
					for range 3 {
						g.Go(func() error {
							_, err := c.Manifest(t.Context(), ref.Repository{Host: host, Path: path}.Tagged("1.0"))
							return err
						})
					}
				}
				if err := g.Wait(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
