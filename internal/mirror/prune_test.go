package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/prune"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/state"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// keeper runs again and again, as the program does, and remembers in between.
type keeper struct {
	*world
	state  state.State
	now    time.Time
	limits prune.Limits
}

func newKeeper(w *world) *keeper {
	return &keeper{world: w, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), limits: prune.Limits{Max: 100, Share: 10_000}}
}

// runner is a run that may prune.
func (k *keeper) runner() *mirror.Runner {
	r := k.world.runner()
	r.Pruning = mirror.Pruning{Limits: k.limits, State: &k.state, Now: k.now}
	return r
}

// later runs after some days, and remembers what it saw.
func (k *keeper) later(days int, changes ...func(*mirror.Runner)) map[string]plan.Result {
	k.t.Helper()
	k.now = k.now.AddDate(0, 0, days)
	r := k.runner()
	for _, change := range changes {
		change(r)
	}
	results, _ := k.sync(r)
	var all []plan.Result
	for _, result := range results {
		all = append(all, result)
	}
	k.state = k.state.Observe(r.Observed(all), k.now)
	return results
}

// prunes makes a repository one that is pruned after a day.
func prunes(o *ecrlocal.RepositoryOptions) { o.Tags["upstream-options"] = "prune=true grace=24h" }

// untag removes a tag of the upstream registry.
func (w *world) untag(repo, tag string) {
	w.t.Helper()
	if err := transportTo(w.t).DeleteTag(w.t.Context(), ref.Repository{Host: w.up.Host, Path: repo}.Tagged(tag)); err != nil {
		w.t.Fatal(err)
	}
}

