package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
)

const seedDifferences = `Where this differs from the first ecr-mirror-sync: all platforms are mirrored unless
--platform or --override-* is given (it flattened images to linux/amd64); --region
defaults to the AWS configuration; --batch to auto instead of all; --retry-times to 3
instead of 0; there is no fixed timeout of 20 minutes; failures show in the exit code.`

func newSync(streams Streams, code *int) *cobra.Command {
	var flags syncFlags
	var shown pageFlags
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Bring tagged repositories, and mirrors of a file, up to date with their upstreams",
		Long: `The whole run is planned before its first write. An unchanged image costs one HEAD
upstream. A changed one is copied by digest, children before their index, and its tag
is written last and read back.

With --interval it goes on, as ecr-mirror-sync daemon does.

` + seedDifferences,
		Example: `  ecr-mirror-sync sync --dry-run --insecure-policy
  ecr-mirror-sync sync --policy policy.json --prefix external
  ecr-mirror-sync sync --config mirrors.yaml --only 'nginx|postgres' --insecure-policy
  ecr-mirror-sync sync --insecure-policy --platform linux/amd64,linux/arm64
  ECR_MIRROR_SYNC_SRC_CREDS=user:token ecr-mirror-sync sync --insecure-policy
  ecr-mirror-sync sync --dry-run --state prune.json --prune-max 20 --prune-max-share 10% --insecure-policy
  ecr-mirror-sync sync --policy policy.json --report report.html
  ecr-mirror-sync sync --interval 5m --policy policy.json
  ecr-mirror-sync sync --dry-run --exit-code -o markdown --insecure-policy >> "$GITHUB_STEP_SUMMARY"`,
		Args: noArgs,
	}
	flags.register(cmd.Flags())
	flags.daemon.register(cmd.Flags(), 0)
	shown.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := fromEnvironment(cmd.Flags()); err != nil {
			return err
		}
		if err := shown.check(); err != nil {
			return err
		}
		if flags.daemon.interval > 0 && shown.file != "" {
			return usageErrorf("--report is about one run; with --interval the status page at --listen shows them all")
		}
		if flags.daemon.interval > 0 {
			return serve(cmd, streams, &flags, code)
		}
		c, err := begin(cmd.Flags(), streams, &flags.run)
		if err != nil {
			return err
		}
		defer c.progress.Close()
		c.name, c.page = "sync", shown
		upstream, err := flags.source.asking(streams, "docker.io")
		if err != nil {
			return err
		}
		some, err := c.choose(&flags.subset)
		if err != nil {
			return err
		}
		reach := c.reach(upstream, flags.source.certDir)
		reach.partial = flags.subset.only != ""
		*code, err = c.mirror(cmd.Context(), flags.copying, reach,
			func(_ context.Context, w *wiring) (mirror.Finder, error) { return c.finder(w, some), nil })
		return err
	}
	return cmd
}

// syncFlags are the flags of sync, and of daemon.
type syncFlags struct {
	run     runFlags
	source  sourceFlags
	copying copyFlags
	subset  subsetFlags
	daemon  daemonFlags
}

func (f *syncFlags) register(flags *pflag.FlagSet) {
	f.run.register(flags)
	f.source.register(flags)
	f.copying.register(flags)
	f.subset.register(flags)
	f.copying.prune.register(flags)
	f.copying.notify.register(flags)
}
