package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// verifyFlags say how thoroughly it is verified, and what is done about what is found.
type verifyFlags struct {
	deep       bool
	repair     bool
	noUpstream bool
}

func (f *verifyFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.deep, "deep", false, "read every byte at the destination and hash it; without it blobs are asked for their size")
	flags.BoolVar(&f.repair, "repair", false, "copy again what is missing, drifted or damaged, and verify it anew")
	flags.BoolVar(&f.noUpstream, "no-upstream", false, "ask the destination alone: patterns choose among the tags that it has, and nothing is compared but digests that rules name")
}

func newVerify(streams Streams, code *int) *cobra.Command {
	var run runFlags
	var source sourceFlags
	var copying copyFlags
	var subset subsetFlags
	var verifying verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that every mirrored tag is a complete image, and what upstream has",
		Long: `Every tag that the rules want is read at its destination as a client reads it: each
manifest is hashed, and each blob has to be there, with the right size (--deep: with the
right bytes). Signatures, SBOMs and attestations are verified with their image. Then it
is compared with upstream, also where a rule declares tags immutable. Nothing is written
without --repair.

A row is verified, damaged (not complete, or not what its digest says), missing, or
drifted (not what upstream has). Damage exits with 8, and drift with 7.

With --policy the trust policy judges again what is mirrored: what it refuses is a
blocked row.`,
		Example: `  ecr-mirror-sync verify
  ecr-mirror-sync verify --deep --prefix external
  ecr-mirror-sync verify --config mirrors.yaml --only nginx --repair --insecure-policy
  ecr-mirror-sync verify --policy policy.json
  ecr-mirror-sync verify --no-upstream --deep -o json | jq -r '.rows[] | select(.status == "damaged") | .damage[]'`,
		Args: noArgs,
	}
	registerBut(cmd.Flags(), func(all *pflag.FlagSet) {
		run.register(all)
		copying.register(all)
	}, "dry-run", "exit-code", "recheck", "exit-on-error", "max-errors", "dest-precompute-digests")
	source.register(cmd.Flags())
	subset.register(cmd.Flags())
	verifying.register(cmd.Flags())
	copying.notify.register(cmd.Flags())
	reword(cmd.Flags(), "policy", "judge what is mirrored, and what --repair copies, by this trust policy `FILE` (containers-policy.json; default: the system's, for --repair alone)")
	run.changed = cmd.Flags().Changed
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := begin(cmd.Flags(), streams, &run)
		if err != nil {
			return err
		}
		defer c.progress.Close()
		upstream, err := source.asking(streams, "docker.io")
		if err != nil {
			return err
		}
		some, err := c.choose(&subset)
		if err != nil {
			return err
		}
		v := verification{command: c, flags: verifying, copying: &copying, opts: c.reach(upstream, source.certDir)}
		*code, err = v.run(cmd.Context(), some)
		return err
	}
	return cmd
}

// registerBut registers flags without those that a command has no use for.
func registerBut(flags *pflag.FlagSet, register func(all *pflag.FlagSet), names ...string) {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	register(all)
	all.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(names, f.Name) {
			flags.AddFlag(f)
		}
	})
}

// verification is one invocation of verify.
type verification struct {
	*command
	flags   verifyFlags
	copying *copyFlags
	opts    wireOptions
}

// check refuses what no verification can mean.
func (v verification) check() error {
	switch {
	case v.flags.noUpstream && v.flags.repair:
		return usageErrorf("--repair reads upstream, and --no-upstream says to leave it alone")
	case v.flags.noUpstream && v.copying.policy != "":
		return usageErrorf("--policy reads signatures upstream, and --no-upstream says to leave it alone")
	}
	return v.copying.check(false)
}

func (v verification) run(ctx context.Context, some subset) (code int, err error) {
	if err := v.check(); err != nil {
		return 0, err
	}
	v.name = "verify"
	defer v.trace(ctx)()
	ctx, cancel := v.command.run.withBudget(ctx)
	defer cancel()
	told, err := v.copying.notify.notices(v.command, "verify")
	if err != nil {
		return 0, err
	}
	var r report.Report
	defer func() { told.ended(ctx, r, err, v.began) }()
	v.opts.retryTimes, v.opts.readOnly = v.copying.retryTimes, !v.flags.repair
	v.opts.log, v.opts.traces = v.log, v.traces
	w, err := wire(ctx, v.opts)
	if err != nil {
		return 0, err
	}
	defer closing(w, &err)
	told.reach(w)
	runner, err := v.runner(w, some)
	if err != nil {
		return 0, err
	}
	if r, err = v.execute(ctx, runner); err != nil {
		return 0, err
	}
	return v.conclude(r, false)
}

// runner puts the run together.
func (v verification) runner(w *wiring, some subset) (*mirror.Runner, error) {
	platforms, err := v.copying.selection()
	if err != nil {
		return nil, err
	}
	spool, err := v.copying.spool()
	if err != nil {
		return nil, err
	}
	create, err := v.copying.creation()
	if err != nil {
		return nil, err
	}
	runner := &mirror.Runner{
		Finder:    v.finder(w, some),
		Places:    w,
		Gate:      v.gate(w),
		Platforms: platforms,
		Create:    create,
		Recheck:   true,
		Offline:   v.flags.noUpstream,
		Log:       v.log,
		Copy: copy.Options{
			Images:           v.settled.images,
			RetryTimes:       v.copying.retryTimes,
			Timeout:          v.copying.timeout,
			Spool:            spool,
			RequireReferrers: v.copying.requireReferrers,
			Events:           v.events(),
			Log:              v.log,
		},
	}
	if v.flags.repair || v.copying.policy != "" {
		judge, err := v.copying.judge(w)
		if err != nil {
			return nil, err
		}
		runner.Judge = judge
	}
	return runner, nil
}

// execute compares, verifies, and repairs where that is asked for.
func (v verification) execute(ctx context.Context, runner *mirror.Runner) (r report.Report, err error) {
	ctx, run := v.traces.Begin(ctx, v.name)
	defer func() { run.End(r, err) }()
	traced(run, runner)
	v.progress.Phase("comparing")
	p, err := runner.Differences(ctx)
	if err != nil {
		return report.Report{}, ended(ctx, err)
	}
	v.progress.Phase("verifying")
	how := mirror.Verification{Deep: v.flags.deep, Judge: v.copying.policy != "", Events: v.verifying()}
	results := runner.Verify(ctx, p, how)
	if v.flags.repair && ctx.Err() == nil {
		v.progress.Phase("repairing")
		if results, err = runner.Repair(ctx, results, how); err != nil {
			v.log.Warn("closing the endpoints of the run", zap.Error(err))
		}
	}
	return report.FromVerification(v.facts(ctx, runner.ManifestsRead()), p, results), nil
}

// verifying connects the verification with the progress display.
func (v verification) verifying() mirror.Events {
	return mirror.Events{
		Planned:  func(images int) { v.progress.Planned(images, 0) },
		Started:  func(a plan.Action) { v.progress.Started(a.To.String(), a.To.String(), 0) },
		Hashed:   func(a plan.Action, n int) { v.progress.Moved(a.To.String(), n) },
		Finished: func(r plan.Result) { v.progress.Finished(r.Action.To.String(), string(r.Status)) },
	}
}
