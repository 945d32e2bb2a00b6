package copy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

const (
	signatureType = "application/vnd.example.signature"
	sbomType      = "application/spdx+json"
)

// modern is a registry with the referrers API that asks for no credentials.
func modern(t *testing.T) *place {
	t.Helper()
	r := ecrlocaltest.Start(t, ecrlocaltest.WithQuirks(ecrlocal.PlainOCI()))
	return logged(t, &place{handler: r.Server, server: r.Server})
}

// refer pushes referrers of subject to team/app at a place. One without the referrers API is told of
// them as the specification asks of clients.
func (w *world) refer(p *place, subject imagetest.Node, referrers ...imagetest.Node) {
	w.t.Helper()
	for _, r := range referrers {
		push(w.t, p, "team/app", "", r)
	}
	if _, isUpstream := p.server.(*ecrlocal.Upstream); isUpstream {
		push(w.t, p, "team/app", fallbackTag(subject.Digest()), imagetest.Index(referrers...))
	}
	p.forget()
}

func fallbackTag(d ref.Digest) string { return strings.Replace(string(d), ":", "-", 1) }

// withReferrers is action for a mirror that takes referrers along.
func (w *world) withReferrers(tag string, node imagetest.Node) plan.Action {
	a := w.action("team/app", tag, node)
	a.Mirror.Options = discover.DefaultOptions()
	return a
}

// judgeAll fails the test unless the destination's team/app has the same as upstream's
// under the tag, with the same referrers.
func (w *world) judgeAll(tag string) {
	w.t.Helper()
	if err := walker.SameAll(w.walkAll(w.up, tag), w.walkAll(w.down, tag)); err != nil {
		w.t.Errorf("%s: %v", tag, err)
	}
}

func (w *world) walkAll(p *place, tag string) walker.Tree {
	w.t.Helper()
	tree, err := walker.CheckAll(context.Background(), walker.Options{
		Base: p.url, Repository: "team/app", Reference: tag, Username: p.username, Password: p.password, Deep: true,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return tree
}

// signed is an image for two platforms and what refers to it.
type signed struct {
	image, signature, sbom, sbomSignature imagetest.Node
}

func newSigned() signed {
	arm := imagetest.Image(arm64, imagetest.Layer("base", 100), imagetest.Layer("arm", 300))
	s := signed{image: imagetest.Index(imagetest.Image(amd64, imagetest.Layer("base", 100)), arm)}
	s.signature = imagetest.Referrer(s.image, signatureType, imagetest.Layer("signature", 50)).WithAnnotations(map[string]string{"by": "a"})
	s.sbom = imagetest.Referrer(arm, sbomType, imagetest.Layer("sbom", 5000))
	s.sbomSignature = imagetest.Referrer(s.sbom, signatureType)
	return s
}

func (w *world) pushSigned(s signed) {
	w.t.Helper()
	w.push(w.up, "team/app", "1", s.image)
	w.refer(w.up, s.image, s.signature)
	w.refer(w.up, s.image.Children[1], s.sbom)
	w.refer(w.up, s.sbom, s.sbomSignature)
}

// Whatever the two registries know of referrers, those of an image, of its children and
// of its referrers arrive with it, and can be found.
func TestReferrersComeAlong(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(*testing.T) *place{
		"with the API":    modern,
		"without the API": distribution,
		"ECR":             func(t *testing.T) *place { return ecr(t, "team/app") },
	}
	for from, up := range kinds {
		for to, down := range kinds {
			for _, library := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s to %s, library %v", from, to, library), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, up(t), down(t), nil)
					if library {
						w.throughLibrary()
					}
					s := newSigned()
					w.pushSigned(s)
					results := w.run(t.Context(), copy.Options{RequireReferrers: true}, w.withReferrers("1", s.image))
					expect(t, results[0], plan.Copied, "missing at destination; with 3 referrers")
					if diff := cmp.Diff(plan.Referrers{Mirrored: 3}, results[0].Referrers); diff != "" {
						t.Errorf("referrers (-want +got):\n%s", diff)
					}
					w.judgeAll("1")
					written := w.down.log.all()
					if last := written[len(written)-1]; last.name != "1" {
						t.Errorf("written last: %s", last.name)
					}
					if tags := w.fallbackTags(); (to == "without the API") != (tags > 0) {
						t.Errorf("%d fallback tags were written", tags)
					}
				})
			}
		}
	}
}

