package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// fileFlags name configuration files.
type fileFlags struct {
	paths       []string
	format      string
	destination string
}

func (f *fileFlags) register(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.paths, "config", nil, "configuration `FILE`; repeatable, a later file goes over an earlier one (see config --help)")
	flags.StringVar(&f.format, "config-format", "", "the files are another tool's: `FORMAT` "+strings.Join(formatNames(), ", ")+" (see config import --help)")
	flags.StringVar(&f.destination, "config-destination", "", "with --config-format skopeo-sync, where the images go: `REGISTRY[/PREFIX]`")
}

// named reports whether there is a file to follow.
func (f *fileFlags) named() bool { return len(f.paths) > 0 || f.format != "" }

// followed is what the files say.
type followed struct {
	*config.Config
	settings migrate.Settings // of another tool's files and environment
	notes    []migrate.Note   // what is different from another tool's files
}

// load reads the files. Without any it returns a configuration that says nothing.
func (f *fileFlags) load(streams Streams) (followed, error) {
	switch {
	case f.format != "":
		return f.imported(streams)
	case f.destination != "":
		return followed{}, usageErrorf("--config-destination goes with --config-format %s", migrate.SkopeoSync)
	case len(f.paths) == 0:
		return followed{Config: &config.Config{}}, nil
	}
	loaded, err := config.Load(f.paths, os.LookupEnv, os.ReadFile)
	if err != nil {
		return followed{}, usageError{err}
	}
	return followed{Config: loaded}, nil
}

// imported reads files of another tool, or the one that it reads where none is named. The
// configuration that they become is never written: the credentials in them stand where it
// expects environment variables.
func (f *fileFlags) imported(streams Streams) (followed, error) {
	format, err := migrate.ParseFormat(f.format)
	if err != nil {
		return followed{}, usageErrorf("--config-format: %w", err)
	}
	if format != migrate.SkopeoSync && f.destination != "" {
		return followed{}, usageErrorf("--config-destination goes with --config-format %s", migrate.SkopeoSync)
	}
	paths := f.paths
	if usual := format.DefaultFile(os.LookupEnv); len(paths) == 0 && usual != "" {
		paths = []string{usual}
	}
	if len(paths) == 0 {
		return followed{}, usageErrorf("--config-format %s needs --config FILE", format)
	}
	files, err := readInputs(streams, paths)
	if err != nil {
		return followed{}, err
	}
	imported, err := migrate.Import(format, files, migrate.Options{Env: os.LookupEnv, Destination: f.destination})
	if err != nil {
		return followed{}, usageError{err}
	}
	const name = "imported"
	loaded, err := config.Load([]string{name}, imported.Env(os.LookupEnv), func(path string) ([]byte, error) {
		if path == name {
			return imported.YAML, nil
		}
		return os.ReadFile(path)
	})
	if err != nil {
		return followed{}, usageErrorf("%s: what it became cannot be followed: %w", strings.Join(paths, ", "), err)
	}
	loaded.Move(imported.Places)
	return followed{Config: loaded, settings: imported.Settings, notes: imported.Notes}, nil
}

// credentials are what the file gives registries. A host that it names gets that and
// nothing else; rest answers for the others.
func credentials(file *config.Config, rest auth.Provider) (auth.Provider, error) {
	hosts := make(map[string]auth.Provider)
	for host, r := range file.File.Registries {
		switch c := r.Credentials; {
		case c == nil:
		case c.None:
			hosts[host] = auth.Anonymous{}
		case c.AuthFile != "":
			opened, err := auth.OpenFile(c.AuthFile)
			if err != nil {
				return nil, usageErrorf("registries.%s.credentials: %w", host, err)
			}
			hosts[host] = opened
		default:
			hosts[host] = auth.Static{host: c.Credential()}
		}
	}
	if len(hosts) == 0 {
		return rest, nil
	}
	return auth.ByHost{Hosts: hosts, Rest: rest}, nil
}

// settingsOf returns how a host is spoken to: by the flags where they say something,
// else by the file.
func settingsOf(file *config.Config, insecure []string, certDir string) func(host string) registry.Settings {
	return func(host string) registry.Settings {
		said := file.File.Registries[host]
		s := registry.Settings{
			CA:            said.TLS.CA,
			CertDir:       said.TLS.CertDir,
			SmallRequests: said.Limits.Requests,
			BlobStreams:   said.Limits.BlobStreams,
		}
		switch {
		case slices.Contains(insecure, host):
			s.Security = registry.Insecure
		case said.TLS.PlainHTTP:
			s.Security = registry.Plain
		case said.TLS.Insecure:
			s.Security = registry.Unverified
		}
		if certDir != "" {
			s.CertDir = certDir
		}
		return s
	}
}

