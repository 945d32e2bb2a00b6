package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
	var dest destFlags
	var shown pageFlags
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy one image, or the tags that terms choose, to ECR or any registry",
		Long: `Copy one image, or the tags that terms choose, to ECR or any registry, in the same way
as sync: by digest, all platforms, each tag last and read back. What is in sync already
is not copied.

--tags takes the tag language of the resource tag upstream-tags: terms separated by "/",
such as 1.27.*, semver:>=1.2, newest:5 or -*-rc*. In a glob + is the same as *: no tag
holds either. --src REPOSITORY:1.27.* is short for --src REPOSITORY --tags '1.27.*'. Put
terms in quotes, lest the shell reads them. Terms that match no tag at all are an error.

Without --dest images go to the account's own registry: --prefix, then the source
in full, so that ghcr.io/org/app with --prefix external becomes external/ghcr.io/org/app.
(A port, which ECR's names do not allow, is joined with a hyphen.)

` + seedDifferences,
		Example: `  ecr-mirror-sync copy --src ghcr.io/kedacore/keda:2.16.0 --prefix external --insecure-policy
  ecr-mirror-sync copy -s nginx:1.27.3 -d 111122223333.dkr.ecr.eu-central-1.amazonaws.com/nginx --policy policy.json
  ecr-mirror-sync copy -s nginx:1.27.3 -d 111122223333.dkr.ecr.eu-central-1.amazonaws.com/nginx:stable --dry-run --insecure-policy
  ecr-mirror-sync copy -s nginx:1.27.3 -d s3://my-bucket/mirror/nginx --insecure-policy
  ecr-mirror-sync copy -s nginx --tags '1.27.*/stable' --exclude-tags '*-perl' --prefix external --insecure-policy
  ecr-mirror-sync copy -s 'nginx:1.27.*' -d registry.example.com/nginx -d registry.example.org/nginx --insecure-policy
  ecr-mirror-sync copy -s quay.io/org/app:1.0 --prefix external --create-repositories --insecure-policy
  printf %s "$TOKEN" | ecr-mirror-sync copy -s quay.io/org/app:1.0 --src-username robot --src-password-stdin --insecure-policy
  printf %s "$TOKEN" | ecr-mirror-sync copy -s nginx:1.27.3 -d registry.example.com/nginx --dest-creds robot --dest-password-stdin --insecure-policy`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageErrorf("copy takes no arguments, and %q is one: its ends are --src and --dest", args[0])
			}
			return nil
		},
	}
	run.register(cmd.Flags())
	source.register(cmd.Flags())
	copying.register(cmd.Flags())
	sides.register(cmd.Flags())
	dest.register(cmd.Flags())
	shown.register(cmd.Flags())
	reword(cmd.Flags(), "prefix", "without --dest, what stands before the source's path in the account's registry: `PREFIX`")
	reword(cmd.Flags(), "region", "AWS `REGION` of the account's registry (default: the AWS configuration's, then us-east-1)")
	reword(cmd.Flags(), "src-creds-for", "registry `HOST` that gets these credentials, and no other does (default: the source's)")
	reword(cmd.Flags(), "src-authfile", "auth `FILE` for upstream registries, as docker and podman write it (default: $REGISTRY_AUTH_FILE, then the usual places)")
	hide(cmd.Flags(), "image-key", "tag-key", "discover-with") // it looks for no resource tags
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := begin(cmd.Flags(), streams, &run)
		if err != nil {
			return err
		}
		defer c.progress.Close()
		if err := shown.check(); err != nil {
			return err
		}
		c.name, c.page = "copy", shown
		c.empty = "nothing to copy: the destination has all that the terms choose"
		if len(run.regions) > 1 {
			return usageErrorf("copy takes one --region")
		}
		what, err := sides.parse()
		if err != nil {
			return err
		}
		if source.passwordStdin && dest.passwordStdin {
			return usageErrorf("--src-password-stdin and --dest-password-stdin both read standard input: put one password into its environment variable")
		}
		upstream, err := source.asking(streams, what.upstream.Host)
		if err != nil {
			return err
		}
		writing, err := dest.writing(streams, what.to)
		if err != nil {
			return err
		}
		opts := wireOptions{upstream: upstream, writing: writing, passwords: true, named: true, files: true, certDir: source.certDir, egress: c.settled.egress}
		*code, err = c.mirror(cmd.Context(), copying, opts, func(ctx context.Context, w *wiring) (mirror.Finder, error) {
			return what.find(ctx, w, &run)
		})
		return err
	}
	return cmd
}

// sidesFlags name the two ends of a copy.
type sidesFlags struct {
	src     string
	dest    []string
	tags    []string
	exclude []string
}

