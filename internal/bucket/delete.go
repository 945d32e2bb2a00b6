package bucket

import (
	"context"
	"errors"
	"fmt"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// LastTagDeletes is false: an image stays until Free removes it.
func (*Target) LastTagDeletes(ref.Repository) (bool, error) { return false, nil }

// DeleteTag removes a tag, and takes it off tags/list.
func (t *Target) DeleteTag(ctx context.Context, r ref.Reference) error {
	b, err := t.bucket(ctx, r.Repository.Host)
	if err != nil {
		return err
	}
	if !ref.ValidTag(r.Tag) {
		return fmt.Errorf("%s names no tag: %w", r, registry.ErrPermanent)
	}
	key := b.manifestKey(r.Repository.Tagged(r.Tag))
	if _, err := b.head(ctx, key); err != nil {
		return err
	}
	if err := b.remove(ctx, key); err != nil {
		return err
	}
	if err := b.strike(ctx, r.Repository, r.Tag); err != nil {
		return err
	}
	// Another run may have written the tag, and found it in the list, in between.
	if _, err := b.head(ctx, key); errors.Is(err, registry.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return b.enter(ctx, r.Repository, r.Tag)
}
