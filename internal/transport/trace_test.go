package transport_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

type whoKey struct{}

// follower writes down what a tracer is told.
type follower struct {
	mu       sync.Mutex
	begun    int
	ended    []string
	repeated []string
}

func (f *follower) Request(ctx context.Context, r *http.Request, host, operation string) func(int, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun++
	return func(status int, bytes int64, err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ended = append(f.ended, fmt.Sprintf("%v: %s %s at %s for %s: %d, %d bytes, %v", ctx.Value(whoKey{}), r.Method, operation, r.URL.Host, host, status, bytes, err != nil))
	}
}

func (f *follower) Repeated(ctx context.Context, err error, _ time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.repeated = append(f.repeated, fmt.Sprintf("%v: %v", ctx.Value(whoKey{}), err))
}

// Every request ends once, also those that a redirect, a repetition or an error follows,
// and is told of under the context of whoever wanted it.
func TestTracerFollowsEveryRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		layer := []byte(strings.Repeat("layer", 1000))
		d := digest.FromBytes(layer)
		w.serve("cdn:80", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(layer) })
		w.serve("hub:80", inTurn(
			manifest,
			refuse(http.StatusServiceUnavailable, "", ""),
			manifest,
			func(rw http.ResponseWriter, r *http.Request) {
				http.Redirect(rw, r, "http://cdn:80/layer", http.StatusTemporaryRedirect)
			},
			hangUp,
		))
		f := &follower{}
		c := w.client(transport.Options{Tracer: f, RetryTimes: 1})
		repo := ref.Repository{Host: "hub:80", Path: "team/app"}
		as := func(who string) context.Context { return context.WithValue(t.Context(), whoKey{}, who) }
		for _, who := range []string{"first", "second"} {
			if _, err := c.Manifest(as(who), repo.Tagged("1")); err != nil {
				t.Fatal(err)
			}
		}
		src, err := c.OpenSource(as("third"), repo)
		if err != nil {
			t.Fatal(err)
		}
		body, _, err := src.GetBlob(as("third"), imagetypes.BlobInfo{Digest: d, Size: int64(len(layer))}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := body.Read(make([]byte, 2000)); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		_ = body.Close()
		_ = src.Close()
		if _, err := c.Manifest(as("fourth"), repo.Tagged("1")); err == nil {
			t.Error("no error")
		}
		if f.begun != len(f.ended) {
			t.Errorf("%d have begun, %d have ended:\n%s", f.begun, len(f.ended), strings.Join(f.ended, "\n"))
		}
		for i, line := range f.ended { // how much was read before Close is up to net/http
			if strings.Contains(line, "cdn:80") && !strings.Contains(line, " 0 bytes") {
				f.ended[i] = "third: GET blob_read at cdn:80 for hub:80: 200, some bytes, false"
			}
		}
		want := []string{
			"first: GET ping at hub:80 for hub:80: 0, 0 bytes, true",
			"first: GET manifest_read at hub:80 for hub:80: 200, 76 bytes, false",
			"second: GET manifest_read at hub:80 for hub:80: 503, 0 bytes, false",
			"second: GET manifest_read at hub:80 for hub:80: 200, 76 bytes, false",
			"third: GET blob_read at hub:80 for hub:80: 307, 55 bytes, false",
			"third: GET blob_read at cdn:80 for hub:80: 200, some bytes, false",
			"fourth: GET manifest_read at hub:80 for hub:80: 0, 0 bytes, true",
			"fourth: GET manifest_read at hub:80 for hub:80: 0, 0 bytes, true",
		}
		if diff := cmp.Diff(want, f.ended); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if len(f.repeated) != 2 || !strings.HasPrefix(f.repeated[0], "second: ") || !strings.HasPrefix(f.repeated[1], "fourth: ") {
			t.Errorf("repeated %v", f.repeated)
		}
	})
}
