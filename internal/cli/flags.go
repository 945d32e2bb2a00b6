package cli

import (
	"cmp"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// runFlags are the flags that list, copy and sync share.
type runFlags struct {
	file       fileFlags
	batch      string
	log        logFlags
	dryRun     bool
	imageKey   string
	tagKey     string
	prefix     string
	regions    []string
	roleARN    string
	registryID string

	renderTable bool
	output      string

	discoverWith  string
	allowUpstream []string
	insecure      []string
	allowEgress   []string
	transport     string
	maxDuration   time.Duration
	limits        limitFlags

	goesOn  bool                   // as a daemon does
	changed func(name string) bool // whether the command line or the environment says something
}

func (f *runFlags) register(flags *pflag.FlagSet) {
	f.changed = flags.Changed
	f.file.register(flags)
	f.limits.register(flags)
	flags.StringVar(&f.batch, "batch", "auto", "images copied at once: `N|all|auto`; auto is what keeps the blobs moving, 128 at most")
	f.log.register(flags)
	flags.BoolVar(&f.dryRun, "dry-run", false, "plan and compare, write nothing")
	flags.StringVar(&f.imageKey, "image-key", "upstream-image", "resource tag `KEY` of the upstream repository")
	flags.StringVar(&f.tagKey, "tag-key", "upstream-tags", "resource tag `KEY` of the tags to mirror")
	flags.StringVar(&f.prefix, "prefix", "", "only repositories under this `PREFIX`, by whole path segments")
	flags.StringSliceVar(&f.regions, "region", nil, "AWS `REGION`, repeatable (default: the AWS configuration's, then us-east-1)")
	flags.StringVar(&f.roleARN, "role-arn", "", "IAM role `ARN` to assume first")
	flags.StringVar(&f.registryID, "registry-id", "", "`ACCOUNT` whose registry is meant (default: the caller's)")
	flags.BoolVar(&f.renderTable, "render-table", false, "the same as --output table")
	flags.StringVarP(&f.output, "output", "o", "table", "`FORMAT` of the result: table, json, yaml or markdown")
	flags.StringVar(&f.discoverWith, "discover-with", "", "read resource tags with `API` tagging or ecr (default: tagging, and ecr where that is denied)")
	flags.StringArrayVar(&f.allowUpstream, "allow-upstream", nil, "only mirror from upstream repositories that match `PATTERN`, such as quay.io or docker.io/library/*; repeatable")
	flags.StringArrayVar(&f.insecure, "insecure-registry", nil, "registry `HOST[:PORT]` that may speak plain HTTP or show an unknown certificate; repeatable (hosts on loopback always may)")
	flags.StringArrayVar(&f.allowEgress, "allow-egress", nil, "private network `CIDR` that registries may lead to with redirects, token services and upload locations; repeatable")
	flags.StringVar(&f.transport, "transport", "native", "how content moves: `native|library`; the library is containers/image's own transport, and slower")
	flags.DurationVar(&f.maxDuration, "max-duration", 0, "end the run after this `DURATION` and list what was not done (0: no limit)")
}

// settled holds what the shared flags mean, checked.
type settled struct {
	images int
	format report.Format
	route  ecr.Route
	gate   mirror.Gate
	log    logging
	egress []netip.Prefix
	file   followed // says nothing where no file is named
}

// over lets a flag that was given go over the file.
func (f *runFlags) over(flag string, replace func()) {
	if f.changed(flag) {
		replace()
	}
}

// settle checks the shared flags. Every error is a usage error.
func (f *runFlags) settle(streams Streams) (settled, error) {
	var s settled
	var err error
	if s.images, err = parseBatch(f.batch); err != nil {
		return s, err
	}
	if s.format, err = report.ParseFormat(f.output); err != nil {
		return s, usageErrorf("--output: %w", err)
	}
	if f.renderTable && f.changed("output") && s.format != report.Table {
		return s, usageErrorf("--render-table means --output table, and --output says %s", f.output)
	}
	if f.transport != "native" && f.transport != "library" {
		return s, usageErrorf("--transport %q: expected native or library", f.transport)
	}
	switch s.route = ecr.Route(f.discoverWith); s.route {
	case ecr.RouteAny, ecr.RouteTagging, ecr.RouteECR:
	default:
		return s, usageErrorf("--discover-with %q: expected tagging or ecr", f.discoverWith)
	}
	if f.imageKey == "" || f.tagKey == "" || f.imageKey == f.tagKey {
		return s, usageErrorf("--image-key and --tag-key name two different resource tags")
	}
	if f.maxDuration < 0 {
		return s, usageErrorf("--max-duration %s: expected a time that has not passed", f.maxDuration)
	}
	if err := f.limits.check(); err != nil {
		return s, err
	}
	for _, region := range f.regions {
		if !plausibleRegion(region) {
			return s, usageErrorf("--region %q is no AWS Region, such as eu-central-1", region)
		}
	}
	if f.changed("config") && len(f.file.paths) == 0 {
		return s, usageErrorf("--config is empty: name a file, or leave the flag out to follow resource tags")
	}
	if s.file, err = f.file.load(streams); err != nil {
		return s, err
	}
	if s.log, err = f.log.settle(f.changed, s.file); err != nil {
		return s, err
	}
	if s.gate.AllowUpstream, err = f.allowed(s.file.Config); err != nil {
		return s, err
	}
	s.egress, err = f.egressAllowed(s.file.Config)
	return s, err
}

// allowed returns the patterns of --allow-upstream, or else of the file.
func (f *runFlags) allowed(file *config.Config) ([]mirror.AllowPattern, error) {
	written := file.File.AllowedUpstreams
	f.over("allow-upstream", func() { written = f.allowUpstream })
	var patterns []mirror.AllowPattern
	for _, p := range written {
		pattern, err := mirror.ParseAllowPattern(p)
		if err != nil {
			return nil, usageErrorf("--allow-upstream: %w", err)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// parseBatch reads --batch; -1 means all, 0 as many as it takes.
func parseBatch(s string) (int, error) {
	switch s {
	case "all":
		return -1, nil
	case "auto":
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, usageErrorf("--batch %q: expected a number from 1, all or auto", s)
	}
	return n, nil
}

func plausibleRegion(s string) bool {
	parts := strings.Split(s, "-")
	_, err := strconv.Atoi(parts[len(parts)-1])
	return len(parts) >= 3 && err == nil && strings.ToLower(s) == s
}

// sourceFlags say who asks upstream.
type sourceFlags struct {
	authFile      string
	certDir       string
	creds         string
	credsFor      string
	noCreds       bool
	username      string
	password      string
	passwordStdin bool
	registryToken string
}

func (f *sourceFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.authFile, "src-authfile", "", "auth `FILE` for upstream registries, as docker and podman write it (default: $REGISTRY_AUTH_FILE)")
	flags.StringVar(&f.certDir, "src-cert-dir", "", "use certificates in `DIR` (*.crt, *.cert, *.key) for upstream registries")
	flags.StringVar(&f.creds, "src-creds", "", "`USERNAME[:PASSWORD]` for one upstream registry, see --src-creds-for; rather set $ECR_MIRROR_SYNC_SRC_CREDS, which no process list shows")
	flags.StringVar(&f.credsFor, "src-creds-for", "", "registry `HOST` that gets these credentials, and no other does (default: docker.io)")
	flags.BoolVar(&f.noCreds, "src-no-creds", false, "read upstream anonymously")
	flags.StringVar(&f.username, "src-username", "", "`USERNAME` for one upstream registry")
	flags.StringVar(&f.password, "src-password", "", "`PASSWORD` of --src-username; rather use --src-password-stdin or $ECR_MIRROR_SYNC_SRC_PASSWORD")
	flags.BoolVar(&f.passwordStdin, "src-password-stdin", false, "read the password from standard input")
	flags.StringVar(&f.registryToken, "src-registry-token", "", "bearer `TOKEN` for one upstream registry; rather set $ECR_MIRROR_SYNC_SRC_REGISTRY_TOKEN")
}

// asking is who asks upstream registries, as far as flags say.
type asking struct {
	anonymously bool // and nothing else may be used
	given       auth.Chain
	file        bool // an auth file was named, which stands for docker's own
}

// asking returns the credentials that the flags give, for defaultHost where they name no
// host.
func (f *sourceFlags) asking(streams Streams, defaultHost string) (asking, error) {
	var who asking
	cred, err := f.credential(streams)
	if err != nil {
		return who, err
	}
	if f.certDir != "" {
		if _, err := os.ReadDir(f.certDir); err != nil {
			return who, usageErrorf("--src-cert-dir: %w", err)
		}
	}
	if f.noCreds {
		if !cred.Anonymous() || f.authFile != "" {
			return who, usageErrorf("--src-no-creds goes with no other credential")
		}
		return asking{anonymously: true}, nil
	}
	if !cred.Anonymous() {
		host, err := credentialHost(f.credsFor, defaultHost)
		if err != nil {
			return who, err
		}
		who.given = append(who.given, auth.Named{Provider: auth.Static{host: cred}, Source: f.naming()})
	} else if f.credsFor != "" {
		return who, usageErrorf("--src-creds-for names a host and no credential is given for it")
	}
	if path := cmp.Or(f.authFile, os.Getenv("REGISTRY_AUTH_FILE")); path != "" {
		file, err := auth.OpenFile(path)
		if err != nil {
			return who, usageError{err}
		}
		who.given, who.file = append(who.given, file), true
	}
	return who, nil
}

// naming is the flag that gives the one credential.
func (f *sourceFlags) naming() string {
	switch {
	case f.registryToken != "":
		return "--src-registry-token"
	case f.creds != "":
		return "--src-creds"
	}
	return "--src-username"
}

// credentialHost is the host that credentials go to, as references write it.
func credentialHost(named, fallback string) (string, error) {
	if named == "" {
		return fallback, nil
	}
	repo, err := ref.ParseRepository(named + "/x")
	if err != nil || repo.Path != "x" && repo.Host != "docker.io" {
		return "", usageErrorf("--src-creds-for %q: expected a registry host, such as ghcr.io", named)
	}
	return repo.Host, nil
}

// credential puts the one credential together that the flags give.
func (f *sourceFlags) credential(streams Streams) (auth.Credential, error) {
	user, password, colon := strings.Cut(f.creds, ":")
	switch {
	case f.creds != "" && f.username != "":
		return auth.Credential{}, usageErrorf("--src-creds and --src-username name two users")
	case f.creds == "":
		user, password = f.username, f.password
	case colon && f.password != "":
		return auth.Credential{}, usageErrorf("--src-creds and --src-password give two passwords")
	case !colon:
		password = f.password
	}
	if f.passwordStdin {
		if password != "" {
			return auth.Credential{}, usageErrorf("--src-password-stdin and another flag give two passwords")
		}
		var err error
		if password, err = passwordFrom(streams, "--src-password-stdin"); err != nil {
			return auth.Credential{}, err
		}
	}
	switch {
	case f.registryToken != "" && user+password != "":
		return auth.Credential{}, usageErrorf("--src-registry-token goes with no user or password")
	case user == "" && password != "":
		return auth.Credential{}, usageErrorf("a password needs --src-username")
	case user != "" && password == "":
		return auth.Credential{}, usageErrorf("--src-username needs a password: --src-password-stdin, $%sSRC_PASSWORD or --src-password", environmentPrefix)
	}
	return auth.Credential{Username: user, Password: auth.Secret(password), RegistryToken: auth.Secret(f.registryToken)}, nil
}

// copyFlags say how images are judged, chosen and copied.
type copyFlags struct {
	policy           string
	insecurePolicy   bool
	arch             string
	os               string
	variant          string
	platforms        []string
	retryTimes       int
	timeout          time.Duration
	precompute       bool
	exitCode         bool
	recheck          bool
	requireReferrers bool
	exitOnError      bool
	maxErrors        int
	create           string

	prune      pruneFlags  // sync's alone
	notify     notifyFlags // of sync and verify
	metrics    metricsFlags
	spoolDir   string
	spoolLimit string
}

func (f *copyFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.policy, "policy", "", "trust policy `FILE` (containers-policy.json; default: the system's)")
	flags.BoolVar(&f.insecurePolicy, "insecure-policy", false, "accept every image, without a trust policy")
	flags.StringVar(&f.arch, "override-arch", "", "mirror the one image for `ARCH` instead of all platforms")
	flags.StringVar(&f.os, "override-os", "", "mirror the one image for `OS` instead of all platforms")
	flags.StringVar(&f.variant, "override-variant", "", "mirror the one image for this `VARIANT` of the architecture")
	flags.StringSliceVar(&f.platforms, "platform", nil, "keep only these `OS/ARCH[/VARIANT]` in a smaller index; repeatable, or separated by commas. A repository's upstream-platforms goes before it")
	flags.IntVar(&f.retryTimes, "retry-times", 3, "try a request or blob that failed `N` times again")
	flags.DurationVar(&f.timeout, "timeout", 0, "give up on one image after this `DURATION` (0: only when no byte has moved for a minute)")
	flags.BoolVar(&f.precompute, "dest-precompute-digests", true, "accepted for compatibility: digests are always known before an upload")
	flags.BoolVar(&f.recheck, "recheck", false, "compare also the signatures, SBOMs and attestations of images that are in sync, and the tags that a rule declares immutable (upstream-options=immutable=GLOB)")
	flags.BoolVar(&f.requireReferrers, "require-referrers", false, "fail an image, and leave its tag as it is, where some of its signatures, SBOMs or attestations cannot be mirrored")
	flags.BoolVar(&f.exitOnError, "exit-on-error", false, "begin nothing new once a row has failed: the same as --max-errors 1")
	flags.IntVar(&f.maxErrors, "max-errors", 0, "begin nothing new once `N` rows have failed (0: go on, and report)")
	flags.StringVar(&f.create, "create-repositories", "", "create ECR repositories that are missing before something is written to them; `on-push` leaves that to a creation template of ECR, and false goes over a file")
	flags.Lookup("create-repositories").NoOptDefVal = "true"
	flags.StringVar(&f.spoolDir, "spool-dir", "", "keep what several destinations need and cannot mount in `DIR` until the last has it (default: the system's temporary directory)")
	flags.StringVar(&f.spoolLimit, "spool-limit", "10GiB", "at most this `SIZE` of it at once, such as 500MiB; what is more is read upstream again (0: all of it)")
	f.metrics.register(flags)
	flags.BoolVar(&f.exitCode, "exit-code", false, "with --dry-run: exit with 4 if the plan has changes")
}

// creation says how missing repositories are made, nil where the flag leaves it to the file.
func (f *copyFlags) creation() (*provision.Create, error) {
	switch f.create {
	case "":
		return nil, nil
	case "true":
		return new(provision.ByCall), nil
	case "on-push":
		return new(provision.OnPush), nil
	case "false":
		return new(provision.Never), nil
	}
	return nil, usageErrorf("--create-repositories %q: expected on-push or false, or no value at all", f.create)
}

// mostErrors is how many rows may fail before nothing new begins, 0 for any number.
func (f *copyFlags) mostErrors(file migrate.Settings) int {
	switch {
	case f.exitOnError:
		return 1
	case f.maxErrors > 0:
		return f.maxErrors
	case file.ExitOnError:
		return 1
	}
	return file.MaxErrors
}

// spool reads where blobs are kept between their download and their last upload.
func (f *copyFlags) spool() (copy.Spool, error) {
	limit, err := parseSize(f.spoolLimit)
	if err != nil {
		return copy.Spool{}, usageErrorf("--spool-limit %q: expected a size such as 500MiB or 10GiB, or 0", f.spoolLimit)
	}
	return copy.Spool{Dir: f.spoolDir, Limit: limit}, nil
}

// parseSize reads a number of bytes, with or without a unit.
func parseSize(s string) (int64, error) {
	number, shift := s, 0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			number, shift = n, 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(number, 10, 63-shift)
	return int64(n) << shift, err //nolint:gosec // it has 63-shift bits at most
}

// selection reads the platform flags.
func (f *copyFlags) selection() (discover.Platforms, error) {
	override := f.arch != "" || f.os != "" || f.variant != ""
	if override && len(f.platforms) > 0 {
		return discover.Platforms{}, usageErrorf("--platform keeps an index and --override-* picks one image: choose one")
	}
	if override {
		p, err := ref.ParsePlatform(strings.TrimSuffix(cmp.Or(f.os, "linux")+"/"+cmp.Or(f.arch, "amd64")+"/"+f.variant, "/"))
		if err != nil {
			return discover.Platforms{}, usageErrorf("--override-*: %w", err)
		}
		return discover.Platforms{One: &p}, nil
	}
	var keep []ref.Platform
	for _, s := range f.platforms {
		if s == "all" && len(f.platforms) == 1 {
			return discover.Platforms{}, nil
		}
		p, err := ref.ParsePlatform(s)
		if err != nil {
			return discover.Platforms{}, usageErrorf("--platform: %w", err)
		}
		keep = append(keep, p)
	}
	return discover.Platforms{Keep: keep}, nil
}

// check refuses what no run can mean.
func (f *copyFlags) check(dryRun bool) error {
	switch {
	case f.policy != "" && f.insecurePolicy:
		return usageErrorf("--policy and --insecure-policy contradict each other")
	case f.exitCode && !dryRun:
		return usageErrorf("--exit-code tells of a plan's changes and goes with --dry-run")
	case f.retryTimes < 0:
		return usageErrorf("--retry-times %d: expected 0 or more", f.retryTimes)
	case f.maxErrors < 0:
		return usageErrorf("--max-errors %d: expected 0 or more", f.maxErrors)
	case f.exitOnError && f.maxErrors > 1:
		return usageErrorf("--exit-on-error means --max-errors 1, and --max-errors says %d", f.maxErrors)
	case f.timeout < 0:
		return usageErrorf("--timeout %s: expected 0 or more", f.timeout)
	}
	return f.prune.check()
}
