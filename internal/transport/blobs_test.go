package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func hasBlob(t *testing.T, c *transport.Client, want ref.Descriptor) (bool, error) {
	t.Helper()
	dst, err := c.OpenDestination(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	return registry.HasBlob(t.Context(), dst, want)
}

func openBlob(t *testing.T, c *transport.Client, d ref.Digest) (io.ReadCloser, error) {
	t.Helper()
	src, err := c.OpenSource(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := src.GetBlob(t.Context(), imagetypes.BlobInfo{Digest: d}, none.NoCache)
	return body, err
}

func upload(t *testing.T, c *transport.Client, want ref.Descriptor, open registry.Opener) error {
	t.Helper()
	return uploadIn(t.Context(), t, c, want, open)
}

func uploadIn(ctx context.Context, t *testing.T, c *transport.Client, want ref.Descriptor, open registry.Opener) error {
	t.Helper()
	dst, err := c.OpenDestination(ctx, repo)
	if err != nil {
		t.Fatal(err)
	}
	return registry.UploadBlob(ctx, dst, want, open)
}

// content opens a reader of b.
func content(b []byte) registry.Opener {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

const (
	uploads  = "POST /v2/team/app/blobs/uploads/"
	location = "/v2/team/app/blobs/uploads/1"
)

// store is a registry that takes one upload. Put answers its PUT.
func store(location string, put http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusAccepted)
		case http.MethodPut:
			put(w, r)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
}

// take reads a blob and answers for it.
func take(got *[]byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		*got = b
		w.WriteHeader(http.StatusCreated)
	}
}

func TestHasBlob(t *testing.T) {
	faults.Covers(t, "F49")
	const what = "/v2/team/app/blobs/"
	length := func(n int) http.HandlerFunc { return with("Content-Length", fmt.Sprint(n), refuse(200, "", "")) }
	tests := []struct {
		name    string
		size    int64
		handler http.HandlerFunc
		want    bool
		kind    error
		methods []string
	}{
		{"there", blobDesc.Size, length(len(blob)), true, nil, []string{"HEAD"}},
		{"absent", blobDesc.Size, refuse(404, "", ""), false, nil, []string{"HEAD"}},
		// A registry that lies about a layer's size got an image whose layer was absent.
		{"another size", blobDesc.Size, length(7), false, nil, []string{"HEAD"}},
		{"no size", blobDesc.Size, func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, false, nil, []string{"HEAD"}},
		{"any size will do", -1, length(7), true, nil, []string{"HEAD"}},
		{"refused, and why", blobDesc.Size, inTurn(refuse(403, "", ""), refuse(403, "DENIED", "no")), false, registry.ErrDenied, []string{"HEAD", "GET"}},
		{"HEAD alone refused", blobDesc.Size, inTurn(refuse(405, "", ""), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
			_, _ = w.Write(blob)
		}), true, nil, []string{"HEAD", "GET"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j := w.serve(host, tt.handler)
				got, err := hasBlob(t, w.client(transport.Options{}), ref.Descriptor{Digest: blobDesc.Digest, Size: tt.size})
				if tt.kind != nil {
					wantKind(t, err, tt.kind)
				} else if err != nil {
					t.Fatal(err)
				}
				if got != tt.want {
					t.Errorf("held = %t", got)
				}
				var want []string
				for _, m := range tt.methods {
					want = append(want, m+" "+what+string(blobDesc.Digest))
				}
				if diff := cmp.Diff(want, j.whats()); diff != "" {
					t.Errorf("requests (-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestUploadTakesTwoRequestsAndNoChunks(t *testing.T) {
	for _, body := range [][]byte{blob, {}} {
		t.Run(fmt.Sprintf("%d bytes", len(body)), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var got []byte
				j := w.serve(host, store(location, take(&got)))
				want := ref.Descriptor{Digest: digest.FromBytes(body), Size: int64(len(body))}
				if err := upload(t, w.client(transport.Options{}), want, content(body)); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, body) {
					t.Errorf("%d bytes arrived of %d", len(got), len(body))
				}
				all := j.all()
				if diff := cmp.Diff([]string{uploads, "PUT " + location}, j.whats()); diff != "" {
					t.Fatalf("requests (-want +got)\n%s", diff)
				}
				if all[1].length != want.Size {
					t.Errorf("Content-Length %d", all[1].length)
				}
			})
		})
	}
}

func TestUploadLocation(t *testing.T) {
	sum := "digest=" + strings.ReplaceAll(string(blobDesc.Digest), ":", "%3A")
	tests := []struct {
		name, location string
		what, query    string // of the PUT; "" means that there is none
	}{
		{"relative", location, "PUT " + location, sum},
		{"absolute", "http://" + host + location, "PUT " + location, sum},
		{"with the case of another writer", "http://Registry.TEST:5000" + location, "PUT " + location, sum},
		// Sorted and decoded, an opaque query is another query.
		{"with a query, as it is", location + "?_state=b%2Fc;d&a=%7e&a=1", "PUT " + location, "_state=b%2Fc;d&a=%7e&a=1&" + sum},
		{"missing", "", "", ""},
		{"malformed", "http://[", "", ""},
		{"of another kind", "file:///etc/passwd", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var got []byte
				j := w.serve(host, store(tt.location, take(&got)))
				err := upload(t, w.client(transport.Options{}), blobDesc, content(blob))
				all := j.all()
				if tt.what == "" {
					wantKind(t, err, registry.ErrPermanent)
					if len(all) != 1 {
						t.Errorf("%d requests, want 1", len(all))
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if all[1].what != tt.what || all[1].query != tt.query {
					t.Errorf("sent to %s?%s\nwant    %s?%s", all[1].what, all[1].query, tt.what, tt.query)
				}
			})
		})
	}
}

