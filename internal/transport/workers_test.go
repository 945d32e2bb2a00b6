package transport_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

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
					w.Do(func() {
						peak.Store(max(peak.Load(), busy.Add(1)))
						runtime.Gosched()
						busy.Add(-1)
						done.Add(1)
					})
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
		w.Do(func() { done.Add(1) })
		if done.Load() != tasks+1 {
			t.Error("a task after the end was not done")
		}
	})
}