func (f *sidesFlags) register(flags *pflag.FlagSet) {
	flags.StringVarP(&f.src, "src", "s", "", "what to copy: `REPOSITORY`:TAG or @DIGEST, or with --tags a repository alone")
	flags.StringArrayVarP(&f.dest, "dest", "d", nil, "destination `REPOSITORY`, for a single image with or without a tag, or s3://BUCKET/PATH; repeatable (default: the account's registry, --prefix and the source's name)")
	flags.StringArrayVar(&f.tags, "tags", nil, "copy the tags that `TERMS` choose, such as '1.27.*/stable'; repeatable")
	flags.StringArrayVar(&f.exclude, "exclude-tags", nil, "leave out what `TERMS` match of the tags that --tags chooses; repeatable")
}

// copies is what one invocation of copy copies: one mirror for each destination.
type copies struct {
	upstream ref.Repository
	rules    discover.Rules
	to       []destination // at least one
}

// destination is where copies go. The zero Repository stands for the account's registry.
type destination struct {
	ref.Repository
	as string // the tag, "" for upstream's own
}

// parse reads both ends and what is chosen between them.
func (f *sidesFlags) parse() (copies, error) {
	if f.src == "" {
		return copies{}, usageErrorf("copy needs --src, such as --src ghcr.io/kedacore/keda:2.16.0")
	}
	dests, err := parseDests(f.dest)
	if err != nil {
		return copies{}, err
	}
	name, glob := cutGlob(strings.TrimPrefix(f.src, "docker://"))
	tags := f.tags
	switch {
	case glob != "" && len(tags) > 0:
		return copies{}, usageErrorf("--src %s and --tags both choose tags: leave one out", f.src)
	case glob != "":
		tags = []string{glob}
	case len(tags) == 0 && len(f.exclude) > 0:
		return copies{}, usageErrorf("--exclude-tags leaves out some of what --tags chooses: add --tags, such as --tags '*'")
	}
	src, err := ref.ParseUpstream(name)
	switch {
	case err != nil:
		return copies{}, usageErrorf("--src: %w", err)
	case len(tags) == 0:
		return oneImage(src, f.src, dests)
	case src.Identifier() != "" && glob != "":
		return copies{}, usageErrorf("--src %s: a glob takes the place of the tag; all other terms go into --tags", f.src)
	case src.Identifier() != "":
		return copies{}, usageErrorf("--src %s names one image, and --tags chooses among all tags: leave one out", f.src)
	}
	return manyTags(src.Repository, tags, f.exclude, dests)
}

// cutGlob takes a pattern off a reference: "nginx:1.27.*" is nginx and 1.27.*.
func cutGlob(src string) (name, glob string) {
	colon := strings.LastIndexByte(src, ':')
	if colon < strings.LastIndexByte(src, '/') || !strings.ContainsAny(src[colon+1:], "*+") {
		return src, ""
	}
	return src[:colon], src[colon+1:]
}

func parseDests(dests []string) ([]ref.Reference, error) {
	parsed := make([]ref.Reference, 0, len(dests))
	for _, dest := range dests {
		to, err := parseDest(dest)
		if err != nil {
			return nil, usageErrorf("--dest: %w", err)
		}
		if to.Digest != "" {
			return nil, usageErrorf("--dest %s: a digest is what the source has; the destination takes a tag", dest)
		}
		parsed = append(parsed, to)
	}
	return parsed, nil
}

// parseDest reads a destination, in docker-sync's forms too. The Region of a bucket is
// left out: S3 says it.
func parseDest(dest string) (ref.Reference, error) {
	if to, _, ok, err := ref.ParseDockerSync(dest); ok {
		return to, err
	}
	return ref.ParseTarget(strings.TrimPrefix(dest, "docker://"))
}

// oneImage copies what src names, under its own tag where a destination names none.
func oneImage(src ref.Reference, written string, dests []ref.Reference) (copies, error) {
	if src.Identifier() == "" {
		return copies{}, usageErrorf("--src %s names no image: add a tag, such as %s:latest, or a digest, or choose tags with --tags", written, written)
	}
	if len(dests) == 0 {
		dests = []ref.Reference{{}}
	}
	what := copies{upstream: src.Repository}
	for _, dest := range dests {
		to := destination{dest.Repository, cmp.Or(dest.Tag, src.Tag)}
		if to.as == "" {
			return copies{}, usageErrorf("--src %s has no tag to copy: give the destination one with --dest REPOSITORY:TAG", written)
		}
		if slices.Contains(what.to, to) {
			return copies{}, usageErrorf("--dest %s is given twice", to.Tagged(to.as))
		}
		what.to = append(what.to, to)
	}
	term := discover.Term{Kind: discover.Literal, Text: src.Identifier(), Pattern: src.Tag, Key: "--src", Position: 1}
	if src.Digest != "" {
		term.Kind, term.Digest = discover.Pin, src.Digest
		term.Pattern = cmp.Or(src.Tag, what.to[0].as)
	}
	what.rules.Choose = []discover.Term{term}
	return what, nil
}

