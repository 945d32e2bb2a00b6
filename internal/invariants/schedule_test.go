package invariants_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faultreg"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// Any few faults, at any requests of either side: no tag is ever anything but a complete
// image, old or new, and one run without faults arrives.
func TestAnySchedule(t *testing.T) {
	checks := "10"
	if faults.Full() {
		checks = "200"
	}
	if given := flag.Lookup("rapid.checks"); given.Value.String() == given.DefValue {
		if err := flag.Set("rapid.checks", checks); err != nil {
			t.Fatal(err)
		}
	}
	w, old, now := registryWorld(t), rich("old"), rich("new")
	if err := bring(w.upURL, "team/app", now); err != nil {
		t.Fatal(err)
	}
	names := []string{"reset", "close", "503", "429", "answer lost", "stall", "truncated", "flipped", "done and stalled"}
	actions := []faultreg.Action{
		faultreg.Reset(), faultreg.Close(), faultreg.Status(503), faultreg.Status(429), faultreg.LoseAnswer(),
		faultreg.Stall(), faultreg.Truncate(100), faultreg.Corrupt(-1), faultreg.ActThenStall(),
	}
	var n atomic.Int32
	rapid.Check(t, func(r *rapid.T) {
		repo := fmt.Sprintf("n%d/app", n.Add(1))
		if err := bring(w.downURL, repo, old); err != nil {
			r.Fatal(err)
		}
		w.quiet()
		for range rapid.IntRange(1, 6).Draw(r, "faults") {
			what := rapid.IntRange(0, len(actions)-1).Draw(r, "what")
			r.Log(names[what])
			rule := faultreg.Rule{Nth: rapid.IntRange(1, 30).Draw(r, "nth"), Times: rapid.IntRange(1, 3).Draw(r, "times"), Do: actions[what]}
			rapid.SampledFrom([]*faultreg.Server{w.up, w.down}).Draw(r, "side").Inject(rule)
		}
		hasty := patience{retries: rapid.IntRange(0, 1).Draw(r, "retries"), stall: 100 * time.Millisecond, strict: true}
		_, _ = w.run(t.Context(), hasty, []string{"team/app"}, []string{repo})
		w.quiet()
		for tag := range now.tags {
			is, err := w.holds(repo, tag)
			if err != nil || !slices.Contains([]ref.Digest{old.tags[tag].Digest(), now.tags[tag].Digest()}, is) {
				r.Fatalf("%s is %q: %v", tag, is, err)
			}
		}
		if _, err := w.run(t.Context(), patient, []string{"team/app"}, []string{repo}); err != nil {
			r.Fatal(err)
		}
		if err := w.complete(repo, now); err != nil {
			r.Fatal(err)
		}
	})
	faults.Covers(t, "I1", "I4")
}

// Copies that fail leave no goroutine and no descriptor behind, however many.
func TestFailingCopiesLeaveNothingBehind(t *testing.T) {
	w, now := registryWorld(t), rich("new")
	if err := bring(w.upURL, "team/app", now); err != nil {
		t.Fatal(err)
	}
	fail := []faultreg.Action{faultreg.Reset(), faultreg.Status(404), faultreg.Status(500), faultreg.Truncate(10), faultreg.Corrupt(0)}
	copies := 20
	if faults.Full() {
		copies = 1000
	}
	round := func(i int) {
		w.quiet()
		w.up.Inject(faultreg.Rule{Kind: faultreg.BlobGet, Times: -1, Do: fail[i%len(fail)]})
		results, err := w.run(t.Context(), patience{stall: time.Minute}, []string{"team/app"}, []string{fmt.Sprintf("n%d/app", i)})
		if err != nil || len(results) == 0 {
			t.Fatalf("%d results, %v", len(results), err)
		}
	}
	round(0) // what is made once
	goroutines, descriptors := settled(t, w)
	done := 0
	for i := 1; done < copies; i++ {
		round(i)
		done += len(now.tags)
	}
	g, d := settled(t, w)
	leaked := func(before, after int) int { return max(0, after-before) }
	if g > goroutines || d > descriptors {
		t.Errorf("goroutines %d, were %d; descriptors %d, were %d", g, goroutines, d, descriptors)
	}
	faults.Covers(t, "I13")
	faults.Measured(t, faults.FailingCopies, done)
	faults.Measured(t, faults.LeakedGoroutines, leaked(goroutines, g))
	faults.Measured(t, faults.LeakedDescriptors, leaked(descriptors, d))
}

// settled counts goroutines and descriptors once their number has come to rest.
func settled(t *testing.T, w *world) (goroutines, descriptors int) {
	t.Helper()
	w.quiet()
	w.up.Hangup()
	w.down.Hangup()
	for calm := 0; calm < 5; {
		time.Sleep(20 * time.Millisecond)
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("there is no /proc to count descriptors in")
		}
		if g, d := runtime.NumGoroutine(), len(entries); g == goroutines && d == descriptors {
			calm++
		} else {
			goroutines, descriptors, calm = g, d, 0
		}
	}
	return goroutines, descriptors
}
