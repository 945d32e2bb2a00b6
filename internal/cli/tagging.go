package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// taggingFlags say which repository is meant and what is done.
type taggingFlags struct {
	apply      bool
	exitCode   bool
	imageKey   string
	tagKey     string
	region     string
	roleARN    string
	registryID string
	output     string
	log        logFlags
}

func (f *taggingFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.apply, "apply", false, "write the change, and read it back; without it the change is only shown")
	flags.BoolVar(&f.exitCode, "exit-code", false, "without --apply: exit with 4 if there is something to change")
	flags.StringVar(&f.imageKey, "image-key", "upstream-image", "resource tag `KEY` of the upstream repository")
	flags.StringVar(&f.tagKey, "tag-key", "upstream-tags", "resource tag `KEY` of the tags to mirror")
	flags.StringVar(&f.region, "region", "", "AWS `REGION` of the repository (default: what REPOSITORY says, then the AWS configuration's)")
	flags.StringVar(&f.roleARN, "role-arn", "", "IAM role `ARN` to assume first")
	flags.StringVar(&f.registryID, "registry-id", "", "`ACCOUNT` whose registry is meant (default: what REPOSITORY says, then the caller's)")
	flags.StringVarP(&f.output, "output", "o", "table", "`FORMAT` of the result: table, json, yaml or markdown")
	f.log.register(flags)
}

// check refuses what cannot be meant.
func (f *taggingFlags) check() error {
	switch {
	case f.exitCode && f.apply:
		return usageErrorf("--exit-code tells of a change that is only shown, and --apply writes it")
	case f.region != "" && !plausibleRegion(f.region):
		return usageErrorf("--region %q is no AWS Region, such as eu-central-1", f.region)
	case f.imageKey == f.tagKey:
		return usageErrorf("--image-key and --tag-key name two different resource tags")
	}
	for flag, key := range map[string]string{"--image-key": f.imageKey, "--tag-key": f.tagKey} {
		if !isResourceTagKey(key) || strings.HasPrefix(strings.ToLower(key), "aws:") {
			return usageErrorf("%s %q is no key of a resource tag: expected up to 120 of letters, digits, spaces and _ . : / = + - @, not beginning with aws:", flag, key)
		}
	}
	return nil
}

// isResourceTagKey reports whether AWS takes a key, with room for the "-12" of a
// continuation.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html
func isResourceTagKey(key string) bool {
	n := utf8.RuneCountInString(key)
	return n >= 1 && n <= 120 && !strings.ContainsFunc(key, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune(" _.:/=+-@", r)
	})
}

// tagging is one invocation of track or untrack.
type tagging struct {
	flags   *taggingFlags
	streams Streams
	format  report.Format
	keys    discover.Keys
	named   ecr.RepositoryName
	log     *zap.Logger

	registries *ecr.Registries
	session    *ecr.Session // nil until open
	repository *ecr.TaggedRepository
}

// beginTagging checks the flags and the repository's name. Nothing has been contacted
// yet.
func beginTagging(flags *pflag.FlagSet, streams Streams, f *taggingFlags, repository string) (*tagging, error) {
	if err := fromEnvironment(flags); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	log, err := f.log.open(flags, streams)
	if err != nil {
		return nil, err
	}
	format, err := report.ParseFormat(f.output)
	if err != nil {
		return nil, usageErrorf("--output: %w", err)
	}
	named, err := ecr.ParseRepositoryName(repository)
	if err != nil {
		return nil, usageError{err}
	}
	for _, both := range []struct{ flag, said, named string }{
		{"--region", f.region, named.At.Region},
		{"--registry-id", f.registryID, named.At.Account},
	} {
		if both.said != "" && both.named != "" && both.said != both.named {
			return nil, usageErrorf("%s %s contradicts %s", both.flag, both.said, repository)
		}
	}
	return &tagging{
		flags: f, streams: streams, format: format, named: named,
		keys: discover.NewKeys(f.imageKey, f.tagKey),
		log:  log,
	}, nil
}

// Close ends what open has begun.
func (t *tagging) Close() error {
	if t.session == nil {
		return nil
	}
	return t.session.Close()
}

