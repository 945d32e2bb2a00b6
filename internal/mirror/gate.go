package mirror

import (
	"fmt"
	"path"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A Gate says what rules may command. Whoever holds ecr:TagResource on a repository
// can point it anywhere, so rules from resource tags pass a narrower gate than what an
// operator types.
type Gate struct {
	// AllowUpstream are the patterns of upstream repositories that may be mirrored;
	// empty allows all. See AllowPattern.
	AllowUpstream []AllowPattern

	// PrivateECR reports that a host is a private ECR registry, for which the program
	// has credentials of its own that no resource tag may put to use. Nil means none is.
	PrivateECR func(host string) bool
}

// Check returns an error of kind plan.ErrForbidden if m may not be followed.
func (g Gate) Check(m discover.Mirror) error {
	switch {
	case !g.allows(m.Upstream):
		return forbidden("upstream %s is outside --allow-upstream", m.Upstream)
	case m.Origin.Kind != discover.FromResourceTags:
		return nil
	case m.Upstream == m.Target:
		return forbidden("the repository is its own upstream")
	case g.PrivateECR != nil && g.PrivateECR(m.Upstream.Host):
		return forbidden("upstream %s is a private ECR registry, which a resource tag may not make this program read; name it on the command line instead", m.Upstream)
	}
	return nil
}

func (g Gate) allows(upstream ref.Repository) bool {
	if len(g.AllowUpstream) == 0 {
		return true
	}
	for _, p := range g.AllowUpstream {
		if p.matches(upstream) {
			return true
		}
	}
	return false
}

func forbidden(format string, args ...any) error {
	return fmt.Errorf("%w: %s", plan.ErrForbidden, fmt.Sprintf(format, args...))
}

// AllowPattern matches repositories by the segments of their name, host first:
// "quay.io" and "docker.io/library" match everything below them, "*" within a segment
// any run of characters: "*.gcr.io/org/team-*".
type AllowPattern struct{ segments []string }

// ParseAllowPattern reads a pattern.
func ParseAllowPattern(s string) (AllowPattern, error) {
	segments := strings.Split(strings.Trim(s, "/"), "/")
	for i, segment := range segments {
		if _, err := path.Match(segment, ""); err != nil || segment == "" || i > 0 && strings.ContainsAny(segment, ":@") {
			return AllowPattern{}, fmt.Errorf("%q is not a pattern of upstream repositories: expected HOST[/PATH…], with * within a segment", s)
		}
	}
	if !strings.ContainsAny(segments[0], ".:*") && segments[0] != "localhost" {
		return AllowPattern{}, fmt.Errorf("%q begins with no registry host: for Docker Hub write docker.io/%s", s, s)
	}
	return AllowPattern{segments: segments}, nil
}

func (p AllowPattern) matches(repo ref.Repository) bool {
	have := append([]string{repo.Host}, strings.Split(repo.Path, "/")...)
	if len(p.segments) > len(have) {
		return false
	}
	for i, segment := range p.segments {
		if ok, err := path.Match(segment, have[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
