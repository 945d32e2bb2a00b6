package copy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// inSync is an action on an image that both sides have.
func (w *world) inSync(tag string, node imagetest.Node) plan.Action {
	a := w.withReferrers(tag, node)
	a.Verb, a.Have, a.Reason = plan.InSync, node.Digest(), "same digest"
	return a
}

// compare returns what planning makes of an image that is in sync.
func (w *world) compare(node imagetest.Node) plan.Action {
	w.t.Helper()
	a := w.inSync("1", node)
	found, err := copy.NewComparer(copy.NewLibrary(16), 16).Compare(w.t.Context(), w, a)
	if err != nil {
		w.t.Fatal(err)
	}
	return a.Complete(found)
}

// mirrorWithout brings an image to the destination without any of its referrers.
func (w *world) mirrorWithout(node imagetest.Node) {
	w.t.Helper()
	a := w.withReferrers("1", node)
	a.Mirror.Options.Referrers = false
	expect(w.t, w.run(w.t.Context(), copy.Options{}, a)[0], plan.Copied)
	w.up.forget()
	w.down.forget()
}

// Whatever the two registries know of referrers, those that an image has got since it was
// mirrored arrive, and nothing else is written.
func TestMissingReferrersAreBrought(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(*testing.T) *place{
		"with the API":    modern,
		"without the API": distribution,
		"ECR":             func(t *testing.T) *place { return ecr(t, "team/app") },
	}
	for from, up := range kinds {
		for to, down := range kinds {
			t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, up(t), down(t), nil)
				s := newSigned()
				w.pushSigned(s)
				sig := cosignTag(s.image.Children[0], "sig")
				w.push(w.up, "team/app", sig, signature("one"))
				w.mirrorWithout(s.image)

				a := w.compare(s.image)
				if a.Verb != plan.Update || a.Compared.Missing != 4 || a.Reason != "same digest; 4 of 4 referrers missing at destination" {
					t.Fatalf("%s: %s: %+v", a.Verb, a.Reason, a.Compared)
				}
				if wrote := writes(w.down); len(wrote) > 0 {
					t.Errorf("comparing wrote: %v", wrote)
				}
				expect(t, w.run(t.Context(), copy.Options{RequireReferrers: true}, a)[0], plan.Updated, "with 4 referrers")
				w.judgeAll("1")
				w.judge(sig, signature("one"))
				image := []string{"1"}
				for n := range s.image.All() {
					image = append(image, string(n.Digest()))
				}
				for _, name := range image {
					if w.down.wrote(name) > 0 {
						t.Errorf("%s was written, and was there", name)
					}
				}

				// Now nothing is missing, and nothing is written.
				w.down.forget()
				a = w.compare(s.image)
				if a.Verb != plan.InSync || a.Compared.Mirrored != 4 {
					t.Errorf("afterwards %s: %+v", a.Verb, a.Compared)
				}
			})
		}
	}
}

// What is there already, at whatever distance, is not brought again; what the destination
// has besides stays.
func TestOnlyWhatIsMissingIsBrought(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution(t), modern(t), nil)
	s := newSigned()
	w.push(w.up, "team/app", "1", s.image)
	w.refer(w.up, s.image.Children[1], s.sbom)
	expect(t, w.run(t.Context(), copy.Options{}, w.withReferrers("1", s.image))[0], plan.Copied, "with 1 referrer")
	own := imagetest.Referrer(s.image, signatureType, imagetest.Layer("own", 20))
	w.refer(w.down, s.image, own)

	w.refer(w.up, s.sbom, s.sbomSignature) // upstream signs the SBOM later
	a := w.compare(s.image)
	gap := plan.Gap{
		Subject: s.sbom.Digest(), Depth: 2,
		Referrers: []ref.Descriptor{{MediaType: s.sbomSignature.Descriptor.MediaType, Digest: s.sbomSignature.Digest(), Size: int64(len(s.sbomSignature.Raw))}},
	}
	want := &plan.Comparison{Referrers: plan.Referrers{Mirrored: 1}, Missing: 1, Gaps: []plan.Gap{gap}}
	if diff := cmp.Diff(want, a.Compared); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	expect(t, w.run(t.Context(), copy.Options{}, a)[0], plan.Updated, "1 of 2 referrers missing at destination; with 2 referrers")
	if written := w.down.log.all(); slices.ContainsFunc(written, func(o write) bool { return o.name == string(s.sbom.Digest()) }) {
		t.Errorf("the SBOM was written again: %v", written)
	}
	tree := w.walkAll(w.down, "1")
	if _, stays := tree.Referrers[own.Digest()]; !stays || len(tree.Referrers) != 2 || tree.Err() != nil {
		t.Errorf("the destination has %v, %v", tree.Referrers, tree.Err())
	}
}

