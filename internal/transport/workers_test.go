package transport_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// However many tasks there are, no more workers than allowed carry them out; they wait
// for the next ones, and go when they are let.
func TestWorkersLiveOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, tasks = 3, 1000
		w := transport.NewWorkers(most)
		var done, busy, peak atomic.Int64
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				for range tasks / 20 {
					if err := w.Do(t.Context(), func() {
						peak.Store(max(peak.Load(), busy.Add(1)))
						runtime.Gosched()
						busy.Add(-1)
						done.Add(1)
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		synctest.Wait()
		if done.Load() != tasks || peak.Load() > most {
			t.Errorf("%d of %d tasks were done, %d at a time", done.Load(), tasks, peak.Load())
		}
		if idle := w.Alive(); idle < 1 || idle > most {
			t.Errorf("%d workers wait for more, want 1 to %d", idle, most)
		}
		w.End()
		w.End()
		synctest.Wait()
		if left := w.Alive(); left > 0 {
			t.Errorf("%d workers are left", left)
		}
		if err := w.Do(t.Context(), func() { done.Add(1) }); err != nil || done.Load() != tasks+1 {
			t.Errorf("a task after the end was not done: %v", err)
		}
	})
}

func TestWorkersAreWaitedForNoLongerThanTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := transport.NewWorkers(1)
		release := make(chan struct{})
		go func() {
			if err := w.Do(t.Context(), func() { <-release }); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		enough := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, enough)
		defer cancel()
		if err := w.Do(ctx, func() { t.Error("called without a worker") }); !errors.Is(err, enough) {
			t.Errorf("got %v, want %v", err, enough)
		}
		close(release)
		synctest.Wait()
		w.End()
	})
}
