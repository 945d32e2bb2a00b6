package prune_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/prune"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

var now = time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)

// digest makes a digest of a letter.
func digest(letter string) ref.Digest { return ref.Digest("sha256:" + strings.Repeat(letter, 64)) }

func mirrorOf(upstream string) *discover.Mirror {
	return &discover.Mirror{
		Upstream: ref.MustParse(upstream).Repository,
		Target:   ref.MustParse("ecr.example/app").Repository,
		Prune:    discover.Prune{On: true},
	}
}

// view is a mirror that wants 2.0 and 3.0, of a target that holds 1.0, 1.1 and 1.2 besides.
func view(changes ...func(*prune.View)) prune.View {
	v := prune.View{
		Mirror: mirrorOf("quay.io/org/app"),
		Wanted: []string{"2.0", "3.0"},
		Listing: &prune.Listing{
			Tags: []string{"1.0", "1.1", "1.2", "2.0", "3.0", "sha256-" + strings.Repeat("a", 64) + ".sig"},
			Held: map[string]ref.Digest{"1.0": digest("a"), "1.1": digest("b"), "1.2": digest("c")},
			Why:  map[string]string{"1.0": "upstream does not have it"},
		},
	}
	for _, change := range changes {
		change(&v)
	}
	return v
}

// run is one in which everything may go that has been unwanted for a week.
func run(changes ...func(*prune.Run)) prune.Run {
	r := prune.Run{
		Limits: prune.Limits{Max: 100, Share: 10_000},
		Now:    now,
		Since:  func(ref.Reference, ref.Digest) time.Time { return now.AddDate(0, 0, -8) },
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

// described are decisions by tag: the verb, and the reason without what all begin with.
func described(decided []prune.Decision) map[string]string {
	by := map[string]string{}
	for _, a := range prune.Actions(decided) {
		by[a.To.Tag] = string(a.Verb) + ": " + a.Reason
	}
	return by
}

// everyRow is the outcome where one reason holds for all unwanted tags.
func everyRow(verb plan.Verb, reason string) map[string]string {
	return map[string]string{
		"1.0": string(verb) + ": upstream does not have it" + reason,
		"1.1": string(verb) + ": no rule chooses it" + reason,
		"1.2": string(verb) + ": no rule chooses it" + reason,
	}
}

func TestDecide(t *testing.T) {
	listing := func(change func(*prune.Listing)) func(*prune.View) {
		return func(v *prune.View) { change(v.Listing) }
	}
	pruning := func(change func(*discover.Prune)) func(*prune.View) {
		return func(v *prune.View) { change(&v.Mirror.Prune) }
	}
	row := func(tag string, verb plan.Verb, err error) func(*prune.Run) {
		return func(r *prune.Run) {
			r.Planned = append(r.Planned, plan.Action{Verb: verb, To: mirrorOf("x/y").Target.Tagged(tag), Err: err})
		}
	}
	since := func(f func(tag string) time.Time) func(*prune.Run) {
		return func(r *prune.Run) {
			r.Since = func(tag ref.Reference, _ ref.Digest) time.Time { return f(tag.Tag) }
		}
	}
	limits := func(l prune.Limits) func(*prune.Run) { return func(r *prune.Run) { r.Limits = l } }
	other := func(changes ...func(*prune.View)) prune.View {
		return view(slices.Concat([]func(*prune.View){func(v *prune.View) { v.Mirror.Upstream = mirrorOf("quay.io/org/other").Upstream }}, changes)...)
	}
	tests := []struct {
		name  string
		views []prune.View
		run   prune.Run
		want  map[string]string
	}{
		{"unwanted for longer than the grace", []prune.View{view()}, run(), everyRow(plan.Prune, "")},
		{"what a glob protects", []prune.View{view(pruning(func(p *discover.Prune) { p.Protect = []string{"1.1", "*.2"} }))}, run(), map[string]string{
			"1.0": "prune: upstream does not have it",
		}},
		{"nothing but what is wanted", []prune.View{view(func(v *prune.View) { v.Wanted = []string{"1.0", "1.1", "1.2"} })}, run(), map[string]string{}},
		{"no listing was needed", []prune.View{view(func(v *prune.View) { v.Listing = nil })}, run(), map[string]string{}},
		{"a mirror that does not prune", []prune.View{view(pruning(func(p *discover.Prune) { p.On = false }))}, run(), map[string]string{}},
		{"what nobody knows the digest of", []prune.View{view(listing(func(l *prune.Listing) { delete(l.Held, "1.0"); delete(l.Held, "1.1") }))}, run(), map[string]string{
			"1.2": "prune: no rule chooses it",
		}},

		// What shows on the way there.
		{"no state", []prune.View{view()}, run(func(r *prune.Run) { r.Since = nil }), everyRow(plan.Stale, "; report only: without --state it is not known how long it has been so")},
		{"no brakes", []prune.View{view()}, run(limits(prune.Limits{})), everyRow(plan.Stale, "; report only: --prune-max and --prune-max-share say how many tags may go")},
		{"one brake", []prune.View{view()}, run(limits(prune.Limits{Max: 10})), everyRow(plan.Stale, "; report only: --prune-max and --prune-max-share say how many tags may go")},
		{"the other brake", []prune.View{view()}, run(limits(prune.Limits{Share: 10_000})), everyRow(plan.Stale, "; report only: --prune-max and --prune-max-share say how many tags may go")},
		{"never seen before", []prune.View{view()}, run(since(func(string) time.Time { return time.Time{} })), everyRow(plan.Stale, "; it may go from 2026-03-27T12:00:00Z on")},
		{"never seen before, and hardly any grace", []prune.View{view(pruning(func(p *discover.Prune) { p.Grace = 1 }))}, run(since(func(string) time.Time { return time.Time{} })), everyRow(plan.Stale, "; it may go from 2026-03-20T12:00:00Z on")},
		{"within its grace, and just over it", []prune.View{view()}, run(since(func(tag string) time.Time {
			return map[string]time.Time{"1.0": now.AddDate(0, 0, -7), "1.1": now.AddDate(0, 0, -7).Add(time.Second), "1.2": now.AddDate(0, 0, 1)}[tag]
		})), map[string]string{
			"1.0": "prune: upstream does not have it",
			"1.1": "stale: no rule chooses it; it may go from 2026-03-20T12:00:01Z on",
			"1.2": "stale: no rule chooses it; it may go from 2026-03-28T12:00:00Z on",
		}},
		{"a grace of its own", []prune.View{view(pruning(func(p *discover.Prune) { p.Grace = 10 * 24 * time.Hour }))}, run(), everyRow(plan.Stale, "; it may go from 2026-03-22T12:00:00Z on")},

		// Doubts.
		{"a failed row", []prune.View{view()}, run(row("3.0", plan.Failed, nil)), everyRow(plan.Stale, "; prune cancelled: 3.0 is failed")},
		{"a row that an error blocks", []prune.View{view()}, run(row("3.0", plan.Blocked, errors.New("upstream tag missing"))), everyRow(plan.Stale, "; prune cancelled: 3.0 is blocked")},
		{"a row that a rule blocks", []prune.View{view()}, run(row("3.0", plan.Blocked, nil)), everyRow(plan.Prune, "")},
		{"a failed row elsewhere", []prune.View{view()}, run(func(r *prune.Run) {
			r.Planned = []plan.Action{{Verb: plan.Failed, To: ref.MustParse("ecr.example/app2:1")}}
		}), everyRow(plan.Prune, "")},
		{"a list that is not whole", []prune.View{view(listing(func(l *prune.Listing) { l.Doubt = "upstream lists no tags" }))}, run(), everyRow(plan.Stale, "; prune cancelled: upstream lists no tags")},
		{"a listing that failed", []prune.View{view(func(v *prune.View) { v.Err = errors.New("502") })}, run(), everyRow(plan.Stale, "; prune cancelled: the mirror of quay.io/org/app failed")},
		{"rules that choose nothing", []prune.View{view(func(v *prune.View) { v.Wanted = nil })}, run(), map[string]string{
			"1.0": "stale: upstream does not have it; prune cancelled: the rules for quay.io/org/app choose no tag",
			"1.1": "stale: no rule chooses it; prune cancelled: the rules for quay.io/org/app choose no tag",
			"1.2": "stale: no rule chooses it; prune cancelled: the rules for quay.io/org/app choose no tag",
		}},
		{"mode:higher", []prune.View{view(func(v *prune.View) { v.Mirror.Rules.Mode = discover.ModeHigher })}, run(), everyRow(plan.Stale, "; prune cancelled: mode:higher wants only what is new")},
		{"a veto", []prune.View{view()}, run(func(r *prune.Run) { r.Veto = func(ref.Repository) string { return "of somebody" } }), everyRow(plan.Stale, "; prune cancelled: of somebody")},

		// Several mirrors.
		{"another one wants it", []prune.View{view(), other(func(v *prune.View) { v.Wanted = []string{"1.0", "1.2"} })}, run(), map[string]string{"1.1": "prune: no rule chooses it"}},
		{"another one protects it", []prune.View{view(), other(pruning(func(p *discover.Prune) { p.Protect = []string{"1.0", "1.2"} }))}, run(), map[string]string{"1.1": "prune: no rule chooses it"}},
		{"another one has more patience", []prune.View{view(), other(pruning(func(p *discover.Prune) { p.Grace = 10 * 24 * time.Hour }))}, run(), everyRow(plan.Stale, "; it may go from 2026-03-22T12:00:00Z on")},
		{"another one failed", []prune.View{view(), {Mirror: mirrorOf("quay.io/org/other"), Err: errors.New("503")}}, run(), everyRow(plan.Stale, "; prune cancelled: the mirror of quay.io/org/other failed")},
		{"another one does not prune", []prune.View{view(), other(func(v *prune.View) { v.Mirror.Prune, v.Listing = discover.Prune{}, nil })}, run(), everyRow(plan.Stale, "; prune cancelled: the mirror of quay.io/org/other writes here too, and does not prune")},
		{"another one says why it is not wanted", []prune.View{view(), other(listing(func(l *prune.Listing) {
			l.Why = map[string]string{"1.0": "lower than 3.0", "1.1": "upstream does not have it"}
		}))}, run(), map[string]string{
			"1.0": "prune: upstream does not have it; lower than 3.0",
			"1.1": "prune: upstream does not have it",
			"1.2": "prune: no rule chooses it",
		}},

		// Brakes. The target has five tags: those of referrers do not count.
		{"never below", []prune.View{view(pruning(func(p *discover.Prune) { p.KeepAtLeast = 4 }))}, run(since(func(tag string) time.Time {
			return map[string]time.Time{"1.0": now.AddDate(0, 0, -8), "1.1": now.AddDate(0, 0, -9), "1.2": now.AddDate(0, 0, -8)}[tag]
		})), map[string]string{
			"1.0": "stale: upstream does not have it; kept, since the repository keeps at least 4 tags",
			"1.1": "prune: no rule chooses it",
			"1.2": "stale: no rule chooses it; kept, since the repository keeps at least 4 tags",
		}},
		{"far below already", []prune.View{view(pruning(func(p *discover.Prune) { p.KeepAtLeast = 40 }))}, run(), everyRow(plan.Stale, "; kept, since the repository keeps at least 40 tags")},
		{"as many as the share allows", []prune.View{view()}, run(limits(prune.Limits{Max: 3, Share: 6000})), everyRow(plan.Prune, "")},
		{"more than the share allows", []prune.View{view()}, run(limits(prune.Limits{Max: 3, Share: 5999})), everyRow(plan.Blocked, "; 3 of 5 tags are due to go, more than --prune-max-share 59.99% allows: none goes")},
		{"more than the number allows", []prune.View{view()}, run(limits(prune.Limits{Max: 2, Share: 10_000})), everyRow(plan.Blocked, "; 3 tags of this run are due to go, more than --prune-max 2 allows: none goes")},

		// Images that go with their last tag.
		{"what becomes of the images", []prune.View{view(listing(func(l *prune.Listing) {
			l.LastTagDeletes = true
			l.Held = map[string]ref.Digest{"1.0": digest("a"), "1.1": digest("b"), "1.2": digest("b"), "2.0": digest("a"), "3.0": digest("c")}
		}))}, run(), map[string]string{
			"1.0": "prune: upstream does not have it; its image stays, as 2.0",
			"1.1": "prune: no rule chooses it; its image has no other tag left, and the registry deletes it too",
			"1.2": "prune: no rule chooses it; its image has no other tag left, and the registry deletes it too",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			decided, _ := prune.Decide(test.views, test.run)
			if diff := cmp.Diff(test.want, described(decided)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRowsSayWhatTheReportNeeds(t *testing.T) {
	decided, _ := prune.Decide([]prune.View{view()}, run())
	a := prune.Actions(decided)[0]
	want := plan.Action{
		Verb: plan.Prune, From: ref.Reference{Repository: mirrorOf("quay.io/org/app").Upstream},
		To: ref.MustParse("ecr.example/app:1.0"), Have: digest("a"), Reason: "upstream does not have it", Mirror: mirrorOf("quay.io/org/app"),
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The number is for the whole run: several repositories share it, and all keep their tags
// where it is exceeded.
func TestTheNumberIsForTheRun(t *testing.T) {
	second := view(func(v *prune.View) { v.Mirror.Target.Path = "b" })
	for most, verb := range map[int]plan.Verb{5: plan.Blocked, 6: plan.Prune} {
		decided, _ := prune.Decide([]prune.View{view(), second}, run(func(r *prune.Run) { r.Limits.Max = most }))
		if len(decided) != 6 {
			t.Fatalf("%d decisions", len(decided))
		}
		for _, d := range decided {
			if d.Action.Verb != verb {
				t.Errorf("at most %d: %s is %s", most, d.Action.To, d.Action.Verb)
			}
		}
	}
}

func TestSpare(t *testing.T) {
	deletes := view(func(v *prune.View) {
		v.Listing.LastTagDeletes = true
		v.Listing.Held["2.0"] = digest("c")
	})
	decided, _ := prune.Decide([]prune.View{deletes}, run())
	elsewhere := ref.Repository{Host: "ecr.example", Path: "b"}
	prune.Spare(decided, elsewhere, map[ref.Digest]string{digest("b"): "x"}, errors.New("down"))
	prune.Spare(decided, deletes.Mirror.Target, map[ref.Digest]string{digest("a"): "3.0 is an index with it", digest("c"): "3.0 is an index with it"}, nil)
	want := map[string]string{
		"1.0": "stale: upstream does not have it; kept, since 3.0 is an index with it",
		"1.1": "prune: no rule chooses it; its image has no other tag left, and the registry deletes it too",
		"1.2": "prune: no rule chooses it; its image stays, as 2.0", // so nothing that needs it is hurt
	}
	if diff := cmp.Diff(want, described(decided)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Where it cannot be found out what needs an image, it stays.
func TestSpareInDoubt(t *testing.T) {
	down := errors.New("down")
	decided, _ := prune.Decide([]prune.View{view(func(v *prune.View) { v.Listing.LastTagDeletes = true })}, run())
	prune.Spare(decided, decided[0].Action.To.Repository, nil, down)
	for _, a := range prune.Actions(decided) {
		if a.Verb != plan.Failed || !errors.Is(a.Err, down) || a.Reason != "it is not known what needs the image: down" {
			t.Errorf("%s is %s: %s", a.To, a.Verb, a.Reason)
		}
	}
}

func TestObservations(t *testing.T) {
	all := map[string]ref.Digest{"1.0": digest("a"), "1.1": digest("b"), "1.2": digest("c")}
	target, wanted := mirrorOf("x/y").Target, []string{"2.0", "3.0"}
	for name, tc := range map[string]struct {
		view prune.View
		run  prune.Run
		want prune.Observation
	}{
		"certain":         {view(), run(), prune.Observation{Target: target, Certain: true, Unwanted: all, Wanted: wanted}},
		"report only":     {view(), run(func(r *prune.Run) { r.Limits = prune.Limits{} }), prune.Observation{Target: target, Certain: true, Unwanted: all, Wanted: wanted}},
		"doubtful":        {view(func(v *prune.View) { v.Listing.Doubt = "x" }), run(), prune.Observation{Target: target, Wanted: wanted}},
		"not asked for":   {view(func(v *prune.View) { v.Mirror.Prune.On = false }), run(), prune.Observation{Target: target, Certain: true, Wanted: wanted}},
		"nothing besides": {view(func(v *prune.View) { v.Listing = nil }), run(), prune.Observation{Target: target, Certain: true, Unwanted: map[string]ref.Digest{}, Wanted: wanted}},
	} {
		_, observed := prune.Decide([]prune.View{tc.view}, tc.run)
		if diff := cmp.Diff([]prune.Observation{tc.want}, observed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestShare(t *testing.T) {
	for text, want := range map[string]string{
		"10%": "10%", "10": "10%", "0.5%": "0.5%", "100%": "100%", "0": "0%", "0%": "0%", "33.33%": "33.33%", "7.05": "7.05%", "12.50%": "12.5%",
	} {
		share, err := prune.ParseShare(text)
		if err != nil || share.String() != want {
			t.Errorf("%q is %s, %v; want %s", text, share, err, want)
		}
		if again, err := prune.ParseShare(share.String()); err != nil || again != share {
			t.Errorf("%s is read again as %s, %v", share, again, err)
		}
	}
	for _, text := range []string{"", "%", "101%", "100.01%", "-1%", "1e1", "10 %", "0.001%", ".5", "NaN", "١٠%"} {
		if share, err := prune.ParseShare(text); err == nil {
			t.Errorf("%q is %s", text, share)
		}
	}
}
