package dockerhub_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/dockerhub"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// collect reads a list, and checks that nothing comes after an error.
func collect(t *testing.T, list iter.Seq2[string, error]) ([]string, error) {
	t.Helper()
	var paths []string
	var failed error
	for path, err := range list {
		if failed != nil {
			t.Errorf("after the error %v: %q, %v", failed, path, err)
		}
		if failed = err; err == nil {
			paths = append(paths, path)
		}
	}
	return paths, failed
}

// wantList checks a list that is to be complete.
func wantList(t *testing.T, list iter.Seq2[string, error], want []string) {
	t.Helper()
	got, err := collect(t, list)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, repositories (-want +got)\n%s", err, diff)
	}
}

func wantError(t *testing.T, err, kind error, text string) {
	t.Helper()
	if err == nil || !errors.Is(err, kind) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want %v with %q", err, kind, text)
	}
}

func TestNamespace(t *testing.T) {
	names := numbered(250)
	h := &hub{repositories: append(images("grafana", names...), images("other", "x")...)}
	c := h.client(t, dockerhub.Options{UserAgent: "ecr-mirror-sync/test"})
	wantList(t, c.Namespace(t.Context(), "grafana"), in("grafana", names))
	first := "GET /v2/namespaces/grafana/repositories?ordering=name&page_size=100"
	want := []string{first, strings.Replace(first, "&page_size", "&page=2&page_size", 1), strings.Replace(first, "&page_size", "&page=3&page_size", 1)}
	if diff := cmp.Diff(want, h.whats()); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
	for _, a := range h.asked {
		if a.auth != "" || a.agent != "ecr-mirror-sync/test" {
			t.Errorf("%s came with %q from %q", a.what, a.auth, a.agent)
		}
	}
}

// Old images have no type, and a plugin is no image. The names of Docker's own images are
// under library.
func TestNamespaceOfAllKinds(t *testing.T) {
	plugin := "plugin"
	h := &hub{repositories: append(images("library", "nginx"),
		repository{Name: "whalesay", Namespace: "library"}, repository{Name: "volume", Namespace: "library", Type: &plugin})}
	wantList(t, h.client(t, dockerhub.Options{}).Namespace(t.Context(), "library"), []string{"library/nginx", "library/whalesay"})
}

func TestAnEmptyNamespace(t *testing.T) {
	wantList(t, new(hub).client(t, dockerhub.Options{}).Namespace(t.Context(), "nobody"), nil)
}

func TestNamespaceStopsWhenTheCallerHasEnough(t *testing.T) {
	h := &hub{repositories: images("grafana", numbered(250)...)}
	n := 0
	for _, err := range h.client(t, dockerhub.Options{}).Namespace(t.Context(), "grafana") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 100 {
			break
		}
	}
	if len(h.whats()) != 1 {
		t.Errorf("requests %v", h.whats())
	}
}

func TestNamesThatAreNoNamespaces(t *testing.T) {
	for _, name := range []string{"", "a/b", "Grafana", "..", "a b", "a\nb", "a?page=2", "grafana/../other"} {
		h := new(hub)
		_, err := collect(t, h.client(t, dockerhub.Options{}).Namespace(t.Context(), name))
		wantError(t, err, failure.ErrPermanent, "no name of a namespace")
		if len(h.whats()) != 0 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: requests %v, error %q", name, h.whats(), err)
		}
	}
}

