package transport_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// asked is a reader that notes the largest piece it was asked for, and the largest one
// among the last of its bytes.
type asked struct {
	r          bytes.Reader
	most, late int
}

func (a *asked) Read(p []byte) (int, error) {
	a.most = max(a.most, len(p))
	if a.r.Len() <= 128<<10 {
		a.late = max(a.late, len(p))
	}
	return a.r.Read(p)
}

func (a *asked) Close() error { return nil }

// A large body that moves quickly is read and sent in large pieces. One that moves slowly
// is not: nobody hears of a piece before the next one is asked for, and at 2 KB/s a large
// piece would look like a stall. Nor are the last bytes, which wait for an answer of which
// it is known how long it may take.
func TestLargeBodiesAreSentInLargePieces(t *testing.T) {
	body := bytes.Repeat([]byte("layer"), 1<<19)
	for _, tt := range []struct {
		name  string
		size  int
		pause time.Duration // of the destination, after each 64 KiB
		most  int
	}{
		{"large", len(body), 0, 128 << 10},
		{"large and slow", len(body), 4 * time.Second, 32 << 10},
		{"1 MiB", 1 << 20, 0, 32 << 10},
		{"small", 100, 0, 8 << 10}, // which net/http looks for an end with
		{"empty", 0, 0, 8 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var got bytes.Buffer
				w.serve(host, store(location, func(w http.ResponseWriter, r *http.Request) {
					for {
						if _, err := io.CopyN(&got, r.Body, 64<<10); err != nil {
							break
						}
						time.Sleep(tt.pause)
					}
					w.WriteHeader(http.StatusCreated)
				}))
				c := w.client(transport.Options{})
				from := &asked{r: *bytes.NewReader(body[:tt.size])}
				want := ref.Descriptor{Digest: digest.FromBytes(body[:tt.size]), Size: int64(tt.size)}
				if err := upload(t, c, want, func(context.Context) (io.ReadCloser, error) { return from, nil }); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), body[:tt.size]) {
					t.Errorf("%d bytes came of %d, or others", got.Len(), tt.size)
				}
				if from.most > tt.most || tt.size > 1<<20 && from.most < tt.most {
					t.Errorf("was asked for %d bytes at once, want %d", from.most, tt.most)
				}
				if from.late > 32<<10 {
					t.Errorf("was asked for %d bytes at once at the end", from.late)
				}
			})
		})
	}
}
