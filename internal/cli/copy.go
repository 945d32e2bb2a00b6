package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

func newCopy(streams Streams, code *int) *cobra.Command {
	var run runFlags
	var source sourceFlags
	var copying copyFlags
	var sides sidesFlags
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy one image to ECR, or to any registry",
		Long: `Copy one image to ECR, or to any registry, in the same way as sync: by digest, all
platforms, the tag last and read back. An image that is in sync already is not copied.

Without --dest the image goes to the account's own registry: --prefix, then the source
in full, so that ghcr.io/org/app with --prefix external becomes external/ghcr.io/org/app.
(A port, which ECR's names do not allow, is joined with a hyphen.)

` + seedDifferences,
		Example: `  ecr-mirror-sync copy --src ghcr.io/kedacore/keda:2.16.0 --prefix external --insecure-policy
  ecr-mirror-sync copy -s nginx:1.27.3 -d 111122223333.dkr.ecr.eu-central-1.amazonaws.com/nginx --policy policy.json
  ecr-mirror-sync copy -s nginx:1.27.3 -d 111122223333.dkr.ecr.eu-central-1.amazonaws.com/nginx:stable --dry-run --insecure-policy
  printf %s "$TOKEN" | ecr-mirror-sync copy -s quay.io/org/app:1.0 --src-username robot --src-password-stdin --insecure-policy`,
		Args: noArgs,
	}
	run.register(cmd.Flags())
	source.register(cmd.Flags())
	copying.register(cmd.Flags())
	sides.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := begin(cmd.Flags(), streams, &run)
		if err != nil {
			return err
		}
		defer c.progress.Close()
		src, dest, err := sides.parse(&run)
		if err != nil {
			return err
		}
		upstream, err := source.asking(streams, src.Repository.Host)
		if err != nil {
			return err
		}
		opts := wireOptions{upstream: upstream, passwords: true, named: true, files: true, certDir: source.certDir}
		*code, err = c.mirror(cmd.Context(), &copying, opts, func(ctx context.Context, w *wiring) (mirror.Finder, error) {
			return oneCopy(ctx, w, &run, src, dest)
		})
		return err
	}
	return cmd
}

// sidesFlags name the two ends of a copy.
type sidesFlags struct{ src, dest string }

func (f *sidesFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.src, "src", "s", "", "image to copy: `REPOSITORY`:TAG or @DIGEST")
	flags.StringVarP(&f.dest, "dest", "d", "", "destination `REPOSITORY`, with or without a tag (default: the account's registry, --prefix and the source's name)")
}

// parse reads both ends. The zero dest means the account's registry.
func (f *sidesFlags) parse(run *runFlags) (src, dest ref.Reference, err error) {
	if f.src == "" {
		return src, dest, usageErrorf("copy needs --src, such as --src ghcr.io/kedacore/keda:2.16.0")
	}
	if len(run.regions) > 1 {
		return src, dest, usageErrorf("copy takes one --region")
	}
	if src, err = ref.Parse(strings.TrimPrefix(f.src, "docker://")); err != nil {
		return src, dest, usageErrorf("--src: %w", err)
	}
	if src.Identifier() == "" {
		return src, dest, usageErrorf("--src %s names no image: add a tag, such as %s:latest, or a digest", f.src, f.src)
	}
	if f.dest != "" {
		if dest, err = ref.Parse(strings.TrimPrefix(f.dest, "docker://")); err != nil {
			return src, dest, usageErrorf("--dest: %w", err)
		}
		if dest.Digest != "" {
			return src, dest, usageErrorf("--dest %s: a digest is what the source has; the destination takes a tag", f.dest)
		}
	}
	if src.Tag == "" && dest.Tag == "" {
		return src, dest, usageErrorf("--src %s has no tag to copy: give the destination one with --dest REPOSITORY:TAG", f.src)
	}
	return src, dest, nil
}

// given is a Finder that finds what it was given.
type given discover.Finding

func (g given) Find(context.Context) ([]discover.Finding, error) {
	return []discover.Finding{discover.Finding(g)}, nil
}

// oneCopy is the one mirror that a copy is.
func oneCopy(ctx context.Context, w *wiring, run *runFlags, src, dest ref.Reference) (mirror.Finder, error) {
	region := w.session.Region()
	if len(run.regions) == 1 {
		region = run.regions[0]
	}
	if dest.Repository == (ref.Repository{}) {
		host, err := w.registries.Host(ctx, region)
		if err != nil {
			return nil, err
		}
		dest.Repository = ref.Repository{Host: host, Path: underPrefix(run.prefix, src.Repository)}
		if dest, err = ref.Parse(dest.String()); err != nil {
			return nil, usageErrorf("--prefix: %w", err)
		}
	}
	if dest.Tag == "" {
		dest.Tag = src.Tag
	}
	m := discover.Mirror{
		Upstream: src.Repository,
		Target:   dest.Repository,
		As:       dest.Tag,
		Rules:    discover.Rules{Choose: []discover.Term{onlyTerm(src, dest)}},
		Options:  discover.DefaultOptions(),
		Origin:   discover.Origin{Kind: discover.FromCommandLine, Place: "command line"},
	}
	if err := w.describe(ctx, &m, region); err != nil {
		return nil, err
	}
	return given{Mirror: m}, nil
}

// onlyTerm chooses the source's one image.
func onlyTerm(src, dest ref.Reference) discover.Term {
	t := discover.Term{Kind: discover.Literal, Text: src.Identifier(), Pattern: src.Tag, Key: "--src", Position: 1}
	if src.Digest != "" {
		t.Kind, t.Digest = discover.Pin, src.Digest
		t.Pattern = orElse(src.Tag, dest.Tag)
	}
	return t
}

// underPrefix is the repository that a source gets in the account's registry.
func underPrefix(prefix string, src ref.Repository) string {
	path := strings.ReplaceAll(src.Host, ":", "-") + "/" + src.Path
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		path = prefix + "/" + path
	}
	return path
}

// describe asks ECR which tags of the destination may be overwritten, if it is ECR. A
// host that does not look like ECR's is one if ECR's own endpoint names it, as an
// emulator does.
func (w *wiring) describe(ctx context.Context, m *discover.Mirror, region string) error {
	if _, known := w.registries.Locate(m.Target.Host); !known && w.session.Endpoint() != "" {
		if _, err := w.registries.Host(ctx, region); err != nil {
			return err
		}
	}
	at, isECR := w.registries.Locate(m.Target.Host)
	if !isECR {
		return nil
	}
	m.Origin.Region = at.Region
	tags, err := w.registries.Mutability(ctx, m.Target)
	if errors.Is(err, registry.ErrNotFound) {
		return nil // the plan will say so, with the row it belongs to
	}
	if err != nil {
		return fmt.Errorf("destination %s: %w", m.Target, err)
	}
	m.Tags = tags
	return nil
}
