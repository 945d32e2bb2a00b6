// Package selection chooses which upstream tags a mirror wants, and says why it chose
// or dropped each. Rules and lists of tags flow in, picks with their reasons flow out.
//
// The package is pure: what a rule needs besides upstream's tags (the target's tags,
// creation times) is asked for by the Needs methods and passed in. It never asks
// whether a literal tag exists upstream; the plan finds that out.
package selection

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A Selector is compiled Rules. It does not change and may be used by several
// goroutines at once.
type Selector struct {
	rules   discover.Rules
	fixed   []Pick    // literals and pins, as written and without repeats
	choose  []matcher // the other choosing terms
	exclude []matcher
	keep    []matcher
	suffix  string // how narrowing extends a reason: ", newest:3"
}

// Input is what a selection decides on. Upstream may be in any order and hold repeats.
type Input struct {
	Upstream       []string
	UpstreamListed bool                 // whether Upstream is upstream's whole list
	Target         []string             // needed where NeedsTargetTags; nil or empty for an empty target
	Created        map[string]time.Time // by tag; needed for Candidates where NeedsCreated
}

// A Result says what to mirror.
//
// Picks begin with literals and pins in the order in which they were written. The
// highest versions follow, then the tags that are not versions; equal ones by name.
// Dropped holds every other tag that was considered, by name. Equal inputs give equal
// results, in whatever order they list their tags.
type Result struct {
	Picks    []Pick
	Dropped  []Dropped
	Warnings []string // the repository's name is for the caller to add
	Err      error    // the selection cannot be trusted; Picks is empty then
}

// A Pick is a tag to mirror. A literal or pinned tag need not exist upstream.
type Pick struct {
	Tag    string
	Digest ref.Digest // only for a pin: the digest to mirror under Tag
	Reason string     // the term that chose it: "glob 1.27.+, newest:3"
}

// Dropped is a tag that was considered and not chosen.
type Dropped struct {
	Tag    string
	Reason string
}

// TooFewError says that the min-tags guard stopped a selection.
type TooFewError struct {
	Matched, Want int
}

// Error says how many tags matched and how many had to.
func (e *TooFewError) Error() string {
	const cause = "upstream's list is shorter than it should be, or the rules are too narrow"
	if e.Want == 1 {
		return "the rules match no tag: " + cause
	}
	return fmt.Sprintf("the rules match %d tags and min-tags asks for %d: %s", e.Matched, e.Want, cause)
}

// Compile prepares rules. Its errors are *TermError and name the term.
func Compile(rules discover.Rules) (*Selector, error) {
	s := &Selector{rules: rules, suffix: narrowingReason(rules)}
	var patterns []discover.Term
	for _, term := range rules.Choose {
		if term.ChoosesOne() && !term.Not {
			s.addFixed(term)
			continue
		}
		patterns = append(patterns, term)
	}
	for _, part := range []struct {
		does  role
		terms []discover.Term
		to    *[]matcher
	}{{chooses, patterns, &s.choose}, {excludes, rules.Exclude, &s.exclude}, {keeps, rules.Keep, &s.keep}} {
		for _, term := range part.terms {
			m, err := newMatcher(term, rules, part.does)
			if err != nil {
				return nil, err
			}
			*part.to = append(*part.to, m)
		}
	}
	return s, nil
}

// addFixed keeps the first of several terms for one tag, and its digest if any has one.
func (s *Selector) addFixed(term discover.Term) {
	at := slices.IndexFunc(s.fixed, func(p Pick) bool { return p.Tag == term.Pattern })
	pick := Pick{Tag: term.Pattern, Digest: term.Digest, Reason: termReason(term)}
	switch {
	case at < 0:
		s.fixed = append(s.fixed, pick)
	case s.fixed[at].Digest == "":
		s.fixed[at] = pick
	}
}

// Literals returns the tags that the rules name one by one, pins included, in their
// order. Excluding terms may still leave them out.
func (s *Selector) Literals() []string {
	tags := make([]string, 0, len(s.fixed))
	for _, pick := range s.fixed {
		tags = append(tags, pick.Tag)
	}
	return tags
}

// NeedsTagList reports whether Select needs upstream's whole list of tags. Rules that
// name every tag do not.
func (s *Selector) NeedsTagList() bool { return len(s.choose) > 0 || s.startsFromAll() }

// NeedsTargetTags reports whether Select needs the target's tags.
func (s *Selector) NeedsTargetTags() bool { return s.rules.Mode == discover.ModeHigher }

// NeedsCreated reports whether Select needs creation times, of the tags that Candidates
// returns.
func (s *Selector) NeedsCreated() bool {
	return s.rules.Newest > 0 && s.rules.NewestBy == discover.ByCreated
}

// startsFromAll reports whether narrowing has no choosing term to start from.
func (s *Selector) startsFromAll() bool {
	return len(s.choose) == 0 && (s.rules.Newest > 0 || s.rules.Mode != "")
}

// byVersion reports whether narrowing compares versions, so that a tag which is none
// has no place in it.
func (s *Selector) byVersion() bool {
	switch s.rules.Mode {
	case discover.ModeHighest, discover.ModeHigher, discover.ModeSemver:
		return true
	case discover.ModeAll:
	}
	return s.rules.Newest > 0 && s.rules.NewestBy == discover.ByVersion
}

// Select applies the rules.
func (s *Selector) Select(in Input) Result {
	if s.NeedsTagList() && !in.UpstreamListed {
		return Result{Err: fmt.Errorf("the rules %q need upstream's list of tags", s.rules)}
	}
	run := s.newRun(in)
	run.takeFixed()
	if s.NeedsTagList() {
		run.narrow(run.matching(in.Upstream))
	}
	return run.result()
}

// Candidates returns the tags among which newest: decides, sorted by name: those whose
// creation time Select needs where NeedsCreated. There are none where newest: has room
// for all. It ignores in.Created.
func (s *Selector) Candidates(in Input) []string {
	if !s.NeedsTagList() {
		return nil
	}
	run := s.newRun(in)
	candidates := run.byMode(run.fitting(run.matching(in.Upstream)))
	if len(candidates) <= s.rules.Newest {
		return nil
	}
	tags := make([]string, 0, len(candidates))
	for _, c := range candidates {
		tags = append(tags, c.name)
	}
	slices.Sort(tags)
	return tags
}

// narrowingReason says what narrowing adds to the reason of a pick.
func narrowingReason(rules discover.Rules) string {
	var parts []string
	if rules.Mode != "" {
		parts = append(parts, "mode:"+string(rules.Mode))
	}
	if rules.Newest > 0 {
		parts = append(parts, fmt.Sprintf("newest:%d", rules.Newest))
	}
	return strings.Join(parts, ", ")
}
