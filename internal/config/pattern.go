package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A Lister is how a registry is asked for its repositories.
type Lister string

// The listers.
const (
	ListCatalog         Lister = "catalog"           // the registry's own catalogue
	ListECR             Lister = "ecr"               // ecr:DescribeRepositories
	ListECRPublic       Lister = "ecr-public"        // ecr-public:DescribeRepositories
	ListDockerHub       Lister = "docker-hub"        // the repositories of a Docker Hub namespace
	ListDockerHubSearch Lister = "docker-hub-search" // Docker Hub's search
)

func (f *From) read(r *reader, n *node, path string) {
	if n.kind == scalar {
		f.Repository, _ = r.text(n, "repository", path)
		return
	}
	if n.kind == list {
		r.wrongKind(n, path, "a repository, or a map with registry and repositories")
		return
	}
	r.structureOf(f, n, path)
}

func (f *From) check(r *reader, path string) {
	listing := ofWhich(map[string]bool{
		"repositories": len(f.Repositories) > 0, "lister": f.Lister != "", "namespace": f.Namespace != "", "search": f.Search != "",
		"maxItems": f.MaxItems != nil, "cacheDuration": f.CacheDuration != "",
	})
	lister := f.lister()
	switch {
	case (f.Repository == "") == (f.Registry == ""):
		r.fail(path, "an upstream is a repository or a registry", "one of repository and registry")
	case f.Repository != "" && len(listing) > 0:
		r.fail(path, listing[0]+" goes with a registry, and a repository is given", "registry instead of repository")
	case f.Repository == "" && len(f.Repositories) == 0:
		r.fail(path, "repositories is missing", `a pattern; "**" stands for every repository`)
	case f.Repository == "" && f.Registry == dockerHub && lister != ListDockerHub && lister != ListDockerHubSearch:
		r.fail(path, "Docker Hub has no "+string(lister)+" to list", "lister: docker-hub or docker-hub-search")
	case f.Registry != dockerHub && (lister == ListDockerHub || lister == ListDockerHubSearch):
		r.fail(path, string(lister)+" lists Docker Hub only", "registry: docker.io")
	case (lister == ListDockerHub) != (f.Namespace != ""):
		r.fail(path, "lister: docker-hub and namespace go together", "both")
	case (lister == ListDockerHubSearch) != (f.Search != ""):
		r.fail(path, "lister: docker-hub-search and search go together", "both")
	}
}

const dockerHub = "docker.io"

// ecrHost is the form of a private registry's host, in every partition.
var ecrHost = regexp.MustCompile(`^[0-9]{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.`)

// isPublicECR reports whether a host is ECR Public's, by either of its names.
func isPublicECR(host string) bool { return host == "public.ecr.aws" || host == "ecr-public.aws.com" }

// lister returns how the registry is listed, whether that is written or not.
func (f From) lister() Lister {
	switch {
	case f.Lister != "":
		return Lister(f.Lister)
	case ecrHost.MatchString(f.Registry):
		return ListECR
	case isPublicECR(f.Registry):
		return ListECRPublic
	}
	return ListCatalog
}

func (f From) show() *yaml.Node {
	if f.Repository != "" {
		return text(f.Repository)
	}
	return structureNode(f)
}

// A Pattern is a mirror of the repositories of a registry that match. Somebody lists the
// registry as Lister says; Expand makes rules of the list. It does not change and may be
// used by several goroutines at once.
type Pattern struct {
	Name          string
	Schedule      *Schedule // nil where neither the mirror nor the defaults have one
	Registry      string
	Lister        Lister
	Namespace     string        // for ListDockerHub
	Search        string        // for ListDockerHubSearch
	MaxItems      int           // the most repositories that may match; 0 for any number
	CacheDuration time.Duration // how long a list may be used again; 0 for not at all

	match     []*regexp.Regexp
	routes    []route
	rule      discover.Mirror // what every mirror has in common
	describes bool            // whether destinations are to say what they mirror
}

// Place returns where the pattern is written.
func (p Pattern) Place() string { return p.rule.Origin.Place }

// Matches reports whether the repository with that path is mirrored.
func (p Pattern) Matches(path string) bool {
	return slices.ContainsFunc(p.match, func(e *regexp.Regexp) bool { return e.MatchString(path) })
}

// MayWriteTo reports whether a repository may be the destination of one that the
// registry lists, before it was asked.
func (p Pattern) MayWriteTo(repo ref.Repository) bool {
	return slices.ContainsFunc(p.routes, func(way route) bool { return way.host == repo.Host })
}

// Expand returns a rule for each of the repositories that matches, and each destination,
// by the repository's name. Repositories are the paths that the registry lists, without
// the host and in the registry's order; repeats do not count.
//
// What cannot be mirrored is named in the error: names that no repository can have,
// repositories that would be mirrored onto themselves, and those that share a
// destination. The rules beside it are for the others. Where more repositories match
// than MaxItems allows there are none; whoever lists may stop at the first too many.
func (p Pattern) Expand(repositories []string) ([]discover.Mirror, error) {
	matching := p.matching(repositories)
	if p.MaxItems > 0 && len(matching) > p.MaxItems {
		return nil, fmt.Errorf("%s: more repositories of %s match than maxItems allows, %d: narrow the pattern, or allow more", p.Place(), p.Registry, p.MaxItems)
	}
	var mirrors []discover.Mirror
	var problems []error
	takenBy := make(map[ref.Repository]ref.Repository)
	for _, path := range matching {
		upstream, err := ref.Under(p.Registry, path)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %s lists %s, which is not a repository", p.Place(), p.Registry, quoted(path)))
			continue
		}
		for _, way := range p.routes {
			m, err := p.mirror(upstream, way, takenBy)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", p.Place(), err))
				continue
			}
			mirrors = append(mirrors, m)
		}
	}
	return mirrors, errors.Join(problems...)
}

// matching returns the paths that match, sorted. A search lists the best first, and
// what comes after MaxItems results was not asked for.
func (p Pattern) matching(repositories []string) []string {
	if p.Lister == ListDockerHubSearch && p.MaxItems > 0 && len(repositories) > p.MaxItems {
		repositories = repositories[:p.MaxItems]
	}
	var matching []string
	for _, path := range repositories {
		if path = strings.Trim(path, "/"); p.Matches(path) {
			matching = append(matching, path)
		}
	}
	slices.Sort(matching)
	return slices.Compact(matching)
}

// mirror returns the rule for one upstream and destination.
func (p Pattern) mirror(upstream ref.Repository, way route, takenBy map[ref.Repository]ref.Repository) (discover.Mirror, error) {
	target, err := way.target(upstream)
	if err != nil {
		return discover.Mirror{}, err
	}
	if upstream == target.Repository {
		return discover.Mirror{}, fmt.Errorf("%s would be mirrored onto itself", upstream)
	}
	if other, taken := takenBy[target.Repository]; taken {
		return discover.Mirror{}, fmt.Errorf("%s and %s would both be mirrored to %s", other, upstream, target)
	}
	takenBy[target.Repository] = upstream
	m := p.rule
	m.Upstream, m.Target = upstream, target.Repository
	m.Origin.Region = regionOf(target.Repository.Host)
	if p.describes {
		if err := describe(&m); err != nil {
			return discover.Mirror{}, fmt.Errorf("%s cannot describe itself: %w", target, err)
		}
	}
	return m, nil
}

// regionOf returns the Region of a private ECR registry, "" for other hosts.
func regionOf(host string) string {
	if m := ecrHost.FindStringSubmatch(host); m != nil {
		return m[1]
	}
	return ""
}
