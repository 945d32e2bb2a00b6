package cli

import (
	"github.com/spf13/cobra"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

func newList(streams Streams, code *int) *cobra.Command {
	var run runFlags
	var source sourceFlags
	var subset subsetFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what resource tags, and mirrors of a file, ask to mirror",
		Long: `Nothing is compared and nothing is written. Upstream registries are contacted only for
rules that need their list of tags, such as 1.27.+ .`,
		Example: `  ecr-mirror-sync list
  ecr-mirror-sync list --region eu-central-1 --region us-east-1 --prefix external
  ecr-mirror-sync list --prefix external/nginx --explain
  ecr-mirror-sync list --config mirrors.yaml
  ecr-mirror-sync list -o json | jq -r '.rows[] | .source + ":" + .tag'`,
		Args: noArgs,
	}
	run.register(cmd.Flags())
	source.register(cmd.Flags())
	subset.register(cmd.Flags())
	explain := cmd.Flags().Bool("explain", false, "list also the tags that were considered and left out, with the reason")
	hide(cmd.Flags(), "dry-run", "batch") // it copies nothing
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		*code, err = list(cmd, streams, &run, &source, &subset, *explain)
		return err
	}
	return cmd
}

func list(cmd *cobra.Command, streams Streams, run *runFlags, source *sourceFlags, subset *subsetFlags, explain bool) (code int, err error) {
	c, err := begin(cmd.Flags(), streams, run)
	if err != nil {
		return 0, err
	}
	defer c.progress.Close()
	upstream, err := source.asking(streams, "docker.io")
	if err != nil {
		return 0, err
	}
	some, err := c.choose(subset)
	if err != nil {
		return 0, err
	}
	ctx, cancel := run.withBudget(cmd.Context())
	defer cancel()
	opts := c.reach(upstream, source.certDir)
	opts.retryTimes, opts.readOnly = 3, true
	w, err := wire(ctx, opts)
	if err != nil {
		return 0, err
	}
	defer closing(w, &err)
	runner := &mirror.Runner{Finder: c.finder(w, some), Places: w, Gate: c.gate(w), Explain: explain, Log: c.log}
	lines, warnings, err := runner.List(ctx)
	if err != nil {
		return 0, ended(ctx, err)
	}
	listings := make([]report.Listed, 0, len(lines))
	for _, l := range lines {
		creation := ""
		if l.Creates {
			creation = plan.Creation(l.Mirror.Repository.Create)
		}
		listings = append(listings, report.Listed{
			Mirror:      l.Mirror.Name,
			Source:      ref.Reference{Repository: l.Mirror.Upstream, Tag: l.Tag},
			Destination: ref.Reference{Repository: l.Mirror.Target, Tag: l.Tag},
			Term:        l.Term,
			Left:        l.Left,
			Creation:    creation,
			Platforms:   l.Mirror.Platforms,
			Origin:      l.Mirror.Origin,
			Err:         l.Err,
		})
	}
	r := report.FromListing(c.facts(ctx, runner.ManifestsRead()), listings, warnings)
	c.progress.Close()
	if err := c.print(r); err != nil {
		return 0, err
	}
	return codeOfReport(r, false), nil
}

// gate is what rules may command: the flags' patterns, and never a private ECR.
func (c *command) gate(w *wiring) mirror.Gate {
	gate := c.settled.gate
	gate.PrivateECR = func(host string) bool {
		_, private := w.registries.Locate(host)
		return private
	}
	return gate
}