// subsetFlags choose which mirrors run.
type subsetFlags struct{ only string }

func (f *subsetFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.only, "only", "", "only mirrors whose whole name matches `REGEX`; with a leading ! only the others (a name is that in the file, or the tagged repository's)")
}

func (f *subsetFlags) parse() (only, error) { return parseOnly(f.only) }

// only is --only: which mirrors run, by their names.
type only struct {
	text   string
	expr   *regexp.Regexp // nil for all
	invert bool
}

// parseOnly reads an expression that a whole name has to match, or with a leading "!"
// must not.
func parseOnly(text string) (only, error) {
	if text == "" {
		return only{}, nil
	}
	written, invert := strings.CutPrefix(text, "!")
	expr, err := regexp.Compile(`^(?:` + written + `)$`)
	if err != nil {
		return only{}, usageErrorf("--only %q: %w", text, err)
	}
	return only{text: text, expr: expr, invert: invert}, nil
}

func (o only) runs(name string) bool { return o.expr == nil || o.expr.MatchString(name) != o.invert }

// part is a Finder that finds what another one does, as far as --only lets it run. That
// nothing is left is an error: it is what a mistyped name looks like.
type part struct {
	of   mirror.Finder
	only only
	file *config.Config
	out  []discover.Mirror // what Find has left out
}

func (p *part) Find(ctx context.Context) ([]discover.Finding, error) {
	found, err := p.of.Find(ctx)
	if err != nil || p.only.expr == nil {
		return found, err
	}
	// What could not be searched has no name, and may have held what was asked for.
	var left []discover.Finding
	for _, f := range found {
		if f.Mirror.Name != "" && !p.only.runs(f.Mirror.Name) {
			p.out = append(p.out, f.Mirror)
			continue
		}
		left = append(left, f)
	}
	if len(left) == 0 {
		return nil, usageErrorf("--only %s leaves none of the %d mirrors", p.only.text, len(found))
	}
	return left, nil
}

// leavesOut reports whether a mirror that Find has left out may write to a repository.
func (p *part) leavesOut(repo ref.Repository) bool {
	return slices.ContainsFunc(p.out, func(m discover.Mirror) bool {
		return m.Target == repo || m.Target == (ref.Repository{}) && p.file.MayWriteTo(m.Name, repo)
	})
}

// finders find what each of them does. One that cannot is a row of the report, unless
// none can.
type finders []mirror.Finder