// fallbackTags counts the writes of fallback tags at the destination.
func (w *world) fallbackTags() int {
	n := 0
	for _, written := range w.down.log.all() {
		if strings.HasPrefix(written.name, "sha256-") {
			n++
		}
	}
	return n
}

// Two tags and two images share a child: its referrers are asked for and written once.
func TestSharedReferrersAreBroughtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	s := newSigned()
	w.pushSigned(s)
	w.push(w.up, "team/app", "2", s.image)
	other := imagetest.Index(s.image.Children[1])
	w.push(w.up, "team/app", "3", other)
	results := w.run(t.Context(), copy.Options{},
		w.withReferrers("1", s.image), w.withReferrers("2", s.image), w.withReferrers("3", other))
	for i, want := range []int{3, 3, 2} {
		expect(t, results[i], plan.Copied)
		if results[i].Referrers.Mirrored != want {
			t.Errorf("%d referrers mirrored, want %d", results[i].Referrers.Mirrored, want)
		}
	}
	for _, n := range []imagetest.Node{s.signature, s.sbom, s.sbomSignature} {
		if got := w.down.wrote(string(n.Digest())); got != 1 {
			t.Errorf("%s was written %d times", n.Digest(), got)
		}
	}
	if got := w.fallbackTags(); got != 3 {
		t.Errorf("fallback tags were written %d times", got)
	}
	if got := count(w.up, "referrers"); got > 6 { // those under way when the first answer came
		t.Errorf("the referrers API was asked %d times", got)
	}
	for _, tag := range []string{"1", "2", "3"} {
		w.judgeAll(tag)
	}
}

// A mirror that does not want referrers asks for none.
func TestReferrersCanBeLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modern(t), modern(t), nil)
	s := newSigned()
	w.pushSigned(s)
	a := w.withReferrers("1", s.image)
	a.Mirror.Options.Referrers = false
	expect(t, w.run(t.Context(), copy.Options{}, a)[0], plan.Copied)
	if asked := count(w.up, "referrers") + count(w.down, "referrers"); asked > 0 {
		t.Errorf("referrers were asked for %d times", asked)
	}
	if tree := w.walkAll(w.down, "1"); len(tree.Referrers) > 0 {
		t.Errorf("it has referrers: %v", tree.Referrers)
	}
}

// An index of referrers that is at the destination already is added to, and what others
// have put there stays.
func TestFallbackTagIsAddedTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modern(t), distribution(t), nil)
	s := newSigned()
	w.pushSigned(s)
	own := imagetest.Referrer(s.image, "application/vnd.example.approval")
	w.refer(w.down, s.image, own)
	expect(t, w.run(t.Context(), copy.Options{}, w.withReferrers("1", s.image))[0], plan.Copied, "with 3 referrers")
	listed, err := walker.Referrers(t.Context(), walker.Options{Base: w.down.url, Repository: "team/app"}, s.image.Digest())
	if err != nil {
		t.Fatal(err)
	}
	want := []v1.Descriptor{own.Descriptor, s.signature.Descriptor}
	want[1].Annotations = map[string]string{"by": "a"}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}

	// What is listed already is not written again, for another tag of the same image.
	w.down.forget()
	expect(t, w.run(t.Context(), copy.Options{}, w.withReferrers("2", s.image))[0], plan.Copied, "with 3 referrers")
	if got := w.fallbackTags(); got != 0 {
		t.Errorf("%d fallback tags were written again", got)
	}
}

