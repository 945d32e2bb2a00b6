package ecr_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// tagsOf are the tags of the repository app.
func tagsOf(t *testing.T, target *ecr.Target, at ref.Repository) []string {
	t.Helper()
	snapshot, err := target.Snapshot(t.Context(), at, nil)
	if err != nil {
		t.Fatal(err)
	}
	tags := make([]string, 0, len(snapshot))
	for tag := range snapshot {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	return tags
}

func push(t *testing.T, server *ecrlocaltest.Running, tag string, node imagetest.Node) {
	t.Helper()
	if _, err := imagetest.Push(t.Context(), nil, server.URL, "app", tag, node, imagetest.Basic("AWS", server.Password("", ""))); err != nil {
		t.Fatal(err)
	}
}

func TestDeleteTag(t *testing.T) {
	server := ecrlocaltest.Start(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{Mutability: "IMMUTABLE"})
	_, registries := connect(t, server.URL, ecr.Options{})
	if _, err := registries.Host(t.Context(), region); err != nil {
		t.Fatal(err)
	}
	target := ecr.NewTarget(nil, registries)
	at := ref.Repository{Host: server.Host, Path: "app"}
	arm, amd := ref.Platform{OS: "linux", Architecture: "arm64"}, ref.Platform{OS: "linux", Architecture: "amd64"}
	child := imagetest.Image(arm, imagetest.Layer("x", 100))
	single := imagetest.Image(amd, imagetest.Layer("y", 100))
	push(t, server, "index", imagetest.Index(child))
	push(t, server, "child", child)
	push(t, server, "1.0", single)
	push(t, server, "stable", single)

	if deletes, err := target.LastTagDeletes(at); !deletes || err != nil {
		t.Errorf("LastTagDeletes: %t, %v", deletes, err)
	}
	steps := []struct {
		tag  string
		kind error
		left []string
	}{
		{"1.0", nil, []string{"child", "index", "stable"}}, // immutable, and no other tag goes with it
		{"1.0", registry.ErrNotFound, []string{"child", "index", "stable"}},
		{"child", failure.ErrForbidden, []string{"child", "index", "stable"}}, // its last tag, and an index names it
		{"stable", nil, []string{"child", "index"}},
		{string(single.Digest()), registry.ErrPermanent, []string{"child", "index"}},
	}
	for _, step := range steps {
		if err := target.DeleteTag(t.Context(), at.Tagged(step.tag)); !errors.Is(err, step.kind) {
			t.Errorf("%s: got %v, want %v", step.tag, err, step.kind)
		}
		if diff := cmp.Diff(step.left, tagsOf(t, target, at)); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", step.tag, diff)
		}
	}
	// The image went with its last tag, as LastTagDeletes says.
	manifests, err := target.ReadManifests(t.Context(), at, []ref.Digest{single.Digest()})
	if err != nil || len(manifests) != 0 {
		t.Errorf("the image is there still: %d, %v", len(manifests), err)
	}
}

func TestDeleteTagDenied(t *testing.T) {
	server, target := ecrTarget(t)
	server.FailNext("BatchDeleteImage", 1, ecrlocal.Fault{Status: 400, Code: "AccessDeniedException", Message: "not authorized"})
	if err := target.DeleteTag(t.Context(), ref.Repository{Host: server.Host, Path: "app"}.Tagged("1")); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("got %v", err)
	}
}
