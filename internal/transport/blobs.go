package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/stall"
)

// hasBlob asks whether repo holds a blob, and of the right size: a size that differs, or is
// not said, means that the registry is wrong about it, and it is uploaded anew.
func (h *host) hasBlob(ctx context.Context, repo ref.Repository, want ref.Descriptor) (bool, error) {
	size, err := h.statBlob(ctx, repo, want.Digest, true) // the token of the upload that follows
	if errors.Is(err, registry.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return want.Size < 0 || size == want.Size, nil
}

// statBlob asks with a HEAD how large a blob is that repo holds: -1 where that is not said.
func (h *host) statBlob(ctx context.Context, repo ref.Repository, d ref.Digest, push bool) (int64, error) {
	if err := checkDigest(d); err != nil {
		return 0, err
	}
	ask := call{
		method: http.MethodHead,
		repo:   repo,
		path:   "blobs/" + string(d),
		blob:   true,
		push:   push,
		accept: []int{http.StatusOK},
	}
	held, err := h.small(ctx, ask, unread)
	if wordless(err) {
		ask.method = http.MethodGet
		held, err = h.small(ctx, ask, unread)
	}
	return held.length, err
}

// openBlob starts reading a blob. It is tried once: who streams it knows whether a
// failure in the middle can be mended. The reader counts as one of the host's blob
// streams until it is closed. It fails where no byte comes for the stall time, in which
// a reader that is slow itself does not count.
func (h *host) openBlob(ctx context.Context, repo ref.Repository, d ref.Digest) (io.ReadCloser, int64, error) {
	if err := checkDigest(d); err != nil {
		return nil, 0, err
	}
	turn, err := h.turn(ctx, &h.operations.blobReads)
	if err != nil {
		return nil, 0, err
	}
	ctx, watch := stall.New(ctx)
	watch.Await("no answer", h.opts.Stall)
	resp, err := h.once(ctx, call{ //nolint:bodyclose // the reader's to close
		method: http.MethodGet,
		repo:   repo,
		path:   "blobs/" + string(d),
		accept: []int{http.StatusOK},
	}, http.NoBody, 0)
	if err != nil {
		watch.Stop()
		turn.end(err, 0)
		return nil, 0, err
	}
	watch.Rest()
	return &blobReader{
		ReadCloser: watch.Body(resp.Body, h.opts.Stall),
		of:         repo.Digested(d),
		turn:       turn,
	}, resp.ContentLength, nil
}

// blobReader names the side of its errors, which surface in the middle of an upload to
// another registry, and gives its place among the host's blob streams back when it is
// closed.
type blobReader struct {
	io.ReadCloser
	of     ref.Reference
	turn   turn
	moved  atomic.Int64
	broken atomic.Bool
}

func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.moved.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		r.broken.Store(true)
		err = &registry.Error{Op: "read blob from", Side: registry.SideSource, Ref: r.of, Err: err}
	}
	return n, err
}

// Close may be called again, and while a Read is under way.
func (r *blobReader) Close() error {
	r.turn.place.leave(outcome{failed: r.broken.Load(), bytes: r.moved.Load()})
	return r.ReadCloser.Close()
}

// upload stores the blob that open reads: start opens the upload session beside the
// source, then one PUT carries the bytes. Whichever fails first ends the other.
func (h *host) upload(ctx context.Context, repo ref.Repository, want ref.Descriptor, start sessionOpener, open registry.Opener) (err error) {
	turn, err := h.turn(ctx, &h.operations.blobWrites)
	if err != nil {
		return err
	}
	defer func() { turn.endUpload(err, want.Size) }()
	ctx, watch := stall.New(ctx)
	defer watch.Stop()

	started := make(chan *url.URL, 1)
	go func() {
		location, err := start(ctx)
		if err != nil {
			watch.Cancel(&registry.Error{Op: "start upload to", Side: registry.SideTarget, Ref: repo.Digested(want.Digest), Err: err})
		}
		started <- location
	}()
	content, err := open(ctx)
	if err != nil {
		watch.Cancel(err)
	} else {
		defer content.Close()
		// A reader that does not heed its context would hold the PUT for ever: net/http
		// waits for it.
		defer context.AfterFunc(ctx, func() { _ = content.Close() })()
	}
	location := <-started
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := h.pause.wait(ctx); err != nil {
		return err
	}
	patience := stall.Patience{Stall: h.opts.Stall, Answer: answerTime(h.opts)}
	return h.finishUpload(ctx, repo, location, want, watch.Upload(content, want.Size, patience))
}

// sessionOpener returns where the bytes of an upload session go.
type sessionOpener func(context.Context) (*url.URL, error)

// startUpload opens an upload session and returns where its bytes go.
func (h *host) startUpload(ctx context.Context, repo ref.Repository) (*url.URL, error) {
	starts := &h.operations.uploadStarts
	if err := starts.bucket.wait(ctx); err != nil {
		return nil, err
	}
	started, err := h.exchange(ctx, call{
		method: http.MethodPost,
		repo:   repo,
		path:   "blobs/uploads/",
		push:   true,
		accept: []int{http.StatusAccepted},
	}, unread)
	if err != nil {
		starts.refused(err)
		return nil, err
	}
	return uploadLocation(started)
}

// uploadLocation reads where an upload session's bytes go: relative or absolute, and
// never from TLS to plain text.
func uploadLocation(started answer) (*url.URL, error) {
	header := started.header.Get("Location")
	if header == "" {
		return nil, fmt.Errorf("the registry opened an upload without saying where: %w", registry.ErrPermanent)
	}
	u, err := follow(started.from, header)
	if err != nil {
		return nil, fmt.Errorf("upload location: %w", err)
	}
	return u, nil
}

// finishUpload streams content into an upload session with one PUT, which the
// registry answers when the blob has the digest it should.
func (h *host) finishUpload(ctx context.Context, repo ref.Repository, location *url.URL, want ref.Descriptor, content io.Reader) error {
	at := *location
	if at.RawQuery != "" {
		at.RawQuery += "&" // the rest is the registry's own and stays as it is
	}
	at.RawQuery += url.Values{"digest": {string(want.Digest)}}.Encode()
	resp, err := h.once(ctx, call{
		method: http.MethodPut,
		repo:   repo,
		url:    &at,
		header: http.Header{"Content-Type": {"application/octet-stream"}},
		push:   true,
		accept: []int{http.StatusCreated, http.StatusNoContent},
	}, content, want.Size)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	drain(resp.Body)
	return nil
}
