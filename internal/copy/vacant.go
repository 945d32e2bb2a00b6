package copy

import (
	"context"
	"sync"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// vacancies are the destination repositories in which the plan has found none of its
// tags. They hold no blobs, as a rule, and need not be asked for each. One that an
// interrupted run has left half filled, or that holds tags which nobody wants now, is
// found out by the first blob: that is asked for, and only where it is missing are the
// others taken for missing, too. Being wrong costs an upload and nothing else.
type vacancies struct {
	samples flights[ref.Repository, bool] // whether the first blob was there

	mu    sync.Mutex
	repos map[ref.Repository]bool
}

// expect tells which repositories are vacant, before the run begins.
func (v *vacancies) expect(p plan.Plan) {
	repos := map[ref.Repository]bool{}
	for _, a := range p.Actions {
		vacant, seen := repos[a.To.Repository]
		repos[a.To.Repository] = (vacant || !seen) && a.Verb == plan.Copy
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.repos = repos
}

// has reports whether at is there, by asking where it has to be asked. From is the
// upstream of who asks.
func (v *vacancies) has(ctx context.Context, at content, from ref.Repository, ask func(context.Context) (bool, error)) (held bool, err error) {
	if !v.vacant(at.repo) {
		return ask(ctx)
	}
	asked := false
	used, err := v.samples.do(ctx, at.repo, from, func(ctx context.Context) (bool, error) {
		asked = true
		held, err = ask(ctx)
		return held, err
	})
	switch {
	case err != nil || asked:
		return held, err
	case used:
		return ask(ctx)
	}
	return false, nil
}

func (v *vacancies) vacant(repo ref.Repository) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.repos[repo]
}

// doubt notes that a repository is to be asked for each blob from now on.
func (v *vacancies) doubt(repo ref.Repository) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.repos, repo)
}
