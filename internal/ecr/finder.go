package ecr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Route is how resource tags are read.
type Route string

// The routes. RouteAny is tagging, and ecr where tagging is denied or cannot see the
// account.
const (
	RouteAny     Route = ""
	RouteTagging Route = "tagging" // Resource Groups Tagging API: few calls, the caller's own account
	RouteECR     Route = "ecr"     // DescribeRepositories and one ListTagsForResource for each repository
)

// FinderOptions says where to look. The zero FinderOptions looks at every repository
// of the session's Region.
type FinderOptions struct {
	Keys    discover.Keys
	Regions []string // none means the session's
	// Prefixes stand before the names of the repositories to look at, by whole path
	// segments: ext covers ext and ext/nginx, and not external/nginx. Where there are none,
	// or one is empty, every repository is looked at.
	Prefixes []string
	Route    Route
}

// Finder finds the repositories whose resource tags make them mirrors.
//
// Through the tagging API it sees tags as they were a moment ago: AWS lets that service
// follow, without saying how closely. A repository that was tagged just before is found
// by the next run.
type Finder struct {
	session    *Session
	registries *Registries
	opts       FinderOptions
}

// NewFinder returns a Finder that searches through session. What it finds becomes known
// to registries, which speak through session to the registries it searches: at once if
// the session's options say whose these are, else when something is found there. Of
// several sessions for one registry the first is the one.
func NewFinder(session *Session, registries *Registries, opts FinderOptions) *Finder {
	if len(opts.Regions) == 0 {
		opts.Regions = []string{session.Region()}
	}
	opts.Regions = slices.Compact(slices.Sorted(slices.Values(opts.Regions)))
	opts.Prefixes = trimmed(opts.Prefixes)
	for _, region := range opts.Regions {
		registries.claim(Location{Account: session.meant(), Region: region}, session)
	}
	return &Finder{session: session, registries: registries, opts: opts}
}

// trimmed takes the slashes off the ends of prefixes.
func trimmed(prefixes []string) []string {
	all := make([]string, 0, len(prefixes))
	for _, p := range prefixes {
		all = append(all, strings.Trim(p, "/"))
	}
	return all
}

// Find is Finders.Find for one Finder.
func (f *Finder) Find(ctx context.Context) ([]discover.Finding, error) {
	return Finders{f}.Find(ctx)
}

// Finders find in several parts of ECR, in other accounts and with other roles, as if
// these were one. What two of them find, with the same keys, is found once.
type Finders []*Finder

// Find returns one Finding for each repository that carries at least one of the two
// keys, and for each whose tags it may not read, sorted by Finder, Region and name. A
// Region that cannot be searched is a Finding with an error; it is an error of Find only
// if that is so of all of them.
func (fs Finders) Find(ctx context.Context) ([]discover.Finding, error) {
	searches := fs.searches()
	var g sync.WaitGroup
	for _, s := range searches {
		g.Go(func() { s.run(ctx) })
	}
	g.Wait()
	searches = withoutRepeats(searches)
	if err := failure(ctx, searches); err != nil {
		return nil, err
	}
	return findings(searches), nil
}

// search is one Region of one Finder. They run at the same time; what they found is read
// afterwards, in order, so that it does not matter who was faster.
type search struct {
	*Finder
	region string
	repos  []repository
	err    error // why there are none
}

func (fs Finders) searches() []*search {
	var all []*search
	for _, f := range fs {
		for _, region := range f.opts.Regions {
			all = append(all, &search{Finder: f, region: region})
		}
	}
	return all
}

// run finds the tagged repositories.
func (s *search) run(ctx context.Context) {
	if s.repos, s.err = s.tagged(ctx, s.session.in(s.region)); s.err != nil {
		s.err = fmt.Errorf("%s: %w", s.place(), s.err)
		return
	}
	slices.SortFunc(s.repos, func(a, b repository) int { return cmp.Compare(a.name, b.name) })
}

// place is what is searched, for people.
func (s *search) place() string {
	if account := s.session.meant(); account != "" {
		return "ECR of account " + account + " in " + s.region
	}
	return "ECR in " + s.region
}

// findings reads the rules of all that was found, each once.
func findings(searches []*search) []discover.Finding {
	type rule struct {
		arn  string
		keys discover.Keys
	}
	var all []discover.Finding
	seen := map[rule]bool{}
	for _, s := range searches {
		if s.err != nil {
			all = append(all, s.unsearched())
		}
		for _, repo := range s.repos {
			this := rule{repo.arn, s.opts.Keys}
			if seen[this] {
				continue
			}
			seen[this] = true
			all = append(all, s.finding(s.region, repo))
		}
	}
	return all
}

// withoutRepeats leaves out searches that failed as an earlier one of the same place did.
func withoutRepeats(searches []*search) []*search {
	told := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(searches), func(s *search) bool {
		if s.err == nil {
			return false
		}
		repeats := told[s.err.Error()]
		told[s.err.Error()] = true
		return repeats
	})
}

// unsearched is the row of a Region that could not be searched.
func (s *search) unsearched() discover.Finding {
	origin := discover.Origin{Kind: discover.FromResourceTags, Place: s.place(), Region: s.region}
	return discover.Finding{Mirror: discover.Mirror{Origin: origin}, Err: s.err}
}

