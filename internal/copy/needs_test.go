package copy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// imageOf is an image of blobs of one byte.
func imageOf(digests ...ref.Digest) *Node {
	n := &Node{Digest: "image"}
	for _, d := range digests {
		n.Blobs = append(n.Blobs, manifest.Blob{Descriptor: ref.Descriptor{Digest: d, Size: 1}})
	}
	return n
}

func TestNeeds(t *testing.T) {
	a, b, c := ref.Repository{Host: "h", Path: "a"}, ref.Repository{Host: "h", Path: "b"}, ref.Repository{Host: "other", Path: "c"}
	x, y := blobID{"x", 1}, blobID{"y", 1}
	never, always := func(string) bool { return false }, func(string) bool { return true }
	n := newNeeds()
	n.actions = map[ref.Repository]int{a: 2, b: 1, c: 1}
	n.add(imageOf("x", "own"), a)
	n.add(imageOf("x", "y"), a) // a second tag
	n.add(imageOf("x"), b)
	n.add(imageOf("y"), c)
	n.keepShared()

	for _, test := range []struct {
		at     content
		mounts func(string) bool
		want   bool
	}{
		{content{a, "own", 1}, never, false}, // nobody else's
		{content{a, "x", 1}, never, true},
		{content{a, "x", 1}, always, false}, // b will mount it
		{content{a, "x", 2}, never, false},  // another blob, by its size
		{content{a, "y", 1}, always, true},  // c is at another registry
		{content{c, "y", 1}, always, true},
	} {
		if got := n.others(test.at, test.mounts); got != test.want {
			t.Errorf("others(%v) = %t", test.at, got)
		}
	}

	if n.met(x, a) || n.met(x, c) {
		t.Error("b needs x still")
	}
	if !n.met(x, b) || n.met(x, b) {
		t.Error("b was the last to need x, once")
	}
	if over := n.finished(c); len(over) > 0 {
		t.Errorf("a needs %v still", over)
	}
	if over := n.finished(a); len(over) > 0 {
		t.Errorf("a has an action left and %v was given up", over)
	}
	if diff := cmp.Diff([]blobID{y}, n.finished(a), cmp.AllowUnexported(blobID{})); diff != "" {
		t.Errorf("when all is done (-want +got)\n%s", diff)
	}
	if n.others(content{b, "y", 1}, never) || len(n.by) > 0 {
		t.Errorf("needed for ever: %v", n.by)
	}
	if over := (needs{}).finished(a); over != nil || (needs{}).met(x, a) {
		t.Error("nothing known, and something needed")
	}
}

// What refers to an image that several want is needed by all of them, as soon as it is
// known, and by none that has had its turn.
func TestNeedsOfReferrers(t *testing.T) {
	from := ref.Repository{Host: "up", Path: "x"}
	a, b, c := ref.Repository{Host: "h", Path: "a"}, ref.Repository{Host: "h", Path: "b"}, ref.Repository{Host: "h", Path: "c"}
	never := func(string) bool { return false }
	to := func(repo ref.Repository) plan.Action {
		m := discover.Mirror{Options: discover.DefaultOptions()}
		return plan.Action{From: from.Tagged("1"), To: repo.Tagged("1"), Mirror: &m}
	}
	n := newNeeds()
	n.actions = map[ref.Repository]int{a: 1, b: 1, c: 1}
	root := imageOf("layer")
	for _, repo := range []ref.Repository{a, b, c} {
		n.image(to(repo), root)
	}
	n.refer(to(a), "own")
	n.keepShared()
	n.finished(c)

	sbom, signature := imageOf("sbom"), imageOf("signature")
	sbom.Digest, signature.Digest = "of the image", "of the SBOM"
	n.referrer(origin{from, "own"}, signature)                                    // which a alone has
	n.referrer(origin{ref.Repository{Host: "up", Path: "y"}, "image"}, signature) // another upstream's
	if n.others(content{a, "signature", 1}, never) {
		t.Error("somebody else's need")
	}
	n.referrer(origin{from, "image"}, sbom)
	n.referrer(origin{from, sbom.Digest}, signature)
	for _, blob := range []ref.Digest{"sbom", "signature"} {
		if !n.others(content{a, blob, 1}, never) || !n.others(content{b, blob, 1}, never) {
			t.Errorf("%s is not needed by both", blob)
		}
		if n.by[blobID{blob, 1}][c] {
			t.Errorf("%s is needed by who has had its turn", blob)
		}
	}
	if n.met(blobID{"sbom", 1}, a) {
		t.Error("b needs the SBOM still")
	}
	n.referrer(origin{from, "image"}, sbom) // read by b now
	if !n.met(blobID{"sbom", 1}, b) {
		t.Error("b was the last to need the SBOM")
	}
	n.finished(a)
	n.finished(b)
	if len(n.by)+len(n.of) > 0 {
		t.Errorf("needed for ever: %v", n.by)
	}
}
