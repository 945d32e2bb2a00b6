package auth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth/azure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth/google"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// clock is the time that registries, issuers and providers go by.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// mint issues numbered tokens that are good for a while.
type mint struct {
	clock *clock
	life  time.Duration
	form  func(n int, expires time.Time) string

	mu     sync.Mutex
	issued int
	good   map[string]time.Time
}

func (m *mint) issue() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.issued++
	expires := m.clock.now().Add(m.life)
	token := m.form(m.issued, expires)
	if m.good == nil {
		m.good = map[string]time.Time{}
	}
	m.good[token] = expires
	return token
}

func (m *mint) accepts(token string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clock.now().Before(m.good[token])
}

func (m *mint) revoke() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.good)
}

func (m *mint) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.issued
}

// guard is a registry that gives bearer tokens of five minutes for what login accepts, and
// images for those. Blobs are elsewhere.
type guard struct {
	*httptest.Server
	bearers *mint
	storage string
	login   func(user, password, refresh string) bool
	begun   func() // is called when an upload has been opened, where it is not nil

	mu   sync.Mutex
	seen []string // everything that could be a secret
}

var theManifest = []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`)

func startGuard(t *testing.T, c *clock, name, storage string) *guard {
	t.Helper()
	g := &guard{storage: storage, bearers: &mint{clock: c, life: 5 * time.Minute, form: func(n int, _ time.Time) string { return fmt.Sprintf("bearer-%s-%d", name, n) }}}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *guard) host() string { return strings.TrimPrefix(g.URL, "http://") }

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	refresh := r.PostFormValue("refresh_token")
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	g.mu.Lock()
	g.seen = append(g.seen, r.Header.Get("Authorization"), password, refresh, r.URL.RawQuery)
	g.mu.Unlock()
	switch {
	case r.URL.Path == "/token":
		g.token(w, r, user, password, refresh)
	case !g.bearers.accepts(bearer):
		scope := "pull"
		if strings.Contains(r.URL.Path, "/uploads/") {
			scope = "pull,push"
		}
		w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="%s",scope="repository:org/app:%s"`, g.URL, g.host(), scope))
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodPost:
		w.Header().Set("Location", r.URL.Path+"session")
		w.WriteHeader(http.StatusAccepted)
		if g.begun != nil {
			g.begun()
		}
	case r.Method == http.MethodPut:
		g.store(w, r)
	case strings.Contains(r.URL.Path, "/blobs/"):
		http.Redirect(w, r, g.storage+"/blob?signature=of-"+g.host(), http.StatusTemporaryRedirect)
	default:
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(theManifest).String())
		_, _ = w.Write(theManifest)
	}
}