func transportTo(t *testing.T) *transport.Client {
	t.Helper()
	c := transport.New(transport.Options{})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// pushHere puts an image at the local ECR, as somebody else would.
func (w *world) pushHere(repo, tag string, node imagetest.Node) {
	w.t.Helper()
	if _, err := imagetest.Push(w.t.Context(), nil, w.ecr.URL, repo, tag, node, imagetest.Basic("AWS", w.ecr.Password("", ""))); err != nil {
		w.t.Fatal(err)
	}
}

// holds are the tags of a repository at the local ECR.
func (w *world) holds(repo string) []string {
	w.t.Helper()
	found, err := registry.Snapshot(w.t.Context(), w.target, ref.Repository{Host: w.ecr.Host, Path: repo}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	tags := make([]string, 0, len(found))
	for tag := range found {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	return tags
}

// removals are the requests to ECR that remove something.
func (w *world) removals() []string {
	return slices.DeleteFunc(writes(w.ecr.Journal()), func(line string) bool { return !strings.Contains(line, "elete") && !strings.Contains(line, "DELETE") })
}

func wantHolds(t *testing.T, w *world, repo string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, w.holds(repo)); diff != "" {
		t.Errorf("%s holds (-want +got):\n%s", repo, diff)
	}
}

func wantRow(t *testing.T, results map[string]plan.Result, name string, status plan.Status, reason string) {
	t.Helper()
	if got := results[name]; got.Status != status || !strings.Contains(got.Reason, reason) {
		t.Errorf("%s is %q: %q, want %q: %q", name, got.Status, got.Reason, status, reason)
	}
}

// A tag that upstream drops is shown for as long as the grace lasts, and then goes. What
// shares its image, and everything else, stays whole.
func TestPrune(t *testing.T) {
	faults.Covers(t, "F56")
	w := newWorld(t)
	k := newKeeper(w)
	for _, tag := range []string{"1.0", "1.1", "2.0"} {
		w.push("org/app", tag, imagetest.Index(image(tag, amd64), image(tag, arm64)))
	}
	w.push("org/app", "stable", imagetest.Index(image("1.0", amd64), image("1.0", arm64)))
	w.repository("mirror/app", "org/app", "+", prunes, immutable)
	w.repository("mirror/other", "org/app", "+")
	k.later(0)
	w.untag("org/app", "1.0")
	w.untag("org/app", "1.1")

	first := k.later(1)
	wantRow(t, first, "mirror/app:1.0", plan.StaysStale, "upstream does not have it; it may go from 2026-03-04T09:00:00Z on")
	wantHolds(t, w, "mirror/app", "1.0", "1.1", "2.0", "stable")

	w.forget()
	second := k.later(1)
	wantRow(t, second, "mirror/app:1.0", plan.Pruned, "upstream does not have it; its image stays, as stable")
	wantRow(t, second, "mirror/app:1.1", plan.Pruned, "upstream does not have it; its image has no other tag left, and the registry deletes it too")
	wantHolds(t, w, "mirror/app", "2.0", "stable")
	wantHolds(t, w, "mirror/other", "1.0", "1.1", "2.0", "stable") // it did not ask for it
	if diff := cmp.Diff([]string{"POST BatchDeleteImage /", "POST BatchDeleteImage /"}, w.removals()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tag := range []string{"2.0", "stable"} {
		w.judge("mirror/app", tag)
	}
	if gone := second["mirror/app:1.1"].Action; gone.Have == "" || gone.Want != "" {
		t.Errorf("the row does not say what is gone: %+v", gone)
	}

	// Once nothing is left over, pruning costs no request at ECR, which tells everything.
	w.forget()
	third := k.later(1)
	if len(third) != 4 {
		t.Errorf("rows %v", statuses(third))
	}
	if got := ops(w.ecr.Journal()); got["tags-list"] != 0 || got["ListImages"] != 2 || len(w.removals()) > 0 {
		t.Errorf("asked of ECR: %v", got)
	}
	if got := ops(w.up.Journal()); got["tags-list"] != 2 {
		t.Errorf("asked of upstream: %v", got)
	}
}

// Nothing goes where anything is in doubt.
func TestPruneInDoubt(t *testing.T) {
	faults.Covers(t, "F56", "F80", "I7")
	ready := func(t *testing.T, tags string) *keeper {
		t.Helper()
		w := newWorld(t)
		k := newKeeper(w)
		for _, tag := range []string{"1.0", "1.1", "2.0", "3.0"} {
			w.push("org/app", tag, image(tag, amd64))
		}
		w.repository("mirror/app", "org/app", tags, prunes)
		w.push("org/app", "0.9", image("0.9", amd64))
		w.pushHere("mirror/app", "0.9", image("0.9", amd64))
		k.later(0) // 0.9 is due a day later
		w.forget()
		return k
	}
	const globs, literals = "1.+/2.+/3.+", "1.0/1.1/2.0/3.0"
	only := func(tag string) func(ecrlocal.Entry) bool {
		return func(e ecrlocal.Entry) bool { return e.Reference == tag }
	}
	tests := []struct {
		name   string
		tags   string
		broken func(k *keeper)
		row    string
		status plan.Status
		reason string
	}{
		{"nothing is wrong", globs, func(*keeper) {}, "mirror/app:0.9", plan.Pruned, "the rules do not choose it: no term matches"},
		{"nothing is wrong, with literals", literals, func(*keeper) {}, "mirror/app:0.9", plan.Pruned, "no rule chooses it"},
		{"upstream's list breaks off", globs, func(k *keeper) {
			k.up.FailNext("tags-list", 100, ecrlocal.Fault{CutAfter: 20})
		}, "mirror/app", plan.HasFailed, "list tags of upstream"},
		{"upstream's list breaks off, and the rules do not need it", literals, func(k *keeper) {
			k.up.FailNext("tags-list", 100, ecrlocal.Fault{CutAfter: 20})
		}, "mirror/app", plan.HasFailed, "prune: list tags of upstream"},
		{"upstream refuses its list", literals, func(k *keeper) {
			k.up.FailNext("tags-list", 100, ecrlocal.Fault{Status: 403, Code: "DENIED"})
		}, "mirror/app", plan.StaysBlocked, "prune: list tags of upstream"},
		{"upstream's list lacks a tag", literals, func(k *keeper) {
			k.source = lister{k.source, []string{"1.0", "2.0", "3.0"}}
		}, "mirror/app:0.9", plan.StaysStale, "prune cancelled: upstream's list lacks 1.1, which it has"},
		{"upstream's list is empty", literals, func(k *keeper) {
			k.source = lister{k.source, nil}
		}, "mirror/app:0.9", plan.StaysStale, "prune cancelled: upstream lists no tags"},
		{"upstream has a tag no more that a literal names", literals, func(k *keeper) {
			k.untag("org/app", "1.1")
		}, "mirror/app:0.9", plan.StaysStale, "prune cancelled: 1.1 is blocked"},
		{"upstream does not answer for a tag", globs, func(k *keeper) {
			k.up.FailNext("manifest-head", 100, ecrlocal.Fault{Status: 500, Match: only("1.1")})
		}, "mirror/app:0.9", plan.StaysStale, "prune cancelled: 1.1 is failed"},
		{"the destination's digests are not known", globs, func(k *keeper) {
			k.ecr.FailNext("ListImages", 100, ecrlocal.Fault{Status: 400, Code: "InvalidParameterException"})
		}, "mirror/app:1.0", plan.HasFailed, "destination"},
		{"a copy fails", globs, func(k *keeper) {
			k.push("org/app", "2.0", image("moved", amd64))
			k.up.FailNext("blob-get", 100, ecrlocal.Fault{Status: 404, Code: "BLOB_UNKNOWN"})
		}, "mirror/app:0.9", plan.Pending, "not done: prune cancelled: " + "%s/mirror/app:2.0 is"},
		{"the tag was pushed again since", globs, func(k *keeper) {
			k.pushHere("mirror/app", "0.9", image("mine", amd64))
		}, "mirror/app:0.9", plan.StaysStale, "it may go from 2026-03-04T09:00:00Z on"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := ready(t, test.tags)
			test.broken(k)
			results := k.later(1)
			reason := test.reason
			if strings.Contains(reason, "%s") {
				reason = fmt.Sprintf(reason, k.ecr.Host)
			}
			wantRow(t, results, test.row, test.status, reason)
			want := []string{"0.9", "1.0", "1.1", "2.0", "3.0"}
			if test.status == plan.Pruned {
				want = want[1:]
			} else if got := k.removals(); len(got) > 0 {
				t.Errorf("asked to remove: %q", got)
			}
			wantTags(t, k, want)
		})
	}
}

// wantTags looks past faults that are still waiting.
func wantTags(t *testing.T, k *keeper, want []string) {
	t.Helper()
	for _, tag := range want {
		k.judge("mirror/app", tag)
	}
	if k.ecrHas("mirror/app", "0.9") != slices.Contains(want, "0.9") {
		t.Errorf("0.9 is there: %t", !slices.Contains(want, "0.9"))
	}
}

// ecrHas asks ECR for a tag.
func (w *world) ecrHas(repo, tag string) bool {
	w.t.Helper()
	_, err := w.target.Resolve(w.t.Context(), ref.Repository{Host: w.ecr.Host, Path: repo}.Tagged(tag))
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		w.t.Fatal(err)
	}
	return err == nil
}

// lister is a source whose list of tags is not what it has.
type lister struct {
	registry.Source
	tags []string
}

func (l lister) Tags(context.Context, ref.Repository) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, tag := range l.tags {
			if !yield(tag, nil) {
				return
			}
		}
	}
}