// Pages are counted off: where a repository of the first page is deleted while the second
// is asked for, one moves up and is on neither. So the list is read again.
func TestANamespaceThatShrinks(t *testing.T) {
	for _, test := range []struct {
		name  string
		left  int // repositories, of 250
		when  string
		again bool // whether one is deleted during the second reading as well
	}{
		{"by one", 249, "page=2", false},
		{"below the page that is asked for", 190, "page=3", false},
		{"twice", 249, "page=2", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			names := numbered(250)
			h := &hub{repositories: images("grafana", names...)}
			asked := 0
			h.before = func(_ http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.RawQuery, test.when) {
					if asked++; asked == 1 || test.again {
						h.repositories = images("grafana", names[250-test.left+asked-1:]...)
					}
				}
				return false
			}
			got, err := collect(t, h.client(t, dockerhub.Options{}).Namespace(t.Context(), "grafana"))
			if test.again {
				wantError(t, err, err, "repositories were deleted while it was being listed")
				if failure.Final(err) || errors.Is(err, failure.ErrNotFound) {
					t.Errorf("%v is final", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			listed := map[string]bool{}
			for _, path := range got {
				if listed[path] {
					t.Errorf("%s is listed twice", path)
				}
				listed[path] = true
			}
			for _, path := range in("grafana", names[250-test.left:]) {
				if !listed[path] {
					t.Errorf("%s is not listed", path)
				}
			}
		})
	}
}

const canary = "canary-password"

var jane = auth.Static{"docker.io": {Username: "jane", Password: canary}, "hub.docker.com": {Username: "wrong", Password: canary}}

func TestPrivateRepositories(t *testing.T) {
	repos := images("jane", "public", "secret")
	repos[1].Private = true
	h := &hub{repositories: repos, user: "jane", secret: canary}
	c := h.client(t, dockerhub.Options{Credentials: jane})
	for range 2 {
		wantList(t, c.Namespace(t.Context(), "jane"), []string{"jane/public", "jane/secret"})
	}
	wantList(t, c.Search(t.Context(), "x"), nil)
	if got := h.asked[0]; got.what != "POST /v2/auth/token" || got.body != `{"identifier":"jane","secret":"`+canary+`"}` {
		t.Errorf("login %+v", got)
	}
	var auths []string
	for _, a := range h.asked[1:] {
		auths = append(auths, a.auth)
	}
	if diff := cmp.Diff([]string{"Bearer token-1", "Bearer token-1", ""}, auths); diff != "" {
		t.Errorf("who asked (-want +got)\n%s", diff)
	}
}

// changing is a provider whose password is another each time.
type changing struct{ n int }

func (c *changing) Credential(context.Context, string) (auth.Credential, error) {
	c.n++
	return auth.Credential{Username: "jane", Password: auth.Secret(fmt.Sprint(c.n))}, nil
}

func (*changing) Refused(string, auth.Credential) {}

func TestAnotherPasswordIsAnotherLogin(t *testing.T) {
	h := &hub{repositories: images("jane", "public"), user: "jane", secret: "1"}
	c := h.client(t, dockerhub.Options{Credentials: new(changing)})
	wantList(t, c.Namespace(t.Context(), "jane"), []string{"jane/public"})
	_, err := collect(t, c.Namespace(t.Context(), "jane"))
	wantError(t, err, failure.ErrDenied, "logging in to Docker Hub as jane")
}

// Ten minutes are less than a long list with a rate limit in between can take.
func TestATokenIsRenewedBeforeItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := numbered(1000)
		h := &hub{repositories: images("jane", names...), user: "jane", secret: canary}
		h.before = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				time.Sleep(2 * time.Minute)
			}
			return false
		}
		wantList(t, h.direct(dockerhub.Options{Credentials: jane, RequestTimeout: time.Hour}).Namespace(t.Context(), "jane"), in("jane", names))
		if n := len(h.tokens); n != 4 {
			t.Errorf("%d logins in 20 minutes", n)
		}
	})
}

// refusing is a provider that is told of refusals.
type refusing struct {
	auth.Static
	refused atomic.Int64
}

func (r *refusing) Refused(string, auth.Credential) { r.refused.Add(1) }