func TestUploadRefusals(t *testing.T) {
	tests := []struct {
		name string
		put  http.HandlerFunc
		kind error // nil means that it may pass
	}{
		{"too large", refuse(413, "", ""), registry.ErrPermanent},
		{"wrong digest", refuse(400, "DIGEST_INVALID", "no"), registry.ErrPermanent},
		{"denied", refuse(403, "DENIED", "no"), registry.ErrDenied},
		// A registry behind a balancer that lost the session said 404: taken for an absent
		// repository, the blob was given up.
		{"session lost", refuse(404, "BLOB_UPLOAD_UNKNOWN", "no such upload"), nil},
		{"outage", refuse(503, "", ""), nil},
		{"throttled", refuse(429, "TOOMANYREQUESTS", "slow down"), registry.ErrThrottled},
		{"a portal's 200", refuse(200, "", ""), registry.ErrPermanent},
		{"redirect", with("Location", "/login", refuse(302, "", "")), registry.ErrPermanent},
		{"connection lost", hangUp, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				put := func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					tt.put(w, r)
				}
				j := w.serve(host, store(location, put))
				err := upload(t, w.client(transport.Options{RetryTimes: 5}), blobDesc, content(blob))
				wantKind2(t, err, tt.kind)
				if n := len(j.all()); n != 2 {
					t.Errorf("%d requests: an upload is tried once", n)
				}
			})
		})
	}
}

// wantKind2 is wantKind where a plain failure, of no kind, may be wanted.
func wantKind2(t *testing.T, err, want error) {
	t.Helper()
	if want != nil {
		wantKind(t, err, want)
		return
	}
	if err == nil || registry.Final(err) {
		t.Errorf("error %v, want one that may pass", err)
	}
}

func TestABrokenSourceIsNotBlamedOnTheDestination(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const upstream = "upstream.test:5000"
		w.serve(upstream, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
			_, _ = w.Write(blob[:len(blob)/2])
		})
		put := func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
		w.serve(host, store(location, put))
		c := w.client(transport.Options{})
		from := ref.Repository{Host: upstream, Path: "team/app"}
		src, err := c.OpenSource(t.Context(), from)
		if err != nil {
			t.Fatal(err)
		}
		err = upload(t, c, blobDesc, func(ctx context.Context) (io.ReadCloser, error) {
			body, _, err := src.GetBlob(ctx, imagetypes.BlobInfo{Digest: blobDesc.Digest}, none.NoCache)
			return body, err
		})
		if !errors.Is(err, io.ErrUnexpectedEOF) || registry.OnSide(err) != registry.SideSource {
			t.Errorf("error %v on side %q", err, registry.OnSide(err))
		}
		if !strings.Contains(err.Error(), from.String()) {
			t.Errorf("error %q does not name the source", err)
		}
	})
}