// Between plan and removal a tag may change hands.
func TestPruneLooksAgain(t *testing.T) {
	w := newWorld(t)
	k := newKeeper(w)
	w.push("org/app", "2.0", image("2.0", amd64))
	w.repository("mirror/app", "org/app", "+", prunes)
	for _, tag := range []string{"1.0", "1.1", "1.2"} {
		w.pushHere("mirror/app", tag, image(tag, amd64))
	}
	k.later(0)
	k.now = k.now.AddDate(0, 0, 2)
	r := k.runner()
	p := w.plan(r)
	if p.Count(plan.Prune) != 3 {
		t.Fatalf("planned %v", rows(p))
	}
	w.pushHere("mirror/app", "1.0", image("pushed meanwhile", amd64))
	if err := w.target.(registry.TagDeleter).DeleteTag(t.Context(), ref.Repository{Host: w.ecr.Host, Path: "mirror/app"}.Tagged("1.1")); err != nil {
		t.Fatal(err)
	}
	w.forget()
	results, err := r.Sync(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]plan.Result{}
	for _, result := range results {
		byName[name(result.Action)] = result
	}
	wantRow(t, byName, "mirror/app:1.0", plan.StaysBlocked, "changed meanwhile")
	wantRow(t, byName, "mirror/app:1.1", plan.Pruned, "somebody else removed it meanwhile")
	wantRow(t, byName, "mirror/app:1.2", plan.Pruned, "upstream does not have it")
	wantHolds(t, w, "mirror/app", "1.0", "2.0")
	if got := w.removals(); len(got) != 1 {
		t.Errorf("asked to remove: %q", got)
	}
	w.judge("mirror/app", "1.0")
}

