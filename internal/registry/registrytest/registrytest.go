// Package registrytest is the contract of registry.Target as tests: every implementation
// passes them, against a real server of its kind. docs/adding-a-target.md shows how.
package registrytest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// A Fixture is one place of the kind that is tested, with nothing in it.
type Fixture struct {
	Target     registry.Target
	Repository ref.Repository // holds nothing; may be absent where it grows with the first push
	Sibling    ref.Repository // another at the same host
	New        ref.Repository // one that is not there; only where Can.Creates
	Can        Abilities
}

// Abilities are what a kind of target has beyond the contract. What is not named here has
// to be refused as unsupported.
type Abilities struct {
	Creates       bool // makes repositories, without which nothing can be pushed to them
	Deletes       bool // removes tags
	Mounts        bool // takes blobs over from other repositories of the host
	ListReferrers bool // says of a referrer that it is listed, and lists it
	RefusesEmpty  bool // takes no empty blobs, as ECR
}

// Run runs the suite. Open is called for each test, with the test that it is for.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, f Fixture)
	}{
		{"what is absent", absent},
		{"what is present", present},
		{"only what was asked for", exact},
		{"media types", mediaTypes},
		{"content before tags", twoPhases},
		{"a tag without a digest before", taggedAlone},
		{"several tags of a digest", severalTags},
		{"a tag that moves", moved},
		{"all at once", atOnce},
		{"a run that ends", ended},
		{"large and empty blobs", sizes},
		{"blobs that are wrong", wrongBlobs},
		{"blobs of other repositories", mounts},
		{"referrers", listsReferrers},
		{"removing tags", deletes},
		{"making repositories", creates},
		{"a target that is read-only", readOnly},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// image is a small image of two layers; the seed decides its content.
func image(seed string) imagetest.Node {
	return imagetest.Image(amd64, imagetest.Layer("base", 20_000), imagetest.Layer(seed, 3_000))
}

// index has two platforms.
func index(seed string) imagetest.Node {
	return imagetest.Index(image(seed+" one"), imagetest.Image(arm64, imagetest.Layer("base", 20_000), imagetest.Layer(seed+" two", 3_000)))
}

var (
	amd64 = ref.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ref.Platform{OS: "linux", Architecture: "arm64"}
)

// destination opens a repository to write to, for the length of a test.
func destination(t *testing.T, f Fixture, repo ref.Repository) imagetypes.ImageDestination {
	t.Helper()
	dst, err := f.Target.OpenDestination(t.Context(), repo)
	if err != nil {
		t.Fatalf("OpenDestination: %v", err)
	}
	t.Cleanup(func() {
		if err := dst.Close(); err != nil {
			t.Errorf("closing the destination: %v", err)
		}
	})
	return dst
}

// source opens a repository to read from, for the length of a test.
func source(t *testing.T, f Fixture, repo ref.Repository) imagetypes.ImageSource {
	t.Helper()
	src, err := f.Target.OpenSource(t.Context(), repo)
	if err != nil {
		t.Fatalf("OpenSource: %v", err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Errorf("closing the source: %v", err)
		}
	})
	return src
}

// push writes everything below a node, and the node by its digest; with a tag also that.
func push(t *testing.T, dst imagetypes.ImageDestination, node imagetest.Node, tag string) {
	t.Helper()
	if err := write(t.Context(), dst, node, tag); err != nil {
		t.Fatal(err)
	}
}

// write is push for other goroutines than the test's own.
func write(ctx context.Context, dst imagetypes.ImageDestination, node imagetest.Node, tag string) error {
	for _, b := range node.AllBlobs() {
		if err := upload(ctx, dst, b); err != nil {
			return err
		}
	}
	for n := range node.All() {
		if err := registry.WriteManifest(ctx, dst, n.Digest().String(), manifestOf(n)); err != nil {
			return err
		}
	}
	if tag == "" {
		return nil
	}
	return registry.WriteManifest(ctx, dst, tag, manifestOf(node))
}

// upload stores a blob that is not there yet.
func upload(ctx context.Context, dst imagetypes.ImageDestination, b imagetest.Blob) error {
	held, err := registry.HasBlob(ctx, dst, descriptor(b))
	if err != nil || held {
		return err
	}
	return registry.UploadBlob(ctx, dst, descriptor(b), opener(b.Content))
}

func descriptor(b imagetest.Blob) ref.Descriptor {
	return ref.Descriptor{MediaType: b.Descriptor.MediaType, Digest: b.Digest(), Size: int64(len(b.Content))}
}

func opener(content []byte) registry.Opener {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}

func manifestOf(n imagetest.Node) registry.Manifest {
	return registry.Manifest{MediaType: n.Descriptor.MediaType, Raw: n.Raw}
}

// readBack reads a whole image by digest, and insists on every byte.
func readBack(t *testing.T, f Fixture, repo ref.Repository, node imagetest.Node) {
	t.Helper()
	src := source(t, f, repo)
	for n := range node.All() {
		d := n.Digest()
		raw, mediaType, err := src.GetManifest(t.Context(), &d)
		if err != nil || !bytes.Equal(raw, n.Raw) || mediaType != n.Descriptor.MediaType {
			t.Errorf("manifest %s came as %d bytes of %q: %v", d, len(raw), mediaType, err)
		}
	}
	for _, b := range node.AllBlobs() {
		if got := readBlob(t, src, b); !bytes.Equal(got, b.Content) {
			t.Errorf("blob %s of %d bytes came as %d bytes", b.Digest(), len(b.Content), len(got))
		}
	}
}

func readBlob(t *testing.T, src imagetypes.ImageSource, b imagetest.Blob) []byte {
	t.Helper()
	body, size, err := src.GetBlob(t.Context(), imagetypes.BlobInfo{Digest: b.Digest(), Size: int64(len(b.Content))}, none.NoCache)
	if err != nil {
		t.Fatalf("blob %s: %v", b.Digest(), err)
	}
	defer body.Close()
	if size >= 0 && size != int64(len(b.Content)) {
		t.Errorf("blob %s of %d bytes is said to have %d", b.Digest(), len(b.Content), size)
	}
	got, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("blob %s: %v", b.Digest(), err)
	}
	return got
}

// resolved insists that a reference resolves to a node.
func resolved(t *testing.T, f Fixture, r ref.Reference, node imagetest.Node) {
	t.Helper()
	got, err := f.Target.Resolve(t.Context(), r)
	want := ref.Descriptor{MediaType: node.Descriptor.MediaType, Digest: node.Digest(), Size: int64(len(node.Raw))}
	if err != nil || got.Digest != want.Digest || got.MediaType != want.MediaType || got.Size >= 0 && got.Size != want.Size {
		t.Errorf("%s resolves to %+v, %v; want %+v", r, got, err, want)
	}
}

// absentTag insists that a tag is absent, and not only not to be had.
func absentTag(t *testing.T, f Fixture, r ref.Reference) {
	t.Helper()
	if got, err := f.Target.Resolve(t.Context(), r); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("%s resolves to %+v, %v; want ErrNotFound", r, got, err)
	}
}

// tagsOf returns a repository's tags.
func tagsOf(t *testing.T, f Fixture, repo ref.Repository) []string {
	t.Helper()
	var tags []string
	for tag, err := range f.Target.Tags(t.Context(), repo) {
		if err != nil {
			t.Fatalf("tags of %s: %v", repo, err)
		}
		tags = append(tags, tag)
	}
	return tags
}
