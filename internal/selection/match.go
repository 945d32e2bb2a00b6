package selection

import (
	"cmp"
	"errors"
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

// A role is what a term does with the tags that it matches.
type role int

const (
	chooses role = iota
	excludes
	keeps
)

// A matcher is a compiled term.
type matcher struct {
	term    discover.Term
	reason  string
	pattern *regexp.Regexp
	within  *semver.Constraints
}

func newMatcher(term discover.Term, rules discover.Rules, does role) (matcher, error) {
	m := matcher{term: term, reason: reasonFor(term, does)}
	err := misplaced(term, does)
	if err == nil {
		err = m.compile(rules, does)
	}
	if err != nil {
		return matcher{}, &TermError{Term: term, Err: err}
	}
	return m, nil
}

func (m *matcher) compile(rules discover.Rules, does role) (err error) {
	switch m.term.Kind {
	case discover.Regexp:
		m.pattern, err = discover.CompileRegexp(m.term.Pattern)
	case discover.Semver:
		m.within, err = compileRange(m.term, rules, does)
	case discover.Literal, discover.Glob, discover.Pin:
	default:
		err = fmt.Errorf("unknown kind %q", m.term.Kind)
	}
	return err
}

// misplaced refuses the terms that have no meaning in their place.
func misplaced(term discover.Term, does role) error {
	switch {
	case term.Not && does == excludes:
		return errors.New("an excluding term cannot be inverted; a keep term says it")
	case term.Not && term.ChoosesOne():
		return errors.New("a single tag cannot be inverted; a glob without a wildcard says it")
	case does == keeps && term.ChoosesOne():
		return errors.New("a single tag cannot be a keep term; a glob without a wildcard says it")
	}
	return nil
}

func reasonFor(term discover.Term, does role) string {
	switch does {
	case excludes:
		return exclusionReason(term)
	case keeps:
		return keepReason(term)
	case chooses:
	}
	return termReason(term)
}

// termReason names a choosing term in reasons: "glob 1.27.+". An expression is shown
// decoded.
func termReason(term discover.Term) string {
	switch term.Kind {
	case discover.Semver:
		return written(term)
	case discover.Regexp:
		return decoded(term)
	case discover.Pin:
		return "pin " + term.Pattern
	case discover.Literal, discover.Glob:
	}
	return string(term.Kind) + " " + written(term)
}

// written returns the term as its author wrote it. Rules that were not parsed have no
// such text.
func written(term discover.Term) string { return cmp.Or(term.Text, term.String()) }

// decoded writes the term of an expression, which resource tags hold in base64.
func decoded(term discover.Term) string {
	if term.Not {
		return "not:re:" + term.Pattern
	}
	return "re:" + term.Pattern
}

// exclusionReason names an excluding term: "excluded by -+-rc+ of upstream-tags". The
// resource tag is named because there are two that leave tags out.
func exclusionReason(term discover.Term) string {
	reason := "excluded by " + cmp.Or(term.Text, "-"+term.String())
	if term.Kind == discover.Regexp {
		reason = "excluded by -re:" + term.Pattern
	}
	return reason + placeOf(term)
}

// keepReason names the keep term that a dropped tag does not match: "not kept by
// keep=+-alpine of upstream-options".
func keepReason(term discover.Term) string {
	said := written(term)
	if term.Kind == discover.Regexp {
		said = decoded(term)
	}
	return "not kept by " + said + placeOf(term)
}

// placeOf says in which resource tag or key a term stands: " of upstream-tags".
func placeOf(term discover.Term) string {
	if term.Key == "" {
		return ""
	}
	return " of " + term.Key
}

// rangeSuffix finds what follows the numbers of a version in a range. The "-" of a
// range from one version to another stands between spaces.
var rangeSuffix = regexp.MustCompile(`([0-9xX*])(-[0-9A-Za-z][0-9A-Za-z.-]*)`)

// rangeBelow finds "<2.0" and nothing else that has a "<" in it.
var rangeBelow = regexp.MustCompile(`(^|[\s,|])<\s*(v?[0-9]+(?:\.[0-9]+){0,2})($|[\s,|])`)

// compileRange reads a range of Masterminds' syntax.
//
// Where pre-releases are chosen too, "<2.0" does not mean 2.0.0-rc.1, which nobody who
// writes it wants. In an excluding or inverted term it does: there the strict order
// makes <2.0 and >=2.0 complements. Terms that judge what others chose have room for
// pre-releases: whether those count was decided before.
func compileRange(term discover.Term, rules discover.Rules, does role) (*semver.Constraints, error) {
	pattern, strictOrder := term.Pattern, does == excludes || term.Not
	if !rules.Strict {
		var err error
		if pattern, err = normalRange(pattern); err != nil {
			return nil, err
		}
	}
	prereleases := rules.Prerelease || does != chooses || term.Not
	if prereleases && !strictOrder {
		pattern = rangeBelow.ReplaceAllString(pattern, "${1}<${2}-0${3}")
	}
	within, err := semver.NewConstraint(pattern)
	if err != nil {
		return nil, fmt.Errorf("%q is not a range: %w", pattern, err)
	}
	within.IncludePrerelease = prereleases
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

// isRange reports whether the term means versions, which have to count as such, and not
// names.
func (m *matcher) isRange() bool { return m.term.Kind == discover.Semver && !m.term.Not }

// matches reports whether the term matches a tag, whatever the filters say. Of tags that
// follow an image as its referrers, globs and inverted terms match none.
func (m *matcher) matches(t *tag) bool {
	if t.isReferrer() && (m.term.Not || m.term.Kind == discover.Glob) {
		return false
	}
	return m.fits(t)
}

// fits reports whether the tag is as the term has it. Versions are read generously here:
// floating ones, variants and, for ranges that include them, pre-releases.
func (m *matcher) fits(t *tag) bool { return m.fitsPattern(t) != m.term.Not }

func (m *matcher) fitsPattern(t *tag) bool {
	switch m.term.Kind {
	case discover.Literal, discover.Pin:
		return t.name == m.term.Pattern
	case discover.Regexp:
		return m.pattern.MatchString(t.name)
	case discover.Glob:
		return discover.MatchGlob(m.term.Pattern, t.name)
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

func readTag(name string, rules *discover.Rules) tag {
	t := tag{name: name}
	if rules.Strict {
		t.version, t.isVersion = parseStrict(name, rules.Floating)
	} else {
		t.version, t.isVersion = ParseVersion(name)
	}
	return t
}

// isReferrer reports whether the tag carries a signature, an SBOM or an attestation, as
// cosign and the OCI fallback scheme name them. Such tags follow their image.
func (t *tag) isReferrer() bool { return strings.HasPrefix(t.name, "sha256-") }
