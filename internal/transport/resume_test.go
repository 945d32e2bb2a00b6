package transport_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// cut sends so many bytes of a longer answer, and closes the connection.
func cut(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		_, _ = w.Write(blob[:n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// ranges serves the blob as a registry that knows Range does.
func ranges(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
}

// partial claims to send what a Content-Range says.
func partial(contentRange string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", contentRange)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(body)
	}
}

func readBlob(t *testing.T, w *world, answers ...http.HandlerFunc) (*journal, []byte, error) {
	t.Helper()
	j := w.serve(host, inTurn(answers...))
	body, err := openBlob(t, w.client(transport.Options{Stall: stallTime}), blobDesc.Digest)
	if err != nil {
		return j, nil, err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	return j, got, err
}

// opener reads the blob from another host.
func opener(t *testing.T, c *transport.Client, from string) registry.Opener {
	t.Helper()
	src, err := c.OpenSource(t.Context(), ref.Repository{Host: from, Path: "team/app"})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) (io.ReadCloser, error) {
		body, _, err := src.GetBlob(ctx, imagetypes.BlobInfo{Digest: blobDesc.Digest}, none.NoCache)
		return body, err
	}
}

func TestABrokenDownloadIsResumed(t *testing.T) {
	for _, at := range []int{0, 1, len(blob) / 2, len(blob) - 1} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j, got, err := readBlob(t, w, cut(at), ranges)
				if err != nil || !bytes.Equal(got, blob) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				asked := j.all()
				if len(asked) != 2 || asked[0].header.Get("Range") != "" || asked[1].header.Get("Range") != fmt.Sprintf("bytes=%d-", at) {
					t.Errorf("asked %v", asked)
				}
				faults.Covers(t, "F05")
			})
		})
	}
}

// The upload that is being fed does not notice.
func TestAnUploadGoesOnWhileItsSourceIsResumed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const upstream = "upstream.test:5000"
		w.serve(upstream, inTurn(cut(1000), hangUp, ranges))
		var got []byte
		j := w.serve(host, store(location, take(&got)))
		c := w.client(transport.Options{Stall: stallTime})
		if err := upload(t, c, blobDesc, opener(t, c, upstream)); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if n := len(j.all()); n != 2 {
			t.Errorf("%d requests at the destination", n)
		}
	})
}

// What is not exactly the rest is not taken for it, and the error may pass: the blob is
// begun anew.
func TestWhatIsNotTheRestIsRefused(t *testing.T) {
	const at = 1000
	rest := blob[at:]
	size := len(blob)
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		covers string
	}{
		"the whole blob":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(blob) }, "F06"},
		"another place":    {partial(fmt.Sprintf("bytes 999-%d/%d", size-1, size), rest), "F07"},
		"another size":     {partial(fmt.Sprintf("bytes %d-%d/%d", at, size, size+1), rest), "F07"},
		"a part":           {partial(fmt.Sprintf("bytes %d-%d/%d", at, at+9, size), rest[:10]), "F07"},
		"no range at all":  {partial("", rest), "F07"},
		"nonsense":         {partial("bytes */"+fmt.Sprint(size), rest), "F07"},
		"unsatisfiable":    {refuse(416, "", ""), "F06"},
		"an empty success": {refuse(204, "", ""), "F06"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j, got, err := readBlob(t, w, cut(at), tt.answer)
				if err == nil || registry.Final(err) || len(got) != at {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				if n := len(j.all()); n != 2 {
					t.Errorf("%d requests", n)
				}
				faults.Covers(t, tt.covers)
			})
		})
	}
}

func TestResumingIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		start := time.Now()
		// One byte each time, which is no progress.
		drip := func(w http.ResponseWriter, r *http.Request) {
			var from int
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(blob)-1, len(blob)))
			w.Header().Set("Content-Length", fmt.Sprint(len(blob)-from))
			if from > 0 {
				w.WriteHeader(http.StatusPartialContent)
			}
			_, _ = w.Write(blob[from : from+1])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		j, got, err := readBlob(t, w, drip)
		if err == nil || registry.Final(err) || len(got) != len(j.all()) || len(j.all()) != 4 || time.Since(start) > 10*time.Second {
			t.Errorf("%d bytes in %d requests, %v", len(got), len(j.all()), err)
		}
	})
}