// store takes a blob that is what its digest says.
func (g *guard) store(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || digest.FromBytes(body).String() != r.URL.Query().Get("digest") {
		http.Error(w, "another digest", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// token is the token service of the registry. Passwords come by GET, refresh tokens in a
// form, as the distribution's specification has it.
func (g *guard) token(w http.ResponseWriter, r *http.Request, user, password, refresh string) {
	form := r.Form
	formed := refresh == "" && r.Method == http.MethodGet ||
		r.Method == http.MethodPost && form.Get("grant_type") == "refresh_token" && form.Get("client_id") != "" && user == ""
	if !formed || form.Get("service") != g.host() || !strings.HasPrefix(form.Get("scope"), "repository:org/app:pull") {
		http.Error(w, "malformed "+r.Method+" of "+form.Encode(), http.StatusBadRequest)
		return
	}
	if !g.login(user, password, refresh) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	token := g.bearers.issue()
	_ = json.NewEncoder(w).Encode(map[string]string{"token": token, "access_token": token})
}

func (g *guard) saw() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.seen, "\n")
}

// kind is a kind of credential, with what issues it and a registry that only takes that.
type kind struct {
	name     string
	registry *guard
	issuer   *mint // nil for a password, which nobody issues
	provider auth.Provider
	life     time.Duration // of what expires first
}

// kinds are those whose credentials or tokens expire.
func kinds(t *testing.T, c *clock, storage string) []kind {
	t.Helper()
	return []kind{googleKind(t, c, storage), azureKind(t, c, storage), passwordKind(t, c, storage)}
}

func passwordKind(t *testing.T, c *clock, storage string) kind {
	t.Helper()
	g := startGuard(t, c, "password", storage)
	g.login = func(user, password, _ string) bool { return user == "jane" && password == "secret-of-jane" }
	return kind{"password", g, nil, auth.Static{g.host(): {Username: "jane", Password: "secret-of-jane"}}, 5 * time.Minute}
}

func googleKind(t *testing.T, c *clock, storage string) kind {
	t.Helper()
	tokens := &mint{clock: c, life: time.Hour, form: func(n int, _ time.Time) string { return fmt.Sprint("ya29.", n) }}
	federation := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":3600,"token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`, tokens.issue())
	}))
	t.Cleanup(federation.Close)
	subject := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(subject, []byte("secret-of-pod"), 0o600); err != nil {
		t.Fatal(err)
	}
	key, _ := json.Marshal(map[string]any{
		"type": "external_account", "audience": "//iam.googleapis.com/x", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
		"token_url": federation.URL, "credential_source": map[string]string{"file": subject},
	})
	p, err := google.Key(auth.Secret(key), google.Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	g := startGuard(t, c, "google", storage)
	g.login = func(user, password, _ string) bool { return user == "oauth2accesstoken" && tokens.accepts(password) }
	return kind{"google", g, tokens, p, time.Hour}
}

// roundTripper is a network of its own.
type roundTripper func(*http.Request) (int, string)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func azureKind(t *testing.T, c *clock, storage string) kind {
	t.Helper()
	tokens := &mint{clock: c, life: 3 * time.Hour, form: func(n int, expires time.Time) string {
		return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"jti":"%d","exp":%d}`, n, expires.Unix())) + ".refresh-of-azure"
	}}
	g := startGuard(t, c, "azure", storage)
	g.login = func(_, _, refresh string) bool { return tokens.accepts(refresh) }
	network := roundTripper(func(r *http.Request) (int, string) {
		switch r.URL.Host {
		case "169.254.169.254":
			return http.StatusOK, fmt.Sprintf(`{"access_token":"secret-of-entra","token_type":"Bearer","expires_in":"86400","expires_on":"%d","resource":"x"}`, time.Now().Add(24*time.Hour).Unix())
		case g.host():
			if r.PostFormValue("access_token") == "secret-of-entra" && r.PostForm.Get("service") == g.host() {
				return http.StatusOK, fmt.Sprintf(`{"refresh_token":%q}`, tokens.issue())
			}
		}
		return http.StatusForbidden, "{}"
	})
	p := azure.New(azure.Principal{ClientID: "app"}, azure.Options{Transport: network, Now: c.now})
	return kind{"azure", g, tokens, p, 3 * time.Hour}
}

// readAll reads the image many times, by several workers at once.
func readAll(t *testing.T, c *transport.Client, host string) {
	t.Helper()
	image := ref.Repository{Host: host, Path: "org/app"}.Tagged("1.0")
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 5 {
				if _, err := c.Manifest(t.Context(), image); err != nil {
					t.Errorf("%s: %v", host, err)
				}
			}
		})
	}
	workers.Wait()
}

// A long copy outlives what it began with: nothing fails, and one new credential serves
// all workers. It is the same where the registry revokes what has not ended.
func TestCredentialsThatEndInTheMiddle(t *testing.T) {
	c := &clock{}
	for _, k := range kinds(t, c, "http://storage.test") {
		for _, how := range []string{"expiry", "revocation"} {
			t.Run(k.name+"/"+how, func(t *testing.T) {
				client := transport.New(transport.Options{Credentials: k.provider, RetryTimes: 2})
				defer func() { _ = client.Close() }()
				readAll(t, client, k.registry.host())
				logins := k.registry.bearers.count()
				issued := 0
				if k.issuer != nil {
					issued = k.issuer.count()
				}
				if how == "expiry" {
					c.advance(k.life + time.Minute)
				} else {
					k.registry.bearers.revoke()
					if k.issuer != nil {
						k.issuer.revoke()
					}
				}
				readAll(t, client, k.registry.host())
				if got := k.registry.bearers.count() - logins; got != 1 {
					t.Errorf("%d logins", got)
				}
				if k.issuer != nil && k.issuer.count()-issued != 1 {
					t.Errorf("%d credentials were issued", k.issuer.count()-issued)
				}
			})
		}
	}
}