// Somebody else may write the fallback tag between our reading and our writing.
func TestFallbackTagWrittenByTwo(t *testing.T) {
	t.Parallel()
	s := newSigned()
	other := imagetest.Referrer(s.image, "application/vnd.example.approval")
	down := distribution(t)
	var w *world
	meddled := 0
	down = between(t, down, func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(rw, r)
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, fallbackTag(s.image.Digest())) && r.Header.Get("User-Agent") == "us" && meddled == 0 {
			meddled++
			push(t, w.down, "team/app", fallbackTag(s.image.Digest()), imagetest.Index(other))
		}
	})
	w = newWorld(t, modern(t), down, asUs)
	w.pushSigned(s)
	expect(t, w.run(t.Context(), copy.Options{RequireReferrers: true}, w.withReferrers("1", s.image))[0], plan.Copied)
	tree := w.walkAll(w.down, "1")
	for _, n := range []imagetest.Node{other, s.signature} {
		if _, ok := tree.Referrers[n.Digest()]; !ok {
			t.Errorf("%s is not listed", n.Digest())
		}
	}
	if meddled != 1 {
		t.Errorf("the tag was meddled with %d times", meddled)
	}
}

// ECR has refused manifests with a subject and an artifact type.
func TestRefusedReferrers(t *testing.T) {
	t.Parallel()
	quirks := ecrlocal.ECR()
	quirks.RefuseReferrers = true
	r := ecrlocaltest.Start(t, ecrlocaltest.WithQuirks(quirks))
	if err := r.CreateRepository("team/app", ecrlocal.RepositoryOptions{}); err != nil {
		t.Fatal(err)
	}
	down := logged(t, &place{handler: r.Server, server: r.Server, username: "AWS", password: r.Password("", "")})
	w := newWorld(t, distribution(t), down, nil)
	s := newSigned()
	w.pushSigned(s)
	a := w.withReferrers("1", s.image)

	result := w.run(t.Context(), copy.Options{RequireReferrers: true}, a)[0]
	expect(t, result, plan.HasFailed, "incomplete: ", "405")
	w.absent("1")

	result = w.run(t.Context(), copy.Options{}, a)[0]
	expect(t, result, plan.Copied, "missing at destination; incomplete: ", "405", "and 1 more")
	if got := result.Referrers; got.Mirrored != 0 || len(got.Incomplete) != 2 {
		t.Errorf("referrers %+v", got)
	}
	w.judge("1", s.image)
	if got := w.fallbackTags(); got != 0 {
		t.Errorf("%d fallback tags lead nowhere", got)
	}
}

// What upstream lists is a claim, and one that cannot be relied on is told and left.
func TestReferrersThatAreNot(t *testing.T) {
	t.Parallel()
	image, elsewhere := imagetest.Image(amd64, imagetest.Layer("a", 10)), imagetest.Image(arm64)
	good := imagetest.Referrer(image, signatureType)
	absent := imagetest.Referrer(image, sbomType)
	others := imagetest.Referrer(elsewhere, signatureType, imagetest.Layer("other", 10))
	plain := imagetest.Artifact(sbomType)
	tests := []struct {
		name   string
		listed []imagetest.Node
		pushed []imagetest.Node
		want   string
	}{
		{"absent", []imagetest.Node{good, absent}, []imagetest.Node{good}, string(absent.Digest())},
		{"of another subject", []imagetest.Node{good, others}, []imagetest.Node{good, others}, "its own subject is \"" + string(elsewhere.Digest())},
		{"of no subject", []imagetest.Node{good, plain}, []imagetest.Node{good, plain}, `its own subject is ""`},
		{"the subject itself", []imagetest.Node{good, image}, []imagetest.Node{good}, string(image.Digest())},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), distribution(t), nil)
			w.push(w.up, "team/app", "1", image)
			for _, n := range test.pushed {
				w.push(w.up, "team/app", "", n)
			}
			index := imagetest.Index(test.listed...)
			index.Children = nil // not pushed with it
			w.push(w.up, "team/app", fallbackTag(image.Digest()), index)
			result := w.run(t.Context(), copy.Options{}, w.withReferrers("1", image))[0]
			expect(t, result, plan.Copied, "with 1 referrer; incomplete: ", test.want)
			if len(result.Referrers.Incomplete) != 1 {
				t.Errorf("incomplete %q", result.Referrers.Incomplete)
			}
			w.judge("1", image)
			if _, ok := w.walkAll(w.down, "1").Referrers[good.Digest()]; !ok {
				t.Error("the good referrer is not there")
			}
		})
	}
}

