package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// world is a network in memory, in a bubble where time passes only when everybody
// waits: a pause of a minute costs a test nothing and lasts exactly a minute.
type world struct {
	t         *testing.T
	mu        sync.Mutex
	listeners map[string]*listener
}

// inWorld runs a test in a world of its own.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	// The authentication library looks names up, and package net keeps a channel that the first
	// look-up of the process makes: made in one bubble, it would panic in the next.
	_, _ = net.DefaultResolver.LookupHost(t.Context(), "localhost")
	synctest.Test(t, func(t *testing.T) {
		test(t, &world{t: t, listeners: map[string]*listener{}})
	})
}

// serve lets host speak plain HTTP, and returns what it has been asked.
func (w *world) serve(host string, handler http.HandlerFunc) *journal {
	w.t.Helper()
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	w.mu.Lock()
	w.listeners[host] = l
	w.mu.Unlock()
	j := &journal{}
	server := &http.Server{Handler: j.record(handler)}
	go func() { _ = server.Serve(l) }()
	w.t.Cleanup(func() { _ = server.Close() })
	return j
}

// client returns a Client for the hosts of the world, which may all be plain HTTP.
func (w *world) client(opts transport.Options) *transport.Client {
	w.t.Helper()
	if opts.Settings == nil {
		opts.Settings = everywhere(registry.Settings{Security: registry.Insecure})
	}
	c := transport.New(opts.Over(w.dial))
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (w *world) dial(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	l, ok := w.listeners[address]
	w.mu.Unlock()
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// journal is what a server was asked.
type journal struct {
	mu   sync.Mutex
	seen []entry
}

type entry struct {
	what   string // "GET /v2/…"
	query  string
	auth   string
	header http.Header
	length int64 // -1 for a chunked body
	at     time.Time
}

func (j *journal) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		j.mu.Lock()
		j.seen = append(j.seen, entry{
			what: r.Method + " " + r.URL.Path, query: r.URL.RawQuery, auth: r.Header.Get("Authorization"),
			header: r.Header.Clone(), length: r.ContentLength, at: time.Now(),
		})
		j.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (j *journal) all() []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]entry(nil), j.seen...)
}

func (j *journal) whats() []string {
	var whats []string
	for _, e := range j.all() {
		whats = append(whats, e.what)
	}
	return whats
}

// inTurn answers the first request with the first handler, and so on; the last answers
// all that follow.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	next := 0
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		h := handlers[min(next, len(handlers)-1)]
		next++
		mu.Unlock()
		h(w, r)
	}
}

// refuse answers with a status and an error of the specification, or a bare status.
func refuse(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if code == "" {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
	}
}

// with adds a header to an answer.
func with(key, value string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(key, value)
		next(w, r)
	}
}

// hangUp closes the connection without an answer.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// truncated promises a longer body than it sends.
func truncated(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, "{")
}

const (
	host         = "registry.test:5000"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
)

var (
	repo     = ref.Repository{Host: host, Path: "team/app"}
	raw      = []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}`)
	rawSum   = digest.FromBytes(raw)
	blob     = []byte(strings.Repeat("0123456789abcdef", 8<<10)) // 128 KiB
	blobDesc = ref.Descriptor{Digest: digest.FromBytes(blob), Size: int64(len(blob))}
)

// manifest answers for a manifest as registries should.
func manifest(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", manifestType)
	w.Header().Set("Docker-Content-Digest", string(rawSum))
	w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
	_, _ = w.Write(raw)
}

func created(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }

// wantKind checks that err is of one kind of failure and of no other.
func wantKind(t *testing.T, err, want error) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", want)
	}
	for _, kind := range []error{
		registry.ErrNotFound, registry.ErrDenied, registry.ErrThrottled, registry.ErrImmutable,
		registry.ErrUnsupported, registry.ErrPermanent, registry.ErrCorrupt, registry.ErrStalled,
	} {
		if got := errors.Is(err, kind); got != errors.Is(want, kind) {
			t.Errorf("errors.Is(%q, %v) = %t, want kind %v", err, kind, got, want)
		}
	}
}

func put(ctx context.Context, t *testing.T, c *transport.Client, identifier string) error {
	t.Helper()
	return putTo(ctx, t, c, repo.Tagged(identifier))
}

// putTo writes the manifest to any reference.
func putTo(ctx context.Context, t *testing.T, c *transport.Client, r ref.Reference) error {
	t.Helper()
	dst, err := c.OpenDestination(ctx, r.Repository)
	if err != nil {
		return err
	}
	return registry.WriteManifest(ctx, dst, r.Identifier(), registry.Manifest{MediaType: manifestType, Raw: raw})
}
