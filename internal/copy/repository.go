package copy

import (
	"context"
	"errors"
	"fmt"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// repository makes the repository that a is written to, where the plan says that the run
// does: once, however many images wait for it. A refusal holds for all of them, whatever
// their upstreams.
func (c *Copier) repository(ctx context.Context, a plan.Action) error {
	if !a.Creates || a.Mirror.Repository.Create != provision.ByCall {
		return nil
	}
	anyUpstream := ref.Repository{}
	_, err := c.repositories.do(ctx, a.To.Repository, anyUpstream, func(ctx context.Context) (struct{}, error) {
		created, err := registry.CreateRepository(ctx, c.places.Target(a), a.To.Repository, a.Mirror.Repository.Settings)
		if err != nil {
			err = &registry.Error{Op: "create repository at", Side: registry.SideTarget, Ref: ref.Reference{Repository: a.To.Repository}, Err: err}
		}
		if created && c.opts.Events.Created != nil {
			c.opts.Events.Created(a.To.Repository)
		}
		return struct{}{}, err
	})
	return err
}

// notMade says why a repository may be missing that the registry was to make.
func notMade(a plan.Action, err error) error {
	if a.Creates && a.Mirror.Repository.Create == provision.OnPush && errors.Is(err, failure.ErrNotFound) && registry.OnSide(err) == registry.SideTarget {
		return fmt.Errorf("no creation template of the registry made the repository, which takes one for CREATE_ON_PUSH that matches its name: %w", err)
	}
	return err
}
