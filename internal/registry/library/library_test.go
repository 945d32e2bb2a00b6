package library_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/library"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// target returns a library target; every host may be plain HTTP.
func target(t *testing.T, opts library.Options) *library.Target {
	t.Helper()
	questions := transport.New(transport.Options{Credentials: opts.Credentials})
	opts.Settings = loopback
	l := library.New(questions, opts)
	t.Cleanup(func() {
		_ = l.Close()
		_ = questions.Close()
	})
	return l
}

func image() imagetest.Node {
	base := imagetest.Layer("base", 1<<20)
	return imagetest.Index(
		imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"}, base, imagetest.Layer("amd64", 100)),
		imagetest.DockerImage(ref.Platform{OS: "linux", Architecture: "arm64"}, base),
	)
}

func descriptor(b imagetest.Blob) ref.Descriptor {
	return ref.Descriptor{MediaType: b.Descriptor.MediaType, Digest: b.Digest(), Size: b.Descriptor.Size}
}

func opener(content []byte) registry.Opener {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}

// inParallel runs f for every item at once: what is shared is seen by the race detector.
func inParallel[T any](items []T, f func(T)) {
	var wait sync.WaitGroup
	for _, item := range items {
		wait.Go(func() { f(item) })
	}
	wait.Wait()
}

