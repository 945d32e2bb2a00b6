package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// reach is what list and sync need to reach both sides. Where resource tags name
// upstreams, docker's own auth files are not theirs to use; nor are ECR's passwords, and
// the gate keeps them from private ECR registries.
func (c *command) reach(upstream asking, certDir string) wireOptions {
	fromFile := c.run.file.named()
	return wireOptions{
		run: c.run, shard: c.shard, file: c.settled.file.Config, upstream: upstream, certDir: certDir, log: c.log, egress: c.settled.egress,
		passwords: fromFile, named: fromFile && len(c.scopes()) == 0, files: fromFile,
	}
}

// finder finds what flags and file ask to mirror: repositories with resource tags, where
// they are searched, and the mirrors of the file.
func (c *command) finder(w *wiring, some subset) *part {
	file := c.settled.file.Config
	c.home = w.session.Region()
	return &part{of: c.finders(w, some, c.scopes(), file), some: some, file: file}
}

// finders find the repositories with resource tags in some scopes, and the mirrors of a file.
func (c *command) finders(w *wiring, some subset, scopes []config.Scope, file *config.Config) finders {
	var all finders
	var searches ecr.Finders
	for _, s := range scopes {
		searches = append(searches, w.search(c, s))
	}
	if len(searches) > 0 {
		all = append(all, searches)
	}
	if len(file.Rules)+len(file.Patterns) > 0 {
		all = append(all, declared{file: file, some: some, wiring: w, region: w.session.Region()})
	}
	return all
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
		c.run.over("role-arn", func() { s.Role, s.ExternalID, s.SessionName = c.run.roleARN, "", "" })
		c.run.over("registry-id", func() { s.Account = c.run.registryID })
		c.run.over("image-key", func() { s.ImageKey = c.run.imageKey })
		c.run.over("tag-key", func() { s.TagKey = c.run.tagKey })
	}
	return given
}

// searched describes where resource tags are looked for, for the report of a run that
// found nothing.
func (c *command) searched() string {
	var keys, places []string
	for _, s := range c.scopes() {
		k := s.Keys()
		keys = append(keys, fmt.Sprintf("%s and %s", k.Image, k.Tags))
		prefixes := ""
		if len(s.Prefixes) > 0 {
			prefixes = " under " + strings.Join(s.Prefixes, ", ")
		}
		for _, region := range s.Regions {
			places = append(places, region+prefixes)
		}
		if len(s.Regions) == 0 {
			places = append(places, c.home+prefixes)
		}
	}
	if !c.shard.Whole() {
		return "nothing that is to be mirrored falls to shard " + c.shard.String()
	}
	if len(keys) == 0 {
		return "the configuration names no mirrors, and its discovery is off"
	}
	return "no repository in " + distinct(places, ", or ") + " carries the resource tags " + distinct(keys, ", or ") +
		"; ecr-mirror-sync track writes them"
}

// distinct joins words, each once.
func distinct(words []string, separator string) string {
	slices.Sort(words)
	return strings.Join(slices.Compact(words), separator)
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
	some   subset
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
		if !d.some.runs(p.Name) {
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
		if f.Err == nil && d.some.has(f.Mirror) {
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
				m := &found[i].Mirror
				m.Tags, m.Missing, m.Origin.Region = first.Tags, first.Missing, first.Origin.Region
				found[i].Err = err
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return none
}
