package mirror

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
)

// recheck compares the referrers of images that are in sync by their digest. Those that
// lack some become updates, which leave the tag alone.
func (r *Runner) recheck(ctx context.Context, p *plan.Plan) {
	comparer := copy.NewComparer(r.library, readsAtOnce)
	var g errgroup.Group
	g.SetLimit(readsAtOnce)
	for i := range p.Actions {
		a := &p.Actions[i]
		if a.Verb != plan.InSync || !a.Mirror.Options.Referrers {
			continue
		}
		g.Go(func() error {
			*a = r.compareReferrers(ctx, comparer, *a)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
}

// compareReferrers decides anew about one image that is in sync.
func (r *Runner) compareReferrers(ctx context.Context, comparer *copy.Comparer, a plan.Action) plan.Action {
	defer r.step()
	found, err := comparer.Compare(ctx, r.Places, a)
	if err != nil {
		return a.Stop(err)
	}
	a = a.Complete(found)
	if a.Verb == plan.InSync && r.Copy.RequireReferrers && found.Err() != nil {
		return a.Stop(found.Err())
	}
	return a
}
