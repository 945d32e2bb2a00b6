package registry

import (
	"context"
	"time"

	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// ReadOnly returns t without its ability to be written to: OpenDestination, DeleteTag,
// Free, CreateRepository and Reconcile answer ErrReadOnly. A dry run is given such a target, so that it cannot write whatever
// the code above it does.
func ReadOnly(t Target) Target { return readOnly{t} }

type readOnly struct{ Target }

func (readOnly) OpenDestination(context.Context, ref.Repository) (imagetypes.ImageDestination, error) {
	return nil, ErrReadOnly
}

// DeleteTag is refused, and LastTagDeletes still answered.
func (readOnly) DeleteTag(context.Context, ref.Reference) error { return ErrReadOnly }

func (r readOnly) LastTagDeletes(repo ref.Repository) (bool, error) {
	return LastTagDeletes(r.Target, repo)
}

// CreateRepository is refused, and CanCreateRepository still answered.
func (readOnly) CreateRepository(context.Context, ref.Repository, provision.Settings) (bool, error) {
	return false, ErrReadOnly
}

func (r readOnly) CanCreateRepository(repo ref.Repository) bool {
	return CanCreateRepository(r.Target, repo)
}

// Reconcile is refused, and Differences still answered.
func (readOnly) Reconcile(context.Context, ref.Repository, provision.Settings, provision.Difference) error {
	return ErrReadOnly
}

func (r readOnly) Differences(ctx context.Context, repo ref.Repository, want provision.Settings) ([]provision.Difference, error) {
	return Differences(ctx, r.Target, repo, want)
}

// Snapshot and ReadManifests pass the wrapped target's abilities on, which embedding
// the interface would hide.
func (r readOnly) Snapshot(ctx context.Context, repo ref.Repository, tags []string) (map[string]ref.Descriptor, error) {
	return Snapshot(ctx, r.Target, repo, tags)
}

func (r readOnly) ReadManifests(ctx context.Context, repo ref.Repository, digests []ref.Digest) (map[ref.Digest]Manifest, error) {
	return ReadManifests(ctx, r.Target, repo, digests)
}

// Free is refused.
func (readOnly) Free(context.Context, ref.Repository, time.Duration) (Freed, error) {
	return Freed{}, ErrReadOnly
}
