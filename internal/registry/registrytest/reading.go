package registrytest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// absent: what is not there is ErrNotFound, or left out of bulk answers, and never an error
// of another kind.
func absent(t *testing.T, f Fixture) {
	nowhere := digest.FromString("nowhere")
	for _, r := range []ref.Reference{f.Repository.Tagged("1.0"), f.Repository.Digested(nowhere)} {
		absentTag(t, f, r)
		if m, err := f.Target.Manifest(t.Context(), r); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("manifest of %s: %d bytes, %v; want ErrNotFound", r, len(m.Raw), err)
		}
	}
	for tag, err := range f.Target.Tags(t.Context(), f.Repository) {
		if err == nil {
			t.Errorf("an empty repository has the tag %q", tag)
		} else if !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("tags of an empty repository: %v; want none, or ErrNotFound", err)
		}
	}
	if got, err := registry.Snapshot(t.Context(), f.Target, f.Repository, []string{"1.0"}); err != nil || len(got) > 0 {
		t.Errorf("Snapshot = %v, %v", got, err)
	}
	if got, err := registry.ReadManifests(t.Context(), f.Target, f.Repository, []ref.Digest{nowhere}); err != nil || len(got) > 0 {
		t.Errorf("ReadManifests = %v, %v", got, err)
	}
	if got, err := f.Target.Referrers(t.Context(), f.Repository.Digested(nowhere)); err != nil || len(got) > 0 {
		t.Errorf("Referrers = %v, %v", got, err)
	}
	if held, err := registry.HasBlob(t.Context(), destination(t, f, f.Repository), ref.Descriptor{Digest: nowhere, Size: 7}); err != nil || held {
		t.Errorf("HasBlob = %t, %v", held, err)
	}
}

func absentBlob(t *testing.T, src imagetypes.ImageSource, d ref.Digest) {
	t.Helper()
	body, _, err := src.GetBlob(t.Context(), imagetypes.BlobInfo{Digest: d, Size: -1}, none.NoCache)
	if err == nil {
		_ = body.Close()
	}
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("blob %s: %v, want ErrNotFound", d, err)
	}
}

// present: what was written is read back, each byte of it, one by one and in bulk.
func present(t *testing.T, f Fixture) {
	node := index("present")
	push(t, destination(t, f, f.Repository), node, "1.0")

	resolved(t, f, f.Repository.Tagged("1.0"), node)
	resolved(t, f, f.Repository.Digested(node.Digest()), node)
	readBack(t, f, f.Repository, node)
	if diff := cmp.Diff([]string{"1.0"}, tagsOf(t, f, f.Repository)); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	m, err := f.Target.Manifest(t.Context(), f.Repository.Tagged("1.0"))
	if diff := cmp.Diff(manifestOf(node), m); err != nil || diff != "" {
		t.Errorf("manifest of the tag: %v (-want +got):\n%s", err, diff)
	}
	snapshot, err := registry.Snapshot(t.Context(), f.Target, f.Repository, []string{"1.0", "absent"})
	if _, made := snapshot["absent"]; err != nil || made || snapshot["1.0"].Digest != node.Digest() {
		t.Errorf("Snapshot = %v, %v", snapshot, err)
	}
	want := map[ref.Digest]registry.Manifest{}
	digests := []ref.Digest{digest.FromString("nowhere")}
	for n := range node.All() {
		want[n.Digest()] = manifestOf(n)
		digests = append(digests, n.Digest())
	}
	read, err := registry.ReadManifests(t.Context(), f.Target, f.Repository, digests)
	if diff := cmp.Diff(want, read); err != nil || diff != "" {
		t.Errorf("ReadManifests: %v (-want +got):\n%s", err, diff)
	}
}

// exact: a digest names its bytes and no others, and what is in one repository is not in
// another.
func exact(t *testing.T, f Fixture) {
	node := image("exact")
	push(t, destination(t, f, f.Repository), node, "1.0")
	both := ref.Reference{Repository: f.Repository, Tag: "1.0", Digest: digest.FromString("nowhere")}
	if m, err := f.Target.Manifest(t.Context(), both); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("%s: %d bytes, %v; want ErrNotFound, since the digest wins", both, len(m.Raw), err)
	}
	absentTag(t, f, f.Sibling.Tagged("1.0"))
	absentTag(t, f, f.Sibling.Digested(node.Digest()))
	for _, r := range []ref.Reference{
		f.Repository.Digested("sha256:../../manifests/1.0"), f.Repository.Tagged("../manifests/1.0"), {Repository: f.Repository},
	} {
		if got, err := f.Target.Resolve(t.Context(), r); err == nil || !registry.Final(err) {
			t.Errorf("%q resolves to %+v, %v; want an error that is final", r, got, err)
		}
	}
	// Without a digest an endpoint would have to decide anew what a tag means.
	src, d := source(t, f, f.Repository), node.Digest()
	if _, _, err := src.GetManifest(t.Context(), nil); err == nil {
		t.Error("the source gives a manifest without being told which")
	}
	if _, _, err := src.GetManifest(t.Context(), &d); err != nil {
		t.Error(err)
	}
	absentBlob(t, src, digest.FromString("nowhere"))
}

// mediaTypes: a manifest is served with the media type that it was written with, also where
// its bytes do not say it.
func mediaTypes(t *testing.T, f Fixture) {
	dst := destination(t, f, f.Repository)
	layer := imagetest.Layer("base", 2_000)
	for i, node := range []imagetest.Node{
		imagetest.Image(amd64, layer), imagetest.Image(amd64, layer).WithoutMediaType(), imagetest.DockerImage(amd64, layer),
		imagetest.Index(imagetest.Image(amd64, layer)), imagetest.DockerIndex(imagetest.DockerImage(amd64, layer)),
		imagetest.Artifact("application/vnd.example.thing", layer),
	} {
		tag := fmt.Sprint("v", i)
		push(t, dst, node, tag)
		resolved(t, f, f.Repository.Tagged(tag), node)
		m, err := f.Target.Manifest(t.Context(), f.Repository.Tagged(tag))
		if diff := cmp.Diff(manifestOf(node), m); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", node.Descriptor.MediaType, err, diff)
		}
	}
	if n := len(tagsOf(t, f, f.Repository)); n != 6 {
		t.Errorf("%d tags", n)
	}
}

// severalTags: tags share a manifest and do not know of each other.
func severalTags(t *testing.T, f Fixture) {
	node := image("shared")
	dst := destination(t, f, f.Repository)
	push(t, dst, node, "")
	want := []string{"1", "1.0", "1.0.0", "latest"}
	for _, tag := range want {
		if err := registry.WriteManifest(t.Context(), dst, tag, manifestOf(node)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tag := range want {
		resolved(t, f, f.Repository.Tagged(tag), node)
	}
	got := tagsOf(t, f, f.Repository)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}