func TestAPasswordThatIsWrong(t *testing.T) {
	h := &hub{repositories: images("jane", "public"), user: "jane", secret: "another"}
	provider := &refusing{Static: jane}
	core, logs := observer.New(zap.DebugLevel)
	got, err := collect(t, h.client(t, dockerhub.Options{Credentials: provider, RetryTimes: 3, Log: zap.New(core)}).Namespace(t.Context(), "jane"))
	wantError(t, err, failure.ErrDenied, "logging in to Docker Hub as jane: POST ")
	wantError(t, err, failure.ErrDenied, "401 Incorrect authentication credentials")
	if got != nil || len(h.whats()) != 1 || provider.refused.Load() != 1 {
		t.Errorf("repositories %v after %v, %d refusals", got, h.whats(), provider.refused.Load())
	}
	if shown := fmt.Sprint(err, logs.All()); strings.Contains(shown, canary) {
		t.Errorf("the password is in %s", shown)
	}
}

func TestALoginThatSaysNothing(t *testing.T) {
	h := &hub{before: func(w http.ResponseWriter, _ *http.Request) bool { answer(w, 200, `{}`); return true }}
	_, err := collect(t, h.client(t, dockerhub.Options{Credentials: jane}).Namespace(t.Context(), "jane"))
	wantError(t, err, failure.ErrPermanent, "no access token")
}

// What a login that is redirected carries is a password.
func TestALoginIsNotRedirected(t *testing.T) {
	h := &hub{before: func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		return true
	}}
	_, err := collect(t, h.client(t, dockerhub.Options{Credentials: jane}).Namespace(t.Context(), "jane"))
	wantError(t, err, failure.ErrPermanent, "307")
	if len(h.whats()) != 1 {
		t.Errorf("requests %v", h.whats())
	}
}

func TestACredentialThatIsAToken(t *testing.T) {
	h := &hub{repositories: images("jane", "public")}
	core, logs := observer.New(zap.WarnLevel)
	c := h.client(t, dockerhub.Options{Credentials: auth.Static{"docker.io": {IdentityToken: "t"}}, Log: zap.New(core)})
	for range 2 {
		wantList(t, c.Namespace(t.Context(), "jane"), []string{"jane/public"})
	}
	if logs.Len() != 1 {
		t.Errorf("%d warnings", logs.Len())
	}
}

func TestSearch(t *testing.T) {
	found := append([]string{"nginx", "bitnami/nginx"}, in("many", numbered(248))...)
	h := &hub{found: found}
	c := h.client(t, dockerhub.Options{})
	wantList(t, c.Search(t.Context(), "library/nginx & more"), append([]string{"library/nginx"}, found[1:]...))
	want := []string{"GET /v1/search?n=100&page=1&q=nginx+%26+more", "GET /v1/search?n=100&page=2&q=nginx+%26+more", "GET /v1/search?n=100&page=3&q=nginx+%26+more"}
	if diff := cmp.Diff(want, h.whats()); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

// A result may move to the next page while that is asked for.
func TestSearchYieldsEachOnceAndTheBestFirst(t *testing.T) {
	h := &hub{found: append(in("a", numbered(100)), "a/r00099", "Upper/case", "bad\x1bname", "a/r00000", "b/last")}
	core, logs := observer.New(zap.WarnLevel)
	wantList(t, h.client(t, dockerhub.Options{Log: zap.New(core)}).Search(t.Context(), "a"), append(in("a", numbered(100)), "b/last"))
	if logs.Len() != 2 || strings.Contains(fmt.Sprint(logs.All()), "\x1b") {
		t.Errorf("warnings %v", logs.All())
	}
}

func TestSearchStopsWhenTheCallerHasEnough(t *testing.T) {
	h := &hub{found: in("a", numbered(1000))}
	n := 0
	for _, err := range h.client(t, dockerhub.Options{}).Search(t.Context(), "a") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 101 {
			break
		}
	}
	if len(h.whats()) != 2 {
		t.Errorf("requests %v", h.whats())
	}
}

