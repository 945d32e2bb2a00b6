package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// reconciledAtOnce bounds the repositories whose settings are read at once.
const reconciledAtOnce = 8

// compareSettings adds to the plan in what the target repositories' settings differ from
// those that rules ask for, each repository once. One that cannot be asked is a row if its
// settings are to be applied, and else a warning. What is missing is the rows' to tell, and
// a registry without settings has nothing to compare.
func (r *Runner) compareSettings(ctx context.Context, p plan.Plan, mirrors []*discover.Mirror) plan.Plan {
	seen := map[ref.Repository]bool{}
	var mu sync.Mutex
	var stopped []plan.Action
	var g errgroup.Group
	g.SetLimit(reconciledAtOnce)
	for _, m := range mirrors {
		if m.Repository.Reconcile == provision.Ignore || seen[m.Target] {
			continue
		}
		seen[m.Target] = true
		g.Go(func() error {
			differences, err := registry.Differences(ctx, r.targetOf(m), m.Target, m.Repository.Settings)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrUnsupported):
			case err != nil && m.Repository.Reconcile == provision.Apply:
				stopped = append(stopped, plan.MirrorStopped(m, fmt.Errorf("settings of the repository: %w", err)))
			case err != nil:
				p.Warnings = append(p.Warnings, fmt.Sprintf("%s: settings of the repository: %v", named(m), err))
			case len(differences) > 0:
				p.Drift = append(p.Drift, plan.Drift{Mirror: m, Differences: differences})
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	p.SortDrift()
	return p.Add(stopped)
}

// Reconcile gives repositories the settings that their rules ask for, where the rules say
// so, and returns the plan with a warning for each setting that was changed or stays
// different, and a failed row for each that could not be changed.
//
// It comes after Sync: what the plan decided about tags rests on the settings as they were.
func (r *Runner) Reconcile(ctx context.Context, p plan.Plan) plan.Plan {
	for _, d := range p.Drift {
		for _, one := range d.Differences {
			if !d.Changes(one) {
				p.Warnings = append(p.Warnings, d.Remark(one))
				continue
			}
			err := context.Cause(ctx)
			if err == nil {
				err = registry.Reconcile(ctx, r.targetOf(d.Mirror), d.Mirror.Target, d.Mirror.Repository.Settings, one)
			}
			if err != nil {
				p.Actions = append(p.Actions, plan.MirrorStopped(d.Mirror, fmt.Errorf("%s was not changed: %w", one.Setting, err)))
				continue
			}
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s: %s was %s, and is %s now", d.Mirror.Target, one.Setting, one.Have, one.Want))
		}
	}
	p.Drift = nil
	return p
}

func (r *Runner) targetOf(m *discover.Mirror) registry.Target {
	return r.Places.Target(plan.Action{Mirror: m, To: ref.Reference{Repository: m.Target}})
}
