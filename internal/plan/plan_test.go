package plan_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

const (
	digestA = ref.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	digestB = ref.Digest("sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
	digestC = ref.Digest("sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc")
)

func mirrorTo(target string) *discover.Mirror {
	return &discover.Mirror{
		Upstream: ref.MustParse("quay.io/org/app").Repository,
		Target:   ref.MustParse(target).Repository,
		Options:  discover.DefaultOptions(),
	}
}

// wanted is a tag that upstream has as digestA.
func wanted(change func(*plan.Wanted)) plan.Wanted {
	w := plan.Wanted{Mirror: mirrorTo("ecr.example/app"), Tag: "1.0", Source: "1.0", Upstream: digestA}
	change(&w)
	return w
}

func immutable(w *plan.Wanted)  { w.Mirror.Tags.Immutable = true }
func keepsOld(w *plan.Wanted)   { w.Mirror.Options.Replace = false }
func holds(d ref.Digest) change { return func(w *plan.Wanted) { w.Have = d } }

type change = func(*plan.Wanted)

func all(changes ...change) change {
	return func(w *plan.Wanted) {
		for _, c := range changes {
			c(w)
		}
	}
}

func TestDecide(t *testing.T) {
	outage := errors.New("connection refused")
	kind := func(k error) error { return fmt.Errorf("GET https://quay.io/v2/: %w", k) }
	upstream := func(err error) change { return func(w *plan.Wanted) { w.Upstream, w.Err = "", err } }
	target := func(err error) change { return func(w *plan.Wanted) { w.TargetErr = err } }
	selection := func(d ref.Digest) change { return func(w *plan.Wanted) { w.Want = d } }
	selected := func(w *plan.Wanted) { w.Selected = true }
	uncompared := func(w *plan.Wanted) { w.Uncompared, w.Upstream = true, "" }
	except := func(tag string) change {
		return func(w *plan.Wanted) { w.Mirror.Tags.Exceptions = []string{tag} }
	}

	tests := []struct {
		name   string
		given  change
		verb   plan.Verb
		reason string
		want   ref.Digest
	}{
		{"absent", all(), plan.Copy, "missing at destination", digestA},
		{"equal", holds(digestA), plan.InSync, "same digest", digestA},
		{"moved", holds(digestB), plan.Update, "upstream moved", digestA},

		{"immutable and absent", immutable, plan.Copy, "missing at destination", digestA},
		{"immutable and equal", all(immutable, holds(digestA)), plan.InSync, "same digest", digestA},
		{"immutable and moved", all(immutable, holds(digestB)), plan.Blocked, "tag is immutable at destination and upstream moved", digestA},
		{"immutable but for this tag, and moved", all(immutable, except("1.*"), holds(digestB)), plan.Update, "upstream moved", digestA},
		{"immutable but for other tags, and moved", all(immutable, except("dev-*"), holds(digestB)), plan.Blocked, "tag is immutable at destination and upstream moved", digestA},
		{"mutable but for this tag, and moved", all(except("1.*"), holds(digestB)), plan.Blocked, "tag is immutable at destination and upstream moved", digestA},
		{"mutable but for other tags, and moved", all(except("dev-*"), holds(digestB)), plan.Update, "upstream moved", digestA},

		{"replace=false and absent", keepsOld, plan.Copy, "missing at destination", digestA},
		{"replace=false and equal", all(keepsOld, holds(digestA)), plan.InSync, "same digest", digestA},
		{"replace=false and moved", all(keepsOld, holds(digestB)), plan.Drifted, "upstream moved; replace is off", digestA},
		{"replace=false where the tag is immutable", all(immutable, keepsOld, holds(digestB)), plan.Drifted, "upstream moved; replace is off", digestA},
		{"replace=false and other platforms", all(keepsOld, selection(digestC), holds(digestB)), plan.Drifted, "upstream moved; replace is off", digestC},
		{"replace=false and the platforms it has", all(keepsOld, selected, holds(digestC)), plan.InSync, "same platforms of the same upstream digest", digestC},
		{"replace=false and the upstream tag absent", all(keepsOld, upstream(kind(failure.ErrNotFound)), holds(digestB)), plan.Blocked, "upstream tag missing", ""},

		{"selection absent", selection(digestC), plan.Copy, "missing at destination", digestC},
		{"selection equal", all(selection(digestC), holds(digestC)), plan.InSync, "same digest", digestC},
		{"selection where all platforms were", all(selection(digestC), holds(digestA)), plan.Update, "upstream moved", digestC},
		{"selection known by its annotations", all(selected, holds(digestC)), plan.InSync, "same platforms of the same upstream digest", digestC},

		{"declared immutable", all(uncompared, holds(digestC)), plan.Present, "present, not compared: declared immutable", digestC},

		{"upstream repository absent", upstream(kind(plan.ErrNoRepository)), plan.Blocked, "upstream repository missing, or hidden from these credentials", ""},
		{"upstream tag absent", upstream(kind(failure.ErrNotFound)), plan.Blocked, "upstream tag missing", ""},
		{"upstream denied", upstream(kind(failure.ErrDenied)), plan.Blocked, "upstream denied: GET https://quay.io/v2/: access denied", ""},
		{"upstream of an unknown kind", upstream(kind(failure.ErrUnsupported)), plan.Blocked, "GET https://quay.io/v2/: not supported", ""},
		{"upstream down", upstream(outage), plan.Failed, "upstream: connection refused", ""},
		{"upstream throttled", upstream(kind(failure.ErrThrottled)), plan.Failed, "upstream: GET https://quay.io/v2/: throttled", ""},
		{"upstream corrupt", upstream(kind(failure.ErrCorrupt)), plan.Failed, "upstream: GET https://quay.io/v2/: content does not match its digest", ""},
		{"upstream malformed", upstream(kind(failure.ErrPermanent)), plan.Failed, "upstream: GET https://quay.io/v2/: permanent failure", ""},

		{"destination absent", target(kind(failure.ErrNotFound)), plan.Blocked, "destination repository missing: create it, or let --create-repositories do so", digestA},
		{"destination denied", target(kind(failure.ErrDenied)), plan.Blocked, "destination denied: GET https://quay.io/v2/: access denied", digestA},
		{"destination down", target(outage), plan.Failed, "destination: connection refused", digestA},
		{"both down", all(target(outage), upstream(kind(failure.ErrNotFound))), plan.Failed, "destination: connection refused", ""},
		{"a destination that is not known is never in sync", all(target(outage), holds(digestA)), plan.Failed, "destination: connection refused", digestA},

		// A registry that answered without saying a digest would have made an absent
		// destination tag count as equal to it.
		{"no digest on either side", func(w *plan.Wanted) { w.Upstream = "" }, plan.Failed, "upstream: it is not known what the tag means", ""},
		{"no digest upstream", func(w *plan.Wanted) { w.Upstream, w.Have = "", digestB }, plan.Failed, "upstream: it is not known what the tag means", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := wanted(test.given)
			p := plan.Build([][]plan.Wanted{{w}}, nil, nil)
			if len(p.Actions) != 1 {
				t.Fatalf("%d actions", len(p.Actions))
			}
			a := p.Actions[0]
			if a.Verb != test.verb || a.Reason != test.reason || a.Want != test.want {
				t.Errorf("got %s %q of %q, want %s %q of %q", a.Verb, a.Reason, a.Want, test.verb, test.reason, test.want)
			}
			if a.Have != w.Have || a.From.Digest != w.Upstream || a.From.Tag != "1.0" || a.To != w.Mirror.Target.Tagged("1.0") {
				t.Errorf("the action is about something else: %+v", a)
			}
			if (a.Err != nil) != (w.Err != nil || w.TargetErr != nil || w.Upstream == "" && !w.Uncompared) {
				t.Errorf("Err is %v", a.Err)
			}
			if a.Verb.Writes() != (test.verb == plan.Copy || test.verb == plan.Update) {
				t.Errorf("Writes() of %s is %t", a.Verb, a.Verb.Writes())
			}
		})
	}
}

