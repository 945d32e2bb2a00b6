package soak

import (
	"context"
	"errors"
	"math"
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

// reloads has the configuration read many times, with a run each time. What the daemon holds
// is compared between two configurations with which nothing is ever due: how many connections
// a run leaves for the next one is chance.
func (w *world) reloads(ctx context.Context) error {
	early, err := w.rest(ctx, usage{goroutines: math.Inf(1), descriptors: math.Inf(1)})
	if err != nil {
		return err
	}
	for i := range manyReloads {
		since, again := time.Now(), w.hangup
		if i == 0 {
			again = func(context.Context) error { return w.configure(rules("web")) }
		}
		if err := again(ctx); err != nil {
			return err
		}
		done := func(s status.Snapshot) bool { return s.Phase == status.Waiting && w.inSync(s, since) }
		if err := w.daemon.shows(ctx, "a run after a reload", done); err != nil {
			return err
		}
	}
	late, err := w.rest(ctx, early)
	return errors.Join(err, notMore("goroutines", early.goroutines, late.goroutines, 1), notMore("descriptors", early.descriptors, late.descriptors, 1))
}

// rest gives the daemon nothing to do, and returns what it holds once it has no connections
// any more and holds no more than it should, or has had some time to.
func (w *world) rest(ctx context.Context, most usage) (held usage, err error) {
	since := time.Now()
	if err := w.configure(never); err != nil {
		return held, err
	}
	loaded := func(s status.Snapshot) bool { return s.Config.Loaded.After(since) && s.Phase == status.Waiting }
	if err := w.daemon.shows(ctx, "a file with which nothing is due", loaded); err != nil {
		return held, err
	}
	soon, cancel := context.WithTimeout(ctx, patience/3)
	defer cancel()
	if err := errors.Join(w.ecr.drained(soon), w.upstream.drained(soon)); err != nil {
		return held, err
	}
	for {
		_, metrics, err := scrape.Quiet(ctx, w.daemon.client, w.daemon.address, func() {})
		if err != nil {
			return held, err
		}
		held, err = w.daemon.usage(metrics)
		if err != nil || held.goroutines <= most.goroutines && held.descriptors <= most.descriptors {
			return held, err
		}
		select {
		case <-soon.Done():
			return held, nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// never is a configuration with which nothing is due now.
func never(w *world) string { return rules("web")(w) + "defaults: {schedule: \"0 0 29 2 *\"}\n" }