func TestHostileAnswers(t *testing.T) {
	const results = `{"count":1,"next":%s,"num_pages":2,"results":[{"name":"a/x","namespace":"a"}]}`
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		kind   error
		text   string
	}{
		{"a web page", body(`<html>login`), failure.ErrPermanent, "invalid character"},
		{"no list", body(`{"count":0}`), failure.ErrPermanent, "no results"},
		{"the empty answer of a service that was shut off", body(`{}`), failure.ErrPermanent, "no results"},
		{"null", body(`null`), failure.ErrPermanent, "no results"},
		{"wrong types", body(`{"results":[{"name":7}]}`), failure.ErrPermanent, "cannot unmarshal"},
		{"too long", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(" ", dockerhub.MaxAnswer+1))
		}, failure.ErrPermanent, "longer than"},
		{"refused", status(403, `{"message":"forbidden?token=`+canary+`"}`), failure.ErrDenied, "403 forbidden"},
		{"gone", status(410, `gone`), failure.ErrPermanent, "410 Gone"},
		{"no content", status(204, ``), failure.ErrPermanent, "204 No Content"},
		{"absent", status(404, `{"detail":"no such\u001b[31m namespace"}`), failure.ErrNotFound, `404 no such\x1b[31m namespace`},
		{"redirected elsewhere", redirect("http://169.254.169.254/latest"), failure.ErrPermanent, "redirect to http://169.254.169.254 refused"},
		{"redirected for ever", redirect("?again"), failure.ErrPermanent, "more than 3 redirects"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &hub{before: func(w http.ResponseWriter, r *http.Request) bool { test.answer(w, r); return true }}
			c := h.client(t, dockerhub.Options{RetryTimes: 2})
			for what, list := range map[string]iter.Seq2[string, error]{"namespace": c.Namespace(t.Context(), "a"), "search": c.Search(t.Context(), "a")} {
				got, err := collect(t, list)
				wantError(t, err, test.kind, test.text)
				if got != nil || strings.Contains(err.Error(), canary) || strings.ContainsAny(err.Error(), "\x1b\n") {
					t.Errorf("%s: %v, error %q", what, got, err)
				}
			}
		})
	}
	for _, test := range []struct{ next, text string }{
		{`"http://evil.test/v2/namespaces/a/repositories?page=2"`, "leads to another host, evil.test"},
		{`"//evil.test/"`, "leads to another host, evil.test"},
		{`"http://[::1"`, "link to the next page"},
		{`"mailto:x"`, "leads to another host"},
		{`"?"`, "the pages do not end"},
	} {
		t.Run("next "+test.next, func(t *testing.T) {
			h := &hub{before: func(w http.ResponseWriter, _ *http.Request) bool {
				answer(w, 200, strings.ReplaceAll(fmt.Sprintf(results, test.next), "a/x", "x"))
				return true
			}}
			_, err := collect(t, h.client(t, dockerhub.Options{}).Namespace(t.Context(), "a"))
			wantError(t, err, failure.ErrPermanent, test.text)
		})
	}
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, text) }
}

func status(code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, code, text) }
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func TestListsWithoutEnd(t *testing.T) {
	n := 0
	h := &hub{before: func(w http.ResponseWriter, _ *http.Request) bool {
		n++
		answer(w, 200, fmt.Sprintf(`{"count":1,"next":"?page=%d","num_pages":1000000,"results":[{"name":"x"}]}`, n))
		return true
	}}
	c := h.direct(dockerhub.Options{})
	_, err := collect(t, c.Namespace(t.Context(), "a"))
	wantError(t, err, failure.ErrPermanent, "the pages do not end")
	_, err = collect(t, c.Search(t.Context(), "a"))
	wantError(t, err, failure.ErrPermanent, "more than")
	if n != 2*dockerhub.MaxPages {
		t.Errorf("%d requests", n)
	}
}

func TestNamesOfANamespaceThatAreNone(t *testing.T) {
	h := &hub{before: func(w http.ResponseWriter, _ *http.Request) bool {
		answer(w, 200, `{"count":7,"results":[{"name":"good","namespace":"a"},{"name":"x","namespace":"b"},{"name":"y"},
			{"name":"deep/er","namespace":"a"},{"name":"../b","namespace":"a"},{"name":"Up","namespace":"a"},{"name":"n:1","namespace":"a"}]}`)
		return true
	}}
	core, logs := observer.New(zap.WarnLevel)
	wantList(t, h.client(t, dockerhub.Options{Log: zap.New(core)}).Namespace(t.Context(), "a"), []string{"a/good"})
	if logs.Len() != 6 {
		t.Errorf("%d warnings", logs.Len())
	}
}

