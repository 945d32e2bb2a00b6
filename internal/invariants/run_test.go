package invariants_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faultreg"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// What a run writes is what its plan said, planning writes nothing, what the report says
// was moved was moved, and another run writes nothing at all.
func TestARunDoesWhatItPlanned(t *testing.T) {
	for name, newWorld := range kinds {
		t.Run(name, func(t *testing.T) {
			faults.Covers(t, "I3", "I5", "I12")
			w, now := newWorld(t), rich("new")
			from, to := []string{"team/app"}, []string{"n/app"}
			if err := errors.Join(bring(w.upURL, "team/app", now), w.create("n/app")); err != nil {
				t.Fatal(err)
			}
			w.quiet()
			proc := w.start(patient, from, to)
			defer func() { _ = proc.end() }()
			planned, err := proc.Plan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if early := w.writes(); len(early) > 0 {
				t.Errorf("planning wrote %v", early)
			}
			results, err := proc.Sync(t.Context(), planned)
			if err != nil {
				t.Fatal(err)
			}
			var wanted, written []string
			for _, a := range planned.Actions {
				wanted = append(wanted, a.To.Tag)
			}
			var bytes, reported int64
			for _, e := range w.writes() {
				switch {
				case e.Kind == faultreg.UploadPut:
					bytes += e.Bytes
				case e.Kind == faultreg.ManifestPut && len(e.Reference) < 64: // a longer one is a list of referrers
					written = append(written, e.Reference)
				}
			}
			for _, r := range results {
				reported += r.Bytes
			}
			slices.Sort(wanted)
			slices.Sort(written)
			if diff := cmp.Diff(wanted, written); diff != "" {
				t.Errorf("planned and written tags (-plan +apply)\n%s", diff)
			}
			if bytes != reported {
				t.Errorf("%d bytes are reported, and the registry got %d", reported, bytes)
			}

			w.quiet()
			if _, err := w.run(t.Context(), patient, from, to); err != nil {
				t.Fatal(err)
			}
			if again := w.writes(); len(again) > 0 {
				t.Errorf("the second run wrote %v", again)
			}
		})
	}
}

// Two runs at once, of which one has older images planned: each tag ends as one of the two
// plans, complete, and neither gets in the other's way.
func TestTwoRunsAtOnce(t *testing.T) {
	for name, newWorld := range kinds {
		t.Run(name, func(t *testing.T) {
			w, old, now := newWorld(t), rich("old"), rich("new")
			if err := errors.Join(bring(w.upURL, "one/app", old), bring(w.upURL, "two/app", now)); err != nil {
				t.Fatal(err)
			}
			rounds := 4
			if faults.Full() {
				rounds = 40
			}
			for n := range rounds {
				repo := fmt.Sprintf("n%d/app", n)
				if err := w.create(repo); err != nil {
					t.Fatal(err)
				}
				var both sync.WaitGroup
				for _, from := range []string{"one/app", "two/app"} {
					both.Go(func() {
						if _, err := w.run(t.Context(), patient, []string{from}, []string{repo}); err != nil {
							t.Error(err)
						}
					})
				}
				both.Wait()
				for tag := range now.tags {
					is, err := w.holds(repo, tag)
					if err != nil || (is != old.tags[tag].Digest() && is != now.tags[tag].Digest()) {
						t.Errorf("%s:%s is %q: %v", repo, tag, is, err)
					}
				}
			}
			faults.Covers(t, "F77", "I1", "I10")
		})
	}
}

// An upstream tag that moves while it is copied: what was planned arrives, and the next
// run brings what it moved to.
func TestATagMovesMeanwhile(t *testing.T) {
	w, old, now := registryWorld(t), rich("old"), rich("new")
	if err := bring(w.upURL, "team/app", old); err != nil {
		t.Fatal(err)
	}
	w.up.Inject(faultreg.Rule{Kind: faultreg.ManifestGet, Do: faultreg.After(func() {
		if err := bring(w.upURL, "team/app", now); err != nil {
			t.Error(err)
		}
	}, (*faultreg.Exchange).Pass)})
	for _, want := range []content{old, now} {
		if _, err := w.run(t.Context(), patient, []string{"team/app"}, []string{"n/app"}); err != nil {
			t.Fatal(err)
		}
		for tag, node := range want.tags {
			if is, err := w.holds("n/app", tag); err != nil || is != node.Digest() {
				t.Errorf("%s is %s, want %s: %v", tag, is, node.Digest(), err)
			}
		}
	}
	faults.Covers(t, "F36", "I2")
}

