package registry

import (
	"context"
	"fmt"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// RepositoryCreator is the ability of a Target to make repositories, where nothing can be
// pushed to one that is missing. Use CreateRepository and CanCreateRepository.
type RepositoryCreator interface {
	// CanCreateRepository reports whether repo is at a registry where that is possible. It
	// asks nobody: the call itself may still be refused.
	CanCreateRepository(repo ref.Repository) bool

	// CreateRepository makes repo with all of the settings that it can have, and reports
	// whether it did. One that exists already is no error, and is left as it is. Once a
	// registry is full it is not asked again.
	CreateRepository(ctx context.Context, repo ref.Repository, settings provision.Settings) (created bool, err error)
}

// CanCreateRepository reports whether t can make repo.
func CanCreateRepository(t Target, repo ref.Repository) bool {
	c, ok := t.(RepositoryCreator)
	return ok && c.CanCreateRepository(repo)
}

// CreateRepository makes repo, see RepositoryCreator. It returns ErrUnsupported where t
// cannot.
func CreateRepository(ctx context.Context, t Target, repo ref.Repository, settings provision.Settings) (created bool, err error) {
	if c, ok := t.(RepositoryCreator); ok {
		return c.CreateRepository(ctx, repo, settings)
	}
	return false, fmt.Errorf("making the repository %s: %w", repo, ErrUnsupported)
}

// Reconciler is the ability of a Target to tell and change the settings of repositories.
// Use Differences and Reconcile.
type Reconciler interface {
	Differences(ctx context.Context, repo ref.Repository, want provision.Settings) ([]provision.Difference, error)
	Reconcile(ctx context.Context, repo ref.Repository, want provision.Settings, d provision.Difference) error
}

// Differences compares the settings of a repository that exists with those it is to have.
// It returns ErrNotFound where there is no such repository, and ErrUnsupported where t knows
// of no settings.
func Differences(ctx context.Context, t Target, repo ref.Repository, want provision.Settings) ([]provision.Difference, error) {
	if r, ok := t.(Reconciler); ok {
		return r.Differences(ctx, repo, want)
	}
	return nil, fmt.Errorf("the settings of %s: %w", repo, ErrUnsupported)
}

// Reconcile gives the one setting of repo that d names the value that want has for it.
func Reconcile(ctx context.Context, t Target, repo ref.Repository, want provision.Settings, d provision.Difference) error {
	if r, ok := t.(Reconciler); ok {
		return r.Reconcile(ctx, repo, want, d)
	}
	return fmt.Errorf("the settings of %s: %w", repo, ErrUnsupported)
}
