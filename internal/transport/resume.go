package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// How often the reading of one blob is resumed.
const (
	resumptions = 3       // in a row that bring next to nothing
	worthwhile  = 1 << 20 // bytes that show that resuming helps
	resumePause = 200 * time.Millisecond
)

// resumed reads a blob, and where its connection breaks asks for the rest, so that the
// upload that is being fed goes on. The blob is named by its digest: the rest is of the
// same blob whatever happened meanwhile, and needs no If-Range. A registry that answers
// with anything but exactly the rest is not believed, and the read fails with what broke
// it; the caller begins anew.
//
// The context bounds a resumption as it does a read. Close may be called at any time.
type resumed struct {
	ctx  context.Context //nolint:containedctx // that of the stream
	host *host
	repo ref.Repository
	of   ref.Digest
	size int64 // -1 where the registry did not say

	at    int64 // bytes read
	mark  int64 // of them, when tries was last full
	tries int

	mu     sync.Mutex
	body   io.ReadCloser
	closed bool
}

func (r *resumed) Read(p []byte) (int, error) {
	for {
		n, err := r.body.Read(p)
		r.at += int64(n)
		if err == nil || errors.Is(err, io.EOF) {
			return n, err
		}
		if n > 0 {
			return n, nil // the next read meets the error again
		}
		if again := r.resume(err); again != nil {
			return 0, again
		}
	}
}

// resume goes on with a new connection, or returns why the read fails.
func (r *resumed) resume(broken error) error {
	if r.at-r.mark >= worthwhile {
		r.mark, r.tries = r.at, 0
	}
	for ; r.tries < resumptions; r.tries++ {
		if r.ctx.Err() != nil || r.isClosed() || registry.Final(broken) {
			return broken
		}
		if r.tries > 0 {
			sleepIn(r.ctx, resumePause<<r.tries)
		}
		body, err := r.rest()
		if err == nil {
			r.tries++
			r.host.log.Debug("blob resumed", zap.String("digest", string(r.of)), zap.Int64("at", r.at), zap.Error(redact.Error(broken)))
			return r.swap(body, broken)
		}
		if errors.Is(err, errNoRest) || registry.Final(err) {
			return fmt.Errorf("%w; resuming it: %s", broken, redact.Error(err).Error())
		}
	}
	return broken
}

var errNoRest = errors.New("the registry does not answer with the rest of the blob")

// rest asks for what has not been read.
func (r *resumed) rest() (io.ReadCloser, error) {
	if err := r.host.open(r.ctx); err != nil {
		return nil, err
	}
	resp, err := r.host.once(r.ctx, call{
		method: http.MethodGet,
		repo:   r.repo,
		path:   "blobs/" + string(r.of),
		header: http.Header{"Range": {fmt.Sprintf("bytes=%d-", r.at)}},
		accept: []int{http.StatusOK, http.StatusPartialContent},
	}, http.NoBody, 0)
	if err != nil {
		return nil, err
	}
	whole := resp.StatusCode == http.StatusOK && r.at == 0
	if whole || resp.StatusCode == http.StatusPartialContent && r.isRest(resp.Header.Get("Content-Range")) {
		return resp.Body, nil
	}
	_ = resp.Body.Close() // not drained: it may be the whole blob
	return nil, errNoRest
}

// isRest reports whether a Content-Range is exactly what has not been read.
// https://www.rfc-editor.org/rfc/rfc9110#field.content-range
func (r *resumed) isRest(header string) bool {
	var first, last, size int64
	if n, err := fmt.Sscanf(strings.TrimSpace(header), "bytes %d-%d/%d", &first, &last, &size); n != 3 || err != nil {
		return false
	}
	return first == r.at && last == size-1 && (r.size < 0 || size == r.size)
}

func (r *resumed) swap(body io.ReadCloser, broken error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.body.Close()
	if r.closed {
		_ = body.Close()
		return broken
	}
	r.body = body
	return nil
}

func (r *resumed) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

func (r *resumed) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.body.Close()
}

func sleepIn(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
