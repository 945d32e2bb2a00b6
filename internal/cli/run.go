package cli

import (
	"context"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// mirror is what copy and sync have in common: check, wire, plan, carry out, report.
// What finder returns says what there is to mirror.
func (c *command) mirror(ctx context.Context, copying *copyFlags, opts wireOptions, finder func(context.Context, *wiring) (mirror.Finder, error)) (code int, err error) {
	copying.prune.fill(c.settled.file.File.Prune, c.run.changed)
	if err := copying.check(c.run.dryRun); err != nil {
		return 0, err
	}
	platforms, err := copying.selection()
	if err != nil {
		return 0, err
	}
	spool, err := copying.spool()
	if err != nil {
		return 0, err
	}
	create, err := copying.creation()
	if err != nil {
		return 0, err
	}
	ctx, cancel := c.run.withBudget(ctx)
	defer cancel()
	if c.meter, err = copying.metrics.meter(c, opts.partial); err != nil {
		return 0, err
	}
	defer func() { c.meter.end(ctx, c) }()
	opts.run, opts.file, opts.log, opts.retryTimes, opts.readOnly = c.run, c.settled.file.Config, c.log, copying.retryTimes, c.run.dryRun
	opts.meter = c.meter
	w, err := wire(ctx, opts)
	if err != nil {
		return 0, err
	}
	defer closing(w, &err)
	judge, err := copying.judge(w)
	if err != nil {
		return 0, err
	}
	found, err := finder(ctx, w)
	if err != nil {
		return 0, ended(ctx, err)
	}
	memory, pruning := copying.prune.open(ctx, w)
	if some, ok := found.(*part); ok {
		pruning.LeftOut = some.leavesOut
	}
	return c.execute(ctx, copying.exitCode, memory, &mirror.Runner{
		Finder:    found,
		Places:    w,
		Gate:      c.gate(w),
		Judge:     judge,
		Platforms: platforms,
		Create:    create,
		Recheck:   copying.recheck,
		Pruning:   pruning,
		Log:       c.log,
		Copy: copy.Options{
			Images:           c.settled.images,
			RetryTimes:       copying.retryTimes,
			Timeout:          copying.timeout,
			Spool:            spool,
			RequireReferrers: copying.requireReferrers,
			MaxErrors:        copying.mostErrors(c.settled.file.settings),
			Events:           c.events(),
			Log:              c.log,
		},
	})
}

// execute plans and, unless it is a dry run, carries the plan out; then it prints what
// came of it.
func (c *command) execute(ctx context.Context, changesMatter bool, memory *memory, runner *mirror.Runner) (int, error) {
	c.progress.Phase("planning")
	p, err := runner.Plan(ctx)
	if err != nil {
		return 0, ended(ctx, err)
	}
	p.Warnings = append(p.Warnings, memory.warnings()...)
	for _, a := range p.Actions {
		if line := c.log.Check(zap.DebugLevel, "planned"); line != nil {
			line.Write(zap.String("mirror", a.Mirror.Name), zap.Stringer("destination", a.To), zap.String("verb", string(a.Verb)), zap.String("reason", a.Reason))
		}
	}
	if c.run.dryRun {
		return c.conclude(ctx, report.FromPlan(c.facts(ctx, runner.ManifestsRead()), p), changesMatter)
	}
	c.progress.Phase("copying")
	c.progress.Planned(p.Count(plan.Copy)+p.Count(plan.Update), bytesOf(p))
	results, err := runner.Sync(ctx, p)
	if err != nil {
		c.log.Warn("closing the endpoints of the run", zap.Error(err))
	}
	p = runner.Reconcile(ctx, p)
	p.Warnings = append(p.Warnings, memory.keep(ctx, runner.Observed(results))...)
	return c.conclude(ctx, report.FromResults(c.facts(ctx, runner.ManifestsRead()), p, results), false)
}

// conclude prints the report and tells the exit code.
func (c *command) conclude(ctx context.Context, r report.Report, changesMatter bool) (int, error) {
	c.progress.Close()
	c.meter.observe(ctx, r)
	if err := c.print(r); err != nil {
		return 0, err
	}
	return codeOfReport(r, changesMatter), nil
}

// bytesOf is what a plan would move at most.
func bytesOf(p plan.Plan) int64 {
	var total int64
	for _, a := range p.Actions {
		if a.Verb.Writes() {
			total += a.Size
		}
	}
	return total
}

// events connects the copy engine with the progress display.
func (c *command) events() copy.Events {
	return copy.Events{
		Started: func(a plan.Action) { c.progress.Started(a.To.String(), a.To.String(), a.Size) },
		Moved:   func(a plan.Action, n int) { c.progress.Moved(a.To.String(), n) },
		Created: func(repo ref.Repository) { c.log.Info("created the repository", zap.Stringer("repository", repo)) },
		Finished: func(r plan.Result) {
			c.progress.Finished(r.Action.To.String(), string(r.Status))
			if line := c.log.Check(zap.DebugLevel, "done"); line != nil {
				line.Write(zap.String("mirror", r.Action.Mirror.Name), zap.Stringer("destination", r.Action.To), zap.String("status", string(r.Status)), zap.Duration("took", r.Duration))
			}
		},
	}
}
