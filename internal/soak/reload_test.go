package soak

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/scrape"
)

// manyReloads is enough to tell what each leaves from what the first does.
const manyReloads = 6

// A configuration that is replaced leaves no connection and no goroutine behind. Its
// connections to AWS once stayed for another 90 seconds.
func TestReloadsLeaveNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what a process holds is read from /proc")
	}
	w := newWorld(t, *program, *seed)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if err := w.fill(ctx); err != nil {
		t.Fatal(err)
	}
	err := w.liveEvery(ctx, "1h")
	defer w.daemon.kill()
	if err == nil {
		err = w.reloads(ctx)
	}
	if err != nil {
		log, _ := w.daemon.log.said()
		t.Fatalf("%v\nthe daemon said last:\n%s\nand does:\n%s", err, log, w.daemon.goroutines(t.Context()))
	}
}

// reloads has the configuration read many times, with a run each time, and at last one with
// which nothing is ever due.
func (w *world) reloads(ctx context.Context) error {
	var early, late usage
	for i := range manyReloads {
		since := time.Now()
		if err := w.hangup(ctx); err != nil {
			return err
		}
		done := func(s status.Snapshot) bool { return s.Phase == status.Waiting && w.inSync(s, since) }
		if err := w.daemon.shows(ctx, "a run after a reload", done); err != nil {
			return err
		}
		_, metrics, err := scrape.Quiet(ctx, w.daemon.client, w.daemon.address, func() {})
		if err != nil {
			return err
		}
		if late, err = w.daemon.usage(metrics); err != nil {
			return err
		}
		if i == 1 {
			early = late
		}
	}
	since := time.Now()
	if err := w.configure(never); err != nil {
		return err
	}
	loaded := func(s status.Snapshot) bool { return s.Config.Loaded.After(since) && s.Phase == status.Waiting }
	if err := w.daemon.shows(ctx, "a file with which nothing is due", loaded); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, patience/3)
	defer cancel()
	err := errors.Join(w.ecr.drained(soon), w.upstream.drained(soon))
	return errors.Join(err, notMore("goroutines", early.goroutines, late.goroutines, 3), notMore("descriptors", early.descriptors, late.descriptors, 3))
}

// never is a configuration with which nothing is due now.
func never(w *world) string { return rules("web")(w) + "defaults: {schedule: \"0 0 29 2 *\"}\n" }