// An answer that is lost, or a refusal, is looked into.
func TestPruneIsReadBack(t *testing.T) {
	tests := []struct {
		name   string
		fault  ecrlocal.Fault
		status plan.Status
		reason string
		next   plan.Status // of the tag after it
	}{
		{"the answer was lost", ecrlocal.Fault{Late: true, Status: 400, Code: "InvalidParameterException"}, plan.Pruned, "", plan.Pruned},
		{"refused", ecrlocal.Fault{Status: 400, Code: "AccessDeniedException", Message: "not authorized to perform: ecr:BatchDeleteImage"}, plan.StaysBlocked, "ecr:BatchDeleteImage", plan.Pending},
		{"malformed", ecrlocal.Fault{Status: 400, Code: "InvalidParameterException"}, plan.HasFailed, "remove tag from destination", plan.Pending},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			k := newKeeper(w)
			w.push("org/app", "2.0", image("2.0", amd64))
			w.repository("mirror/app", "org/app", "+", prunes)
			w.pushHere("mirror/app", "1.0", image("1.0", amd64))
			w.pushHere("mirror/app", "1.1", image("1.1", amd64))
			k.later(0)
			w.ecr.FailNext("BatchDeleteImage", 1, test.fault)
			results := k.later(2)
			wantRow(t, results, "mirror/app:1.0", test.status, test.reason)
			wantRow(t, results, "mirror/app:1.1", test.next, "")
			if w.ecrHas("mirror/app", "1.0") != (test.status != plan.Pruned) {
				t.Error("the tag is not what the row says")
			}
		})
	}
}

// On ECR an image goes with its last tag. It stays where an index that stays names it,
// and where it is a referrer itself; a signature of what goes needs nothing.
func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	w := newWorld(t)
	k := newKeeper(w)
	child, lone := image("child", amd64), image("lone", amd64)
	w.push("org/app", "index", imagetest.Index(imagetest.Index(child)))
	w.repository("mirror/app", "org/app", "+", prunes)
	k.later(0)
	w.pushHere("mirror/app", "child", child)
	w.pushHere("mirror/app", "lone", lone)
	w.pushHere("mirror/app", "lone-index", imagetest.Index(image("other", amd64)))
	w.pushHere("mirror/app", "lone-child", image("other", amd64))
	w.pushHere("mirror/app", "sbom", imagetest.Artifact("application/vnd.example.sbom", imagetest.NewBlob("text/plain", []byte("sbom"))).WithSubject(child))
	signature := strings.Replace(string(lone.Digest()), ":", "-", 1) + ".sig"
	w.pushHere("mirror/app", signature, imagetest.Artifact("application/vnd.example.signature", imagetest.NewBlob("text/plain", []byte("signed"))).WithSubject(lone))
	k.later(1)
	results := k.later(2)
	wantRow(t, results, "mirror/app:child", plan.StaysStale, "kept, since index is an index with it")
	wantRow(t, results, "mirror/app:sbom", plan.StaysStale, "kept, since it refers to "+string(child.Digest()))
	wantRow(t, results, "mirror/app:lone", plan.Pruned, "the registry deletes it too")
	wantRow(t, results, "mirror/app:lone-index", plan.Pruned, "the registry deletes it too")
	wantRow(t, results, "mirror/app:lone-child", plan.StaysStale, "kept, since lone-index is an index with it")
	wantHolds(t, w, "mirror/app", "child", "index", "lone-child", "sbom", signature)
	if k.later(1); w.ecrHas("mirror/app", "lone-child") {
		t.Error("what nothing needs any more is still there")
	}
	w.judge("mirror/app", "index")
}

// several finds mirrors that no resource tag describes.
func (w *world) several(mirrors ...discover.Mirror) mirror.Finder {
	var found findings
	for _, m := range mirrors {
		m.Options = discover.DefaultOptions()
		m.Origin.Kind = discover.FromCommandLine
		found = append(found, discover.Finding{Mirror: m})
	}
	return found
}

