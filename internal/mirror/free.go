package mirror

import (
	"context"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// free frees what no tag leads to any more, at targets that nobody else cleans up after,
// and in repositories that are pruned. Results are those of the whole plan. What is not
// freed costs space and nothing else, and is tried again in the next run: the results do
// not tell of it.
func (r *Runner) free(ctx context.Context, results []plan.Result) {
	if r.Pruning.Limits.None() || r.enough(results) != nil {
		return
	}
	rows := make(map[ref.Repository][]*plan.Result)
	for i := range results {
		repo := results[i].Action.To.Repository
		rows[repo] = append(rows[repo], &results[i])
	}
	var g errgroup.Group
	g.SetLimit(prunesAtOnce)
	for repo, rows := range rows {
		delay, asked := patience(rows)
		target := r.Places.Target(rows[0].Action)
		if !asked || !registry.Frees(target) || incomplete(rows) != nil || ctx.Err() != nil || r.Copy.Stopped() != nil {
			continue
		}
		g.Go(func() error {
			r.freeOne(ctx, target, repo, delay)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
}

// patience is the longest grace of the mirrors that prune a repository. Asked is false where
// one of its mirrors does not prune.
func patience(rows []*plan.Result) (longest time.Duration, asked bool) {
	for _, row := range rows {
		p := row.Action.Mirror.Prune
		if !p.On {
			return 0, false
		}
		longest = max(longest, p.Wait())
	}
	return longest, true
}

func (r *Runner) freeOne(ctx context.Context, target registry.Target, repo ref.Repository, delay time.Duration) {
	defer r.step()
	freed, err := registry.Free(ctx, target, repo, delay)
	log := r.log().With(zap.Stringer("repository", repo), zap.Int("objects", freed.Objects), zap.Int64("bytes", freed.Bytes), zap.Int("waiting", freed.Waiting))
	switch {
	case err != nil:
		log.Warn("what no tag leads to was not freed", zap.Error(err))
	case freed.Objects > 0:
		log.Info("freed what no tag leads to")
	default:
		log.Debug("looked for what no tag leads to")
	}
}