func TestRoundTrip(t *testing.T) {
	r := ecrlocaltest.StartRegistry(t)
	l := target(t, library.Options{})
	at := ref.Repository{Host: r.Host, Path: "team/app"}
	root := image()
	dst, err := l.OpenDestination(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	inParallel(root.AllBlobs(), func(b imagetest.Blob) {
		want := descriptor(b)
		if held, err := registry.HasBlob(t.Context(), dst, want); err != nil || held {
			t.Errorf("before the upload: held = %t, %v", held, err)
		}
		if err := registry.UploadBlob(t.Context(), dst, want, opener(b.Content)); err != nil {
			t.Error(err)
		}
		if held, err := registry.HasBlob(t.Context(), dst, want); err != nil || !held {
			t.Errorf("after the upload: held = %t, %v", held, err)
		}
	})
	manifestOf := func(n imagetest.Node) registry.Manifest {
		return registry.Manifest{MediaType: n.Descriptor.MediaType, Raw: n.Raw}
	}
	for n := range root.All() {
		if err := registry.WriteManifest(t.Context(), dst, string(n.Digest()), manifestOf(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Resolve(t.Context(), at.Tagged("1.0")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("writing by digest wrote a tag: %v", err)
	}
	inParallel([]string{"1.0", "1", "latest"}, func(tag string) {
		if err := registry.WriteManifest(t.Context(), dst, tag, manifestOf(root)); err != nil {
			t.Error(err)
		}
	})
	if err := dst.Close(); err != nil {
		t.Error(err)
	}
	for _, tag := range []string{"1.0", "1", "latest"} {
		if d, err := l.Resolve(t.Context(), at.Tagged(tag)); err != nil || d.Digest != root.Digest() {
			t.Errorf("%s is %v, %v", tag, d, err)
		}
	}
	readBack(t, l, at, root)
}

// readBack reads an image through one shared source and compares every byte.
func readBack(t *testing.T, l *library.Target, at ref.Repository, root imagetest.Node) {
	t.Helper()
	var nodes []imagetest.Node
	for n := range root.All() {
		nodes = append(nodes, n)
	}
	inParallel(nodes, func(n imagetest.Node) {
		m, err := l.Manifest(t.Context(), at.Digested(n.Digest()))
		if err != nil || !bytes.Equal(m.Raw, n.Raw) || m.MediaType != n.Descriptor.MediaType {
			t.Errorf("manifest %s: %d bytes of %s, %v", n.Digest(), len(m.Raw), m.MediaType, err)
		}
	})
	src, err := l.OpenSource(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	inParallel(root.AllBlobs(), func(b imagetest.Blob) {
		body, size, err := src.GetBlob(t.Context(), imagetypes.BlobInfo{Digest: b.Digest(), Size: b.Descriptor.Size}, none.NoCache)
		if err != nil {
			t.Error(err)
			return
		}
		content, err := io.ReadAll(body)
		if err != nil || body.Close() != nil || size != b.Descriptor.Size || !bytes.Equal(content, b.Content) {
			t.Errorf("blob %s: %d bytes, said to be %d, %v", b.Digest(), len(content), size, err)
		}
	})
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	if got := src.Reference().DockerReference().String(); got != at.String() {
		t.Errorf("the source is called %s", got)
	}
}

func TestOpenImage(t *testing.T) {
	r := ecrlocaltest.StartRegistry(t)
	root := image()
	if _, err := imagetest.Push(t.Context(), nil, r.URL, "team/app", "1.0", root); err != nil {
		t.Fatal(err)
	}
	at := ref.Repository{Host: r.Host, Path: "team/app"}
	opts := library.Options{Settings: loopback}
	src, err := library.OpenImage(t.Context(), ref.Reference{Repository: at, Tag: "1.0", Digest: root.Digest()}, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if raw, _, err := src.GetManifest(t.Context(), nil); err != nil || !bytes.Equal(raw, root.Raw) {
		t.Errorf("GetManifest: %d bytes, %v", len(raw), err)
	}
	_, err = library.OpenImage(t.Context(), at.Digested(digest.FromString("absent")), opts)
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
	if _, err := library.OpenImage(t.Context(), at.Tagged("1.0"), library.Options{}); err == nil {
		t.Error("a host that is not insecure was read in the clear")
	}
}

func TestName(t *testing.T) {
	d := digest.FromString("x")
	for in, want := range map[string]string{
		"nginx:1.27":                          "docker.io/library/nginx:1.27",
		"quay.io:443/org/app:1@" + string(d):  "quay.io:443/org/app@" + string(d),
		"registry.test/team/app@" + string(d): "registry.test/team/app@" + string(d),
	} {
		name, err := library.Name(ref.MustParse(in))
		if err != nil || name.DockerReference().String() != want {
			t.Errorf("Name(%s) = %v, %v", in, name, err)
		}
	}
	if _, err := library.Name(ref.Reference{Repository: ref.Repository{Host: "a.test", Path: "UPPER"}, Tag: "x"}); !errors.Is(err, registry.ErrPermanent) {
		t.Errorf("error %v", err)
	}
}

// fake serves handler as a registry on loopback.
func fake(t *testing.T, handler http.HandlerFunc) ref.Repository {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		handler(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return ref.Repository{Host: strings.TrimPrefix(s.URL, "http://"), Path: "immutable/app"}
}

func refuse(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if code != "" {
			fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
		}
	}
}

func TestKinds(t *testing.T) {
	raw := image().Raw
	tests := []struct {
		name   string
		answer http.HandlerFunc
		kind   error // nil: none
	}{
		// The repository's name must not make an immutable tag of it.
		{"absent", refuse(404, "MANIFEST_UNKNOWN", "manifest unknown"), registry.ErrNotFound},
		{"absent repository", refuse(404, "NAME_UNKNOWN", "no"), registry.ErrNotFound},
		{"absent, without words", refuse(404, "", ""), registry.ErrNotFound},
		{"denied", refuse(403, "DENIED", "no"), registry.ErrDenied},
		{"denied, without words", refuse(403, "", ""), registry.ErrDenied},
		{"unauthorized", refuse(401, "UNAUTHORIZED", "no"), registry.ErrDenied},
		{"unsupported", refuse(405, "UNSUPPORTED", "no"), registry.ErrUnsupported},
		{"malformed", refuse(400, "MANIFEST_INVALID", "no"), registry.ErrPermanent},
		{"malformed, without words", refuse(400, "", ""), registry.ErrPermanent},
		{"outage", refuse(500, "", ""), nil},
		{"outage, with words", refuse(503, "UNAVAILABLE", "later"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := fake(t, tt.answer)
			l := target(t, library.Options{})
			d := digest.FromBytes(raw)
			_, err := l.Manifest(t.Context(), at.Digested(d))
			wantKind(t, "read", err, tt.kind)
			dst, err := l.OpenDestination(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			wantKind(t, "write", dst.PutManifest(t.Context(), raw, &d), tt.kind)
		})
	}
	t.Run("immutable", func(t *testing.T) {
		at := fake(t, refuse(400, "TAG_INVALID", "The image tag '1.0' cannot be overwritten because the tag is immutable."))
		dst, err := target(t, library.Options{}).OpenDestination(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		m := registry.Manifest{MediaType: image().Descriptor.MediaType, Raw: raw}
		wantKind(t, "write", registry.WriteManifest(t.Context(), dst, "1.0", m), registry.ErrImmutable)
	})
}

func wantKind(t *testing.T, what string, err, want error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
	}
	for _, kind := range []error{
		registry.ErrNotFound, registry.ErrDenied, registry.ErrThrottled, registry.ErrImmutable,
		registry.ErrUnsupported, registry.ErrPermanent, registry.ErrCorrupt, registry.ErrStalled,
	} {
		if got := errors.Is(err, kind); got != errors.Is(want, kind) {
			t.Errorf("%s: errors.Is(%q, %v) = %t, want %v", what, err, kind, got, want)
		}
	}
}

// The library stores a manifest under the type it reads from the bytes: the registry would
// then serve it as what it is not.
func TestAMediaTypeTheLibraryWouldChange(t *testing.T) {
	at := fake(t, func(w http.ResponseWriter, _ *http.Request) { t.Error("it was sent"); w.WriteHeader(201) })
	dst, err := target(t, library.Options{}).OpenDestination(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	m := registry.Manifest{MediaType: "application/vnd.example.other+json", Raw: image().Raw}
	if err := registry.WriteManifest(t.Context(), dst, "1.0", m); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}

func TestQuestionsAreRepeated(t *testing.T) {
	root := image()
	var failed sync.Map
	at := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if _, again := failed.LoadOrStore(r.Method+r.URL.Path, true); !again {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		switch r.Method {
		case http.MethodPut:
			w.WriteHeader(http.StatusCreated)
		case http.MethodHead:
			w.Header().Set("Content-Length", "7")
		default:
			w.Header().Set("Content-Type", root.Descriptor.MediaType)
			_, _ = w.Write(root.Raw)
		}
	})
	l := target(t, library.Options{RetryTimes: 1})
	dst, err := l.OpenDestination(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	d := root.Digest()
	m := registry.Manifest{MediaType: root.Descriptor.MediaType, Raw: root.Raw}
	for name, ask := range map[string]func() error{
		"read":  func() error { _, err := l.Manifest(t.Context(), at.Digested(d)); return err },
		"write": func() error { return registry.WriteManifest(t.Context(), dst, string(d), m) },
		"tag":   func() error { return registry.WriteManifest(t.Context(), dst, "1.0", m) },
		"blob": func() error {
			_, err := registry.HasBlob(t.Context(), dst, ref.Descriptor{Digest: d, Size: 7})
			return err
		},
	} {
		if err := ask(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The library pings once for each object, under the context of its first user, and keeps
// the error for ever: one worker that gave up failed its repository for the whole run.
func TestOneWhoGivesUpDoesNotPoisonTheDestination(t *testing.T) {
	content := []byte("content")
	want := ref.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() == nil { // the ping, under the first one's context
			cancel()
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(want.Size))
	}))
	defer s.Close()
	at := ref.Repository{Host: strings.TrimPrefix(s.URL, "http://"), Path: "team/app"}
	dst, err := target(t, library.Options{}).OpenDestination(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.UploadBlob(ctx, dst, want, opener(content)); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if held, err := registry.HasBlob(t.Context(), dst, want); err != nil || !held {
		t.Errorf("held = %t, %v", held, err)
	}
}

// renewing is an auth.Provider with one more password.
type renewing struct {
	mu      sync.Mutex
	current auth.Credential
	refused int
}

func (r *renewing) Credential(context.Context, string) (auth.Credential, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current, nil
}

func (r *renewing) Refused(_ string, c auth.Credential) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused++
	if c.Password == "old" {
		r.current.Password = "new"
	}
}

// The library keeps the password it was opened with. ECR's live twelve hours.
func TestAnExpiredPasswordIsRenewed(t *testing.T) {
	root := image()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, ok := r.BasicAuth()
		switch {
		case !ok:
			w.Header().Set("Www-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		case password == "old":
			refuse(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")(w, r)
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusCreated)
		default:
			w.Header().Set("Content-Type", root.Descriptor.MediaType)
			_, _ = w.Write(root.Raw)
		}
	}))
	defer s.Close()
	at := ref.Repository{Host: strings.TrimPrefix(s.URL, "http://"), Path: "team/app"}
	for name, ask := range map[string]func(*library.Target) error{
		"read": func(l *library.Target) error {
			_, err := l.Manifest(t.Context(), at.Digested(root.Digest()))
			return err
		},
		"write": func(l *library.Target) error {
			dst, err := l.OpenDestination(t.Context(), at)
			if err != nil {
				return err
			}
			m := registry.Manifest{MediaType: root.Descriptor.MediaType, Raw: root.Raw}
			return registry.WriteManifest(t.Context(), dst, string(root.Digest()), m)
		},
	} {
		p := &renewing{current: auth.Credential{Username: "AWS", Password: "old"}}
		if err := ask(target(t, library.Options{Credentials: p, RetryTimes: 1})); err != nil || p.refused != 1 {
			t.Errorf("%s: error %v after %d refusals", name, err, p.refused)
		}
	}
}

func TestStalls(t *testing.T) {
	root := image()
	content := bytes.Repeat([]byte("x"), 16<<20) // more than the sockets between hold
	want := ref.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	release := make(chan struct{})
	at := fake(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", root.Descriptor.MediaType)
			_, _ = w.Write(root.Raw)
		case r.Method == http.MethodGet && strings.Contains(r.URL.Path, string(digest.FromString("half"))):
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(make([]byte, 10))
			w.(http.Flusher).Flush()
			<-release
		case r.Method == http.MethodPost:
			w.Header().Set("Location", r.URL.Path+"1")
			w.WriteHeader(http.StatusAccepted)
		default:
			<-release
		}
	})
	t.Cleanup(func() { close(release) })
	l := target(t, library.Options{Stall: 200 * time.Millisecond, RequestTimeout: 300 * time.Millisecond})
	d := root.Digest()
	if _, err := l.Manifest(t.Context(), at.Digested(d)); err != nil {
		t.Fatal(err)
	}
	src, err := l.OpenSource(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := l.OpenDestination(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	get := func(d ref.Digest) error {
		body, _, err := src.GetBlob(t.Context(), imagetypes.BlobInfo{Digest: d, Size: -1}, none.NoCache)
		if err != nil {
			return err
		}
		defer body.Close()
		_, err = io.ReadAll(body)
		return err
	}
	for name, ask := range map[string]func() error{
		"headers of a blob":                func() error { return get(digest.FromString("none")) },
		"body of a blob":                   func() error { return get(digest.FromString("half")) },
		"a destination that does not read": func() error { return registry.UploadBlob(t.Context(), dst, want, opener(content)) },
		"manifest":                         func() error { return dst.PutManifest(t.Context(), root.Raw, &d) },
	} {
		start := time.Now()
		if err := ask(); !errors.Is(err, registry.ErrStalled) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

func TestWhatHasNoDigest(t *testing.T) {
	at := fake(t, refuse(500, "", ""))
	l := target(t, library.Options{})
	src, err := l.OpenSource(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := src.GetManifest(t.Context(), nil); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("GetManifest(nil): %v", err)
	}
	if _, _, err := src.GetBlob(t.Context(), imagetypes.BlobInfo{Digest: digest.FromString("x")}, none.NoCache); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("GetBlob before any manifest: %v", err)
	}
	dst, err := l.OpenDestination(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if err := dst.PutManifest(t.Context(), image().Raw, nil); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("PutManifest(nil): %v", err)
	}
}

// A redirect, a token service or an upload location in plain text, or at a metadata
// service, is refused before anything is sent.
func TestWhereTheLibraryMayNotGo(t *testing.T) {
	var asked atomic.Int64
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer plain.Close()
	for name, challenge := range map[string]string{
		"realm in plain text": plain.URL + "/token", "metadata service": "http://169.254.169.254/token",
	} {
		secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Www-Authenticate", `Bearer realm="`+challenge+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		at := ref.Repository{Host: strings.TrimPrefix(secure.URL, "https://"), Path: "team/app"}
		dir := authority(t, secure)
		opts := library.Options{
			Settings:    func(string) registry.Settings { return registry.Settings{CertDir: dir} },
			Credentials: auth.Static{at.Host: {Username: "someone", Password: "hunter2"}},
		}
		_, err := library.OpenImage(t.Context(), at.Tagged("1.0"), opts)
		if !errors.Is(err, registry.ErrPermanent) || strings.Contains(err.Error(), base64.StdEncoding.EncodeToString([]byte("someone:hunter2"))) {
			t.Errorf("%s: %v", name, err)
		}
		secure.Close()
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests in the clear", n)
	}
}

// That a registry may be asked in plain text says nothing of the token service that it
// names: the library would send the registry's password there.
func TestATokenServiceIsNamedForPlainTextItself(t *testing.T) {
	var asked atomic.Int64
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, `{"token":"t1"}`)
	}))
	defer tokens.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Www-Authenticate", `Bearer realm="`+tokens.URL+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer plain.Close()
	at, service := strings.TrimPrefix(plain.URL, "http://"), strings.TrimPrefix(tokens.URL, "http://")
	for _, named := range [][]string{{at}, {at, service}} {
		opts := library.Options{
			Settings: func(host string) registry.Settings {
				if slices.Contains(named, host) {
					return registry.Settings{Security: registry.Plain}
				}
				return registry.Settings{}
			},
			Credentials: auth.Static{at: {Username: "someone", Password: "hunter2"}},
		}
		asked.Store(0)
		_, err := library.OpenImage(t.Context(), ref.Repository{Host: at, Path: "team/app"}.Tagged("1.0"), opts)
		if allowed := len(named) == 2; errors.Is(err, registry.ErrPermanent) == allowed || asked.Load() > 0 != allowed {
			t.Errorf("named %v: %v, %d requests for tokens", named, err, asked.Load())
		}
	}
}