func TestAnOpenerThatFailsEndsTheUpload(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		arrived, release := make(chan struct{}), make(chan struct{})
		defer close(release)
		w.serve(host, func(http.ResponseWriter, *http.Request) {
			close(arrived)
			<-release
		})
		gone := errors.New("the source is gone")
		start := time.Now()
		err := upload(t, w.client(transport.Options{}), blobDesc, func(context.Context) (io.ReadCloser, error) {
			<-arrived
			return nil, gone
		})
		if !errors.Is(err, gone) {
			t.Errorf("error %v, want the opener's", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s: it waited for the registry", took)
		}
	})
}

func TestAnUploadThatCannotStartEndsTheOpener(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, refuse(404, "NAME_UNKNOWN", "no such repository"))
		err := upload(t, w.client(transport.Options{}), blobDesc, func(ctx context.Context) (io.ReadCloser, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		wantKind(t, err, registry.ErrNotFound)
		if registry.OnSide(err) != registry.SideTarget {
			t.Errorf("on side %q", registry.OnSide(err))
		}
	})
}

// closed is a reader that knows whether it was closed.
type closed struct {
	io.Reader
	once sync.Once
	done chan struct{}
}

func (c *closed) Close() error { c.once.Do(func() { close(c.done) }); return nil }

func TestWhatWasOpenedIsClosed(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"stored":        store(location, take(new([]byte))),
		"refused":       store(location, refuse(403, "DENIED", "no")),
		"never started": refuse(403, "DENIED", "no"),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(host, handler)
				opened := &closed{Reader: bytes.NewReader(blob), done: make(chan struct{})}
				_ = upload(t, w.client(transport.Options{}), blobDesc, func(context.Context) (io.ReadCloser, error) { return opened, nil })
				<-opened.done
			})
		})
	}
}

const stallTime = 30 * time.Second

func TestStalls(t *testing.T) {
	faults.Covers(t, "F12", "F13")
	// A pipe that nobody writes to, read through GetBlob as well as directly.
	silent := func(t *testing.T) registry.Opener {
		r, w := io.Pipe()
		t.Cleanup(func() { _ = w.Close() })
		return func(context.Context) (io.ReadCloser, error) { return r, nil }
	}
	tests := []struct {
		name   string
		put    func(release <-chan struct{}) http.HandlerFunc
		source func(t *testing.T) registry.Opener
		within time.Duration
		says   string
	}{
		{
			name: "the destination stops reading",
			put: func(release <-chan struct{}) http.HandlerFunc {
				return func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.CopyN(io.Discard, r.Body, 40<<10)
					<-release
				}
			},
			source: func(*testing.T) registry.Opener { return content(blob) },
			within: stallTime, says: "the destination took next to nothing",
		},
		{
			// The watch used to end when the last byte had been read from the source. Where
			// the destination took no more, the write of that byte hung for ever.
			name: "the destination stops reading before the last byte",
			put: func(release <-chan struct{}) http.HandlerFunc {
				return func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.CopyN(io.Discard, r.Body, int64(len(blob)-(20<<10)))
					<-release
				}
			},
			source: func(*testing.T) registry.Opener { return content(blob) },
			within: 5 * time.Minute, says: "no answer to the last byte",
		},
		{
			name: "the answer never comes",
			put: func(release <-chan struct{}) http.HandlerFunc {
				return func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					<-release
				}
			},
			source: func(*testing.T) registry.Opener { return content(blob) },
			within: 5 * time.Minute, says: "no answer to the last byte",
		},
		{
			name:   "the source stops sending",
			put:    func(<-chan struct{}) http.HandlerFunc { return take(new([]byte)) },
			source: silent,
			within: stallTime, says: "the source sent next to nothing",
		},
		{
			// A byte now and then is a stall as well: this blob would take two days and a half.
			name: "the source trickles",
			put:  func(<-chan struct{}) http.HandlerFunc { return take(new([]byte)) },
			source: func(*testing.T) registry.Opener {
				return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(trickle{}), nil }
			},
			within: stallTime + 2*time.Second, says: "the source sent next to nothing",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				release := make(chan struct{})
				t.Cleanup(func() { close(release) })
				w.serve(host, store(location, tt.put(release)))
				start := time.Now()
				err := upload(t, w.client(transport.Options{Stall: stallTime, RequestTimeout: time.Minute}), blobDesc, tt.source(t))
				wantKind(t, err, registry.ErrStalled)
				if !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error %q does not say %q", err, tt.says)
				}
				if took := time.Since(start); took > tt.within || took < stallTime {
					t.Errorf("took %s, want %s", took, tt.within)
				}
			})
		})
	}
}

