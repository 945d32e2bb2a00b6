package dockerhub_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/dockerhub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub answers as Docker Hub's documentation says.
//
//   - Namespaces and logins: the OpenAPI document of "Docker HUB API 2-beta", operations
//     listNamespaceRepositories and AuthCreateAccessToken, and its section on rate limits.
//     https://docs.docker.com/reference/api/hub/latest/
//   - Search: "Docker Registry API v1", section Search, and what index.docker.io answers to
//     docker search, quoted in docker/cli#3432.
//     https://github.com/moby/moby/blob/v1.8.3/docs/reference/api/registry_api.md#search
type hub struct {
	repositories []repository // of every namespace
	found        []string     // what every search finds
	user, secret string       // who may log in

	// before answers in place of the hub where it returns true.
	before func(w http.ResponseWriter, r *http.Request) bool

	mu     sync.Mutex
	asked  []asked
	tokens map[string]time.Time // when they were issued
}

type repository struct {
	Name      string  `json:"name"`
	Namespace string  `json:"namespace"`
	Type      *string `json:"repository_type"`
	Private   bool    `json:"is_private"`
}

// asked is a request as it came.
type asked struct {
	what  string // "GET /v2/…?…"
	auth  string
	agent string
	body  string
	at    time.Time
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	h.asked = append(h.asked, asked{
		what: r.Method + " " + r.URL.RequestURI(), auth: r.Header.Get("Authorization"), agent: r.UserAgent(), body: string(body), at: time.Now(),
	})
	h.mu.Unlock()
	if h.before != nil && h.before(w, r) {
		return
	}
	namespace, isNamespace := strings.CutPrefix(r.URL.Path, "/v2/namespaces/")
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/v2/auth/token":
		h.login(w, body)
	case r.Method == http.MethodGet && isNamespace:
		h.list(w, r, strings.TrimSuffix(namespace, "/repositories"))
	case r.Method == http.MethodGet && r.URL.Path == "/v1/search":
		h.search(w, r)
	default:
		answer(w, http.StatusNotFound, `{"message":"object not found"}`)
	}
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func reply(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	answer(w, http.StatusOK, string(body))
}

// tokenLife is how long an access token lives.
const tokenLife = 10 * time.Minute

func (h *hub) login(w http.ResponseWriter, body []byte) {
	var who struct{ Identifier, Secret string }
	if json.Unmarshal(body, &who) != nil || who.Identifier != h.user || who.Secret != h.secret {
		answer(w, http.StatusUnauthorized, `{"detail":"Incorrect authentication credentials","message":"Incorrect authentication credentials"}`)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tokens == nil {
		h.tokens = map[string]time.Time{}
	}
	token := fmt.Sprintf("token-%d", len(h.tokens)+1)
	h.tokens[token] = time.Now()
	reply(w, map[string]string{"access_token": token})
}

// known reports whether the request is somebody's, and whether it may be answered at all.
func (h *hub) known(r *http.Request) (somebody, ok bool) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return false, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	issued, exists := h.tokens[strings.TrimPrefix(header, "Bearer ")]
	return true, exists && time.Since(issued) < tokenLife
}

func (h *hub) list(w http.ResponseWriter, r *http.Request, namespace string) {
	somebody, ok := h.known(r)
	if !ok {
		answer(w, http.StatusUnauthorized, `{"detail":"access token expired","message":"access token expired"}`)
		return
	}
	var all []repository
	h.mu.Lock()
	for _, repo := range h.repositories {
		if repo.Namespace == namespace && (somebody || !repo.Private) {
			all = append(all, repo)
		}
	}
	h.mu.Unlock()
	slices.SortFunc(all, func(a, b repository) int { return strings.Compare(a.Name, b.Name) })
	page, size := number(r, "page", 1), number(r, "page_size", 10)
	first := (page - 1) * size
	switch {
	case size > 100 || r.URL.Query().Get("ordering") != "name":
		answer(w, http.StatusBadRequest, `{"text":"Invalid value"}`)
		return
	case page > 1 && first >= len(all):
		answer(w, http.StatusNotFound, `{"message":"page not found"}`)
		return
	}
	last := min(first+size, len(all))
	reply(w, map[string]any{
		"count": len(all), "next": nextLink(r, page, last < len(all)), "previous": nil, "results": append([]repository{}, all[first:last]...),
	})
}

// nextLink is the absolute URL of the next page, nil where there is none.
func nextLink(r *http.Request, page int, more bool) any {
	if !more {
		return nil
	}
	query := r.URL.Query()
	query.Set("page", strconv.Itoa(page+1))
	return "http://" + r.Host + r.URL.Path + "?" + query.Encode()
}

func number(r *http.Request, parameter string, fallback int) int {
	if n, err := strconv.Atoi(r.URL.Query().Get(parameter)); err == nil {
		return n
	}
	return fallback
}

func (h *hub) search(w http.ResponseWriter, r *http.Request) {
	page, size := number(r, "page", 1), number(r, "n", 25)
	if size > 100 {
		answer(w, http.StatusBadRequest, `{}`)
		return
	}
	first := min((page-1)*size, len(h.found))
	results := []map[string]any{}
	for _, name := range h.found[first:min(first+size, len(h.found))] {
		results = append(results, map[string]any{"name": name, "star_count": 0, "is_official": !strings.Contains(name, "/")})
	}
	reply(w, map[string]any{
		"num_pages": (len(h.found) + size - 1) / size, "num_results": len(h.found), "page": page, "page_size": size,
		"query": r.URL.Query().Get("q"), "results": results,
	})
}

// whats returns what was asked.
func (h *hub) whats() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var whats []string
	for _, a := range h.asked {
		whats = append(whats, a.what)
	}
	return whats
}

// client returns a Client of the hub, over a server on loopback.
func (h *hub) client(t *testing.T, opts dockerhub.Options) *dockerhub.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	opts.BaseURL = base
	c := dockerhub.New(opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// memory is a network without time: requests go to the hub directly, whoever they are for.
type memory struct{ http.Handler }

func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	in := r.Clone(r.Context())
	in.Host, in.RequestURI = r.URL.Host, r.URL.RequestURI()
	m.ServeHTTP(w, in)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// direct returns a Client of the hub for a test that passes time.
func (h *hub) direct(opts dockerhub.Options) *dockerhub.Client {
	return dockerhub.New(opts.Over(memory{h}))
}

func images(namespace string, names ...string) []repository {
	kind := "image"
	var all []repository
	for _, name := range names {
		all = append(all, repository{Name: name, Namespace: namespace, Type: &kind})
	}
	return all
}

// numbered returns n names that sort by their number.
func numbered(n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("r%05d", i))
	}
	return names
}

func in(namespace string, names []string) []string {
	var paths []string
	for _, name := range names {
		paths = append(paths, namespace+"/"+name)
	}
	return paths
}
