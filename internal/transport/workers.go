package transport

import (
	"context"
	"sync"
)

// workers carry out requests, one each at a time. They live on from one to the next: a
// request goes deep into HTTP, and a goroutine of its own would have to grow a stack for
// it every time.
type workers struct {
	tasks  chan func()
	places chan struct{} // taken by those that live
	ended  chan struct{}
	end    func() // lets the idle ones go; what is under way is finished, and do still works
}

// newWorkers returns workers of whom there are never more than most.
func newWorkers(most int) *workers {
	w := &workers{tasks: make(chan func()), places: make(chan struct{}, most), ended: make(chan struct{})}
	w.end = sync.OnceFunc(func() { close(w.ended) })
	return w
}

// do has a worker call f, and returns when f has returned. Where ctx ends before a worker
// is free, f is not called, and the error is ctx's cause.
func (w *workers) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	task := func() {
		defer close(done)
		f()
	}
	select {
	case w.tasks <- task: // somebody is idle
	default:
		select {
		case w.tasks <- task:
		case w.places <- struct{}{}:
			go w.work(task)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	<-done
	return nil
}

func (w *workers) work(task func()) {
	defer func() { <-w.places }()
	for {
		task()
		select {
		case task = <-w.tasks:
		case <-w.ended:
			return
		}
	}
}