// trickle gives a byte now and then.
type trickle struct{}

func (trickle) Read(p []byte) (int, error) {
	time.Sleep(1700 * time.Millisecond)
	return copy(p[:1], "x"), nil
}

func TestSlowIsNotStalled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, store(location, func(w http.ResponseWriter, r *http.Request) {
			for {
				time.Sleep(stallTime - time.Second)
				if _, err := io.CopyN(io.Discard, r.Body, 64<<10); err != nil {
					break
				}
			}
			time.Sleep(4 * time.Minute) // a registry that assembles parts
			w.WriteHeader(http.StatusCreated)
		}))
		if err := upload(t, w.client(transport.Options{Stall: stallTime}), blobDesc, content(blob)); err != nil {
			t.Error(err)
		}
	})
}

func TestStalledDownloads(t *testing.T) {
	faults.Covers(t, "F10", "F11")
	t.Run("headers", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.serve(host, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			start := time.Now()
			_, err := openBlob(t, w.client(transport.Options{Stall: stallTime}), blobDesc.Digest)
			wantKind(t, err, registry.ErrStalled)
			if took := time.Since(start); took != stallTime {
				t.Errorf("took %s", took)
			}
		})
	})
	t.Run("body", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.serve(host, func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write(blob[:100])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
			body, err := openBlob(t, w.client(transport.Options{Stall: stallTime}), blobDesc.Digest)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			// A reader that is slow itself is no stall of the registry.
			time.Sleep(3 * stallTime)
			start := time.Now()
			got, err := io.ReadAll(body)
			wantKind(t, err, registry.ErrStalled)
			if took := time.Since(start); len(got) != 100 || took != stallTime {
				t.Errorf("%d bytes, took %s", len(got), took)
			}
		})
	})
}

// A blob-read place that is long in coming is the other readers' doing: it used to count
// as a stall of the upload that waited for it.
func TestWaitingForAPlaceIsNoStall(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const upstream = "upstream.test:5000"
		w.serve(upstream, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(blob) })
		var got []byte
		w.serve(host, store(location, take(&got)))
		c := w.client(transport.Options{Stall: stallTime, BlobStreams: 1})
		src, err := c.OpenSource(t.Context(), ref.Repository{Host: upstream, Path: "team/app"})
		if err != nil {
			t.Fatal(err)
		}
		open := func(ctx context.Context) (io.ReadCloser, error) {
			body, _, err := src.GetBlob(ctx, imagetypes.BlobInfo{Digest: blobDesc.Digest}, none.NoCache)
			return body, err
		}
		first, err := open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10*stallTime, func() { _ = first.Close() })
		if err := upload(t, c, blobDesc, open); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, blob) {
			t.Errorf("%d bytes arrived", len(got))
		}
	})
}

