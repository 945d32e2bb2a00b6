package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
)

func newTrack(streams Streams, code *int) *cobra.Command {
	var tagging taggingFlags
	var rule ruleFlags
	cmd := &cobra.Command{
		Use:   "track REPOSITORY",
		Short: "Make an ECR repository a mirror: check a rule and write its resource tags",
		Long: `REPOSITORY is a name in the account's registry, a repository's URI, or its ARN.

Without --apply nothing is written: the change is shown, one line for each resource tag.
The flags say the whole rule, so a resource tag of the rule before that they do not ask
for is removed. All other resource tags of the repository stay.

Terms may be written as the shell knows them: 1.27.* for 1.27.+, semver:>=1.2 for
semver:ge1.2. What AWS does not allow in a resource tag is translated, and a list too
long for one resource tag is continued in upstream-tags-2 and so on. Which tags the terms
choose now, copy --dry-run shows with the same --tags.

A repository that Terraform manages has its resource tags in Terraform: print them for it
with --terraform, or the next terraform apply takes away what this command wrote.`,
		Example: `  ecr-mirror-sync track external/nginx --image nginx --tags '1.27.*' --tags stable
  ecr-mirror-sync track external/nginx --image nginx --tags '1.27.*' --tags stable --apply
  ecr-mirror-sync track external/keda --image ghcr.io/kedacore/keda --tags 'semver:>=2.14' --exclude-tags '*-rc*' --apply
  ecr-mirror-sync track external/redis --image redis --tags newest:5 --options variant=alpine --platforms linux/amd64,linux/arm64
  ecr-mirror-sync track external/nginx --image nginx --tags '1.27.*' --terraform=resource >> mirrors.tf`,
		Args: oneRepository,
	}
	tagging.register(cmd.Flags())
	rule.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		*code, err = track(cmd, streams, &tagging, &rule, args[0])
		return err
	}
	return cmd
}

func newUntrack(streams Streams, code *int) *cobra.Command {
	var tagging taggingFlags
	cmd := &cobra.Command{
		Use:   "untrack REPOSITORY",
		Short: "End the mirroring of an ECR repository: remove the resource tags of its rule",
		Long: `REPOSITORY is a name in the account's registry, a repository's URI, or its ARN.

Without --apply nothing is written: the change is shown. The images in the repository
stay, and so do all its other resource tags.`,
		Example: `  ecr-mirror-sync untrack external/nginx
  ecr-mirror-sync untrack external/nginx --apply`,
		Args: oneRepository,
	}
	tagging.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		*code, err = untrack(cmd, streams, &tagging, args[0])
		return err
	}
	return cmd
}

// oneRepository refuses all but one argument.
func oneRepository(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageErrorf("%s needs one REPOSITORY, such as external/nginx (see %s --help)", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

func track(cmd *cobra.Command, streams Streams, tagging *taggingFlags, rule *ruleFlags, repository string) (code int, err error) {
	t, err := beginTagging(cmd.Flags(), streams, tagging, repository)
	if err != nil {
		return 0, err
	}
	spec, warnings, err := rule.spec()
	if err != nil {
		return 0, err
	}
	tags, err := discover.Format(spec, t.keys)
	if err != nil {
		return 0, usageError{err}
	}
	if rule.terraform != "" {
		for _, warning := range warnings {
			t.log.Warn(warning)
		}
		return exitOK, t.printTerraform(rule.terraform, tags)
	}
	ctx := cmd.Context()
	defer closing(t, &err)
	if err := t.open(ctx); err != nil {
		return 0, err
	}
	if err := t.followable(spec); err != nil {
		return 0, err
	}
	return t.change(ctx, tags)
}

func untrack(cmd *cobra.Command, streams Streams, tagging *taggingFlags, repository string) (code int, err error) {
	t, err := beginTagging(cmd.Flags(), streams, tagging, repository)
	if err != nil {
		return 0, err
	}
	defer closing(t, &err)
	if err := t.open(cmd.Context()); err != nil {
		return 0, err
	}
	return t.change(cmd.Context(), nil)
}

// ruleFlags say what a repository is to mirror, as resource tags do.
type ruleFlags struct {
	image     string
	tags      []string
	exclude   []string
	platforms []string
	options   []string
	terraform string
}

func (f *ruleFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.image, "image", "", "upstream `REPOSITORY`, without a tag")
	flags.StringArrayVar(&f.tags, "tags", nil, "which of its tags: `TERMS` of the tag language, such as '1.27.*/stable'; repeatable")
	flags.StringArrayVar(&f.exclude, "exclude-tags", nil, "`TERMS` to leave out, such as '*-rc*'; repeatable")
	flags.StringSliceVar(&f.platforms, "platforms", nil, "keep only these `OS/ARCH[/VARIANT]`; repeatable, or separated by commas (default: all)")
	flags.StringArrayVar(&f.options, "options", nil, "`KEY=VALUE` as in upstream-options, such as prerelease=true; repeatable")
	flags.StringVar(&f.terraform, "terraform", "", "print HCL and ask AWS nothing: `tags|resource`, the argument alone or the whole aws_ecr_repository")
	flags.Lookup("terraform").NoOptDefVal = "tags"
}

// spec reads the flags as FromTags reads resource tags, so that its errors name flags.
func (f *ruleFlags) spec() (discover.Spec, []string, error) {
	switch {
	case f.image == "":
		return discover.Spec{}, nil, usageErrorf("track needs --image, such as --image docker.io/library/nginx")
	case len(f.tags) == 0:
		return discover.Spec{}, nil, usageErrorf("track needs --tags, such as --tags '1.27.*'; '*' stands for every tag")
	case f.terraform != "" && f.terraform != "tags" && f.terraform != "resource":
		return discover.Spec{}, nil, usageErrorf("--terraform=%s: expected tags or resource", f.terraform)
	}
	flags := discover.Keys{Image: "--image", Tags: "--tags", Ignore: "--exclude-tags", Platforms: "--platforms", Options: "--options"}
	spec, warnings, err := discover.FromTags(map[string]string{
		flags.Image:     f.image,
		flags.Tags:      strings.Join(f.tags, "/"),
		flags.Ignore:    strings.Join(f.exclude, "/"),
		flags.Platforms: strings.Join(f.platforms, " "),
		flags.Options:   strings.Join(f.options, " "),
	}, flags)
	if err != nil {
		return discover.Spec{}, nil, mistakesOf(err)
	}
	return spec, warnings, nil
}
