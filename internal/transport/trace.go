package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Tracer follows requests from their beginning to the end of their answers. Its methods are
// called by many goroutines and return at once.
type Tracer interface {
	// Request tells that r is about to be sent, for which registry, as references write it,
	// and what kind it is of, as an Observer is told. What it returns is called once: with
	// the status of the answer, 0 where there was none, with the bytes of the body that was
	// sent or read, and with what went wrong. Neither r nor its header may be changed.
	Request(ctx context.Context, r *http.Request, host, operation string) (ended func(status int, bytes int64, err error))

	// Repeated tells that what ctx is for did not work, and is tried again after a pause.
	Repeated(ctx context.Context, err error, pause time.Duration)
}

// followed is roundTrip with a Tracer. An answer ends when its body is closed.
func (c *connections) followed(req *http.Request) (*http.Response, error) {
	ended := c.tracer.Request(req.Context(), req, c.name, kindOf(req, c.address))
	resp, err := c.roundTrip(req)
	if err != nil {
		ended(0, max(0, req.ContentLength), err)
		return nil, err
	}
	resp.Body = &followedBody{ReadCloser: resp.Body, ended: func(read int64, err error) {
		ended(resp.StatusCode, max(read, req.ContentLength), err)
	}}
	return resp, nil
}

// followedBody tells when it is closed, and how much was read of it.
type followedBody struct {
	io.ReadCloser
	read  atomic.Int64
	once  sync.Once
	ended func(read int64, err error)

	mu     sync.Mutex
	failed error
}

func (b *followedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		b.mu.Lock()
		b.failed = err
		b.mu.Unlock()
	}
	return n, err
}

// Close may be called again.
func (b *followedBody) Close() error {
	b.once.Do(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ended(b.read.Load(), b.failed)
	})
	return b.ReadCloser.Close()
}