// The documentation promises 429 and Retry-After in seconds.
func TestRateLimit(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		header string
		least  time.Duration
		most   time.Duration
	}{
		{"seconds", 429, "42", 42 * time.Second, 43 * time.Second},
		{"too many", 429, "86400", time.Minute, 61 * time.Second},
		{"none", 429, "", 100 * time.Millisecond, 2 * time.Second},
		{"an outage", 503, "7", 7 * time.Second, 8 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hub{repositories: images("a", "x")}
				h.before = func(w http.ResponseWriter, _ *http.Request) bool {
					if len(h.whats()) > 1 {
						return false
					}
					if test.header != "" {
						w.Header().Set("Retry-After", test.header)
					}
					answer(w, test.status, `{"detail":"Rate limit exceeded","error":false}`)
					return true
				}
				wantList(t, h.direct(dockerhub.Options{RetryTimes: 1}).Namespace(t.Context(), "a"), []string{"a/x"})
				if pause := h.asked[1].at.Sub(h.asked[0].at); pause < test.least || pause > test.most {
					t.Errorf("asked again after %s", pause)
				}
			})
		})
	}
	t.Run("for good", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := &hub{before: func(w http.ResponseWriter, _ *http.Request) bool {
				answer(w, 429, `{"detail":"Rate limit exceeded","error":false}`)
				return true
			}}
			_, err := collect(t, h.direct(dockerhub.Options{RetryTimes: 4}).Search(t.Context(), "a"))
			wantError(t, err, failure.ErrThrottled, "429 Rate limit exceeded")
			if len(h.whats()) != 5 {
				t.Errorf("requests %v", h.whats())
			}
		})
	})
}

func TestAListThatBreaksIsNone(t *testing.T) {
	h := &hub{repositories: images("a", numbered(300)...), found: in("a", numbered(300))}
	h.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.RawQuery, "page=2") {
			panic(http.ErrAbortHandler) // the connection is cut
		}
		return false
	}
	c := h.client(t, dockerhub.Options{})
	for _, list := range []iter.Seq2[string, error]{c.Namespace(t.Context(), "a"), c.Search(t.Context(), "a")} {
		got, err := collect(t, list)
		if err == nil || len(got) != 100 || failure.Final(err) {
			t.Errorf("%d repositories, error %v", len(got), err)
		}
	}
}

func TestDeadlines(t *testing.T) {
	release := make(chan struct{})
	h := &hub{before: func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	}}
	c := h.client(t, dockerhub.Options{RequestTimeout: 20 * time.Millisecond})
	t.Cleanup(func() { close(release) }) // before the server is closed
	_, err := collect(t, c.Namespace(t.Context(), "a"))
	wantError(t, err, failure.ErrStalled, "/v2/namespaces/a/repositories: no answer in time")

	// Over HTTP/2 the cause does not come through by itself.
	bare := roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	_, err = collect(t, dockerhub.New(dockerhub.Options{RequestTimeout: time.Millisecond}.Over(bare)).Search(t.Context(), "a"))
	wantError(t, err, failure.ErrStalled, "GET https://index.docker.io/v1/search: no answer in time")

	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	_, err = collect(t, c.Search(ctx, "a"))
	wantError(t, err, enough, "searching Docker Hub for a: enough")
}

