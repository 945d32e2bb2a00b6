package copy_test

import (
	"net/http"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// cosignTag is the tag of a kind that cosign derives from a digest.
func cosignTag(n imagetest.Node, kind string) string { return fallbackTag(n.Digest()) + "." + kind }

// signature is what cosign writes: an image whose layers are signatures.
func signature(names ...string) imagetest.Node {
	var layers []imagetest.Blob
	for _, name := range names {
		layers = append(layers, imagetest.NewBlob("application/vnd.dev.cosign.simplesigning.v1+json", []byte(name)))
	}
	return imagetest.Image(ref.Platform{}, layers...)
}

// What cosign keeps under tags comes along with an image and its children.
func TestCosignTags(t *testing.T) {
	t.Parallel()
	image := imagetest.Index(imagetest.Image(amd64, imagetest.Layer("a", 100)), imagetest.Image(arm64))
	sig, att, sbom := cosignTag(image, "sig"), cosignTag(image.Children[1], "att"), cosignTag(image, "sbom")
	for _, test := range []struct {
		name   string
		listed []string // upstream's tags, nil where they were not listed
		heads  int
		want   int
	}{
		{"not listed: one HEAD for each of three tags of three manifests", nil, 9, 3},
		{"listed: one HEAD for each that is there", []string{"1", sig, att, sbom}, 3, 3},
		{"listed before they were there", []string{"1"}, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), ecr(t, "team/app"), nil)
			w.push(w.up, "team/app", "1", image)
			w.push(w.up, "team/app", sig, signature("one"))
			w.push(w.up, "team/app", att, signature("two"))
			w.push(w.up, "team/app", sbom, imagetest.Artifact("text/spdx", imagetest.Layer("sbom", 900)))
			a := w.withReferrers("1", image)
			library := copy.NewLibrary(16)
			if test.listed != nil {
				library.Listed(a.From.Repository, test.listed)
			}
			copier := copy.New(w, library, copy.Options{RequireReferrers: true})
			result := copier.Run(t.Context(), plan.Plan{Actions: []plan.Action{a}})[0]
			if err := copier.Close(); err != nil {
				t.Error(err)
			}
			expect(t, result, plan.Copied)
			if result.Referrers.Mirrored != test.want {
				t.Errorf("%d mirrored, want %d", result.Referrers.Mirrored, test.want)
			}
			if got := count(w.up, "manifest-head"); got != test.heads {
				t.Errorf("%d HEADs upstream, want %d", got, test.heads)
			}
			w.judge("1", image)
			if test.want == 0 {
				w.absent(sig)
				return
			}
			w.judge(sig, signature("one"))
			w.judge(att, signature("two"))
			written := w.down.log.all()
			if last := written[len(written)-1]; last.name != "1" {
				t.Errorf("written last: %s", last.name)
			}
		})
	}
}

// A tag at the destination is moved to what has more signatures, and never from one that
// somebody has put there.
func TestCosignTagThatIsThere(t *testing.T) {
	t.Parallel()
	image := imagetest.Image(amd64, imagetest.Layer("a", 100))
	sig := cosignTag(image, "sig")
	for _, test := range []struct {
		name  string
		there imagetest.Node
		moves bool
		says  string
	}{
		{"the same", signature("one", "two"), false, "with 1 referrer"},
		{"fewer", signature("two"), true, "with 1 referrer"},
		{"others", signature("own"), false, "incomplete: "},
		{"others, too", signature("one", "two", "own"), false, "with 1 referrer"},
		{"an index", imagetest.Index(signature("one")), false, "left as it is"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, distribution(t), distribution(t), nil)
			w.push(w.up, "team/app", "1", image)
			w.push(w.up, "team/app", sig, signature("one", "two"))
			w.push(w.down, "team/app", sig, test.there)
			expect(t, w.run(t.Context(), copy.Options{}, w.withReferrers("1", image))[0], plan.Copied, test.says)
			want := test.there
			if test.moves {
				want = signature("one", "two")
			}
			if got := w.walk(w.down, "team/app", sig).Root; got != want.Digest() {
				t.Errorf("the tag is %s, want %s", got, want.Digest())
			}
			if moved := w.down.wrote(sig) > 0; moved != test.moves {
				t.Errorf("the tag was written: %v", moved)
			}
			w.judge("1", image)
		})
	}
}

// A question about cosign's tags that is refused is told.
func TestCosignTagsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	image := imagetest.Image(amd64, imagetest.Layer("a", 100))
	w := newWorld(t, distribution(t), distribution(t), nil)
	w.push(w.up, "team/app", "1", image)
	denied := ecrlocal.Fault{Status: http.StatusForbidden, Code: "DENIED", Match: func(e ecrlocal.Entry) bool { return e.Reference == cosignTag(image, "sig") }}
	w.up.server.FailNext("manifest-head", 1, denied)
	w.up.server.FailNext("manifest-get", 1, denied) // a HEAD that is refused without a word is asked again
	expect(t, w.run(t.Context(), copy.Options{}, w.withReferrers("1", image))[0], plan.Copied, "incomplete: ", "resolve upstream", "DENIED")
}
