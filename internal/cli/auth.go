package cli

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func newAuth(streams Streams, code *int) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Check the credentials that runs use",
		Example: `  ecr-mirror-sync auth check ghcr.io
  ecr-mirror-sync auth check --config mirrors.yaml`,
		Args:                       knownCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuthCheck(streams, code))
	return cmd
}

func newAuthCheck(streams Streams, code *int) *cobra.Command {
	var run runFlags
	var source sourceFlags
	var dest askedDest
	cmd := &cobra.Command{
		Use:   "check [HOST…]",
		Short: "Ask registries whether they take the credentials that a run would show them",
		Long: `Each registry is asked once, with the credential that a run would use, and nothing is
read or written: that a registry takes a credential does not say what it may be used for.
Of a bucket or a directory of layouts a list of tags is read, which need not be there yet.
The credential itself is never shown, only where it comes from.

Without HOST these are the registries of --config, each on the side that its mirrors use
and once more for each path that has credentials of its own, and, where resource tags are
searched for, the ECR registry of each scope in each of its Regions, with its role. A HOST that no
mirror names is asked as a destination if it is a private ECR registry, else as an
upstream; without --config its credentials are looked up as copy does. --dest asks a
registry as the destination of a copy, with the credentials of --dest-creds and the like.

It exits with 1 if a registry is not well: refused (it does not take the credential),
missing (it wants one, or AWS gives none) or unreachable.`,
		Example: `  ecr-mirror-sync auth check
  ecr-mirror-sync auth check ghcr.io 111122223333.dkr.ecr.eu-central-1.amazonaws.com
  ecr-mirror-sync auth check --dest registry.example.com --dest-creds robot --dest-password-stdin
  ecr-mirror-sync auth check --config mirrors.yaml
  ecr-mirror-sync auth check --config mirrors.yaml -o json | jq -r '.registries[] | select(.result != "ok") | .host'`,
	}
	registerSome(cmd.Flags(), func(all *pflag.FlagSet) {
		run.register(all)
		source.register(all)
	}, "config", "config-format", "config-destination", "debug", "log-format", "output", "region", "role-arn", "registry-id",
		"insecure-registry", "src-authfile", "src-cert-dir", "src-creds", "src-creds-for", "src-no-creds", "src-username", "src-password",
		"src-password-stdin", "src-registry-token")
	dest.register(cmd.Flags())
	cmd.Flags().Lookup("output").Usage = "`FORMAT` of the result: table, json or yaml"
	run.changed = cmd.Flags().Changed
	cmd.RunE = func(cmd *cobra.Command, hosts []string) (err error) {
		*code, err = authCheck(cmd, streams, &run, &source, &dest, hosts)
		return err
	}
	return cmd
}

// registerSome registers those of the flags that a command has use for.
func registerSome(flags *pflag.FlagSet, register func(all *pflag.FlagSet), names ...string) {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	register(all)
	for _, name := range names {
		flags.AddFlag(all.Lookup(name))
	}
}

// askedDest is a destination of copy that is asked.
type askedDest struct {
	destFlags
	host string
}

func (f *askedDest) register(flags *pflag.FlagSet) {
	f.destFlags.register(flags)
	flags.StringVarP(&f.host, "dest", "d", "", "registry `HOST` to ask as the destination of a copy")
}

// asking returns the host that is to be asked, "" for none, and who asks, as far as the flags say.
func (f *askedDest) asking(streams Streams) (host string, writing map[string]auth.Provider, err error) {
	if f.host != "" {
		if host, err = plainHost(f.host); err != nil {
			return "", nil, err
		}
	}
	writing, err = f.writing(streams, []destination{{Repository: ref.Repository{Host: host}}})
	return host, writing, err
}

func authCheck(cmd *cobra.Command, streams Streams, run *runFlags, source *sourceFlags, dest *askedDest, hosts []string) (code int, err error) {
	c, err := begin(cmd.Flags(), streams, run)
	if err != nil {
		return 0, err
	}
	defer c.progress.Close()
	if c.settled.format == report.Markdown {
		return 0, usageErrorf("--output markdown: expected table, json or yaml")
	}
	for i, host := range hosts {
		if hosts[i], err = plainHost(host); err != nil {
			return 0, err
		}
	}
	upstream, err := source.asking(streams, "docker.io")
	if err != nil {
		return 0, err
	}
	if source.passwordStdin && dest.passwordStdin {
		return 0, usageErrorf("--src-password-stdin and --dest-password-stdin both read standard input: put one password into its environment variable")
	}
	to, writing, err := dest.asking(streams)
	if err != nil {
		return 0, err
	}
	opts := c.reach(upstream, source.certDir)
	opts.writing = writing
	if (len(hosts) > 0 || to != "") && !run.file.named() {
		opts.passwords, opts.named, opts.files = true, true, true // an operator names them, as for copy
	}
	opts.retryTimes, opts.readOnly = 1, true
	w, err := wire(cmd.Context(), opts)
	if err != nil {
		return 0, err
	}
	defer closing(w, &err)
	var doors []door
	if to != "" {
		if err := w.know(cmd.Context(), to, w.session.Region()); err != nil {
			return 0, err
		}
		doors = append(doors, door{host: to, side: registry.SideTarget})
	}
	if to == "" || len(hosts) > 0 {
		others, err := c.doors(cmd.Context(), w, hosts)
		if err != nil {
			return 0, err
		}
		doors = append(doors, others...)
	}
	asked := w.knock(cmd.Context(), doors)
	c.progress.Close()
	if err := report.WriteAccess(streams.Out, report.NewAccessReport(asked), c.settled.format, fitted(streams.Out)); err != nil {
		return 0, err
	}
	if slices.ContainsFunc(asked, func(a report.Access) bool { return !a.Result.Well() }) {
		return exitSomeFailed, nil
	}
	return exitOK, nil
}

