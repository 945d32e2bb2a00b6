package invariants_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faultreg"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// ending is what befalls a run at one request.
type ending struct {
	name    string
	retries int
	api     bool // also where the request is the control plane's
	// do returns what becomes of the request. The client is killed by kill, after which no
	// registry hears of it; a server by its own Kill.
	do func(server *faultreg.Server, kill func()) faultreg.Action
}

func endings() []ending {
	always := func(a faultreg.Action) func(*faultreg.Server, func()) faultreg.Action {
		return func(*faultreg.Server, func()) faultreg.Action { return a }
	}
	return []ending{
		{"cut", 1, true, always(faultreg.Reset())},
		{"done and the answer lost", 1, true, always(faultreg.LoseAnswer())},
		{"stalled", 0, false, always(faultreg.Stall())},
		{"done and then stalled", 0, false, always(faultreg.ActThenStall())},
		{"refused with 503", 0, false, always(faultreg.Status(503))},
		{"done and called 500", 1, false, always(faultreg.ActThen(faultreg.Status(500)))},
		{"client killed before", 0, true, func(_ *faultreg.Server, kill func()) faultreg.Action {
			return faultreg.After(kill, faultreg.Reset())
		}},
		{"client killed after", 0, true, func(_ *faultreg.Server, kill func()) faultreg.Action {
			return faultreg.ActThen(faultreg.After(kill, faultreg.Reset()))
		}},
		{"server killed before", 0, false, func(s *faultreg.Server, _ func()) faultreg.Action {
			return faultreg.After(s.Kill, faultreg.Reset())
		}},
		{"server killed after", 0, false, func(s *faultreg.Server, _ func()) faultreg.Action {
			return faultreg.ActThen(faultreg.After(s.Kill, faultreg.Reset()))
		}},
	}
}

// point is one request of a run at which it ends in one way.
type point struct {
	update bool // the destination has older images under the tags
	up     bool // the request is upstream's
	nth    int
	ending ending
}

func (p point) String() string {
	side, shape := "destination", "new"
	if p.up {
		side = "upstream"
	}
	if p.update {
		shape = "update"
	}
	return fmt.Sprintf("%s, request %d to %s %s", shape, p.nth, side, p.ending.name)
}

// Wherever a run ends, and however: each tag is a complete image, the old or the new one;
// what was reported as copied is copied; and the next run arrives.
func TestCrashSweep(t *testing.T) {
	for name, newWorld := range kinds {
		t.Run(name, func(t *testing.T) {
			s := &sweep{t: t, old: rich("old"), now: rich("new")}
			worlds := make(chan *world, 6)
			for range cap(worlds) {
				w := newWorld(t)
				if err := bring(w.upURL, "team/app", s.now); err != nil {
					t.Fatal(err)
				}
				worlds <- w
			}
			w := <-worlds
			points := sampled(s.points(w))
			worlds <- w

			var all sync.WaitGroup
			for _, p := range points {
				w := <-worlds
				all.Go(func() {
					s.try(w, p)
					worlds <- w
				})
			}
			all.Wait()
			faults.Covers(t, "I1", "I4", "I11", "F26", "F76")
			faults.Measured(t, faults.CrashPoints, len(points))
			faults.Measured(t, faults.BrokenTags, int(s.broken.Load()))
			faults.Measured(t, faults.Unconverged, int(s.lost.Load()))
			faults.Measured(t, faults.SilentSuccesses, int(s.silent.Load()))
		})
	}
}

// sampled is a part of all points, spread over all of them, where time is short.
func sampled(all []point) []point {
	if faults.Full() {
		return all
	}
	const stride = 101 // shares no factor with the number of endings
	var some []point
	for i := 0; i < len(all); i += stride {
		some = append(some, all[i])
	}
	return some
}

// sweep is one kind of world's.
type sweep struct {
	t                    *testing.T
	old, now             content
	repositories         atomic.Int32
	broken, lost, silent atomic.Int32
}

// repository is one at the destination that nobody has used.
func (s *sweep) repository(w *world, update bool) (string, error) {
	name := fmt.Sprintf("n%d/app", s.repositories.Add(1))
	if err := w.create(name); err != nil {
		return "", err
	}
	if !update {
		return name, nil
	}
	return name, bring(w.downURL, name, s.old, w.auth()...)
}

// points are all there are: each request of a run without faults, with each ending.
func (s *sweep) points(w *world) []point {
	s.t.Helper()
	var all []point
	for _, update := range []bool{false, true} {
		repo, err := s.repository(w, update)
		if err != nil {
			s.t.Fatal(err)
		}
		w.quiet()
		if _, err := w.run(s.t.Context(), patient, []string{"team/app"}, []string{repo}); err != nil {
			s.t.Fatal(err)
		}
		if err := w.complete(repo, s.now); err != nil {
			s.t.Fatalf("without any fault: %v", err)
		}
		for _, side := range []*faultreg.Server{w.up, w.down} {
			for i, e := range side.Journal() {
				for _, ending := range endings() {
					if e.Kind != faultreg.API || ending.api {
						all = append(all, point{update, side == w.up, i + 1, ending})
					}
				}
			}
		}
		w.quiet()
	}
	return all
}

// try ends a run at a point and judges what is left.
func (s *sweep) try(w *world, p point) {
	repo, err := s.repository(w, p.update)
	if err != nil {
		s.t.Error(err)
		return
	}
	w.quiet()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	kill := func() {
		w.up.Kill()
		w.down.Kill()
		cancel()
	}
	server := w.down
	if p.up {
		server = w.up
	}
	server.Inject(faultreg.Rule{Nth: p.nth, Do: p.ending.do(server, kill)})
	impatient := patience{retries: p.ending.retries, stall: 150 * time.Millisecond, strict: p.update}
	results, _ := w.run(ctx, impatient, []string{"team/app"}, []string{repo}) // a run that is killed has no plan
	w.quiet()

	s.judge(w, p, repo, results)
	results, err = w.run(s.t.Context(), patient, []string{"team/app"}, []string{repo})
	if err != nil {
		s.lost.Add(1)
		s.t.Errorf("%s: the next run: %v", p, err)
		return
	}
	if err := w.complete(repo, s.now); err != nil {
		s.lost.Add(1)
		s.t.Errorf("%s: after the next run: %v", p, err)
		for _, r := range results {
			s.t.Logf("%s was %s: %s", r.Action.To, r.Status, r.Reason)
		}
	}
}

// judge looks at each tag right after the run ended.
func (s *sweep) judge(w *world, p point, repo string, results []plan.Result) {
	copied := map[string]bool{}
	for _, r := range results {
		if r.Status == plan.Copied || r.Status == plan.StaysInSync {
			copied[r.Action.To.Tag] = true
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(s.now.tags)) {
		is, err := w.holds(repo, tag)
		if err != nil || !slices.Contains(s.allowed(p, tag), is) {
			s.broken.Add(1)
			s.t.Errorf("%s: %s is %q: %v", p, tag, is, err)
		}
		if copied[tag] && is != s.now.tags[tag].Digest() {
			s.silent.Add(1)
			s.t.Errorf("%s: %s was reported as copied, and is %q", p, tag, is)
		}
	}
}

// allowed are the digests that a tag may have: the old one, or none where it had none, and
// the new one.
func (s *sweep) allowed(p point, tag string) []ref.Digest {
	was := ref.Digest("")
	if p.update {
		was = s.old.tags[tag].Digest()
	}
	return []ref.Digest{was, s.now.tags[tag].Digest()}
}
