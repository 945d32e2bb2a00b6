package registry

import (
	"context"
	"fmt"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// TagDeleter is the ability of a Target to remove tags. Use DeleteTag and
// LastTagDeletes.
type TagDeleter interface {
	DeleteTag(ctx context.Context, r ref.Reference) error
	LastTagDeletes(repo ref.Repository) (bool, error)
}

// DeleteTag removes the tag of r and no manifest, where LastTagDeletes does not say
// otherwise. It returns ErrNotFound where there is no such tag, and ErrUnsupported where
// a tag cannot be removed by itself: it never removes a manifest by its digest instead,
// since every other tag of it would go too.
func DeleteTag(ctx context.Context, t Target, r ref.Reference) error {
	if d, ok := t.(TagDeleter); ok && r.Tag != "" && r.Digest == "" {
		return d.DeleteTag(ctx, r)
	}
	return fmt.Errorf("removing %s: %w", r, ErrUnsupported)
}

// LastTagDeletes reports whether an image of repo is deleted at once with its last tag,
// as at ECR. Where it does, Snapshot answers for every tag of repo, whichever it is
// asked about.
func LastTagDeletes(t Target, repo ref.Repository) (bool, error) {
	if d, ok := t.(TagDeleter); ok {
		return d.LastTagDeletes(repo)
	}
	return false, nil
}