func globs(t *testing.T, list string) discover.Rules {
	t.Helper()
	rules, err := discover.ParseRules("tags", list)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// Several mirrors may write to one repository: what one of them wants, under whatever
// name, none of the others removes, and what one is not sure of stays altogether.
func TestPruneOfSeveralMirrors(t *testing.T) {
	w := newWorld(t)
	k := newKeeper(w)
	w.push("org/a", "1.0", image("a", amd64))
	w.push("org/b", "2.0", image("b", amd64))
	w.repository("app", "", "", untagged("upstream-image"), untagged("upstream-tags"))
	w.pushHere("app", "old", image("old", amd64))
	target := ref.Repository{Host: w.ecr.Host, Path: "app"}
	on := discover.Prune{On: true, Grace: time.Hour}
	a := discover.Mirror{Upstream: ref.Repository{Host: w.up.Host, Path: "org/a"}, Target: target, Rules: globs(t, "+"), Prune: on}
	b := discover.Mirror{Upstream: ref.Repository{Host: w.up.Host, Path: "org/b"}, Target: target, Rules: globs(t, "2.0"), As: "renamed", Prune: on}
	c := discover.Mirror{Upstream: ref.Repository{Host: w.up.Host, Path: "org/none"}, Target: target, Rules: globs(t, "+"), Prune: on}
	find := func(mirrors ...discover.Mirror) func(*mirror.Runner) {
		return func(r *mirror.Runner) { r.Finder = w.several(mirrors...) }
	}
	if _, err := w.registries.Host(t.Context(), w.ecr.Region()); err != nil {
		t.Fatal(err)
	}
	k.later(0, find(a, b))
	wantHolds(t, w, "app", "1.0", "old", "renamed")

	results := k.later(1, find(a, b, c))
	wantRow(t, results, "app:old", plan.StaysStale, "prune cancelled: the mirror of "+c.Upstream.String()+" failed")
	if _, listed := results["app:renamed"]; !listed || results["app:renamed"].Status != plan.StaysInSync {
		t.Errorf("renamed is %q", results["app:renamed"].Status)
	}

	w.up.FailNext("tags-list", 1, ecrlocal.Fault{Status: 403, Code: "DENIED", Repository: "org/b"})
	wantRow(t, k.later(1, find(a, b)), "app:old", plan.StaysStale, "prune cancelled: the mirror of "+b.Upstream.String()+" failed")

	silent := b
	silent.Prune = discover.Prune{}
	wantRow(t, k.later(1, find(a, silent)), "app:old", plan.StaysStale, "does not prune")
	wantRow(t, k.later(1, find(a, b), func(r *mirror.Runner) {
		r.Pruning.LeftOut = func(repo ref.Repository) bool { return repo == target }
	}), "app:old", plan.StaysStale, "a mirror that this run leaves out may write here too")
	wantRow(t, k.later(1, find(a, b), func(r *mirror.Runner) {
		r.Finder = append(r.Finder.(findings), discover.Finding{Mirror: discover.Mirror{Name: "tools"}, Err: errors.New("the catalogue is down")})
	}), "app:old", plan.StaysStale, "a mirror failed before it was known where it writes: tools")
	if got := w.removals(); len(got) > 0 {
		t.Errorf("asked to remove: %q", got)
	}

	wantRow(t, k.later(1, find(a, b)), "app:old", plan.Pruned, "")
	wantHolds(t, w, "app", "1.0", "renamed")
}

// Without what it takes, pruning reports.
func TestPruneReportsOnly(t *testing.T) {
	faults.Covers(t, "F56")
	w := newWorld(t)
	w.push("org/app", "2.0", image("2.0", amd64))
	w.repository("mirror/app", "org/app", "+", prunes)
	w.pushHere("mirror/app", "1.0", image("1.0", amd64))
	results, _ := w.sync(w.runner())
	wantRow(t, results, "mirror/app:1.0", plan.StaysStale, "report only: without --state")

	k := newKeeper(w)
	k.limits = prune.Limits{}
	k.later(0)
	wantRow(t, k.later(2), "mirror/app:1.0", plan.StaysStale, "report only: --prune-max")
	k.limits = prune.Limits{Max: 10, Share: 4999} // of two tags
	wantRow(t, k.later(1), "mirror/app:1.0", plan.StaysBlocked, "1 of 2 tags are due to go, more than --prune-max-share 49.99% allows: none goes")
	// A dry run's target cannot remove, whatever the code above it does.
	k.limits = prune.Limits{Max: 10, Share: 5000}
	w.target = registry.ReadOnly(w.target)
	wantRow(t, k.later(1), "mirror/app:1.0", plan.HasFailed, "read-only")
	if got := w.removals(); len(got) > 0 {
		t.Errorf("asked to remove: %q", got)
	}
}

// A run that ends in between says what it did not come to.
func TestPruneInterrupted(t *testing.T) {
	w := newWorld(t)
	k := newKeeper(w)
	w.push("org/app", "2.0", image("2.0", amd64))
	w.repository("mirror/app", "org/app", "+", prunes)
	for _, tag := range []string{"1.0", "1.1"} {
		w.pushHere("mirror/app", tag, image(tag, amd64))
	}
	k.later(0)
	k.now = k.now.AddDate(0, 0, 2)
	r := k.runner()
	p := w.plan(r)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	reason := errors.New("interrupted by signal")
	w.ecr.FailNext("BatchDeleteImage", 1, ecrlocal.Fault{
		Match: func(ecrlocal.Entry) bool { cancel(reason); return false },
	})
	results, err := r.Sync(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	var got []plan.Status
	for _, result := range results {
		got = append(got, result.Status)
	}
	// What was begun is brought to its end, and reported as what it is.
	if diff := cmp.Diff([]plan.Status{plan.Pruned, plan.Pending, plan.StaysInSync}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantHolds(t, w, "mirror/app", "1.1", "2.0")
}

// plain is a world whose destination is a registry like others.
type plain struct {
	*keeper
	here *ecrlocaltest.Registry
	to   ref.Repository
}

// newPlain mirrors org/app to a registry that is reached through handle; nil is as it is.
func newPlain(t *testing.T, handle func(next http.Handler) http.Handler) *plain {
	t.Helper()
	w := newWorld(t)
	p := &plain{keeper: newKeeper(w), here: ecrlocaltest.StartRegistry(t)}
	host := p.here.Host
	if handle != nil {
		front := httptest.NewServer(handle(p.here))
		t.Cleanup(func() { front.CloseClientConnections(); front.Close() })
		host = strings.TrimPrefix(front.URL, "http://")
	}
	p.to = ref.Repository{Host: host, Path: "copy/app"}
	w.target = transportTo(t)
	w.push("org/app", "2.0", image("shared", amd64))
	w.push("org/app", "3.0", image("3.0", amd64))
	for tag, seed := range map[string]string{"1.0": "shared", "1.1": "1.1"} {
		if _, err := imagetest.Push(t.Context(), nil, p.here.URL, "copy/app", tag, image(seed, amd64)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *plain) later(days int) map[string]plan.Result {
	p.t.Helper()
	return p.keeper.later(days, func(r *mirror.Runner) {
		r.Finder = p.several(discover.Mirror{
			Upstream: ref.Repository{Host: p.up.Host, Path: "org/app"}, Target: p.to, Rules: globs(p.t, "+"), Prune: discover.Prune{On: true, Grace: time.Hour},
		})
	})
}

// resolve says what the registry has under a tag or digest, "" for nothing.
func (p *plain) resolve(identifier string) ref.Digest {
	p.t.Helper()
	r := ref.Repository{Host: p.here.Host, Path: "copy/app"}.Tagged(identifier)
	if strings.Contains(identifier, ":") {
		r = r.Repository.Digested(ref.Digest(identifier))
	}
	d, err := transportTo(p.t).Resolve(p.t.Context(), r)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		p.t.Fatal(err)
	}
	return d.Digest
}

// deletions are the DELETEs that a registry saw.
func deletions(entries []ecrlocal.Entry) []string {
	var all []string
	for _, e := range entries {
		if e.Method == http.MethodDelete {
			all = append(all, e.Path)
		}
	}
	return all
}

// What was not listed to its end was not listed.
func TestPruneWhereTheDestinationsListBreaksOff(t *testing.T) {
	faults.Covers(t, "I7")
	p := newPlain(t, nil)
	p.later(0)
	p.here.FailNext("tags-list", 100, ecrlocal.Fault{CutAfter: 20})
	results := p.later(1)
	wantRow(t, results, "copy/app", plan.HasFailed, "prune: list tags of destination")
	wantRow(t, results, "copy/app:2.0", plan.StaysInSync, "")
	if got := deletions(p.here.Journal()); len(got) > 0 {
		t.Errorf("asked for %q", got)
	}
}

func TestPruneAtAPlainRegistry(t *testing.T) {
	p := newPlain(t, nil)
	p.later(0)
	results := p.later(1)
	wantRow(t, results, "copy/app:1.0", plan.Pruned, "upstream does not have it")
	wantRow(t, results, "copy/app:1.1", plan.Pruned, "upstream does not have it")
	if strings.Contains(results["copy/app:1.1"].Reason, "deletes") {
		t.Errorf("it says that the image goes: %s", results["copy/app:1.1"].Reason)
	}
	if p.resolve("1.0") != "" || p.resolve("1.1") != "" {
		t.Error("the tags are still there")
	}
	for _, identifier := range []string{"2.0", "3.0", string(image("shared", amd64).Digest()), string(image("1.1", amd64).Digest())} {
		if p.resolve(identifier) == "" {
			t.Errorf("%s is gone", identifier)
		}
	}
	if diff := cmp.Diff([]string{"/v2/copy/app/manifests/1.0", "/v2/copy/app/manifests/1.1"}, deletions(p.here.Journal())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A registry that removes no tags is never asked to remove a manifest instead.
func TestPruneWhereTagsCannotBeRemoved(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusMethodNotAllowed} {
		p := newPlain(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodDelete && !strings.Contains(r.URL.Path, "sha256:") {
					w.WriteHeader(status)
					_, _ = io.WriteString(w, `{"errors":[{"code":"UNSUPPORTED","message":"tags cannot be deleted"}]}`)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		p.later(0)
		results := p.later(1)
		wantRow(t, results, "copy/app:1.0", plan.StaysBlocked, "the registry removes no tags")
		wantRow(t, results, "copy/app:1.1", plan.Pending, "removing")
		if got := deletions(p.here.Journal()); len(got) > 0 || p.resolve("1.0") == "" || p.resolve("1.1") == "" {
			t.Errorf("%d: asked for %q", status, got)
		}
		if !errors.Is(results["copy/app:1.0"].Err, failure.ErrUnsupported) {
			t.Errorf("%d: %v", status, results["copy/app:1.0"].Err)
		}
	}
}

// A registry that takes a tag for its manifest removes all its tags. It is asked once, and
// the next run brings back what is missing.
func TestPruneWhereTagsTakeTheirManifestAlong(t *testing.T) {
	broken := true
	means := map[string]ref.Digest{"1.0": image("shared", amd64).Digest(), "1.1": image("1.1", amd64).Digest()}
	p := newPlain(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, tag, ok := strings.Cut(r.URL.Path, "/manifests/"); ok && broken && r.Method == http.MethodDelete {
				r.URL.Path = strings.TrimSuffix(r.URL.Path, tag) + string(means[tag])
			}
			next.ServeHTTP(w, r)
		})
	})
	p.later(0)
	results := p.later(1)
	wantRow(t, results, "copy/app:1.0", plan.StaysBlocked, "it vanished when 1.0 was removed")
	wantRow(t, results, "copy/app:1.1", plan.Pending, "removing")
	if p.resolve("2.0") != "" {
		t.Fatal("the registry is better than this test thinks")
	}
	broken = false
	results = p.later(1)
	wantRow(t, results, "copy/app:2.0", plan.Copied, "missing at destination")
	if p.resolve("2.0") == "" {
		t.Error("2.0 was not brought back")
	}
}

// A run whose errors are limited removes nothing once there are as many.
func TestPruneEndsWithTheRun(t *testing.T) {
	w := newWorld(t)
	k := newKeeper(w)
	w.push("org/app", "2.0", image("2.0", amd64))
	w.repository("mirror/app", "org/app", "+", prunes)
	w.repository("mirror/broken", "org/none", "+")
	w.pushHere("mirror/app", "1.0", image("1.0", amd64))
	w.repository("mirror/mistyped", "org/app", "//")
	k.later(0)
	results := k.later(2, func(r *mirror.Runner) { r.Copy.MaxErrors = 1 })
	wantRow(t, results, "mirror/app:1.0", plan.Pending, "not done: 1 failed, and the run ends at 1")
	results = k.later(1, func(r *mirror.Runner) { r.Copy.MaxErrors = 2 })
	wantRow(t, results, "mirror/app:1.0", plan.Pruned, "")
}
