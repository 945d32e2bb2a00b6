package registrytest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// mounts: a blob of another repository is taken over without its bytes, or refused such
// that it can still be uploaded.
func mounts(t *testing.T, f Fixture) {
	node := image("mounted")
	push(t, destination(t, f, f.Sibling), node, "1.0") // so that a manifest names the blob
	dst := destination(t, f, f.Repository)
	for _, b := range node.AllBlobs() {
		session, err := registry.MountBlob(t.Context(), dst, descriptor(b), f.Sibling)
		switch granted := err == nil && session == nil; {
		case granted != f.Can.Mounts:
			t.Fatalf("mounting %s: granted %t, %v", b.Digest(), granted, err)
		case granted:
		case session != nil:
			err = session.UploadBlob(t.Context(), descriptor(b), opener(b.Content))
		default:
			err = upload(t.Context(), dst, b)
		}
		if err != nil {
			t.Fatalf("uploading %s after all: %v", b.Digest(), err)
		}
	}
	push(t, dst, node, "1.0")
	readBack(t, f, f.Repository, node)
	if !f.Can.Mounts {
		return
	}
	nowhere := ref.Descriptor{Digest: digest.FromString("nowhere"), Size: 7}
	if session, err := registry.MountBlob(t.Context(), dst, nowhere, f.Sibling); err == nil && session == nil {
		t.Error("a blob that is nowhere was mounted")
	}
	lacks(t, dst, nowhere)
}

// listsReferrers: what refers to a manifest is listed from then on, where the place keeps
// such lists.
func listsReferrers(t *testing.T, f Fixture) {
	subject := image("subject")
	dst := destination(t, f, f.Repository)
	push(t, dst, subject, "1.0")
	var want []ref.Digest
	for _, seed := range []string{"signature", "sbom"} {
		referrer := imagetest.Referrer(subject, "application/vnd.example."+seed, imagetest.Layer(seed, 500))
		for _, b := range referrer.AllBlobs() {
			if err := upload(t.Context(), dst, b); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // written again it is listed once
			listed, err := registry.WriteReferrer(t.Context(), dst, referrer.Digest(), subject.Digest(), manifestOf(referrer))
			if err != nil || listed != f.Can.ListReferrers {
				t.Fatalf("WriteReferrer: listed %t, %v", listed, err)
			}
		}
		resolved(t, f, f.Repository.Digested(referrer.Digest()), referrer)
		want = append(want, referrer.Digest())
	}
	if !f.Can.ListReferrers {
		return
	}
	listed, err := f.Target.Referrers(t.Context(), f.Repository.Digested(subject.Digest()))
	var got []ref.Digest
	for _, d := range listed {
		got = append(got, d.Digest)
	}
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("referrers %v, %v; want %v", got, err, want)
	}
	if tags := tagsOf(t, f, f.Repository); !slices.Equal(tags, []string{"1.0"}) {
		t.Errorf("tags %v", tags)
	}
}

// creates: a repository is made once, by whoever may write, and takes images from then on.
func creates(t *testing.T, f Fixture) {
	if !f.Can.Creates {
		if registry.CanCreateRepository(f.Target, f.Repository) {
			t.Error("it says that it can make repositories")
		}
		if _, err := registry.CreateRepository(t.Context(), f.Target, f.Repository, provision.Settings{}); !errors.Is(err, registry.ErrUnsupported) {
			t.Errorf("CreateRepository: %v, want ErrUnsupported", err)
		}
		return
	}
	node := image("new")
	if err := writeTo(t, f, f.New, node); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a push to a repository that is missing: %v", err)
	}
	readOnly := registry.ReadOnly(f.Target)
	if !registry.CanCreateRepository(f.Target, f.New) || !registry.CanCreateRepository(readOnly, f.New) {
		t.Error("it says that it cannot make repositories")
	}
	if _, err := registry.CreateRepository(t.Context(), readOnly, f.New, provision.Settings{}); !errors.Is(err, registry.ErrReadOnly) {
		t.Errorf("CreateRepository of a target that is read-only: %v", err)
	}
	for _, want := range []bool{true, false} { // a dry run has made nothing, and what is there is left alone
		created, err := registry.CreateRepository(t.Context(), f.Target, f.New, provision.Settings{})
		if err != nil || created != want {
			t.Errorf("CreateRepository = %t, %v; want %t", created, err, want)
		}
		if err := writeTo(t, f, f.New, node); err != nil {
			t.Errorf("a push after that: %v", err)
		}
	}
	readBack(t, f, f.New, node)
	absentTag(t, f, f.Repository.Tagged("1.0"))
}