// What was begun with one token is ended with another: an upload's session is open, and the
// token ends before its bytes are sent.
func TestCredentialsThatEndUnderAnUpload(t *testing.T) {
	c := &clock{}
	for _, k := range kinds(t, c, "http://storage.test") {
		t.Run(k.name, func(t *testing.T) {
			client := transport.New(transport.Options{Credentials: k.provider, RetryTimes: 2})
			defer func() { _ = client.Close() }()
			target, err := client.OpenDestination(t.Context(), ref.Repository{Host: k.registry.host(), Path: "org/app"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = target.Close() }()
			blob := []byte(strings.Repeat("0123456789abcdef", 64<<10)) // 1 MiB
			want := ref.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(blob), Size: int64(len(blob))}
			upload := func(ctx context.Context) error {
				return registry.UploadBlob(ctx, target, want, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil })
			}
			if err := upload(t.Context()); err != nil {
				t.Fatal(err)
			}
			logins, issued := k.registry.bearers.count(), 0
			if k.issuer != nil {
				issued = k.issuer.count()
			}
			end := sync.OnceFunc(func() { c.advance(k.life + time.Minute) })
			k.registry.begun = end
			if err := retry.Do(t.Context(), retry.Policy{Times: 1, Final: failure.Final}, upload); err != nil {
				t.Error(err)
			}
			if got := k.registry.bearers.count() - logins; got != 1 {
				t.Errorf("%d logins", got)
			}
			if k.issuer != nil && k.issuer.count()-issued != 1 {
				t.Errorf("%d credentials were issued", k.issuer.count()-issued)
			}
		})
	}
}

// One client for all registries, as a run has it.
func TestEachRegistrySeesItsOwnCredentialAlone(t *testing.T) {
	var atStorage []string
	var mu sync.Mutex
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		atStorage = append(atStorage, r.Header.Get("Authorization"), r.URL.RawQuery)
		mu.Unlock()
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(storage.Close)
	c := &clock{}
	all := kinds(t, c, storage.URL)
	public := startGuard(t, c, "public", storage.URL)
	public.login = func(user, password, refresh string) bool { return user+password+refresh == "" }
	hosts := map[string]auth.Provider{}
	for _, k := range all {
		hosts[k.registry.host()] = k.provider
	}
	client := transport.New(transport.Options{Credentials: auth.ByHost{Hosts: hosts, Rest: auth.Chain{google.Machine(google.Options{}), azure.Machine(azure.Options{})}}})
	defer func() { _ = client.Close() }()
	guards := []*guard{public}
	for _, k := range all {
		guards = append(guards, k.registry)
	}
	for _, g := range guards {
		readAll(t, client, g.host())
		readBlob(t, client, g.host())
	}
	secrets := map[string]int{"bearer-public": 0, "ya29.": 1, "bearer-google": 1, "refresh-of-azure": 2, "bearer-azure": 2, "secret-of-jane": 3, "bearer-password": 3, "secret-of-pod": -1, "secret-of-entra": -1}
	for i, g := range guards {
		saw := g.saw()
		for secret, owner := range secrets {
			if got := strings.Contains(saw, secret); got != (owner == i) {
				t.Errorf("registry %d saw %s: %t", i, secret, got)
			}
		}
	}
	if got := strings.Join(atStorage, ""); !strings.HasPrefix(got, "signature=of-") || strings.Contains(got, "Bearer") || strings.Contains(got, "Basic") {
		t.Errorf("the storage saw %q", atStorage)
	}
}

func readBlob(t *testing.T, c *transport.Client, host string) {
	t.Helper()
	source, err := c.OpenSource(t.Context(), ref.Repository{Host: host, Path: "org/app"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	blob, _, err := source.GetBlob(t.Context(), imagetypes.BlobInfo{Digest: digest.FromString("{}"), Size: 2}, none.NoCache)
	if err != nil {
		t.Fatalf("%s: %v", host, err)
	}
	defer func() { _ = blob.Close() }()
	if _, err := io.ReadAll(blob); err != nil {
		t.Error(err)
	}
}