func TestRenamedAndPinned(t *testing.T) {
	renamed := wanted(func(w *plan.Wanted) { w.Tag = "stable" })
	pinned := wanted(func(w *plan.Wanted) { w.Tag, w.Source = "pinned", "" })
	p := plan.Build([][]plan.Wanted{{renamed, pinned}}, nil, nil)
	var got []string
	for _, a := range p.Actions {
		got = append(got, a.From.String()+" -> "+a.To.String())
	}
	want := []string{
		"quay.io/org/app@" + string(digestA) + " -> ecr.example/app:pinned",
		"quay.io/org/app:1.0@" + string(digestA) + " -> ecr.example/app:stable",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// several is a mixed bag: two targets, several tags, a mirror that failed as a whole.
func several() ([]plan.Wanted, []plan.Action) {
	var many []plan.Wanted
	for _, target := range []string{"ecr.example/b", "ecr.example/a"} {
		for i, tag := range []string{"2", "10", "1"} {
			many = append(many, plan.Wanted{
				Mirror: mirrorTo(target), Tag: tag, Source: tag, Upstream: digestA,
				Have: []ref.Digest{"", digestA, digestB}[i],
			})
		}
	}
	return many, []plan.Action{plan.MirrorStopped(mirrorTo("ecr.example/ab"), errors.New("no list"))}
}

func rows(p plan.Plan) []string {
	var lines []string
	for _, a := range p.Actions {
		lines = append(lines, string(a.Verb)+" "+a.To.String())
	}
	return lines
}

func TestBuildSortsByDestination(t *testing.T) {
	many, failed := several()
	want := []string{
		"update ecr.example/a:1", "in-sync ecr.example/a:10", "copy ecr.example/a:2",
		"failed ecr.example/ab",
		"update ecr.example/b:1", "in-sync ecr.example/b:10", "copy ecr.example/b:2",
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(many), func(i, j int) { many[i], many[j] = many[j], many[i] })
		p := plan.Build([][]plan.Wanted{many}, failed, []string{"a warning"})
		if diff := cmp.Diff(want, rows(p)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"a warning"}, p.Warnings); diff != "" {
			t.Fatalf("warnings (-want +got):\n%s", diff)
		}
	}
}

