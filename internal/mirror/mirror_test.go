package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// The first run copies. The second costs one HEAD for each upstream tag, one ListImages
// for each repository, and nothing else: no GET, no write, not even a word with the
// destination's registry.
func TestSecondRunReadsOnlyWhatItMust(t *testing.T) {
	faults.Covers(t, "I3")
	w := newWorld(t)
	index := imagetest.Index(image("x", amd64), image("x", arm64), imagetest.Attestation(image("x", amd64)))
	for _, tag := range []string{"1.0", "1.1", "latest"} {
		w.push("org/app", tag, index.WithAnnotations(map[string]string{"tag": tag}))
	}
	chart := imagetest.Artifact("application/vnd.example.chart", imagetest.NewBlob("text/plain", []byte("chart")))
	w.push("org/chart", "2", chart)
	w.repository("mirror/app", "org/app", "1.+/latest")
	w.repository("mirror/chart", "org/chart", "2")

	first, p := w.sync(w.runner())
	want := map[string]plan.Status{
		"mirror/app:1.0": plan.Copied, "mirror/app:1.1": plan.Copied, "mirror/app:latest": plan.Copied, "mirror/chart:2": plan.Copied,
	}
	if diff := cmp.Diff(want, statuses(first)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	for name, result := range first {
		repo, tag, _ := strings.Cut(name, ":")
		if got := w.judge(repo, tag); got != result.Action.Want {
			t.Errorf("%s is %s, want %s", name, got, result.Action.Want)
		}
		if result.Action.Size <= 0 {
			t.Errorf("%s was planned without a size", name)
		}
	}
	if got := w.judge("mirror/chart", "2"); got != chart.Digest() {
		t.Errorf("the chart is %s, want %s", got, chart.Digest())
	}
	if !p.Changes() {
		t.Error("the first plan has no changes")
	}

	w.forget()
	r := w.runner()
	second, _ := w.sync(r)
	for name := range want {
		want[name] = plan.StaysInSync
	}
	if diff := cmp.Diff(want, statuses(second)); diff != "" {
		t.Errorf("the second time (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"tags-list": 1, "manifest-head": 4}, ops(w.up.Journal())); diff != "" {
		t.Errorf("asked of upstream (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"GetResources": 2, "DescribeRepositories": 1, "ListImages": 2}, ops(w.ecr.Journal())); diff != "" {
		t.Errorf("asked of ECR (-want +got):\n%s", diff)
	}
	if r.ManifestsRead() != 0 {
		t.Errorf("%d manifests read", r.ManifestsRead())
	}
}

// A plan writes nothing, and reads each manifest that it measures once.
func TestPlanWritesNothing(t *testing.T) {
	faults.Covers(t, "I5")
	w := newWorld(t)
	index := imagetest.Index(image("x", amd64), image("x", arm64))
	for i := range 6 {
		w.push("org/app", fmt.Sprint(i), index)
	}
	w.repository("mirror/app", "org/app", "+")
	r := w.runner()
	w.forget()
	p := w.plan(r)
	if got := p.Count(plan.Copy); got != 6 {
		t.Errorf("%d copies planned", got)
	}
	if got := append(writes(w.up.Journal()), writes(w.ecr.Journal())...); len(got) > 0 {
		t.Errorf("written: %v", got)
	}
	// Six tags are one index with two children.
	if diff := cmp.Diff(map[string]int{"tags-list": 1, "manifest-head": 6, "manifest-get": 3}, ops(w.up.Journal())); diff != "" {
		t.Errorf("asked of upstream (-want +got):\n%s", diff)
	}
	if r.ManifestsRead() != 3 {
		t.Errorf("%d manifests counted", r.ManifestsRead())
	}
}

func TestList(t *testing.T) {
	w := newWorld(t)
	w.push("org/app", "1.27.1", image("x", amd64))
	w.push("org/app", "2.0.0", image("x", amd64))
	w.repository("mirror/globs", "org/app", "1.27.+/other")
	w.repository("mirror/literal", "org/nowhere", "b/a")
	w.repository("mirror/half", "org/app", "", untagged("upstream-tags"))
	w.repository("mirror/none", "org/app", "9.+")
	w.forget()

	lines, warnings, err := w.runner().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprintf("%s:%s %t", l.Mirror.Target.Path, l.Tag, l.Err != nil))
		if (l.Term == "") != (l.Err != nil) {
			t.Errorf("%s:%s was chosen by %q", l.Mirror.Target.Path, l.Tag, l.Term)
		}
	}
	want := []string{
		"mirror/half: true",
		"mirror/globs:other false", "mirror/globs:1.27.1 false",
		"mirror/literal:b false", "mirror/literal:a false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "mirror/none") || !strings.Contains(warnings[0], w.up.Host+"/org/app") {
		t.Errorf("warnings %v", warnings)
	}
	// Upstream was asked for its list by the two rules that need it, and for nothing else.
	if diff := cmp.Diff(map[string]int{"tags-list": 2}, ops(w.up.Journal())); diff != "" {
		t.Errorf("asked of upstream (-want +got):\n%s", diff)
	}
	if got := ops(w.ecr.Journal())["ListImages"]; got != 0 {
		t.Errorf("the destination was listed %d times", got)
	}
}

func TestListOfLiteralsContactsNobody(t *testing.T) {
	w := newWorld(t)
	w.repository("mirror/app", "org/app", "1/2/name@sha256:"+strings.Repeat("a", 64))
	if lines, _, err := w.runner().List(t.Context()); err != nil || len(lines) != 3 {
		t.Errorf("%v, %v", lines, err)
	}
	if got := w.up.Journal(); len(got) > 0 {
		t.Errorf("upstream was asked: %v", got)
	}
}

// One mirror that cannot be followed is one row, and the others go on.
func TestBadMirrorsDoNotStopOthers(t *testing.T) {
	faults.Covers(t, "I6")
	w := newWorld(t)
	w.push("org/app", "1", image("x", amd64))
	w.repository("mirror/good", "org/app", "1")
	w.repository("mirror/bad-value", "org/app", "1//2")
	w.repository("mirror/no-image", "org/app", "1", untagged("upstream-image"))
	w.repository("mirror/no-upstream", "org/nowhere", "1")
	w.repository("mirror/no-list", "org/nowhere", "1.+")
	w.repository("mirror/no-tag", "org/app", "7")
	w.repository("mirror/down", "org/down", "1")
	w.up.FailNext("manifest-head", 10, ecrlocal.Fault{Repository: "org/down", Status: http.StatusBadGateway})

	results, _ := w.sync(w.runner())
	want := map[string]plan.Status{
		"mirror/good:1":        plan.Copied,
		"mirror/bad-value":     plan.HasFailed,
		"mirror/no-image":      plan.HasFailed,
		"mirror/no-upstream:1": plan.StaysBlocked,
		"mirror/no-list":       plan.StaysBlocked,
		"mirror/no-tag:7":      plan.StaysBlocked,
		"mirror/down:1":        plan.HasFailed,
	}
	if diff := cmp.Diff(want, statuses(results)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, reason := range map[string]string{
		"mirror/bad-value": "upstream-tags", "mirror/no-image": "upstream-image", "mirror/no-upstream:1": "upstream repository missing",
		"mirror/no-list": "list tags of upstream", "mirror/no-tag:7": "upstream tag missing", "mirror/down:1": "upstream: ",
	} {
		if got := results[name].Reason; !strings.Contains(got, reason) {
			t.Errorf("%s: %q does not say %q", name, got, reason)
		}
	}
	w.judge("mirror/good", "1")
}

func TestUpstreamMoves(t *testing.T) {
	w := newWorld(t)
	old, moved := imagetest.Index(image("old", amd64)), imagetest.Index(image("new", amd64))
	w.push("org/app", "1", old)
	w.repository("mirror/app", "org/app", "1")
	w.repository("mirror/frozen", "org/app", "1", immutable)
	w.repository("mirror/kept", "org/app", "1", tagged("upstream-options", "replace=false"))
	w.sync(w.runner())

	w.push("org/app", "1", moved)
	w.forget()
	results, p := w.sync(w.runner())
	want := map[string]plan.Status{"mirror/app:1": plan.Updated, "mirror/frozen:1": plan.StaysBlocked, "mirror/kept:1": plan.StaysDrifted}
	if diff := cmp.Diff(want, statuses(results)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, a := range p.Actions {
		if a.Have != old.Digest() || a.Want != moved.Digest() {
			t.Errorf("%s: from %s to %s", name(a), a.Have, a.Want)
		}
	}
	for repo, want := range map[string]ref.Digest{"mirror/app": moved.Digest(), "mirror/frozen": old.Digest(), "mirror/kept": old.Digest()} {
		if got := w.judge(repo, "1"); got != want {
			t.Errorf("%s is %s, want %s", repo, got, want)
		}
	}
	for _, line := range writes(w.ecr.Journal()) {
		if !strings.Contains(line, "/mirror/app/") {
			t.Errorf("written: %s", line)
		}
	}
	if reason := results["mirror/frozen:1"].Reason; !strings.Contains(reason, "immutable") {
		t.Errorf("reason %q", reason)
	}
}

// What was asked for by digest stays what it is, whatever the tag of that name means
// upstream; and a trust policy is not told that it is that tag.
func TestDigestPin(t *testing.T) {
	faults.Covers(t, "F103")
	w := newWorld(t)
	pinned, other := image("pinned", amd64), image("other", amd64)
	w.push("org/app", "", pinned)
	w.push("org/app", "stable", other)
	w.repository("mirror/app", "org/app", "stable@"+string(pinned.Digest()))
	r := w.runner()
	var judged []string
	r.Judge = judgeFunc(func(_ context.Context, r ref.Reference) error {
		judged = append(judged, r.String())
		return nil
	})
	results, _ := w.sync(r)
	if got := results["mirror/app:stable"]; got.Status != plan.Copied {
		t.Fatalf("%s: %s", got.Status, got.Reason)
	}
	if got := w.judge("mirror/app", "stable"); got != pinned.Digest() {
		t.Errorf("the tag is %s, want %s", got, pinned.Digest())
	}
	if diff := cmp.Diff([]string{w.up.Host + "/org/app@" + string(pinned.Digest())}, judged); diff != "" {
		t.Errorf("judged (-want +got):\n%s", diff)
	}
	if results, _ := w.sync(w.runner()); results["mirror/app:stable"].Status != plan.StaysInSync {
		t.Errorf("again: %+v", results["mirror/app:stable"])
	}
}

// A repository that goes between discovery and the look at its tags is blocked, and the
// others are mirrored.
func TestRepositoryGoes(t *testing.T) {
	faults.Covers(t, "F63")
	w := newWorld(t)
	w.push("org/app", "1", image("x", amd64))
	w.repository("mirror/gone", "org/app", "1")
	w.repository("mirror/stays", "org/app", "1")
	r := w.runner()
	r.Finder = finderFunc(func(ctx context.Context) ([]discover.Finding, error) {
		found, err := w.finder().Find(ctx)
		w.delete(ctx, "mirror/gone")
		return found, err
	})
	results, _ := w.sync(r)
	want := map[string]plan.Status{"mirror/gone:1": plan.StaysBlocked, "mirror/stays:1": plan.Copied}
	if diff := cmp.Diff(want, statuses(results)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := results["mirror/gone:1"].Reason; got != "destination repository missing: create it, or let --create-repositories do so" {
		t.Errorf("reason %q", got)
	}
}

// What the trust policy refuses is blocked before a byte of it moves, and before its
// manifests are read; what could not be judged has failed.
func TestPolicyRefuses(t *testing.T) {
	faults.Covers(t, "F103")
	w := newWorld(t)
	for _, tag := range []string{"good", "bad", "unclear"} {
		w.push("org/app", tag, image(tag, amd64))
	}
	w.repository("mirror/app", "org/app", "good/bad/unclear")
	r := w.runner()
	r.Judge = judgeFunc(func(_ context.Context, r ref.Reference) error {
		switch {
		case r.Digest == "":
			t.Errorf("%s was judged without a digest", r)
		case r.Tag == "bad":
			return fmt.Errorf("unsigned: %w", failure.ErrForbidden)
		case r.Tag == "unclear":
			return errors.New("connection reset")
		}
		return nil
	})
	w.forget()
	results, _ := w.sync(r)
	want := map[string]plan.Status{"mirror/app:good": plan.Copied, "mirror/app:bad": plan.StaysBlocked, "mirror/app:unclear": plan.HasFailed}
	if diff := cmp.Diff(want, statuses(results)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := results["mirror/app:bad"].Reason; !strings.Contains(got, "unsigned") {
		t.Errorf("reason %q", got)
	}
	if got := r.ManifestsRead(); got != 1 {
		t.Errorf("%d manifests were read", got)
	}
}

// What cannot be mirrored as it is, is known before the first write of the run.
func TestUnsupportedImages(t *testing.T) {
	faults.Covers(t, "F45")
	w := newWorld(t)
	lost := image("lost", arm64)
	w.push("org/app", "whole", image("x", amd64))
	w.push("org/app", "partly", imagetest.Index(image("x", amd64), lost))
	w.up.FailNext("manifest-get", 10, ecrlocal.Fault{
		Status: http.StatusNotFound, Match: func(e ecrlocal.Entry) bool { return e.Reference == string(lost.Digest()) },
	})
	w.repository("mirror/app", "org/app", "+")
	p := w.plan(w.runner())
	if diff := cmp.Diff(map[string]plan.Verb{"mirror/app:whole": plan.Copy, "mirror/app:partly": plan.Blocked}, rows(p)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, a := range p.Actions {
		if a.To.Tag == "partly" && !strings.Contains(a.Reason, string(lost.Digest())) {
			t.Errorf("reason %q", a.Reason)
		}
	}
}

func TestGlobWithoutMatchIsAWarning(t *testing.T) {
	w := newWorld(t)
	w.push("org/app", "1", image("x", amd64))
	w.repository("mirror/app", "org/app", "7.+/1")
	results, p := w.sync(w.runner())
	if diff := cmp.Diff(map[string]plan.Status{"mirror/app:1": plan.Copied}, statuses(results)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "7.+") || !strings.HasPrefix(p.Warnings[0], w.ecr.Host+"/mirror/app: ") {
		t.Errorf("warnings %q", p.Warnings)
	}
}

// Two mirrors of which the last one would win by chance: neither does.
func TestClash(t *testing.T) {
	w := newWorld(t)
	w.push("org/one", "1", image("1", amd64))
	w.push("org/two", "1", image("2", amd64))
	w.repository("mirror/app", "org/one", "1")
	found, err := w.finder().Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := found[0]
	second.Mirror.Upstream.Path = "org/two"
	r := w.runner()
	r.Finder = findings{found[0], second}
	w.forget()
	p := w.plan(r)
	if len(p.Actions) != 2 || p.Count(plan.Failed) != 2 || !strings.Contains(p.Actions[0].Reason, "two rules want this tag") {
		t.Errorf("got %+v", p.Actions)
	}
	if results, err := r.Sync(t.Context(), p); err != nil || len(results) != 2 || len(writes(w.ecr.Journal())) > 0 {
		t.Errorf("%v, %v, written %v", results, err, writes(w.ecr.Journal()))
	}
}

// A smaller index is known again by its annotations: the second run costs what it costs
// without a selection, but for one bulk read at the destination.
func TestPlatformSelection(t *testing.T) {
	w := newWorld(t)
	x, y := image("x", amd64), image("x", arm64)
	index := imagetest.Index(x, y, imagetest.Attestation(x), imagetest.Attestation(y))
	for i := range 3 {
		w.push("org/app", fmt.Sprint(i), index.WithAnnotations(map[string]string{"i": fmt.Sprint(i)}))
	}
	single := image("single", amd64)
	w.push("org/app", "single", single)
	w.repository("mirror/app", "org/app", "+", tagged("upstream-platforms", "linux/arm64 linux/s390x"))

	first, p := w.sync(w.runner())
	for i := range 3 {
		result := first[fmt.Sprintf("mirror/app:%d", i)]
		if result.Status != plan.Copied {
			t.Fatalf("%d is %s: %s", i, result.Status, result.Reason)
		}
		upstream := index.WithAnnotations(map[string]string{"i": fmt.Sprint(i)})
		selected, err := manifest.Select(upstream.Raw, upstream.Descriptor.MediaType, []ref.Platform{s390x, arm64})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.judge("mirror/app", fmt.Sprint(i)); got != selected.Digest || result.Action.Want != got || result.Action.From.Digest != upstream.Digest() {
			t.Errorf("%d is %s, want %s; the result says %s of %s", i, got, selected.Digest, result.Action.Want, result.Action.From.Digest)
		}
	}
	// A single image has no platforms to choose from and is mirrored as it is.
	if got := w.judge("mirror/app", "single"); got != single.Digest() {
		t.Errorf("the single image is %s, want %s", got, single.Digest())
	}
	warned := func(p plan.Plan) {
		t.Helper()
		if len(p.Warnings) != 3 {
			t.Fatalf("warnings %q", p.Warnings)
		}
		for _, warning := range p.Warnings {
			if !strings.HasPrefix(warning, w.ecr.Host+"/mirror/app: ") || !strings.HasSuffix(warning, " has no image for linux/s390x") {
				t.Errorf("warning %q", warning)
			}
		}
	}
	warned(p)

	w.forget()
	r := w.runner()
	second, p := w.sync(r)
	for name, result := range second {
		if result.Status != plan.StaysInSync {
			t.Errorf("%s is %s: %s", name, result.Status, result.Reason)
		}
	}
	if diff := cmp.Diff(map[string]int{"tags-list": 1, "manifest-head": 4}, ops(w.up.Journal())); diff != "" {
		t.Errorf("asked of upstream (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"GetResources": 2, "DescribeRepositories": 1, "ListImages": 1, "BatchGetImage": 1}, ops(w.ecr.Journal())); diff != "" {
		t.Errorf("asked of ECR (-want +got):\n%s", diff)
	}
	if r.ManifestsRead() != 0 {
		t.Errorf("%d manifests read", r.ManifestsRead())
	}
	warned(p) // what is missing is missing still

	// Another set of platforms is another selection.
	r = w.runner()
	r.Finder = finderFunc(func(ctx context.Context) ([]discover.Finding, error) {
		found, err := w.finder().Find(ctx)
		found[0].Mirror.Platforms = discover.Platforms{Keep: []ref.Platform{amd64}}
		return found, err
	})
	third, _ := w.sync(r)
	if got := third["mirror/app:0"].Status; got != plan.Updated {
		t.Errorf("with other platforms it is %s", got)
	}
	w.judge("mirror/app", "0")
}

// forger answers every bulk read with one manifest, whatever was asked for.
type forger struct {
	registry.Target
	m registry.Manifest
}

func (f forger) Snapshot(ctx context.Context, repo ref.Repository, tags []string) (map[string]ref.Descriptor, error) {
	return registry.Snapshot(ctx, f.Target, repo, tags)
}

func (f forger) ReadManifests(_ context.Context, _ ref.Repository, digests []ref.Digest) (map[ref.Digest]registry.Manifest, error) {
	found := map[ref.Digest]registry.Manifest{}
	for _, d := range digests {
		found[d] = f.m
	}
	return found, nil
}

// Annotations count where they are those of what the tag points at: a manifest that came
// in its place does not make it in sync.
func TestSelectionIsHeldToItsDigest(t *testing.T) {
	w := newWorld(t)
	index := imagetest.Index(image("x", amd64), image("x", arm64))
	w.push("org/app", "1", imagetest.Index(image("old", arm64)))
	w.repository("mirror/app", "org/app", "1")
	w.sync(w.runner()) // the destination holds something else

	w.push("org/app", "1", index)
	arm := discover.Platforms{Keep: []ref.Platform{arm64}}
	selected, err := manifest.Select(index.Raw, index.Descriptor.MediaType, arm.Keep)
	if err != nil {
		t.Fatal(err)
	}
	w.target = forger{w.target, registry.Manifest{MediaType: selected.MediaType, Raw: selected.Raw}}
	r := w.runner()
	r.Platforms = arm
	if diff := cmp.Diff(map[string]plan.Verb{"mirror/app:1": plan.Update}, rows(w.plan(r))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Platforms from the command line hold for the rules that name none.
func TestPlatformsOfTheRun(t *testing.T) {
	w := newWorld(t)
	x, y := image("x", amd64), image("x", arm64)
	w.push("org/app", "1", imagetest.Index(x, y))
	w.repository("mirror/any", "org/app", "1")
	w.repository("mirror/own", "org/app", "1", tagged("upstream-platforms", "linux/arm64"))
	r := w.runner()
	r.Platforms = discover.Platforms{One: &amd64}

	results, _ := w.sync(r)
	if got := w.judge("mirror/any", "1"); got != x.Digest() || results["mirror/any:1"].Action.Want != got {
		t.Errorf("any is %s, want the image for amd64, %s", got, x.Digest())
	}
	if got := w.judge("mirror/own", "1"); got == x.Digest() || results["mirror/own:1"].Action.Want != got {
		t.Errorf("own is %s", got)
	}

	// One image is compared by its own digest, which only upstream's index tells: one GET
	// for each tag and run.
	w.forget()
	r = w.runner()
	r.Platforms = discover.Platforms{One: &amd64}
	if results, _ := w.sync(r); results["mirror/any:1"].Status != plan.StaysInSync || results["mirror/own:1"].Status != plan.StaysInSync {
		t.Errorf("again: %v", statuses(results))
	}
	if diff := cmp.Diff(map[string]int{"manifest-head": 2, "manifest-get": 1}, ops(w.up.Journal())); diff != "" {
		t.Errorf("asked of upstream (-want +got):\n%s", diff)
	}
	if r.ManifestsRead() != 1 {
		t.Errorf("%d manifests counted", r.ManifestsRead())
	}
}

func TestPlatformThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	w.push("org/app", "1", imagetest.Index(image("x", amd64)))
	w.repository("mirror/some", "org/app", "1", tagged("upstream-platforms", "linux/s390x"))
	w.repository("mirror/one", "org/app", "1")
	r := w.runner()
	r.Platforms = discover.Platforms{One: &s390x}
	results, _ := w.sync(r)
	for _, name := range []string{"mirror/some:1", "mirror/one:1"} {
		if got := results[name]; got.Status != plan.StaysBlocked || !strings.Contains(got.Reason, "no image for linux/s390x; upstream has linux/amd64") {
			t.Errorf("%s is %s: %s", name, got.Status, got.Reason)
		}
	}
}

// The plan and its warnings do not depend on which answer came first.
func TestPlanIsStable(t *testing.T) {
	faults.Covers(t, "I9")
	w := newWorld(t)
	for i := range 5 {
		w.push("org/app", fmt.Sprint(i), image(fmt.Sprint(i), amd64))
	}
	for i := range 12 {
		w.repository(fmt.Sprintf("mirror/n%02d", i), "org/app", fmt.Sprintf("+/none%d.+", i), tagged("upstream-tag", "a near miss"))
	}
	describe := func(p plan.Plan) []string {
		var lines []string
		for _, a := range p.Actions {
			lines = append(lines, fmt.Sprint(a.Verb, " ", a.From, " ", a.To, " ", a.Size, " ", a.Reason))
		}
		return append(lines, p.Warnings...)
	}
	first := describe(w.plan(w.runner()))
	if len(first) != 12*5+24 {
		t.Fatalf("%d lines: %q", len(first), first)
	}
	for range 4 {
		if diff := cmp.Diff(first, describe(w.plan(w.runner()))); diff != "" {
			t.Fatalf("(-first +later):\n%s", diff)
		}
	}
}

// A run that ends while it plans has no plan: what nobody looked at is not failed, and
// what nobody judged is not to be written. It ends at once, with far more tags waiting
// than are asked for at a time.
func TestInterruptedPlanning(t *testing.T) {
	w := newWorld(t)
	var literals []string
	for i := range 40 {
		literals = append(literals, fmt.Sprint(i))
	}
	for i := range 8 {
		w.repository(fmt.Sprintf("mirror/n%d", i), "org/app", strings.Join(literals, "/"))
	}
	reason := errors.New("--max-duration is used up")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	w.up.FailNext("manifest-head", 1000, ecrlocal.Fault{
		Hold:  make(chan struct{}),
		Match: func(ecrlocal.Entry) bool { cancel(reason); return true },
	})
	p, err := w.runner().Plan(ctx)
	if !errors.Is(err, reason) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(plan.Plan{}, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := ops(w.up.Journal())["manifest-head"]; got > 128 {
		t.Errorf("%d tags were asked for", got)
	}

	ended, end := context.WithCancelCause(t.Context())
	end(reason)
	if lines, _, err := w.runner().List(ended); err == nil || lines != nil {
		t.Errorf("List: %v, %v", lines, err)
	}
}

func TestDiscoveryFails(t *testing.T) {
	w := newWorld(t)
	r := w.runner()
	broken := errors.New("no credentials")
	r.Finder = finderFunc(func(context.Context) ([]discover.Finding, error) { return nil, broken })
	if p, err := r.Plan(t.Context()); !errors.Is(err, broken) || len(p.Actions) > 0 {
		t.Errorf("Plan: %v, %v", p, err)
	}
	if lines, _, err := r.List(t.Context()); !errors.Is(err, broken) || len(lines) > 0 {
		t.Errorf("List: %v, %v", lines, err)
	}
	if r.ManifestsRead() != 0 {
		t.Error("manifests were read of nothing")
	}
}

func TestSyncOfNothingToDo(t *testing.T) {
	r := &mirror.Runner{}
	a := plan.Action{Verb: plan.Blocked, Reason: "why"}
	results, err := r.Sync(t.Context(), plan.Plan{Actions: []plan.Action{a}})
	if err != nil || len(results) != 1 || results[0].Status != plan.StaysBlocked {
		t.Errorf("%v, %v", results, err)
	}
	if results, err := r.Sync(t.Context(), plan.Plan{}); err != nil || len(results) != 0 {
		t.Errorf("%v, %v", results, err)
	}
}

// Rules that upstream's tags make impossible to follow are rows.
func TestRulesThatCannotBeApplied(t *testing.T) {
	w := newWorld(t)
	w.push("org/app", "1.0.0", image("x", amd64))
	w.repository("mirror/few", "org/app", "+", tagged("upstream-options", "min-tags=5"))
	w.repository("mirror/higher", "org/app", "mode:higher")
	results, _ := w.sync(w.runner())
	var few *selection.TooFewError
	if got := results["mirror/few"]; got.Status != plan.HasFailed || !errors.As(got.Err, &few) {
		t.Errorf("few is %s: %s", got.Status, got.Reason)
	}
	if got := results["mirror/higher:1.0.0"]; got.Status != plan.Copied {
		t.Errorf("higher is %s: %v", got.Status, statuses(results))
	}
}

func TestGateStopsRules(t *testing.T) {
	faults.Covers(t, "F102")
	w := newWorld(t)
	w.push("org/app", "1", image("x", amd64))
	w.push("other/app", "1", image("x", amd64))
	w.repository("mirror/allowed", "org/app", "1")
	w.repository("mirror/outside", "other/app", "1")
	w.repository("mirror/private", "", "1", tagged("upstream-image", w.ecr.Host+"/mirror/allowed"))
	w.repository("mirror/self", "", "1", tagged("upstream-image", w.ecr.Host+"/mirror/self"))
	r := w.runner()
	for _, pattern := range []string{w.up.Host + "/org", w.ecr.Host} {
		allowed, err := mirror.ParseAllowPattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		r.Gate.AllowUpstream = append(r.Gate.AllowUpstream, allowed)
	}
	w.forget()
	results, _ := w.sync(r)
	want := map[string]plan.Status{
		"mirror/allowed:1": plan.Copied, "mirror/outside": plan.StaysBlocked, "mirror/private": plan.StaysBlocked, "mirror/self": plan.StaysBlocked,
	}
	if diff := cmp.Diff(want, statuses(results)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, reason := range map[string]string{
		"mirror/outside": "outside --allow-upstream", "mirror/private": "private ECR", "mirror/self": "its own upstream",
	} {
		if got := results[name]; !strings.Contains(got.Reason, reason) || !errors.Is(got.Err, plan.ErrForbidden) {
			t.Errorf("%s: %q", name, got.Reason)
		}
	}
	if slices.ContainsFunc(w.up.Journal(), func(e ecrlocal.Entry) bool { return e.Repository == "other/app" }) {
		t.Error("what is outside was asked")
	}
}