// manyTags copies what terms choose. They are read as FromTags reads resource tags, so
// that errors and reasons name the flags.
func manyTags(upstream ref.Repository, tags, exclude []string, dests []ref.Reference) (copies, error) {
	flags := discover.Keys{Image: "--src", Tags: "--tags", Ignore: "--exclude-tags"}
	spec, _, err := discover.FromTags(map[string]string{
		flags.Image:  "registry.invalid/upstream", // which was read already, and may be no registry
		flags.Tags:   strings.Join(tags, "/"),
		flags.Ignore: strings.Join(exclude, "/"),
	}, flags)
	if err != nil {
		return copies{}, mistakesOf(err)
	}
	// Somebody waits for these tags: choosing none of them must not look like success.
	spec.Rules.MinTags = 1
	what := copies{upstream: upstream, rules: spec.Rules}
	for _, dest := range dests {
		to := destination{Repository: dest.Repository}
		switch {
		case dest.Tag != "":
			return copies{}, usageErrorf("--dest %s names one tag, and --tags may choose several: name the repository alone", dest)
		case slices.Contains(what.to, to):
			return copies{}, usageErrorf("--dest %s is given twice", dest)
		}
		what.to = append(what.to, to)
	}
	if len(what.to) == 0 {
		what.to = []destination{{}}
	}
	return what, nil
}

// given is a Finder that finds what it was given.
type given []discover.Finding

func (g given) Find(context.Context) ([]discover.Finding, error) { return g, nil }

// find makes a mirror for each destination. A destination that ECR will not tell of is
// a row with the reason; it is an error only if that is so of all of them.
func (c copies) find(ctx context.Context, w *wiring, run *runFlags) (mirror.Finder, error) {
	region := w.session.Region()
	if len(run.regions) == 1 {
		region = run.regions[0]
	}
	var found given
	var errs []error
	for _, to := range c.to {
		if to.Repository == (ref.Repository{}) {
			var err error
			if to.Repository, err = w.ownRepository(ctx, region, run.prefix, c.upstream); err != nil {
				return nil, err
			}
		}
		m := discover.Mirror{
			Upstream:   c.upstream,
			Target:     to.Repository,
			As:         to.as,
			Rules:      c.rules,
			Options:    discover.DefaultOptions(),
			Origin:     discover.Origin{Kind: discover.FromCommandLine, Place: "command line"},
			Repository: w.opts.file.Repository,
		}
		err := w.describe(ctx, &m, region)
		if err != nil {
			errs = append(errs, err)
		}
		found = append(found, discover.Finding{Mirror: m, Err: err})
	}
	if len(errs) == len(found) {
		return nil, errors.Join(errs...)
	}
	return found, nil
}

// ownRepository is where an upstream repository goes in the account's own registry.
func (w *wiring) ownRepository(ctx context.Context, region, prefix string, upstream ref.Repository) (ref.Repository, error) {
	host, err := w.registries.Host(ctx, region)
	if err != nil {
		return ref.Repository{}, err
	}
	own, err := ref.ParseRepository(host + "/" + underPrefix(prefix, upstream))
	if err != nil {
		return ref.Repository{}, usageErrorf("--prefix: %w", err)
	}
	return own, nil
}

// underPrefix is the repository that a source gets in the account's registry.
func underPrefix(prefix string, src ref.Repository) string {
	path := strings.ReplaceAll(src.Host, ":", "-") + "/" + src.Path
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		path = prefix + "/" + path
	}
	return path
}

// know finds out whether host, which does not look like ECR's, is the registry that ECR's
// own endpoint names for a Region, as an emulator's is.
func (w *wiring) know(ctx context.Context, host, region string) error {
	_, known := w.registries.Locate(host)
	_, public := w.registries.Public(host)
	if known || public || w.session.Endpoint() == "" {
		return nil
	}
	_, err := w.registries.Host(ctx, region)
	return err
}

// describe asks ECR which tags of the destination may be overwritten, if it is ECR.
func (w *wiring) describe(ctx context.Context, m *discover.Mirror, region string) error {
	if err := w.know(ctx, m.Target.Host, region); err != nil {
		return err
	}
	at, isECR := w.registries.Locate(m.Target.Host)
	if !isECR {
		return nil
	}
	m.Origin.Region = at.Region
	tags, err := w.registries.Mutability(ctx, m.Target)
	if errors.Is(err, registry.ErrNotFound) {
		m.Missing = true
		return nil // the plan will say so, with the row it belongs to
	}
	if err != nil {
		return fmt.Errorf("destination %s: %w", m.Target, err)
	}
	m.Tags = tags
	return nil
}