// Build keeps its hands off its arguments, also off a caller's spare capacity.
func TestBuildIsPure(t *testing.T) {
	many, failed := several()
	spare := append(make([]plan.Action, 0, 16), failed...)
	manyBefore, failedBefore := slices.Clone(many), slices.Clone(failed)
	first := plan.Build([][]plan.Wanted{many}, spare, nil)
	second := plan.Build([][]plan.Wanted{many}, spare, nil)
	compareErrors := cmpopts.EquateErrors()
	for name, diff := range map[string]string{
		"wanted":  cmp.Diff(manyBefore, many, compareErrors),
		"failed":  cmp.Diff(failedBefore, spare, compareErrors),
		"beyond":  cmp.Diff(make([]plan.Action, 15), spare[1:16], compareErrors),
		"outcome": cmp.Diff(first, second, compareErrors),
	} {
		if diff != "" {
			t.Errorf("%s changed (-before +after):\n%s", name, diff)
		}
	}
}

func TestClashes(t *testing.T) {
	from := func(upstream, tag string) plan.Wanted {
		return wanted(func(w *plan.Wanted) {
			w.Mirror.Upstream, w.Tag = ref.MustParse(upstream).Repository, tag
		})
	}
	p := plan.Build([][]plan.Wanted{
		{from("quay.io/one/app", "1.0"), from("quay.io/one/app", "2.0")}, {from("quay.io/three/app", "1.0")}, {from("quay.io/two/app", "1.0")},
	}, nil, nil)
	want := []string{"failed ecr.example/app:1.0", "failed ecr.example/app:1.0", "failed ecr.example/app:1.0", "copy ecr.example/app:2.0"}
	if diff := cmp.Diff(want, rows(p)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	for i, others := range [][]string{{"one", "three"}, {"three", "two"}, {"three", "two"}} {
		for _, other := range others {
			if !strings.Contains(p.Actions[i].Reason, "two rules want this tag") || !strings.Contains(p.Actions[i].Reason, "quay.io/"+other+"/app") {
				t.Errorf("reason %d %q does not name %s", i, p.Actions[i].Reason, other)
			}
		}
	}
	// Mirrors that failed as a whole want no tag, however many there are for one target.
	whole := plan.MirrorStopped(mirrorTo("ecr.example/app"), failure.ErrDenied)
	p = plan.Build(nil, []plan.Action{whole, whole}, nil)
	if diff := cmp.Diff([]string{"blocked ecr.example/app", "blocked ecr.example/app"}, rows(p)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStop(t *testing.T) {
	a := plan.Build([][]plan.Wanted{{wanted(all())}}, nil, nil).Actions[0]
	for _, test := range []struct {
		err  error
		verb plan.Verb
	}{
		{plan.ErrForbidden, plan.Blocked},
		{failure.ErrNotFound, plan.Blocked},
		{failure.ErrDenied, plan.Blocked},
		{failure.ErrUnsupported, plan.Blocked},
		{failure.ErrThrottled, plan.Failed},
		{errors.New("cut"), plan.Failed},
	} {
		err := fmt.Errorf("judging: %w", test.err)
		got := a.Stop(err)
		if got.Verb != test.verb || got.Reason != err.Error() || !errors.Is(got.Err, test.err) || got.To != a.To {
			t.Errorf("Stop(%v) = %+v", err, got)
		}
		if a.Verb != plan.Copy {
			t.Fatal("the action itself was changed")
		}
		m := mirrorTo("ecr.example/app")
		whole := plan.MirrorStopped(m, err)
		if whole.Verb != test.verb || whole.To.String() != "ecr.example/app" || whole.From.String() != "quay.io/org/app" {
			t.Errorf("MirrorStopped(%v) = %+v", err, whole)
		}
	}
}

func TestCountAndChanges(t *testing.T) {
	many, failed := several()
	p := plan.Build([][]plan.Wanted{many}, failed, nil)
	for verb, want := range map[plan.Verb]int{plan.Copy: 2, plan.Update: 2, plan.InSync: 2, plan.Failed: 1, plan.Blocked: 0} {
		if got := p.Count(verb); got != want {
			t.Errorf("Count(%s) = %d, want %d", verb, got, want)
		}
	}
	if !p.Changes() {
		t.Error("a plan with copies has no changes")
	}
	if p := plan.Build(nil, failed, nil); p.Changes() {
		t.Error("a plan of failures has changes")
	}
}

func TestAdd(t *testing.T) {
	many, failed := several()
	p := plan.Build([][]plan.Wanted{many}, failed, []string{"remark"})
	before := slices.Clone(p.Actions)
	old := plan.Action{Verb: plan.Prune, To: many[0].Mirror.Target.Tagged("0.1"), Have: digestA}
	more := p.Add([]plan.Action{old})
	if !slices.IsSortedFunc(more.Actions, func(a, b plan.Action) int { return strings.Compare(a.To.String(), b.To.String()) }) {
		t.Errorf("not in order: %v", more.Actions)
	}
	if len(more.Actions) != len(before)+1 || more.Count(plan.Prune) != 1 || len(more.Warnings) != 1 {
		t.Errorf("it became %+v", more)
	}
	if diff := cmp.Diff(before, p.Actions, cmpopts.EquateErrors()); diff != "" {
		t.Errorf("the plan itself changed (-before +after):\n%s", diff)
	}
	if only := (plan.Plan{}).Add([]plan.Action{old}); !only.Changes() {
		t.Error("a plan that removes a tag has no changes")
	}
	old.Verb = plan.Stale
	if only := (plan.Plan{}).Add([]plan.Action{old}); only.Changes() {
		t.Error("a plan that leaves a tag has changes")
	}
}

func TestUnchanged(t *testing.T) {
	for verb, want := range map[plan.Verb]plan.Status{
		plan.Copy: plan.Planned, plan.Update: plan.Planned, plan.InSync: plan.StaysInSync,
		plan.Present: plan.StaysPresent, plan.Prune: plan.Planned, plan.Stale: plan.StaysStale,
		plan.Blocked: plan.StaysBlocked, plan.Failed: plan.HasFailed,
	} {
		a := plan.Action{Verb: verb, Reason: "why", Err: failure.ErrDenied}
		got := plan.Unchanged(a)
		if got.Status != want || got.Reason != "why" || !errors.Is(got.Err, failure.ErrDenied) || got.Bytes != 0 {
			t.Errorf("Unchanged(%s) = %+v", verb, got)
		}
	}
}