// A list is a claim, on both sides: what upstream has not got cannot be brought, and what
// the destination has not got is missing.
func TestListsAreClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	image := imagetest.Image(amd64, imagetest.Layer("a", 100))
	there, gone := imagetest.Referrer(image, sbomType, imagetest.Layer("s", 9)), imagetest.Referrer(image, sbomType, imagetest.Layer("g", 9))
	other := imagetest.Referrer(imagetest.Image(arm64), sbomType)
	w.push(w.up, "team/app", "1", image)
	w.push(w.up, "team/app", "", other)
	w.refer(w.up, image, there, gone)
	w.mirrorWithout(image)
	list := imagetest.Index(there, gone, other)
	w.push(w.up, "team/app", fallbackTag(image.Digest()), list)
	w.up = between(t, w.up, func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, string(gone.Digest())) {
			http.NotFound(rw, r)
			return
		}
		next.ServeHTTP(rw, r)
	})
	w.push(w.down, "team/app", fallbackTag(image.Digest()), imagetest.Index(there))
	w.down = between(t, w.down, func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/manifests/"+string(there.Digest())) && r.Method == http.MethodHead {
			http.NotFound(rw, r)
			return
		}
		next.ServeHTTP(rw, r)
	})
	a := w.compare(image)
	if a.Compared.Missing != 1 || a.Compared.Mirrored != 0 || len(a.Compared.Incomplete) != 2 {
		t.Errorf("%+v", a.Compared)
	}
	incomplete := strings.Join(a.Compared.Incomplete, "\n")
	for _, says := range []string{string(gone.Digest()), "its own subject is"} {
		if !strings.Contains(incomplete, says) {
			t.Errorf("%q does not say %q", incomplete, says)
		}
	}
}

// Who may not list the referrers of one side is told, and nothing is called in sync or
// missing that nobody knows.
func TestReferrersThatCannotBeCompared(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"upstream", "destination"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, modern(t), modern(t), nil)
			s := newSigned()
			w.pushSigned(s)
			w.mirrorWithout(s.image)
			failing := w.up
			if side == "destination" {
				failing = w.down
			}
			failing.server.FailNext("referrers", 99, ecrlocal.Fault{Status: http.StatusForbidden, Code: "DENIED"})
			a := w.compare(s.image)
			if a.Verb != plan.InSync || a.Compared.Missing+a.Compared.Mirrored != 0 || len(a.Compared.Incomplete) == 0 {
				t.Fatalf("%s: %+v", a.Verb, a.Compared)
			}
			if r := plan.Unchanged(a); !strings.Contains(r.Reason, "incomplete: ") || !strings.Contains(r.Reason, "list referrers of "+side) {
				t.Errorf("reason %q", r.Reason)
			}
		})
	}
}

// The destination is asked only about what upstream has referrers of, and both sides once
// however many tags share an image.
func TestComparingIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modern(t), modern(t), nil)
	s := newSigned()
	w.push(w.up, "team/app", "1", s.image)
	w.refer(w.up, s.image, s.signature)
	w.mirrorWithout(s.image)
	comparer := copy.NewComparer(copy.NewLibrary(16), 16)
	for _, tag := range []string{"1", "2", "3"} {
		if _, err := comparer.Compare(t.Context(), w, w.inSync(tag, s.image)); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{}
	for name, p := range map[string]*place{"up": w.up, "down": w.down} {
		for _, e := range p.server.Journal() {
			got[name+" "+e.Op]++
		}
	}
	want := map[string]int{
		"up referrers": 4, "up manifest-head": 9, "up manifest-get": 1, // three manifests and the signature; cosign's tags; the signature
		"down manifest-get": 3, "down referrers": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// An image that is no longer under the tag is left to the next run, whatever it lacks.
func TestTagThatMovedIsNotCompleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, modern(t), modern(t), nil)
	s := newSigned()
	w.pushSigned(s)
	w.mirrorWithout(s.image)
	a := w.compare(s.image)
	w.push(w.down, "team/app", "1", imagetest.Image(arm64, imagetest.Layer("else", 10)))
	expect(t, w.run(t.Context(), copy.Options{}, a)[0], plan.StaysBlocked, "changed meanwhile")
	if wrote := writes(w.down); len(wrote) > 0 {
		t.Errorf("written: %v", wrote)
	}
}

// A registry that takes no referrers has what it had: that is no update.
func TestReferrersThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, required := range []bool{false, true} {
		t.Run(fmt.Sprintf("required %t", required), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, modern(t), modern(t), nil)
			s := newSigned()
			w.push(w.up, "team/app", "1", s.image)
			w.refer(w.up, s.image, s.signature)
			w.mirrorWithout(s.image)
			a := w.compare(s.image)
			w.down.server.FailNext("manifest-put", 9, ecrlocal.Fault{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED"})
			status := plan.StaysInSync
			if required {
				status = plan.HasFailed
			}
			result := w.run(t.Context(), copy.Options{RequireReferrers: required}, a)[0]
			expect(t, result, status, "incomplete: "+string(s.signature.Digest()))
			if len(result.Referrers.Incomplete) != 1 || result.Referrers.Mirrored != 0 {
				t.Errorf("%+v", result.Referrers)
			}
		})
	}
}
