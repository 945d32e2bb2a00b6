package registry_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// deleter is a place that removes tags, and images with their last one.
type deleter struct {
	*place
	removed []string
}

func (d *deleter) DeleteTag(_ context.Context, r ref.Reference) error {
	d.removed = append(d.removed, r.Tag)
	return nil
}

func (*deleter) LastTagDeletes(ref.Repository) (bool, error) { return true, nil }

func TestDeleteTag(t *testing.T) {
	d := &deleter{place: &place{}}
	if err := registry.DeleteTag(t.Context(), d, repo.Tagged("1.0")); err != nil {
		t.Error(err)
	}
	// Nothing but a tag is ever removed.
	for _, r := range []ref.Reference{
		repo.Digested("sha256:x"), {Repository: repo, Tag: "1.0", Digest: "sha256:x"}, {Repository: repo},
	} {
		if err := registry.DeleteTag(t.Context(), d, r); !errors.Is(err, registry.ErrUnsupported) {
			t.Errorf("%s: %v", r, err)
		}
	}
	if err := registry.DeleteTag(t.Context(), registry.ReadOnly(d), repo.Tagged("2.0")); !errors.Is(err, registry.ErrReadOnly) {
		t.Errorf("read-only: %v", err)
	}
	if err := registry.DeleteTag(t.Context(), d.place, repo.Tagged("2.0")); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("without the ability: %v", err)
	}
	if diff := cmp.Diff([]string{"1.0"}, d.removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}

func TestLastTagDeletes(t *testing.T) {
	d := &deleter{place: &place{}}
	for name, tc := range map[string]struct {
		target registry.Target
		want   bool
	}{"it does": {d, true}, "read-only": {registry.ReadOnly(d), true}, "without the ability": {d.place, false}} {
		if got, err := registry.LastTagDeletes(tc.target, repo); err != nil || got != tc.want {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
}
