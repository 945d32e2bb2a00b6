package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
)

const seedDifferences = `Where this differs from the first ecr-mirror-sync: all platforms are mirrored unless
--platform or --override-* is given (it flattened images to linux/amd64); --region
defaults to the AWS configuration; --batch to auto instead of all; --retry-times to 3
instead of 0; there is no fixed timeout of 20 minutes; failures show in the exit code.`

func newSync(streams Streams, code *int) *cobra.Command {
	var run runFlags
	var source sourceFlags
	var copying copyFlags
	var subset subsetFlags
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Bring tagged repositories, and mirrors of a file, up to date with their upstreams",
		Long: `The whole run is planned before its first write. An unchanged image costs one HEAD
upstream. A changed one is copied by digest, children before their index, and its tag
is written last and read back.

` + seedDifferences,
		Example: `  ecr-mirror-sync sync --dry-run --insecure-policy
  ecr-mirror-sync sync --policy policy.json --prefix external
  ecr-mirror-sync sync --config mirrors.yaml --only 'nginx|postgres' --insecure-policy
  ecr-mirror-sync sync --insecure-policy --platform linux/amd64,linux/arm64
  ECR_MIRROR_SYNC_SRC_CREDS=user:token ecr-mirror-sync sync --insecure-policy
  ecr-mirror-sync sync --dry-run --state prune.json --prune-max 20 --prune-max-share 10% --insecure-policy
  ecr-mirror-sync sync --dry-run --exit-code -o markdown --insecure-policy >> "$GITHUB_STEP_SUMMARY"`,
		Args: noArgs,
	}
	run.register(cmd.Flags())
	source.register(cmd.Flags())
	copying.register(cmd.Flags())
	subset.register(cmd.Flags())
	copying.prune.register(cmd.Flags())
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
		*code, err = c.mirror(cmd.Context(), &copying, c.reach(upstream, source.certDir),
			func(_ context.Context, w *wiring) (mirror.Finder, error) { return c.finder(w, some), nil })
		return err
	}
	return cmd
}
