package copy_test

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// drawNode makes some image: of layers out of a small common stock, so that images
// share them, or an index of images and indexes that were made before.
func drawNode(t *rapid.T, made []imagetest.Node) imagetest.Node {
	if len(made) > 0 && rapid.Bool().Draw(t, "index") {
		children := rapid.SliceOfN(rapid.SampledFrom(made), 1, 4).Draw(t, "children")
		if rapid.IntRange(0, 3).Draw(t, "docker") == 0 {
			return imagetest.DockerIndex(children...)
		}
		return imagetest.Index(children...)
	}
	layer := rapid.Custom(func(t *rapid.T) imagetest.Blob {
		n := rapid.IntRange(0, 7).Draw(t, "layer")
		if n == 0 {
			return imagetest.ForeignLayer("foreign", 50, "http://192.0.2.1/")
		}
		return imagetest.Layer(fmt.Sprint(n), []int{0, 0, 1, 2, 300, 4000, 32 << 10, 40_000}[n])
	})
	layers := rapid.SliceOfN(layer, 0, 4).Draw(t, "layers")
	switch rapid.SampledFrom([]string{"OCI", "Docker", "artifact", "bare"}).Draw(t, "format") {
	case "Docker":
		return imagetest.DockerImage(amd64, layers...)
	case "artifact":
		return imagetest.Artifact("application/vnd.example", layers...)
	case "bare":
		return imagetest.Image(arm64, layers...).WithoutMediaType()
	}
	return imagetest.Image(amd64, layers...)
}

// Whatever the images are, and whatever they share: each tag arrives equal to upstream's
// byte for byte, each blob is read and uploaded once, each root is written once for each of
// its tags and each manifest below once, and a second run writes nothing.
func TestAnyImagesArrive(t *testing.T) {
	faults.Covers(t, "F46", "I2", "I3", "I9")
	t.Parallel()
	w := newWorld(t, distribution(t), distribution(t), nil)
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		repo := fmt.Sprintf("property/n%d", n) // what was copied before does not help
		var made []imagetest.Node
		tags := map[string]imagetest.Node{}
		for i := range rapid.IntRange(1, 5).Draw(r, "images") {
			made = append(made, drawNode(r, made))
			for j := range rapid.IntRange(0, 2).Draw(r, "tags") {
				tags[fmt.Sprintf("t%d-%d", i, j)] = made[i]
			}
		}
		var actions []plan.Action
		for tag, node := range tags {
			if _, err := imagetest.Push(context.Background(), nil, w.up.url, repo, tag, node); err != nil {
				r.Fatal(err)
			}
			actions = append(actions, w.action(repo, tag, node))
		}
		w.up.forget()
		w.down.forget()

		opts := copy.Options{Images: rapid.SampledFrom([]int{0, 1, 2, 8, -1}).Draw(r, "at once")}
		for _, result := range w.run(t.Context(), opts, actions...) {
			if result.Status != plan.Copied {
				r.Fatalf("%s is %s: %s", result.Action.To, result.Status, result.Reason)
			}
		}
		for tag, node := range tags {
			if got := w.down.wrote(tag); got != 1 {
				r.Fatalf("tag %s was written %d times", tag, got)
			}
			for m := range node.All() {
				least, most := 1, 1
				if tagged(tags, m) {
					least = 0 // it came with its tag
					if !named(tags, m) {
						most = 0
					}
				}
				if got := w.down.wrote(string(m.Digest())); got < least || got > most {
					r.Fatalf("manifest %s was written %d times by its digest, and %d to %d are right", m.Digest(), got, least, most)
				}
			}
			for _, b := range node.AllBlobs() {
				up, down := count(w.up, "blob-get", string(b.Digest())), w.down.wrote(string(b.Digest()))
				if up != 1 || down != 1 {
					r.Fatalf("blob %s was read %d times and uploaded %d times", b.Digest(), up, down)
				}
			}
		}
		w.down.forget()
		for _, result := range w.run(t.Context(), opts, actions...) {
			if result.Status != plan.StaysInSync {
				r.Fatalf("again: %s is %s: %s", result.Action.To, result.Status, result.Reason)
			}
		}
		if again := writes(w.down); len(again) > 0 {
			r.Fatalf("written the second time: %v", again)
		}
		for tag, node := range tags {
			mirrored := w.walk(w.down, repo, tag)
			if err := walker.Same(w.walk(w.up, repo, tag), mirrored); err != nil || mirrored.Root != node.Digest() {
				r.Fatalf("%s is %s, want %s: %v", tag, mirrored.Root, node.Digest(), err)
			}
		}
	})
}