// One repository of several is refused, or fails for good. The rest of the run is what it
// is without that one, and the refusal is worded.
func TestOneRepositoryFails(t *testing.T) {
	for name, test := range map[string]struct {
		do   faultreg.Action
		says string
		ids  []string
	}{
		"refused": {faultreg.Refuse(403, "DENIED", "not in this one"), "not in this one", []string{"F19", "I6"}},
		"broken":  {faultreg.Status(500), "500", []string{"I6"}},
		"full": {
			faultreg.Refuse(403, "LIMIT_EXCEEDED", "The repository has reached its quota of 100000 images"),
			"The repository has reached its quota of 100000 images",
			[]string{"F64", "I6"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, now := registryWorld(t), rich("new")
			var from, to []string
			for i := range 6 {
				from, to = append(from, "team/app"), append(to, fmt.Sprintf("n%d/app", i))
			}
			if err := bring(w.upURL, "team/app", now); err != nil {
				t.Fatal(err)
			}
			w.down.Inject(faultreg.Rule{Repository: "n3/app", Match: func(e faultreg.Entry) bool { return e.Kind.Writes() }, Times: -1, Do: test.do})
			results, err := w.run(t.Context(), patience{retries: 0, stall: time.Minute}, from, to)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				bad := r.Action.To.Repository.Path == "n3/app"
				if bad != (r.Status == plan.HasFailed) || bad && !strings.Contains(r.Reason, test.says) {
					t.Errorf("%s is %s: %s", r.Action.To, r.Status, r.Reason)
				}
			}
			for _, repo := range to {
				if repo != "n3/app" {
					if err := w.complete(repo, now); err != nil {
						t.Error(err)
					}
				}
			}
			faults.Covers(t, test.ids...)
		})
	}
}

// A layer's stream ends in any way at any place, once, or the connection on which it was to
// come is gone. The layer arrives nevertheless.
func TestLayersThatBreakOff(t *testing.T) {
	const size = 40_000
	type fault struct {
		id string
		do faultreg.Action
	}
	all := map[string]fault{
		"truncated":       {"F08", faultreg.Truncate(size / 2)},
		"closed unasked":  {"F14", faultreg.Close()},
		"flipped":         {"F33", faultreg.Corrupt(size / 2)},
		"short and whole": {"F08", faultreg.Shorten(size / 2)},
	}
	for _, n := range []int{0, 1, size / 2, size - 1} {
		all[fmt.Sprintf("reset at %d", n)] = fault{"F05", faultreg.CutAfter(n)}
		all[fmt.Sprintf("reset at %d, and no Range", n)] = fault{"F06", faultreg.CutAfter(n)}
	}
	for name, f := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, now := registryWorld(t), rich("new")
			if err := bring(w.upURL, "team/app", now); err != nil {
				t.Fatal(err)
			}
			layer := now.tags["single"].Blobs[2].Digest().String()
			about := func(e faultreg.Entry) bool { return e.Reference == layer }
			w.up.Inject(faultreg.Rule{Kind: faultreg.BlobGet, Match: about, Do: f.do})
			if f.id == "F06" { // the whole blob, whatever part of it was asked for
				w.up.Inject(faultreg.Rule{Kind: faultreg.BlobGet, Match: about, Times: -1, Do: func(x *faultreg.Exchange) {
					x.Request.Header.Del("Range")
					x.Pass()
				}})
			}
			if _, err := w.run(t.Context(), patient, []string{"team/app"}, []string{"n/app"}); err != nil {
				t.Fatal(err)
			}
			if err := w.complete("n/app", now); err != nil {
				t.Error(err)
			}
			if !failed(w.up, faultreg.BlobGet) {
				t.Error("nothing failed")
			}
			faults.Covers(t, f.id)
		})
	}
}

// Connections that are closed while nobody uses them cost no attempt.
func TestIdleConnectionsThatWereClosed(t *testing.T) {
	b := newBench(t, time.Minute, 0)
	if err := errors.Join(b.bring(t.Context(), "1"), b.copies(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.up.Hangup()
	b.down.Hangup()
	if err := errors.Join(b.bring(t.Context(), "2"), b.copies(t.Context())); err != nil {
		t.Error(err)
	}
	faults.Covers(t, "F28")
}

// Nothing listens any more; then something does again.
func TestARegistryIsGone(t *testing.T) {
	w, now := registryWorld(t), rich("new")
	if err := bring(w.upURL, "team/app", now); err != nil {
		t.Fatal(err)
	}
	gone := faultreg.Start(t, nil)
	gone.Stop()
	here := w.down
	w.down = gone
	results, err := w.run(t.Context(), patience{retries: 1, stall: time.Minute}, []string{"team/app"}, []string{"n/app"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Status == plan.Copied || r.Status == plan.StaysInSync || !strings.Contains(r.Reason, "connection refused") || !strings.Contains(r.Reason, gone.Host) {
			t.Errorf("%s is %s: %s", r.Action.To, r.Status, r.Reason)
		}
	}
	w.down = here
	if _, err := w.run(t.Context(), patient, []string{"team/app"}, []string{"n/app"}); err != nil {
		t.Fatal(err)
	}
	if err := w.complete("n/app", now); err != nil {
		t.Error(err)
	}
	faults.Covers(t, "F01")
}
