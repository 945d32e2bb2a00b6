package cli

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/tracing"
)

// opened is what runs need besides what they are to mirror: the checked flags, and what was
// opened to carry them out. One serves as many runs as there are, one after the other.
type opened struct {
	*wiring
	copying   copyFlags
	platforms discover.Platforms
	spool     copy.Spool
	create    *provision.Create
}

// open checks what flags and file say about copying, and wires it up. It contacts no
// registry.
func (c *command) open(ctx context.Context, copying copyFlags, opts wireOptions) (*opened, error) {
	o := &opened{copying: copying}
	o.copying.prune.fill(c.settled.file.File.Prune, c.run.changed)
	err := o.copying.check(c.run.dryRun)
	if err != nil {
		return nil, err
	}
	if o.platforms, err = copying.selection(); err != nil {
		return nil, err
	}
	if o.spool, err = copying.spool(); err != nil {
		return nil, err
	}
	if o.create, err = copying.creation(); err != nil {
		return nil, err
	}
	opts.run, opts.file, opts.log, opts.traces = c.run, c.settled.file.Config, c.log, c.traces
	opts.retryTimes, opts.readOnly = copying.retryTimes, c.run.dryRun
	o.wiring, err = wire(ctx, opts)
	return o, err
}

// mirror is what copy and sync have in common: check, wire, plan, carry out, report.
// What finder returns says what there is to mirror.
func (c *command) mirror(ctx context.Context, copying copyFlags, opts wireOptions, finder func(context.Context, *wiring) (mirror.Finder, error)) (code int, err error) {
	defer c.trace(ctx)()
	ctx, cancel := c.run.withBudget(ctx)
	defer cancel()
	m, err := copying.metrics.meter(c)
	if err != nil {
		return 0, err
	}
	told, err := copying.notify.notices(c, "sync")
	if err != nil {
		return 0, err
	}
	var r report.Report
	defer func() { told.ended(ctx, r, err, c.began) }()
	one := &measured{meter: m, partial: opts.partial, began: c.began}
	defer func() { one.end(ctx) }()
	if m != nil {
		opts.metrics = m.metrics
	}
	o, err := c.open(ctx, copying, opts)
	if err != nil {
		return 0, err
	}
	defer closing(o, &err)
	told.reach(o.wiring)
	found, err := finder(ctx, o.wiring)
	if err != nil {
		return 0, ended(ctx, err)
	}
	if r, err = c.carryOut(ctx, ctx, o, found); err != nil {
		return 0, err
	}
	one.observe(ctx, r)
	return c.conclude(r, copying.exitCode)
}

// leaver is a Finder that leaves out some of what it finds.
type leaver interface {
	// leavesOut reports whether a mirror that Find has left out may write to a repository.
	leavesOut(repo ref.Repository) bool
}

// carryOut is one run of what finder finds, from its plan to its report. Once starting has
// ended, nothing new begins; once working has, what is under way stops.
func (c *command) carryOut(starting, working context.Context, o *opened, finder mirror.Finder) (r report.Report, err error) {
	starting, run := c.traces.Begin(starting, c.name)
	working = run.Join(working)
	defer func() { run.End(r, err) }()
	judge, err := o.copying.judge(o.wiring)
	if err != nil {
		return report.Report{}, err
	}
	memory, pruning := o.copying.prune.open(starting, o.wiring)
	if some, ok := finder.(leaver); ok {
		pruning.LeftOut = some.leavesOut
	}
	runner := &mirror.Runner{
		Finder:    finder,
		Places:    o.wiring,
		Gate:      c.gate(o.wiring),
		Judge:     judge,
		Platforms: o.platforms,
		Create:    o.create,
		Recheck:   o.copying.recheck,
		Pruning:   pruning,
		Beat:      c.beat,
		Log:       c.log,
		Copy: copy.Options{
			Images:           c.settled.images,
			RetryTimes:       o.copying.retryTimes,
			Timeout:          o.copying.timeout,
			Spool:            o.spool,
			RequireReferrers: o.copying.requireReferrers,
			MaxErrors:        o.copying.mostErrors(c.settled.file.settings),
			Stop:             func() error { return context.Cause(starting) },
			Events:           c.events(),
			Log:              c.log,
		},
	}
	traced(run, runner)
	return c.execute(starting, working, memory, runner, run)
}

// execute plans and, unless it is a dry run, carries the plan out.
func (c *command) execute(starting, working context.Context, memory *memory, runner *mirror.Runner, run *tracing.Run) (report.Report, error) {
	c.progress.Phase("planning")
	p, err := runner.Plan(starting)
	if err != nil {
		return report.Report{}, ended(starting, err)
	}
	run.Planned(p)
	p.Warnings = append(p.Warnings, memory.warnings()...)
	for _, a := range p.Actions {
		if line := c.log.Check(zap.DebugLevel, "planned"); line != nil {
			line.Write(zap.String("mirror", a.Mirror.Name), zap.Stringer("destination", a.To), zap.String("verb", string(a.Verb)), zap.String("reason", a.Reason))
		}
	}
	planned := report.FromPlan(c.facts(starting, runner.ManifestsRead()), p)
	if c.run.dryRun {
		return planned, nil
	}
	if c.planned != nil {
		c.planned(planned)
	}
	c.progress.Phase("copying")
	c.progress.Planned(p.Count(plan.Copy)+p.Count(plan.Update), bytesOf(p))
	results, err := runner.Sync(working, p)
	if err != nil {
		c.log.Warn("closing the endpoints of the run", zap.Error(err))
	}
	p = runner.Reconcile(starting, p)
	p.Warnings = append(p.Warnings, memory.keep(working, runner.Observed(results))...)
	return report.FromResults(c.facts(starting, runner.ManifestsRead()), p, results), nil
}

// conclude prints the report and tells the exit code.
func (c *command) conclude(r report.Report, changesMatter bool) (int, error) {
	c.progress.Close()
	if err := c.print(r); err != nil {
		return 0, err
	}
	if err := c.page.write(r); err != nil {
		return 0, fmt.Errorf("--report: %w", err)
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
