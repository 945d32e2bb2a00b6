package ecr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

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
	Regions []string // nil means the session's
	Prefix  string   // only repositories under it, by whole path segments
	Route   Route
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

// NewFinder returns a Finder. The hosts of the repositories it finds are made known to
// registries.
func NewFinder(session *Session, registries *Registries, opts FinderOptions) *Finder {
	if len(opts.Regions) == 0 {
		opts.Regions = []string{session.Region()}
	}
	opts.Regions = slices.Compact(slices.Sorted(slices.Values(opts.Regions)))
	opts.Prefix = strings.Trim(opts.Prefix, "/")
	return &Finder{session: session, registries: registries, opts: opts}
}

// Find returns one Finding for each repository that carries at least one of the two
// keys, and for each whose tags it may not read, sorted by Region and name. A Region
// that cannot be searched is a Finding with an error; it is an error of Find only if
// that is so of all of them.
func (f *Finder) Find(ctx context.Context) ([]discover.Finding, error) {
	found := make([][]discover.Finding, len(f.opts.Regions))
	errs := make([]error, len(f.opts.Regions))
	var g errgroup.Group
	for i, region := range f.opts.Regions {
		g.Go(func() error {
			if found[i], errs[i] = f.inRegion(ctx, region); errs[i] != nil {
				errs[i] = fmt.Errorf("ECR in %s: %w", region, errs[i])
				found[i] = []discover.Finding{unsearched(region, errs[i])}
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	if err := f.failure(ctx, errs); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

// unsearched is the row of a Region that could not be searched.
func unsearched(region string, err error) discover.Finding {
	origin := discover.Origin{Kind: discover.FromResourceTags, Place: "ECR in " + region, Region: region}
	return discover.Finding{Mirror: discover.Mirror{Origin: origin}, Err: err}
}

// failure is what the Regions' errors mean for the whole: nothing where one Region was
// searched, unless the caller gave up meanwhile.
func (f *Finder) failure(ctx context.Context, errs []error) error {
	failed := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	switch {
	case len(failed) == 0:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("discovering repositories: %w", context.Cause(ctx))
	case len(failed) < len(errs):
		return nil
	}
	if credentials, ok := errors.AsType[*credentialsError](failed[0]); ok {
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

// inRegion finds the tagged repositories of one Region and reads their rules.
func (f *Finder) inRegion(ctx context.Context, region string) ([]discover.Finding, error) {
	repos, err := f.tagged(ctx, f.session.in(region))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(repos, func(a, b repository) int { return cmp.Compare(a.name, b.name) })
	findings := make([]discover.Finding, 0, len(repos))
	for _, repo := range repos {
		findings = append(findings, f.finding(region, repo))
	}
	return findings, nil
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

// underPrefix reports whether a repository is the prefix or stands under it: "ext"
// covers ext/nginx and not external/nginx.
func (f *Finder) underPrefix(name string) bool {
	return f.opts.Prefix == "" || name == f.opts.Prefix || strings.HasPrefix(name, f.opts.Prefix+"/")
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
	f.registries.Learn(target.Host, Location{Account: repo.account, Region: region})
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