// plainHost reads a registry host as references write it.
func plainHost(host string) (string, error) {
	repo, err := ref.ParseRepository(host + "/x")
	if err != nil || repo.Path != "x" && repo.Host != "docker.io" || strings.Contains(host, "/") {
		return "", usageErrorf("%q: expected a registry host, such as ghcr.io", host)
	}
	return repo.Host, nil
}

// door is a registry as one side of a run.
type door struct {
	host string
	path string // of the repositories that have a credential of their own; "" for the host's
	list string // for what is no registry, the repository whose tags are listed
	side registry.Side
	err  error // why there is no host to ask
}

// name is how the report calls it.
func (d door) name() string { return strings.TrimSuffix(d.host+"/"+d.path, "/") }

// doors are the registries to ask: those named, or else those of the run.
func (c *command) doors(ctx context.Context, w *wiring, named []string) ([]door, error) {
	ours := c.mirrored()
	if len(named) > 0 {
		var doors []door
		for _, host := range named {
			if err := w.know(ctx, host, w.session.Region()); err != nil {
				return nil, err
			}
			doors = append(doors, w.sides(host, ours)...)
			doors = append(doors, w.paths(host, c.settled.file.File.Registries[host], ours)...)
		}
		return doors, nil
	}
	doors := c.searchedDoors(ctx, w) // first: a registry is spoken to by the scope that searches it
	doors = append(doors, ours...)
	for host, said := range c.settled.file.File.Registries {
		if said.Credentials != nil || said.ECR != nil {
			doors = append(doors, w.sides(host, ours)...)
		}
		doors = append(doors, w.paths(host, said, ours)...)
	}
	slices.SortStableFunc(doors, func(a, b door) int {
		return cmp.Or(cmp.Compare(b.side, a.side), cmp.Compare(a.host, b.host), cmp.Compare(a.path, b.path))
	})
	return slices.CompactFunc(doors, func(a, b door) bool { return a.name() == b.name() && a.side == b.side }), nil
}

// searchedDoors are ECR's registries in which resource tags are searched for: of each scope, in
// each of its Regions. They are asked of ECR as the scope's role, as a run does.
func (c *command) searchedDoors(ctx context.Context, w *wiring) []door {
	scopes := c.scopes()
	for _, s := range scopes {
		w.search(c, s) // which claims the registries of the scope
	}
	var doors []door
	for _, s := range scopes {
		session, regions := w.scoped(s), s.Regions
		if len(regions) == 0 {
			regions = []string{w.session.Region()}
		}
		for _, region := range regions {
			host, err := w.registries.HostThrough(ctx, session, region)
			place := "ECR of " + region
			if s.Role != "" {
				place += " as " + s.Role
			}
			doors = append(doors, door{host: cmp.Or(host, place), side: registry.SideTarget, err: err})
		}
	}
	return doors
}

// paths are the parts of a registry that have credentials of their own, on its sides.
func (w *wiring) paths(host string, said config.Registry, mirrored []door) []door {
	var doors []door
	for path := range said.Paths {
		for _, d := range w.sides(host, mirrored) {
			d.path = path
			doors = append(doors, d)
		}
	}
	return doors
}

// mirrored are the registries of the file's mirrors.
func (c *command) mirrored() []door {
	var doors []door
	add := func(repo ref.Repository, side registry.Side) {
		if repo.Host == "" {
			return
		}
		if repo.Scheme() == "" {
			repo.Path = "" // it is the registry that is asked
		}
		doors = append(doors, door{host: repo.Host, list: repo.Path, side: side})
	}
	for _, m := range c.settled.file.Mirrors() {
		add(m.Upstream, registry.SideSource)
		add(m.Target, registry.SideTarget)
	}
	for _, m := range c.settled.file.File.Mirrors {
		if from := (ref.Repository{Host: m.From.Registry}); from.Scheme() == "" {
			add(from, registry.SideSource)
		}
		for _, to := range m.To {
			add(ref.Repository{Host: to.Registry, Path: cmp.Or(to.Prefix, "any")}, registry.SideTarget)
		}
	}
	return doors
}

// sides are the sides on which host is used: by the mirrors, or else as its kind is.
func (w *wiring) sides(host string, mirrored []door) []door {
	var doors []door
	for _, d := range mirrored {
		if d.host == host && !slices.Contains(doors, d) {
			doors = append(doors, d)
		}
	}
	if len(doors) > 0 {
		return doors
	}
	if _, private := w.registries.Locate(host); private {
		return []door{{host: host, side: registry.SideTarget}}
	}
	return []door{{host: host, side: registry.SideSource}}
}