// writeTo pushes an image under the tag 1.0.
func writeTo(t *testing.T, f Fixture, repo ref.Repository, node imagetest.Node) error {
	t.Helper()
	dst, err := f.Target.OpenDestination(t.Context(), repo)
	if err != nil {
		return err
	}
	defer func() { _ = dst.Close() }()
	return write(t.Context(), dst, node, "1.0")
}

// deletes: a tag goes alone, and no manifest goes for it that another tag has.
func deletes(t *testing.T, f Fixture) {
	node := image("deleted")
	dst := destination(t, f, f.Repository)
	for _, tag := range []string{"1.0", "1.1", "latest"} {
		push(t, dst, node, tag)
	}
	if !f.Can.Deletes {
		if err := registry.DeleteTag(t.Context(), f.Target, f.Repository.Tagged("1.0")); !errors.Is(err, registry.ErrUnsupported) {
			t.Errorf("DeleteTag: %v, want ErrUnsupported", err)
		}
		resolved(t, f, f.Repository.Tagged("1.0"), node)
		return
	}
	if err := registry.DeleteTag(t.Context(), f.Target, f.Repository.Tagged("absent")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("DeleteTag of a tag that is absent: %v", err)
	}
	if err := registry.DeleteTag(t.Context(), f.Target, f.Repository.Tagged("1.0")); err != nil {
		t.Fatal(err)
	}
	absentTag(t, f, f.Repository.Tagged("1.0"))
	resolved(t, f, f.Repository.Tagged("1.1"), node)
	readBack(t, f, f.Repository, node)
	if tags := tagsOf(t, f, f.Repository); slices.Contains(tags, "1.0") || len(tags) != 2 {
		t.Errorf("tags %v", tags)
	}
	lastTag(t, f, node)
}

// lastTag: what becomes of an image without tags is as the target foretells it.
func lastTag(t *testing.T, f Fixture, node imagetest.Node) {
	t.Helper()
	goes, err := registry.LastTagDeletes(f.Target, f.Repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"1.1", "latest"} {
		if err := registry.DeleteTag(t.Context(), f.Target, f.Repository.Tagged(tag)); err != nil {
			t.Fatal(err)
		}
	}
	if goes {
		absentTag(t, f, f.Repository.Digested(node.Digest()))
		return
	}
	resolved(t, f, f.Repository.Digested(node.Digest()), node)
}

// readOnly: a dry run cannot write, whatever it does.
func readOnly(t *testing.T, f Fixture) {
	push(t, destination(t, f, f.Repository), image("kept"), "1.0")
	target := registry.ReadOnly(f.Target)
	if dst, err := target.OpenDestination(t.Context(), f.Repository); !errors.Is(err, registry.ErrReadOnly) {
		t.Errorf("OpenDestination = %v, %v", dst, err)
	}
	if err := registry.DeleteTag(t.Context(), target, f.Repository.Tagged("1.0")); !errors.Is(err, registry.ErrReadOnly) {
		t.Errorf("DeleteTag: %v", err)
	}
	if _, err := registry.Free(t.Context(), target, f.Repository, time.Hour); !errors.Is(err, registry.ErrReadOnly) {
		t.Errorf("Free: %v", err)
	}
	resolved(t, Fixture{Target: target}, f.Repository.Tagged("1.0"), image("kept"))
}
