package selection

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
)

// A TermError says why a term cannot be compiled.
type TermError struct {
	Term discover.Term
	Err  error
}

// Error names the term and where it stands.
func (e *TermError) Error() string {
	if e.Term.Key == "" {
		return fmt.Sprintf("term %q: %v", written(e.Term), e.Err)
	}
	return fmt.Sprintf("%s: term %q, position %d: %v", e.Term.Key, written(e.Term), e.Term.Position, e.Err)
}

// Unwrap returns what is wrong with the term.
func (e *TermError) Unwrap() error { return e.Err }

// A matcher is a compiled term.
type matcher struct {
	term    discover.Term
	reason  string
	pattern *regexp.Regexp
	within  *semver.Constraints
}

func newMatcher(term discover.Term, rules discover.Rules, excludes bool) (matcher, error) {
	m := matcher{term: term, reason: termReason(term)}
	if excludes {
		m.reason = exclusionReason(term)
	}
	var err error
	switch term.Kind {
	case discover.Regexp:
		m.pattern, err = discover.CompileRegexp(term.Pattern)
	case discover.Semver:
		m.within, err = compileRange(term.Pattern, rules, excludes)
	case discover.Literal, discover.Glob, discover.Pin:
	default:
		err = fmt.Errorf("unknown kind %q", term.Kind)
	}
	if err != nil {
		return matcher{}, &TermError{Term: term, Err: err}
	}
	return m, nil
}

// termReason names a choosing term in reasons: "glob 1.27.+". An expression is shown
// decoded.
func termReason(term discover.Term) string {
	switch term.Kind {
	case discover.Semver:
		return written(term)
	case discover.Regexp:
		return "re:" + term.Pattern
	case discover.Pin:
		return "pin " + term.Pattern
	case discover.Literal, discover.Glob:
	}
	return string(term.Kind) + " " + written(term)
}

// written returns the term as its author wrote it. Rules that were not parsed have no
// such text.
func written(term discover.Term) string { return cmp.Or(term.Text, term.String()) }

// exclusionReason names an excluding term: "excluded by -+-rc+ of upstream-tags". The
// resource tag is named because there are two that leave tags out.
func exclusionReason(term discover.Term) string {
	reason := "excluded by " + cmp.Or(term.Text, "-"+term.String())
	if term.Kind == discover.Regexp {
		reason = "excluded by -re:" + term.Pattern
	}
	if term.Key != "" {
		reason += " of " + term.Key
	}
	return reason
}

// rangeSuffix finds what follows the numbers of a version in a range. The "-" of a
// range from one version to another stands between spaces.
var rangeSuffix = regexp.MustCompile(`([0-9xX*])(-[0-9A-Za-z][0-9A-Za-z.-]*)`)

// rangeBelow finds "<2.0" and nothing else that has a "<" in it.
var rangeBelow = regexp.MustCompile(`(^|[\s,|])<\s*(v?[0-9]+(?:\.[0-9]+){0,2})($|[\s,|])`)

// compileRange reads a range of Masterminds' syntax.
//
// Where pre-releases are chosen too, "<2.0" does not mean 2.0.0-rc.1, which nobody who
// writes it wants. In an excluding term it does: there the strict order makes <2.0 and
// >=2.0 complements.
func compileRange(pattern string, rules discover.Rules, excludes bool) (*semver.Constraints, error) {
	if !rules.Strict {
		var err error
		if pattern, err = normalRange(pattern); err != nil {
			return nil, err
		}
	}
	if rules.Prerelease && !excludes {
		pattern = rangeBelow.ReplaceAllString(pattern, "${1}<${2}-0${3}")
	}
	within, err := semver.NewConstraint(pattern)
	if err != nil {
		return nil, fmt.Errorf("%q is not a range: %w", pattern, err)
	}
	within.IncludePrerelease = rules.Prerelease || excludes
	return within, nil
}

// normalRange writes the pre-releases of a range as Version has them, so that rc1 and
// rc.1 are one. A variant in a range would be taken for a pre-release; it is refused.
func normalRange(pattern string) (string, error) {
	var err error
	normal := rangeSuffix.ReplaceAllStringFunc(pattern, func(found string) string {
		number, suffix := found[:1], found[1:]
		if isDotted(suffix[1:]) {
			return found // "-0" is the customary lower end of all pre-releases
		}
		var v Version
		if !v.readSuffix(suffix) || v.Variant != "" || v.pre == "" {
			err = fmt.Errorf("%q in a range is not a pre-release; a variant is chosen by variant=%s", suffix[1:], suffix[1:])
		}
		return number + "-" + v.pre
	})
	return normal, err
}

// matches reports whether the term matches a tag, whatever the filters say. Versions
// are read generously here: floating ones, variants and, for ranges that include them,
// pre-releases.
func (m *matcher) matches(t *tag) bool {
	switch m.term.Kind {
	case discover.Literal, discover.Pin:
		return t.name == m.term.Pattern
	case discover.Regexp:
		return m.pattern.MatchString(t.name)
	case discover.Glob:
		return !t.isReferrer() && discover.MatchGlob(m.term.Pattern, t.name)
	case discover.Semver:
		return t.isVersion && m.within.Check(t.version.semver())
	}
	return false
}

// A tag is an upstream or target tag, read once.
type tag struct {
	name      string
	version   Version
	isVersion bool

	judged bool   // whether misfit was worked out
	misfit string // why the tag does not count as a plain version
}

func readTag(name string, strict bool) tag {
	t := tag{name: name}
	if strict {
		t.version, t.isVersion = parseStrict(name)
	} else {
		t.version, t.isVersion = ParseVersion(name)
	}
	return t
}

// isReferrer reports whether the tag carries a signature, an SBOM or an attestation, as
// cosign and the OCI fallback scheme name them. Such tags follow their image.
func (t *tag) isReferrer() bool { return strings.HasPrefix(t.name, "sha256-") }
