package cli

import (
	"github.com/spf13/cobra"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

func newList(streams Streams, code *int) *cobra.Command {
	var run runFlags
	var source sourceFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the repositories and tags that resource tags mark for mirroring",
		Long: `Nothing is compared and nothing is written. Upstream registries are contacted only for
rules that need their list of tags, such as 1.27.+ .`,
		Example: `  ecr-mirror-sync list
  ecr-mirror-sync list --region eu-central-1 --region us-east-1 --prefix external
  ecr-mirror-sync list --prefix external/nginx --explain
  ecr-mirror-sync list -o json | jq -r '.rows[] | .source + ":" + .tag'`,
		Args: noArgs,
	}
	run.register(cmd.Flags())
	source.register(cmd.Flags())
	explain := cmd.Flags().Bool("explain", false, "list also the tags that were considered and left out, with the reason")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		*code, err = list(cmd, streams, &run, &source, *explain)
		return err
	}
	return cmd
}

func list(cmd *cobra.Command, streams Streams, run *runFlags, source *sourceFlags, explain bool) (code int, err error) {
	c, err := begin(cmd.Flags(), streams, run)
	if err != nil {
		return 0, err
	}
	defer c.progress.Close()
	upstream, err := source.provider(streams, "docker.io", false)
	if err != nil {
		return 0, err
	}
	ctx, cancel := run.withBudget(cmd.Context())
	defer cancel()
	w, err := wire(ctx, wireOptions{run: run, upstream: upstream, certDir: source.certDir, retryTimes: 3, readOnly: true, log: c.log})
	if err != nil {
		return 0, err
	}
	defer closing(w, &err)
	runner := &mirror.Runner{Finder: c.finder(w), Places: w, Gate: c.gate(w), Explain: explain, Log: c.log}
	lines, warnings, err := runner.List(ctx)
	if err != nil {
		return 0, ended(ctx, err)
	}
	listings := make([]report.Listed, 0, len(lines))
	failed := 0
	for _, l := range lines {
		if l.Err != nil {
			failed++
		}
		listings = append(listings, report.Listed{
			Source:      ref.Reference{Repository: l.Mirror.Upstream, Tag: l.Tag},
			Destination: ref.Reference{Repository: l.Mirror.Target, Tag: l.Tag},
			Term:        l.Term,
			Left:        l.Left,
			Platforms:   l.Mirror.Platforms,
			Origin:      l.Mirror.Origin,
			Err:         l.Err,
		})
	}
	r := report.FromListing(c.facts(ctx, 0), listings, warnings)
	c.progress.Close()
	if err := c.print(r); err != nil {
		return 0, err
	}
	return codeOfListing(len(listings), failed), nil
}

// codeOfListing is codeOfResults for a listing, whose rows can only be there or fail.
func codeOfListing(rows, failed int) int {
	switch failed {
	case 0:
		return exitOK
	case rows:
		return exitNothingDone
	}
	return exitSomeFailed
}

// finder looks for resource tags as the flags say.
func (c *command) finder(w *wiring) mirror.Finder {
	return ecr.NewFinder(w.session, w.registries, ecr.FinderOptions{
		Keys:     c.settled.keys,
		Regions:  c.run.regions,
		Prefixes: []string{c.run.prefix},
		Route:    c.settled.route,
	})
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