// A chain of referrers is followed so far and no further, and the end is told.
func TestReferrersOfReferrersEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modern(t), modern(t), nil)
	image := imagetest.Image(amd64)
	w.push(w.up, "team/app", "1", image)
	for subject, i := image, 0; i < 7; i++ {
		next := imagetest.Referrer(subject, signatureType)
		w.refer(w.up, subject, next)
		subject = next
	}
	result := w.run(t.Context(), copy.Options{}, w.withReferrers("1", image))[0]
	expect(t, result, plan.Copied, "with 4 referrers; incomplete: ", "only 4 above one another")
}

// A list that is longer than any honest one costs so many reads and no more.
func TestManyReferrers(t *testing.T) {
	t.Parallel()
	image := imagetest.Image(amd64)
	up := between(t, modern(t), func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.HasSuffix(r.URL.Path, "/referrers/"+string(image.Digest())) {
			next.ServeHTTP(rw, r)
			return
		}
		var index v1.Index
		for i := range 1500 {
			index.Manifests = append(index.Manifests, imagetest.Artifact(fmt.Sprint("application/x", i)).Descriptor)
		}
		if err := json.NewEncoder(rw).Encode(index); err != nil {
			t.Error(err)
		}
	})
	w := newWorld(t, up, distribution(t), nil)
	w.push(w.up, "team/app", "1", image)
	result := w.run(t.Context(), copy.Options{}, w.withReferrers("1", image))[0]
	expect(t, result, plan.Copied, "incomplete: ", "and 1000 more")
	if got := result.Referrers.Incomplete; !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "500 of its 1500 referrers") }) {
		t.Errorf("the limit is not told: %q", got[len(got)-1])
	}
	if got := count(w.up, "manifest-get"); got > 1001 {
		t.Errorf("%d manifests were read", got)
	}
}

// A registry that does not answer the question does not keep its images from being
// mirrored.
func TestReferrersThatCannotBeListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modern(t), modern(t), nil)
	image := imagetest.Image(amd64)
	w.push(w.up, "team/app", "1", image)
	w.up.server.FailNext("referrers", 1, ecrlocal.Fault{Status: http.StatusForbidden, Code: "DENIED"})
	expect(t, w.run(t.Context(), copy.Options{}, w.withReferrers("1", image))[0], plan.Copied, "incomplete: ", "list referrers of upstream", "DENIED")
	w.judge("1", image)
}

// A signature that could not be had for a passing reason used to be lost for good: the tag
// was written without it, and every later run found the image in sync.
func TestReferrersThatFailForNow(t *testing.T) {
	for kind, side := range map[string]func(w *world) *place{
		"referrers":    func(w *world) *place { return w.up },
		"manifest-put": func(w *world) *place { return w.down },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, modern(t), modern(t), nil)
			image := imagetest.Image(amd64)
			w.push(w.up, "team/app", "1", image)
			signature := imagetest.Referrer(image, signatureType)
			w.refer(w.up, image, signature)
			side(w).server.FailNext(kind, 1, ecrlocal.Fault{
				Status: http.StatusServiceUnavailable,
				Match: func(e ecrlocal.Entry) bool {
					return kind == "referrers" || e.Reference == string(signature.Digest())
				},
			})
			a := w.withReferrers("1", image)
			expect(t, w.run(t.Context(), copy.Options{}, a)[0], plan.HasFailed, "referrers: ", "503")
			if n := count(w.down, "manifest-put", "1"); n != 0 {
				t.Errorf("the tag was written %d times", n)
			}
			expect(t, w.run(t.Context(), copy.Options{}, a)[0], plan.Copied, "with 1 referrer")
			if _, ok := w.walkAll(w.down, "1").Referrers[signature.Digest()]; !ok {
				t.Error("the signature is not there")
			}
		})
	}
}