// tagged reports whether one of the tags points at m.
func tagged(tags map[string]imagetest.Node, m imagetest.Node) bool {
	for _, root := range tags {
		if root.Digest() == m.Digest() {
			return true
		}
	}
	return false
}

// named reports whether one of the tagged images is an index with m in it.
func named(tags map[string]imagetest.Node, m imagetest.Node) bool {
	for _, root := range tags {
		for below := range root.All() {
			if below.Digest() == m.Digest() && root.Digest() != m.Digest() {
				return true
			}
		}
	}
	return false
}

// Whatever refers to what, of an image, its children and their referrers: all of it
// arrives, once, can be found from the image, and nothing else does.
func TestAnyReferrersArrive(t *testing.T) {
	t.Parallel()
	up, down := []*place{modern(t), distribution(t)}, []*place{modern(t), distribution(t)}
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		w := newWorld(t, rapid.SampledFrom(up).Draw(r, "up"), rapid.SampledFrom(down).Draw(r, "down"), nil)
		repo := fmt.Sprintf("referrers/n%d", n)
		var made []imagetest.Node
		for range rapid.IntRange(1, 4).Draw(r, "images") {
			made = append(made, drawNode(r, made))
		}
		root := made[len(made)-1]
		var subjects []imagetest.Node
		depths := map[ref.Digest]int{}
		for m := range root.All() {
			subjects = append(subjects, m)
		}
		about := map[ref.Digest][]imagetest.Node{}
		referrers := rapid.IntRange(0, 6).Draw(r, "referrers")
		for i := range referrers {
			subject := rapid.SampledFrom(subjects).Draw(r, "subject")
			layer := imagetest.Layer(fmt.Sprint("r", rapid.IntRange(0, 2).Draw(r, "layer")), 200)
			next := imagetest.Referrer(subject, fmt.Sprint("application/x", i), layer)
			about[subject.Digest()] = append(about[subject.Digest()], next)
			if depths[next.Digest()] = depths[subject.Digest()] + 1; depths[next.Digest()] < 4 {
				subjects = append(subjects, next)
			}
		}
		bring := func(tag string, node imagetest.Node) {
			if _, err := imagetest.Push(context.Background(), nil, w.up.url, repo, tag, node); err != nil {
				r.Fatal(err)
			}
		}
		bring("1", root)
		for subject, all := range about {
			tag := "" // the API needs none
			if _, old := w.up.server.(*ecrlocal.Upstream); old {
				tag = fallbackTag(subject)
			}
			if list := imagetest.Index(all...); tag != "" {
				bring(tag, list)
				continue
			}
			for _, referrer := range all {
				bring("", referrer)
			}
		}
		w.down.forget()

		a := w.action(repo, "1", root)
		a.Mirror.Options = discover.DefaultOptions()
		result := w.run(t.Context(), copy.Options{RequireReferrers: true}, a)[0]
		if result.Status != plan.Copied || result.Referrers.Mirrored != referrers {
			r.Fatalf("%s with %d of %d referrers: %s", result.Status, result.Referrers.Mirrored, referrers, result.Reason)
		}
		for _, all := range about {
			for _, referrer := range all {
				if got := w.down.wrote(string(referrer.Digest())); got != 1 {
					r.Fatalf("referrer %s was written %d times", referrer.Digest(), got)
				}
			}
		}
		tree := func(p *place) walker.Tree {
			found, err := walker.CheckAll(context.Background(), walker.Options{Base: p.url, Repository: repo, Reference: "1", Deep: true})
			if err != nil {
				r.Fatal(err)
			}
			return found
		}
		if err := walker.SameAll(tree(w.up), tree(w.down)); err != nil {
			r.Fatal(err)
		}
	})
}