// failure is what the errors of searches mean for the whole: nothing where one of them
// succeeded, unless the caller gave up meanwhile.
func failure(ctx context.Context, searches []*search) error {
	var failed []error
	for _, s := range searches {
		if s.err != nil {
			failed = append(failed, s.err)
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("discovering repositories: %w", context.Cause(ctx))
	case len(failed) < len(searches):
		return nil
	}
	credentials, ok := errors.AsType[*credentialsError](failed[0])
	if ok && !slices.ContainsFunc(searches, func(s *search) bool { return s.session != searches[0].session }) {
		return credentials // the same in every Region
	}
	return fmt.Errorf("discovering repositories: %w", errors.Join(failed...))
}

// repository is what discovery knows of one repository.
type repository struct {
	arn     string
	name    string
	account string
	tags    map[string]string
	details *types.Repository // nil until ECR has described it
	err     error             // why its tags or its description are not known
}

// tagged reads resource tags by the route that was asked for, or by the one that works.
func (f *Finder) tagged(ctx context.Context, in *regional) ([]repository, error) {
	route, err := f.route(ctx, in)
	if err != nil {
		return nil, err
	}
	if route == RouteECR {
		return f.throughECR(ctx, in)
	}
	repos, err := f.throughTagging(ctx, in)
	switch {
	case refused(err) && f.opts.Route == RouteAny:
		f.session.log.Warn("tag:GetResources is denied; reading the resource tags of each repository instead", zap.String("region", in.region))
		return f.throughECR(ctx, in)
	case err != nil:
		return nil, err
	}
	return f.describe(ctx, in, repos)
}

// route chooses. For a registry of another account the tagging API does not serve: it
// sees the caller's own account alone, whose tags would command repositories of the
// same names in the other.
func (f *Finder) route(ctx context.Context, in *regional) (Route, error) {
	meant := f.session.opts.RegistryID
	if f.opts.Route == RouteECR || meant == "" {
		return cmp.Or(f.opts.Route, RouteTagging), nil
	}
	own, err := f.session.callerAccount(ctx, in.region)
	switch {
	case err == nil && own == meant:
		return RouteTagging, nil
	case f.opts.Route == RouteAny:
		return RouteECR, nil // also where own is not known: it serves every account
	case err != nil:
		return RouteAny, err
	}
	return RouteAny, fmt.Errorf("the tagging API sees the caller's account %s alone, and cannot search the registry of %s: %w", own, meant, registry.ErrUnsupported)
}

// marked reports whether a repository has at least one of the keys that make a mirror.
func (f *Finder) marked(tags map[string]string) bool {
	return slices.ContainsFunc(f.opts.Keys.Queried(), func(key string) bool {
		_, ok := tags[key]
		return ok
	})
}

// underPrefixes reports whether a repository is one of the prefixes or stands under one.
func (f *Finder) underPrefixes(name string) bool {
	return len(f.opts.Prefixes) == 0 || slices.ContainsFunc(f.opts.Prefixes, func(prefix string) bool {
		return prefix == "" || name == prefix || strings.HasPrefix(name, prefix+"/")
	})
}

// finding reads the rules of one repository. Its URI and mutability are what ECR said,
// never put together here: partitions, dual-stack names and emulators all differ.
func (f *Finder) finding(region string, repo repository) discover.Finding {
	m := discover.Mirror{Name: repo.name, Origin: discover.Origin{Kind: discover.FromResourceTags, Place: repo.arn, Region: region}}
	if repo.details == nil {
		return discover.Finding{Mirror: m, Err: fmt.Errorf("repository %s: %w", repo.name, repo.err)}
	}
	m.Tags = mutability(repo.details)
	target, err := ref.ParseRepository(aws.ToString(repo.details.RepositoryUri))
	if err != nil {
		return discover.Finding{Mirror: m, Err: fmt.Errorf("repository URI: %w", err)}
	}
	m.Target = target
	f.registries.Learn(target.Host, Location{Account: repo.account, Region: region}, f.session)
	if repo.err != nil {
		return discover.Finding{Mirror: m, Err: repo.err}
	}
	spec, warnings, err := discover.FromTags(repo.tags, f.opts.Keys)
	m.Upstream, m.Rules, m.Platforms, m.Options, m.Prune = spec.Upstream, spec.Rules, spec.Platforms, spec.Options, spec.Prune
	return discover.Finding{Mirror: m, Err: err, Warnings: warnings}
}

// mutability translates the four modes. The exclusion filters of both *_WITH_EXCLUSION
// modes name the tags for which the opposite of the mode's first word holds.
func mutability(r *types.Repository) discover.Mutability {
	m := discover.Mutability{
		Immutable: r.ImageTagMutability == types.ImageTagMutabilityImmutable ||
			r.ImageTagMutability == types.ImageTagMutabilityImmutableWithExclusion,
	}
	for _, filter := range r.ImageTagMutabilityExclusionFilters {
		m.Exceptions = append(m.Exceptions, aws.ToString(filter.Filter))
	}
	return m
}