// What is about upstream's index says nothing about a selection from it; what is about
// the images that were kept does.
func TestReferrersOfASelection(t *testing.T) {
	t.Parallel()
	s := newSigned()
	for _, test := range []struct {
		name      string
		platforms discover.Platforms
		want      plan.Referrers
	}{
		{"the other image's index", discover.Platforms{Keep: []ref.Platform{amd64}}, plan.Referrers{LeftOut: 1}},
		{"a smaller index", discover.Platforms{Keep: []ref.Platform{arm64}}, plan.Referrers{Mirrored: 2, LeftOut: 1}},
		{"one image", discover.Platforms{One: &arm64}, plan.Referrers{Mirrored: 2, LeftOut: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, modern(t), distribution(t), nil)
			w.pushSigned(s)
			a := w.withReferrers("1", s.image)
			a.Mirror.Platforms, a.Want = test.platforms, s.image.Children[1].Digest()
			if test.platforms.One == nil {
				selected, err := manifest.Select(s.image.Raw, s.image.Descriptor.MediaType, test.platforms.Keep)
				if err != nil {
					t.Fatal(err)
				}
				a.Want = selected.Digest
			}
			result := w.run(t.Context(), copy.Options{RequireReferrers: true}, a)[0]
			expect(t, result, plan.Copied, "without 1 referrer of upstream's index")
			if diff := cmp.Diff(test.want, result.Referrers); diff != "" {
				t.Errorf("referrers (-want +got):\n%s", diff)
			}
			if asked := count(w.up, "referrers", string(a.Want)); asked > 0 && test.platforms.One == nil {
				t.Errorf("upstream was asked about an index that it has never seen")
			}
			tree := w.walkAll(w.down, "1")
			if err := tree.Err(); err != nil || len(tree.Referrers) != min(test.want.Mirrored, 1) {
				t.Errorf("%d referrers arrived; %v", len(tree.Referrers), err)
			}
		})
	}
}

// The end of a run is no verdict about referrers: what was not finished is pending.
func TestInterruptedAmongReferrers(t *testing.T) {
	t.Parallel()
	s := newSigned()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	up := between(t, modern(t), func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/manifests/"+string(s.signature.Digest())) {
			cancel()
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(rw, r)
	})
	w := newWorld(t, up, modern(t), nil)
	w.pushSigned(s)
	result := w.run(ctx, copy.Options{}, w.withReferrers("1", s.image))[0]
	expect(t, result, plan.Pending, "not done: ")
	w.absent("1")
}

// asUs lets a place tell the program's requests from the test's.
func asUs(o *transport.Options) { o.UserAgent = "us" }

// A fallback tag that is not among upstream's tags is not asked for, where the run has
// listed them; one that is, is read.
func TestFallbackTagsThatAreKnown(t *testing.T) {
	t.Parallel()
	s := newSigned()
	for _, test := range []struct {
		name   string
		listed []string
		want   int
	}{
		{"none", []string{"1", "latest"}, 0},
		{"that of the image", []string{"1", fallbackTag(s.image.Digest())}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), distribution(t), nil)
			w.pushSigned(s)
			a := w.withReferrers("1", s.image)
			library := copy.NewLibrary(16)
			library.Listed(a.From.Repository, test.listed)
			copier := copy.New(w, library, copy.Options{})
			result := copier.Run(t.Context(), plan.Plan{Actions: []plan.Action{a}})[0]
			if err := copier.Close(); err != nil {
				t.Error(err)
			}
			expect(t, result, plan.Copied)
			if result.Referrers.Mirrored != test.want {
				t.Errorf("%d mirrored, want %d", result.Referrers.Mirrored, test.want)
			}
			asked := 0
			for _, e := range w.up.server.Journal() {
				if strings.HasPrefix(e.Reference, "sha256-") {
					asked++
				}
			}
			if asked != test.want {
				t.Errorf("%d fallback tags were asked for, want %d", asked, test.want)
			}
		})
	}
}