// knocksAtOnce bounds the registries that are asked at the same time.
const knocksAtOnce = 16

// knock asks each registry, and returns the answers in the same order.
func (w *wiring) knock(ctx context.Context, doors []door) []report.Access {
	answers := make([]report.Access, len(doors))
	var g errgroup.Group
	g.SetLimit(knocksAtOnce)
	for i, d := range doors {
		g.Go(func() error {
			if _, ok := w.elsewhere[(ref.Repository{Host: d.host}).Scheme()]; ok {
				answers[i] = w.look(ctx, d)
				return nil
			}
			answers[i] = w.ask(ctx, d)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	return answers
}

// asked is how one side of a run asks registries, and as whom.
type asked struct {
	client *transport.Client
	who    auth.Provider
}

// ask asks one registry.
func (w *wiring) ask(ctx context.Context, d door) report.Access {
	from, a := w.upstreams, report.Access{Host: d.name(), Side: "upstream"}
	if d.side == registry.SideTarget {
		from, a.Side = w.destinations, "destination"
	}
	if d.err == nil {
		d.err = w.know(ctx, d.host, w.session.Region())
	}
	who := auth.At(from.who, d.host, d.path)
	var origin auth.Origin
	var cred auth.Credential
	if d.err == nil {
		origin, d.err = auth.Describe(ctx, who, d.host)
	}
	if d.err == nil {
		cred, d.err = who.Credential(ctx, d.host)
	}
	if d.err != nil {
		a.Result, a.Reason = report.AccessMissing, "no credential could be had: "+oneLine(d.err)
		return a
	}
	a.Source = origin.Source
	if !origin.Expires.IsZero() {
		a.Expires = &origin.Expires
	}
	asks, err := from.client.Ping(ctx, d.host, d.path)
	a.Result, a.Reason = judged(d, !cred.Anonymous(), asks || cred.Unasked, err)
	return a
}

// look finds out whether a place that is no registry can be read, as who a run is there.
func (w *wiring) look(ctx context.Context, d door) report.Access {
	a := report.Access{Host: d.host, Side: "upstream"}
	if d.side == registry.SideTarget {
		a.Side = "destination"
	}
	repo := ref.Repository{Host: d.host, Path: cmp.Or(d.list, "any")}
	if !repo.Local() {
		var err error
		if a.Source, err = w.bucketKeys(ctx, d.host); err != nil {
			a.Result, a.Reason = report.AccessMissing, "no credential could be had: "+oneLine(err)
			return a
		}
	}
	var err error
	for _, e := range w.elsewhere[repo.Scheme()].Tags(ctx, repo) {
		err = e
		break // one is enough to know
	}
	switch {
	case err == nil || d.side == registry.SideTarget && errors.Is(err, registry.ErrNotFound):
		a.Result = report.AccessOK
		if repo.Local() {
			a.Result = report.AccessAnonymous
		}
	case errors.Is(err, registry.ErrDenied), errors.Is(err, registry.ErrForbidden):
		a.Result, a.Reason = report.AccessRefused, "it does not let the credential read; see what it may do there: "+oneLine(err)
	default:
		a.Result, a.Reason = report.AccessUnreachable, oneLine(err)
	}
	return a
}

// bucketKeys says where the keys for a bucket come from.
func (w *wiring) bucketKeys(ctx context.Context, host string) (string, error) {
	said := w.opts.file.File.Registries[host]
	switch {
	case said.S3.Role != "":
		return said.S3.Role, nil
	case said.Credentials != nil:
		return "registries." + host + ".credentials", nil
	case said.S3.Profile != "":
		return "the AWS profile " + said.S3.Profile, nil
	}
	return w.session.Who(ctx)
}

// judged is what an answer means to a run, and what to do about it. Asks is whether the
// registry asked who is asking, or was told.
func judged(d door, known, asks bool, err error) (result report.AccessResult, reason string) {
	denied := errors.Is(err, registry.ErrDenied)
	switch {
	case err == nil && known && asks:
		return report.AccessOK, ""
	case err == nil && asks && d.side == registry.SideTarget:
		return report.AccessMissing, "it lets nobody in particular in, and so hardly write; " + d.giving()
	case err == nil:
		return report.AccessAnonymous, ""
	case denied && known:
		return report.AccessRefused, "it does not take the credential; renew it, or see that it is for this registry: " + oneLine(err)
	case denied:
		return report.AccessMissing, "it wants a credential; " + d.giving()
	}
	return report.AccessUnreachable, oneLine(err)
}

// giving says how the registry is given a credential.
func (d door) giving() string {
	byFlag := "with --src-creds and --src-creds-for " + d.host + ", or an auth file with --src-authfile"
	if d.side == registry.SideTarget {
		byFlag = "for copy with --dest-creds or --dest-authfile (and here with --dest " + d.host + ")"
	}
	return "give it one in a configuration file (registries." + d.host + ".credentials), or " + byFlag
}