func TestCancelledUploadsNameTheCause(t *testing.T) {
	faults.Covers(t, "I17")
	enough := errors.New("enough")
	for name, handler := range map[string]http.HandlerFunc{
		"at the start":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"at the answer": store(location, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(host, handler)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(enough) })
				start := time.Now()
				err := uploadIn(ctx, t, w.client(transport.Options{}), blobDesc, content(blob))
				if !errors.Is(err, enough) || time.Since(start) != time.Second {
					t.Errorf("error %v after %s", err, time.Since(start))
				}
			})
		})
	}
}

func TestAReadAfterCancelNamesTheCause(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(blob[:10])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		src, err := w.client(transport.Options{}).OpenSource(t.Context(), repo)
		if err != nil {
			t.Fatal(err)
		}
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		body, _, err := src.GetBlob(ctx, imagetypes.BlobInfo{Digest: blobDesc.Digest}, none.NoCache)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		cancel(enough)
		if _, err := io.ReadAll(body); !errors.Is(err, enough) {
			t.Errorf("error %v", err)
		}
	})
}

// Places that failures do not give back would stop a run for good after a while. The
// bubble reports goroutines that are left over.
func TestFailuresGiveTheirPlacesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const upstream = "upstream.test:5000"
		var healed atomic.Bool
		once := func(broken, whole http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if healed.Load() {
					whole(w, r)
					return
				}
				broken(w, r)
			}
		}
		w.serve(upstream, once(inTurn(refuse(500, "", ""), truncated, refuse(404, "", ""), hangUp),
			func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(blob) }))
		var asked atomic.Int64
		w.serve(host, once(func(w http.ResponseWriter, r *http.Request) {
			switch n := asked.Add(1); {
			case n%7 == 0:
				hangUp(w, r)
			case n%5 == 0:
				w.WriteHeader(http.StatusForbidden)
			default:
				store(location, refuse(500, "", ""))(w, r)
			}
		}, store(location, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		})))
		c := w.client(transport.Options{BlobStreams: 2, SmallRequests: 2})
		src, err := c.OpenSource(t.Context(), ref.Repository{Host: upstream, Path: "team/app"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			err := upload(t, c, blobDesc, func(ctx context.Context) (io.ReadCloser, error) {
				if i%3 == 0 {
					return content(blob)(ctx)
				}
				body, _, err := src.GetBlob(ctx, imagetypes.BlobInfo{Digest: blobDesc.Digest}, none.NoCache)
				return body, err
			})
			if err == nil {
				t.Fatal("an upload succeeded")
			}
		}
		// Both places of each kind are free: these would otherwise wait for ever.
		healed.Store(true)
		var bodies []io.Closer
		for range 2 {
			body, _, err := src.GetBlob(t.Context(), imagetypes.BlobInfo{Digest: blobDesc.Digest}, none.NoCache)
			if err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, body)
		}
		var wait, met sync.WaitGroup
		met.Add(2)
		for range 2 {
			wait.Go(func() {
				err := upload(t, c, blobDesc, func(ctx context.Context) (io.ReadCloser, error) {
					met.Done()
					met.Wait()
					return content(blob)(ctx)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		for _, b := range bodies {
			_ = b.Close()
			_ = b.Close() // twice is once
		}
	})
}

func TestPutBlob(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var got []byte
		w.serve(host, store(location, take(&got)))
		dst, err := w.client(transport.Options{}).OpenDestination(t.Context(), repo)
		if err != nil {
			t.Fatal(err)
		}
		info := imagetypes.BlobInfo{Digest: blobDesc.Digest, Size: blobDesc.Size}
		stored, err := dst.PutBlob(t.Context(), bytes.NewReader(blob), info, none.NoCache, false)
		if err != nil || stored.Digest != blobDesc.Digest || !bytes.Equal(got, blob) {
			t.Errorf("PutBlob = %v, %v", stored, err)
		}
		info.Size = -1 // would have to be sent in chunks, which some registries refuse
		_, err = dst.PutBlob(t.Context(), bytes.NewReader(blob), info, none.NoCache, false)
		wantKind(t, err, registry.ErrUnsupported)
	})
}
