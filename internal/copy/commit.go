package copy

import (
	"context"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// commit makes last what was written to destinations that keep nothing before, such as
// archives. What such a destination does not take was not copied, whatever was said of
// it. A run that has ended still commits what it did, as far as LastLook allows.
func (c *Copier) commit(ctx context.Context, results []plan.Result) {
	ctx, cancel := Outlast(ctx, LastLook)
	defer cancel()
	written := map[ref.Repository][]int{}
	for i, r := range results {
		if r.Status == plan.Copied || r.Status == plan.Updated {
			to := r.Action.To.Repository
			written[to] = append(written[to], i)
		}
	}
	for to, these := range written {
		endpoint, opened := c.destinations.outcome(to)
		if !opened {
			continue
		}
		err := registry.Commit(ctx, endpoint)
		if err == nil {
			continue
		}
		for _, i := range these {
			err := &registry.Error{Op: "commit", Side: registry.SideTarget, Ref: results[i].Action.To, Err: err}
			results[i].Status, results[i].Reason, results[i].Err = plan.HasFailed, err.Error(), err
		}
	}
}