// open finds the repository.
func (t *tagging) open(ctx context.Context) error {
	session, err := ecr.Open(ctx, ecr.Options{
		Role:       ecr.Role{ARN: t.flags.roleARN},
		RegistryID: cmp.Or(t.named.At.Account, t.flags.registryID),
		UserAgent:  "ecr-mirror-sync",
		Log:        t.log,
	})
	if err != nil {
		return err
	}
	t.session = session
	t.registries = ecr.NewRegistries(session, nil)
	region := cmp.Or(t.named.At.Region, t.flags.region, session.Region())
	t.repository, err = t.registries.Repository(ctx, t.named, region)
	return err
}

// followable refuses a rule that no run would follow.
func (t *tagging) followable(spec discover.Spec) error {
	gate := mirror.Gate{PrivateECR: func(host string) bool {
		_, private := t.registries.Locate(host)
		return private
	}}
	err := gate.Check(discover.Mirror{
		Upstream: spec.Upstream, Target: t.repository.Ref, Origin: discover.Origin{Kind: discover.FromResourceTags},
	})
	if err != nil {
		return usageErrorf("--image: %w", err)
	}
	return nil
}

// change brings the repository's resource tags from what they are to what a rule says,
// or shows what that would mean.
func (t *tagging) change(ctx context.Context, then map[string]string) (int, error) {
	now, err := t.repository.ResourceTags(ctx)
	if err != nil {
		return 0, err
	}
	change, err := discover.NewChange(now, then, t.keys)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.repository.Ref, err)
	}
	var warnings []string
	if then != nil {
		// What a run will read, other people's resource tags beside it.
		if _, warnings, err = discover.FromTags(change.Apply(now), t.keys); err != nil {
			return 0, mistakesOf(err)
		}
	}
	if t.flags.apply {
		if err := t.write(ctx, change, then); err != nil {
			return 0, err
		}
	}
	if err := t.print(change, warnings); err != nil {
		return 0, err
	}
	if t.flags.exitCode && !change.Empty() {
		return exitChanges, nil
	}
	return exitOK, nil
}

// write makes the change in two calls, see discover.Change.Set, and reads it back.
func (t *tagging) write(ctx context.Context, change discover.Change, then map[string]string) error {
	if change.Empty() {
		return nil
	}
	set := change.Set()
	if len(set) > 0 {
		if err := t.repository.SetResourceTags(ctx, set); err != nil {
			return fmt.Errorf("%s: nothing was written: %w", t.repository.Ref, err)
		}
	}
	if removed := change.Removed(); len(removed) > 0 {
		if err := t.repository.RemoveResourceTags(ctx, removed); err != nil {
			return fmt.Errorf("%s: %s: %w", t.repository.Ref, stillThere(set, removed), err)
		}
	}
	after, err := t.repository.ResourceTags(ctx)
	if err != nil {
		return fmt.Errorf("%s: written, and not read back: %w", t.repository.Ref, err)
	}
	if left, err := discover.NewChange(after, then, t.keys); err != nil || !left.Empty() {
		return fmt.Errorf("%s: the resource tags read back are not those that were written: somebody else writes them, too", t.repository.Ref)
	}
	return nil
}

// stillThere says what a failed removal leaves behind.
func stillThere(set map[string]string, removed []string) string {
	if len(set) == 0 {
		return "nothing was removed"
	}
	return "the new rule holds, and these empty resource tags are still there, run this again: " + strings.Join(removed, ", ")
}

func (t *tagging) print(change discover.Change, warnings []string) error {
	r := report.FromChange(change, t.flags.apply && !change.Empty(), warnings)
	r.Repository, r.ARN, r.Region = t.repository.Ref.String(), t.repository.ARN, t.repository.Region
	return report.WriteResourceTags(t.streams.Out, r, t.format, fitted(t.streams.Out))
}

// printTerraform prints resource tags for somebody else to write.
func (t *tagging) printTerraform(what string, tags map[string]string) error {
	if t.flags.apply || t.flags.exitCode || t.flags.output != "table" {
		return usageErrorf("--terraform prints HCL and asks AWS nothing: it goes with neither --apply nor --exit-code nor --output")
	}
	text := report.TerraformTags(tags)
	if what == "resource" {
		text = report.TerraformRepository(t.named.Name, tags)
	}
	_, err := t.streams.Out.WriteString(text)
	return err
}
