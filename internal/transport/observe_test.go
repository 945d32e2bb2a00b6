package transport_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// heard writes down what an observer is told.
type heard struct {
	mu        sync.Mutex
	requests  []string
	throttled []string
	read      int64
	quota     string
}

func (h *heard) Answered(host, operation string, status int, header http.Header) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, fmt.Sprintf("%s %s %d", host, operation, status))
	if said := header.Get("ratelimit-remaining"); said != "" {
		h.quota = said
	}
}

func (h *heard) Throttled(host string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.throttled = append(h.throttled, host)
}

func (h *heard) Read(bytes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.read += bytes
}

// An observer hears of what really went over the wire: the refusal before the token, the
// token's request, the redirect and what was at its end, all for the registry that was
// meant, and under names of a fixed list.
func TestObserverHearsOfEveryRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		layer := []byte(strings.Repeat("layer", 1000))
		d := digest.FromBytes(layer)
		w.serve("cdn:80", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(layer) })
		w.serve("auth:80", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{"token":"t0ken"}`) })
		throttle := true
		w.serve("hub:80", func(rw http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Authorization") == "":
				rw.Header().Set("WWW-Authenticate", `Bearer realm="http://auth/token",service="hub"`)
				rw.WriteHeader(http.StatusUnauthorized)
			case strings.Contains(r.URL.Path, "/blobs/sha256"):
				http.Redirect(rw, r, "http://cdn/blob?signature=secret", http.StatusTemporaryRedirect)
			case throttle:
				throttle = false
				rw.WriteHeader(http.StatusTooManyRequests)
			case strings.HasSuffix(r.URL.Path, "/tags/list"):
				_, _ = io.WriteString(rw, `{"name":"app","tags":["1"]}`)
			default:
				rw.Header().Set("RateLimit-Remaining", "76;w=21600")
				rw.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				rw.Header().Set("Docker-Content-Digest", string(digest.FromString("x")))
				rw.Header().Set("Content-Length", "1")
			}
		})
		var o heard
		c := w.client(transport.Options{Observer: &o, RetryTimes: 2, Settings: everywhere(registry.Settings{Security: registry.Plain})})
		repo := ref.Repository{Host: "hub", Path: "app"}
		if _, err := c.Resolve(t.Context(), repo.Tagged("1")); err != nil {
			t.Fatal(err)
		}
		for _, err := range c.Tags(t.Context(), repo) {
			if err != nil {
				t.Fatal(err)
			}
		}
		source, err := c.OpenSource(t.Context(), repo)
		if err != nil {
			t.Fatal(err)
		}
		blob, _, err := source.GetBlob(t.Context(), imagetypes.BlobInfo{Digest: d}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(blob, make([]byte, 4321)); err != nil {
			t.Fatal(err)
		}
		_ = blob.Close()
		_ = blob.Close() // is not counted again

		want := []string{
			"hub manifest_read 401", "hub token 200", "hub manifest_read 429", "hub manifest_read 200",
			"hub list 200", "hub blob_read 307", "hub blob_read 200",
		}
		if got := o.requests; !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
		if !slices.Equal(o.throttled, []string{"hub"}) || o.quota != "76;w=21600" {
			t.Errorf("throttled %q, quota %q", o.throttled, o.quota)
		}
		// The bytes may have been read ahead of who asked for them.
		if o.read < 4321 || o.read > int64(len(layer)) {
			t.Errorf("%d bytes read of %d, 4321 of them by the caller", o.read, len(layer))
		}
	})
}

// A request without an answer is heard of, too.
func TestObserverHearsOfSilence(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var o heard
		c := w.client(transport.Options{Observer: &o, Settings: everywhere(registry.Settings{Security: registry.Plain})})
		if _, err := c.Resolve(t.Context(), ref.Repository{Host: "nowhere", Path: "app"}.Tagged("1")); err == nil {
			t.Fatal("there is nobody to answer")
		}
		if !slices.Equal(o.requests, []string{"nowhere manifest_read 0"}) {
			t.Errorf("heard %q", o.requests)
		}
	})
}

func TestKindsOfRequests(t *testing.T) {
	for _, test := range []struct{ method, url, want string }{
		{"GET", "https://hub/v2/", "ping"},
		{"GET", "https://hub/v2/_catalog?n=5", "list"},
		{"GET", "https://hub/v2/a/b/tags/list", "list"},
		{"GET", "https://hub/v2/a/referrers/sha256:0", "list"},
		{"HEAD", "https://hub/v2/a/manifests/1", "manifest_read"},
		{"PUT", "https://hub/v2/a/manifests/1", "manifest_write"},
		{"DELETE", "https://hub/v2/a/manifests/sha256:0", "delete"},
		{"HEAD", "https://hub/v2/a/blobs/sha256:0", "blob_question"},
		{"GET", "https://hub/v2/a/blobs/sha256:0", "blob_read"},
		{"HEAD", "https://cdn/elsewhere", "blob_read"},
		{"POST", "https://hub/v2/a/blobs/uploads/", "upload_start"},
		{"PUT", "https://hub/v2/a/blobs/uploads/1?digest=sha256:0", "blob_write"},
		{"PUT", "https://hub/artifacts-uploads/namespaces/1", "blob_write"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, test.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if got := transport.KindOf(req, "hub"); got != test.want {
			t.Errorf("%s %s is %s, want %s", test.method, test.url, got, test.want)
		}
	}
}
