package soak

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/scrape"
)

var (
	long    = flag.Duration("soak", 0, "let events happen for that long; 0 lets a few happen once each")
	program = flag.String("program", "", "the `FILE` of the program; by default it is compiled into the test")
	seed    = flag.Uint64("seed", 1, "what happens, and to which tags")
)

// patience is how long something may take that has to happen. It is for machines that are
// slow, not for the program.
const patience = time.Minute

// The daemon lives through everything, every tag stays whole and gets to be what upstream
// has, and whatever the daemon says of itself is what the registries saw.
func TestSoak(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what a process holds is read from /proc")
	}
	w := newWorld(t, *program, *seed)
	err := w.soak(t.Context(), *long)
	if w.daemon != nil {
		w.daemon.kill()
	}
	t.Logf("seed %d\n%s", *seed, w.tally.table(&w.grows))
	if err != nil {
		log, _ := w.daemon.log.said()
		t.Fatalf("%v\nthe daemon said last:\n%s", err, log)
	}
}

// soak lets events happen, in a new order each time all have.
func (w *world) soak(ctx context.Context, long time.Duration) error {
	began := time.Now()
	start := func(ctx context.Context) error {
		if err := w.fill(ctx); err != nil {
			return err
		}
		return w.live(ctx)
	}
	if err := w.happens(ctx, "the beginning", start); err != nil {
		return err
	}
	for {
		for _, e := range w.shuffled(long, time.Since(began)) {
			if err := w.happens(ctx, e.name, func(ctx context.Context) error { return e.does(w, ctx) }); err != nil {
				return err
			}
			if long > 0 && time.Since(began) > long {
				break
			}
		}
		if time.Since(began) > long {
			_, _, err := w.grows.bounded()
			if err != nil {
				err = fmt.Errorf("%w\n%s", err, w.daemon.goroutines(ctx))
			}
			return err
		}
	}
}

// shuffled are the events to come. The last life of the daemon takes two thirds of the time,
// so that it can be seen whether it grows.
func (w *world) shuffled(long, passed time.Duration) []event {
	all := slices.DeleteFunc(events(), func(e event) bool {
		if long == 0 {
			return !e.brief
		}
		return e.ends && passed > long/3 || e.slow && long < 3*time.Minute
	})
	w.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// happens lets something happen, and everything settle.
func (w *world) happens(ctx context.Context, name string, does func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	w.tally.events[name]++
	err := does(ctx)
	if err == nil {
		err = w.settles(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// tally is what happened.
type tally struct {
	events map[string]int
	lives  int
	walked int // tags, at checkpoints

	said     status.Snapshot // of the last life
	requests float64
	throttle float64
}

func (c *tally) at(said status.Snapshot, m scrape.Metrics) {
	c.said, c.requests, c.throttle = said, 0, 0
	for name, value := range m {
		if strings.HasPrefix(name, "requests_total{") {
			c.requests += value
		}
		if strings.HasPrefix(name, "throttled_total{") {
			c.throttle += value
		}
	}
}

// table says what happened to people.
func (c *tally) table(g *growth) string {
	var b strings.Builder
	line := func(what string, value any) { fmt.Fprintf(&b, "  %-36s %v\n", what, value) }
	for _, name := range slices.Sorted(maps.Keys(c.events)) {
		line(name, c.events[name])
	}
	line("lives of the daemon", c.lives)
	line("tags walked, whole and right", c.walked)
	runs := c.said.Totals.Runs
	line("of the last life: runs", fmt.Sprintf("%d ok, %d partial, %d failed", runs.OK, runs.Partial, runs.Failed))
	line("  tags copied, bytes", fmt.Sprintf("%d, %d", c.said.Totals.Copied, c.said.Totals.Bytes))
	line("  requests, too many of them", fmt.Sprintf("%.0f, %.0f", c.requests, c.throttle))
	early, late, _ := g.bounded()
	line("  checkpoints", len(g.samples))
	line("  heap early and late", fmt.Sprintf("%.1f MiB, %.1f MiB", early.heapKiB/1024, late.heapKiB/1024))
	line("  most memory early and late", fmt.Sprintf("%.1f MiB, %.1f MiB", early.peakKiB/1024, late.peakKiB/1024))
	line("  goroutines by checkpoint", g.goroutines())
	line("  goroutines early and late", fmt.Sprintf("%.0f, %.0f", early.goroutines, late.goroutines))
	line("  descriptors early and late", fmt.Sprintf("%.0f, %.0f", early.descriptors, late.descriptors))
	return b.String()
}
