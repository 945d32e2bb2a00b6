package transport

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// operations are the kinds of request at one host. Each has limits of its own: that a
// registry throttles the writing of manifests says nothing about reading them.
type operations struct {
	manifestReads  operation // and lists
	manifestWrites operation // and deletions
	blobQuestions  operation
	uploadStarts   operation // that are requests of their own: mounts
	blobReads      operation
	blobWrites     operation
}

// operation is how much of one kind a host is asked at once, and in a second.
type operation struct {
	places *places
	bucket *bucket // nil means no pacing
}

// How many requests of a kind a host is asked at once at first. More is tried while it
// helps, up to what the host's settings say.
const (
	firstSmallRequests = 64
	firstBlobStreams   = 64
)

func newOperations(opts Options, q quotas) operations {
	small := func(b *bucket) operation { return operation{newPlaces(firstSmallRequests, opts.SmallRequests), b} }
	streams := func(b *bucket) operation { return operation{newPlaces(firstBlobStreams, opts.BlobStreams), b} }
	return operations{
		manifestReads:  small(q.manifestReads),
		manifestWrites: small(q.manifestWrites),
		blobQuestions:  small(q.blobQuestions),
		uploadStarts:   small(q.uploadStarts),
		blobReads:      streams(q.blobReads),
		blobWrites:     streams(q.uploadEnds),
	}
}

// of returns the kind of a request that carries no blob.
func (o *operations) of(c call) *operation {
	switch {
	case c.method == http.MethodPost:
		return &o.uploadStarts
	case c.method == http.MethodPut, c.method == http.MethodDelete:
		return &o.manifestWrites
	case c.blob:
		return &o.blobQuestions
	}
	return &o.manifestReads
}

// refused heeds that the host found a request one too many, and reports whether it did.
func (o *operation) refused(err error) bool {
	if !overloaded(err) {
		return false
	}
	o.bucket.refused()
	return true
}

// overloaded reports whether err is a host's word that it is asked too much.
func overloaded(err error) bool {
	if errors.Is(err, registry.ErrThrottled) {
		return true
	}
	status, ok := errors.AsType[*StatusError](err)
	return ok && status.Status == http.StatusServiceUnavailable
}

// turn is a request's leave to be sent.
type turn struct {
	op    *operation
	place *place
}

// turn waits until one more request of a kind may be sent: for its pace, for a place
// among those under way, and for the end of the host's pause. Where it returns no error,
// the caller ends the turn.
func (h *host) turn(ctx context.Context, op *operation) (turn, error) {
	if err := op.bucket.wait(ctx); err != nil {
		return turn{}, err
	}
	place, err := op.places.take(ctx)
	if err != nil {
		return turn{}, err
	}
	if err := h.open(ctx); err != nil {
		place.leave(outcome{failed: true})
		return turn{}, err
	}
	return turn{op, place}, nil
}

// open waits until the host takes requests: for the end of its pause, and for it to be
// there at all.
func (h *host) open(ctx context.Context) error {
	if err := h.pause.wait(ctx); err != nil {
		return err
	}
	return h.breaker.pass(ctx)
}

// end gives the place back, and tells what came of the request that moved so many bytes.
func (t turn) end(err error, bytes int64) {
	t.place.leave(outcome{overloaded: t.op.refused(err), failed: err != nil, bytes: bytes})
}

// endUpload is end for an upload, whose error may be its source's.
func (t turn) endUpload(err error, bytes int64) {
	if registry.OnSide(err) == registry.SideSource {
		t.place.leave(outcome{failed: true})
		return
	}
	t.end(err, bytes)
}

// quotas are the buckets for what a host grants.
type quotas struct {
	manifestReads, manifestWrites, blobReads, blobQuestions, uploadStarts, uploadEnds *bucket
}

func newQuotas(q registry.Quota) quotas {
	return quotas{
		manifestReads:  newBucket(q.ManifestReads),
		manifestWrites: newBucket(q.ManifestWrites),
		blobReads:      newBucket(q.BlobReads),
		blobQuestions:  newBucket(q.BlobQuestions),
		uploadStarts:   newBucket(q.UploadStarts),
		uploadEnds:     newBucket(q.UploadEnds),
	}
}

// quotasByScope are made once for each scope, whichever of its hosts is asked first.
type quotasByScope struct {
	mu    sync.Mutex
	known map[string]quotas
}

func (s *quotasByScope) of(host string, q registry.Quota) quotas {
	if q.Scope == "" {
		q.Scope = host
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.known[q.Scope]; ok {
		return known
	}
	if s.known == nil {
		s.known = map[string]quotas{}
	}
	made := newQuotas(q)
	s.known[q.Scope] = made
	return made
}
