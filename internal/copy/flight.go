package copy

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// flights makes sure that a piece of work is done once in a run, however many images
// need it at the same time. A worker that comes late waits for the one that leads. If
// that one fails, the next takes over: neither an image's timeout, nor the failure of
// its other parts, nor an upstream that only the leader reads from ever fails another
// image. The one failure that is shared, with those who come later too, is a final one
// of the very work they want.
type flights[K comparable, V any] struct {
	// forgetful flights are forgotten when they land: somebody else keeps the outcome.
	forgetful bool

	// final says which failures everyone shares who reads from the same upstream; nil
	// means failure.Final.
	final func(error) bool

	mu      sync.Mutex
	flights map[K]*flight[V]
}

type flight[V any] struct {
	landed chan struct{}
	from   ref.Repository // where the leader reads from

	// These are set before landed is closed.
	value   V
	err     error
	verdict bool // err is what everyone who reads from there would get
}

// do returns the outcome of the work under key, done by f or by another worker's. From
// is the upstream that f reads from.
func (fs *flights[K, V]) do(ctx context.Context, key K, from ref.Repository, f func(context.Context) (V, error)) (V, error) {
	for {
		fl, leads := fs.join(key, from)
		if leads {
			fs.lead(ctx, key, fl, f)
			return fl.value, fl.err
		}
		select {
		case <-fl.landed:
		case <-ctx.Done():
			var none V
			return none, context.Cause(ctx)
		}
		if fl.err == nil || fl.verdict && fl.from == from {
			return fl.value, fl.err
		}
		fs.forget(key, fl)
	}
}

// lead does the work. Where ctx has ended, f's error is no verdict whatever its kind:
// it may be the cause of ctx's end, which is a sibling's failure and not this work's.
func (fs *flights[K, V]) lead(ctx context.Context, key K, fl *flight[V], f func(context.Context) (V, error)) {
	fl.value, fl.err = contained(ctx, f)
	final := fs.final
	if final == nil {
		final = failure.Final
	}
	fl.verdict = ctx.Err() == nil && final(fl.err)
	if fl.err != nil && !fl.verdict || fs.forgetful {
		fs.forget(key, fl)
	}
	close(fl.landed)
}

// contained is f, whose panic would leave those waiting for ever who want the same.
func contained[V any](ctx context.Context, f func(context.Context) (V, error)) (value V, err error) {
	defer failure.Contain(&err)
	return f(ctx)
}

// join returns the flight under key and whether the caller is to lead it.
func (fs *flights[K, V]) join(key K, from ref.Repository) (*flight[V], bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fl, ok := fs.flights[key]; ok {
		return fl, false
	}
	if fs.flights == nil {
		fs.flights = map[K]*flight[V]{}
	}
	fl := &flight[V]{landed: make(chan struct{}), from: from}
	fs.flights[key] = fl
	return fl, true
}

// settle gives those who come from now on an outcome that nobody had to work for, where
// there is no flight yet.
func (fs *flights[K, V]) settle(key K, value V) {
	fl, leads := fs.join(key, ref.Repository{})
	if leads {
		fl.value = value
		close(fl.landed)
	}
}

// known reports whether somebody is on the work under key, or has done it.
func (fs *flights[K, V]) known(key K) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	_, ok := fs.flights[key]
	return ok
}

// outcome returns what a flight that has landed well brought.
func (fs *flights[K, V]) outcome(key K) (value V, ok bool) {
	fs.mu.Lock()
	fl, known := fs.flights[key]
	fs.mu.Unlock()
	if !known {
		return value, false
	}
	select {
	case <-fl.landed:
		return fl.value, fl.err == nil
	default:
		return value, false
	}
}

// forget lets the next caller do the work of a flight again, unless somebody does so
// already.
func (fs *flights[K, V]) forget(key K, fl *flight[V]) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.flights[key] == fl {
		delete(fs.flights, key)
	}
}

// forgetLanded lets the next caller do work again that is not being done right now.
func (fs *flights[K, V]) forgetLanded(key K) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fl, ok := fs.flights[key]; ok {
		select {
		case <-fl.landed:
			delete(fs.flights, key)
		default:
		}
	}
}

// limited runs f when there is a place for it.
func limited(ctx context.Context, places *semaphore.Weighted, f func() error) error {
	if err := places.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer places.Release(1)
	return f()
}