func (f finders) Find(ctx context.Context) ([]discover.Finding, error) {
	found := make([][]discover.Finding, len(f))
	errs := make([]error, len(f))
	var g errgroup.Group
	for i, finder := range f {
		g.Go(func() error {
			if found[i], errs[i] = finder.Find(ctx); errs[i] != nil {
				found[i] = []discover.Finding{{Mirror: discover.Mirror{Origin: discover.Origin{Place: "discovery"}}, Err: errs[i]}}
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	if failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil }); len(failed) == len(f) && len(f) > 0 {
		return nil, errors.Join(failed...)
	}
	return slices.Concat(found...), nil
}

// declared finds what the file says.
type declared struct {
	file   *config.Config
	only   only
	wiring *wiring
	region string // whose registry answers for hosts that do not look like ECR's
}

// describedAtOnce bounds the calls to ECR about destinations.
const describedAtOnce = 16

// Find returns the file's rules, and those for what registries list, each with what its
// destination allows.
func (d declared) Find(ctx context.Context) ([]discover.Finding, error) {
	found := make([]discover.Finding, 0, len(d.file.Rules))
	for _, rule := range d.file.Rules {
		found = append(found, discover.Finding{Mirror: rule.Mirror})
	}
	found = append(found, d.listed(ctx)...)
	d.describe(ctx, found)
	return found, nil
}

// listed returns the rules for what registries list. What cannot be listed, or mirrored,
// is a row, and so is a pattern that --only leaves out, as long as its name has to count.
func (d declared) listed(ctx context.Context) []discover.Finding {
	each := make([][]discover.Finding, len(d.file.Patterns))
	var g errgroup.Group
	g.SetLimit(describedAtOnce)
	for i, p := range d.file.Patterns {
		if !d.only.runs(p.Name) {
			each[i] = []discover.Finding{{Mirror: discover.Mirror{Name: p.Name}}}
			continue
		}
		g.Go(func() error {
			mirrors, err := d.wiring.lister.Mirrors(ctx, p)
			for _, m := range mirrors {
				each[i] = append(each[i], discover.Finding{Mirror: m})
			}
			origin := discover.Origin{Kind: config.FromFile, Place: p.Place()}
			for _, err := range problemsOf(err) {
				each[i] = append(each[i], discover.Finding{Mirror: discover.Mirror{Name: p.Name, Origin: origin}, Err: err})
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	return slices.Concat(each...)
}

// problemsOf returns the errors that were joined to err, each to be a row of its own.
func problemsOf(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 1 {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// describe asks ECR about the destinations that are its own, each once.
func (d declared) describe(ctx context.Context, found []discover.Finding) {
	of := make(map[ref.Repository][]int)
	for i, f := range found {
		if d.only.runs(f.Mirror.Name) && f.Err == nil {
			of[f.Mirror.Target] = append(of[f.Mirror.Target], i)
		}
	}
	var g errgroup.Group
	g.SetLimit(describedAtOnce)
	for _, same := range of {
		g.Go(func() error {
			first := found[same[0]].Mirror
			err := d.wiring.know(ctx, first.Upstream.Host, d.region)
			if err == nil {
				err = d.wiring.describe(ctx, &first, d.region)
			}
			for _, i := range same {
				found[i].Mirror.Tags, found[i].Mirror.Origin.Region = first.Tags, first.Origin.Region
				found[i].Err = err
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return none
}

// reach is what list and sync need to reach both sides. Where resource tags name
// upstreams, docker's own auth files are not theirs to use; nor are ECR's passwords, and
// the gate keeps them from private ECR registries.
func (c *command) reach(upstream asking, certDir string) wireOptions {
	fromFile := c.run.file.named()
	return wireOptions{
		run: c.run, file: c.settled.file.Config, upstream: upstream, certDir: certDir, log: c.log,
		passwords: fromFile, named: fromFile && len(c.scopes()) == 0, files: fromFile,
	}
}

// finder finds what flags and file ask to mirror: repositories with resource tags, where
// they are searched, and the mirrors of the file.
func (c *command) finder(w *wiring, some only) *part {
	var all finders
	var searches ecr.Finders
	for _, s := range c.scopes() {
		searches = append(searches, w.search(c, s))
	}
	if len(searches) > 0 {
		all = append(all, searches)
	}
	if file := c.settled.file.Config; len(file.Rules)+len(file.Patterns) > 0 {
		all = append(all, declared{file: file, only: some, wiring: w, region: w.session.Region()})
	}
	return &part{of: all, only: some, file: c.settled.file.Config}
}

// scopes are the parts of ECR that are searched: what the flags say, and for what they
// leave open each scope of the file. Without a file it is the flags' one.
func (c *command) scopes() []config.Scope {
	given := []config.Scope{{}}
	if file := c.settled.file; c.run.file.named() {
		switch {
		case !file.File.Discovery.On():
			return nil
		case len(file.File.Discovery.ECR) > 0:
			given = slices.Clone(file.File.Discovery.ECR)
		}
	}
	for i := range given {
		s := &given[i]
		c.run.over("region", func() { s.Regions = c.run.regions })
		c.run.over("prefix", func() { s.Prefixes = []string{c.run.prefix} })
		c.run.over("role-arn", func() { s.Role = c.run.roleARN })
		c.run.over("registry-id", func() { s.Account = c.run.registryID })
		c.run.over("image-key", func() { s.ImageKey = c.run.imageKey })
		c.run.over("tag-key", func() { s.TagKey = c.run.tagKey })
	}
	return given
}

// searched describes where resource tags are looked for, for the report of a run that
// found nothing.
func (c *command) searched() string {
	var keys []string
	for _, s := range c.scopes() {
		k := s.Keys()
		if said := fmt.Sprintf("%s and %s", k.Image, k.Tags); !slices.Contains(keys, said) {
			keys = append(keys, said)
		}
	}
	if len(keys) == 0 {
		return "the configuration names no mirrors, and its discovery is off"
	}
	return "no repository carries the resource tags " + strings.Join(keys, ", or ")
}