// Without a BaseURL, only Docker Hub's own hosts are asked, over TLS.
func TestDockerHubIsAsked(t *testing.T) {
	var hosts []string
	network := roundTrip(func(r *http.Request) (*http.Response, error) {
		hosts = append(hosts, r.URL.Scheme+"://"+r.URL.Host+r.URL.Path)
		return nil, io.ErrUnexpectedEOF
	})
	c := dockerhub.New(dockerhub.Options{Credentials: jane}.Over(network))
	_, err := collect(t, c.Namespace(t.Context(), "a"))
	wantError(t, err, io.ErrUnexpectedEOF, "as jane: POST https://hub.docker.com/v2/auth/token: unexpected EOF")
	_, err = collect(t, c.Search(t.Context(), "a?b=c"))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"https://hub.docker.com/v2/auth/token", "https://index.docker.io/v1/search"}, hosts); diff != "" {
		t.Errorf("asked (-want +got)\n%s", diff)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Where a name resolves to the address of a metadata service, nothing is sent.
func TestNoRequestGoesToTheMetadataService(t *testing.T) {
	faults.Covers(t, "F03")
	c := dockerhub.New(dockerhub.Options{BaseURL: &url.URL{Scheme: "http", Host: "169.254.169.254"}})
	defer c.Close()
	_, err := collect(t, c.Namespace(t.Context(), "a"))
	wantError(t, err, failure.ErrPermanent, "clouds keep the credentials of machines there")
}

func FuzzFollow(f *testing.F) {
	from := &url.URL{Scheme: "https", Host: "hub.docker.com", Path: "/v2/namespaces/a/repositories"}
	for _, link := range []string{"", "?page=2", "http://HUB.docker.com/v2?page=2", "//evil.test", "https://u:p@hub.docker.com/", "https:opaque", "/%2e%2e/x#f"} {
		f.Add(link)
	}
	f.Fuzz(func(t *testing.T, link string) {
		u, err := dockerhub.Follow(from, link)
		if err != nil || u == nil {
			return
		}
		if u.Scheme != "https" || u.Host != "hub.docker.com" || u.User != nil || u.Opaque != "" {
			t.Errorf("%q leads to %s", link, u)
		}
		if _, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), http.NoBody); err != nil {
			t.Errorf("%q leads to %q: %v", link, u, err)
		}
	})
}

func FuzzPathOf(f *testing.F) {
	for _, name := range []string{"nginx", "a/b", "a:1", "a@sha256:0", "..", "A", "\x1b", "quay.io/a"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		path, ok := dockerhub.PathOf(name)
		if !ok {
			return
		}
		repo, err := ref.ParseRepository("docker.io/" + path)
		if err != nil || repo.Host != "docker.io" || repo.Path != path || path != name && path != "library/"+name {
			t.Errorf("%q is %q: %v, %v", name, path, repo, err)
		}
	})
}

// Whatever the services say, what comes of it are repositories of Docker Hub, and those of
// the namespace that was asked for.
func FuzzAnswers(f *testing.F) {
	faults.Covers(f, "I16")
	f.Add(`{"count":1,"next":"?page=2","num_pages":2,"results":[{"name":"x","namespace":"a","repository_type":null}]}`)
	f.Add(`{"count":-1,"next":null,"results":[{"name":"b/../x","namespace":"a"},{"name":"A"}]}`)
	f.Add(`{"results":null}`)
	f.Fuzz(func(t *testing.T, first string) {
		n := 0
		h := &hub{before: func(w http.ResponseWriter, _ *http.Request) bool {
			if n++; n%2 == 1 {
				answer(w, 200, first)
			} else {
				answer(w, 200, `{"count":9999,"results":[]}`)
			}
			return true
		}}
		c := h.direct(dockerhub.Options{})
		for path := range c.Namespace(t.Context(), "a") { //nolint:errcheck // an error is as good an answer
			name, ok := strings.CutPrefix(path, "a/")
			if path != "" && (!ok || strings.Contains(name, "/")) {
				t.Errorf("%q is not in the namespace", path)
			}
		}
		n = 0
		for path := range c.Search(t.Context(), "a") { //nolint:errcheck // an error is as good an answer
			if _, ok := dockerhub.PathOf(path); path != "" && !ok {
				t.Errorf("%q is no repository", path)
			}
		}
	})
}
