package selection

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A run is one selection under way. Its methods are the steps, in their order:
// takeFixed, matching, fitting, byMode, byNewest, result.
type run struct {
	*Selector
	in     Input
	trains trains
	named  map[string]bool // tags that literals and pins name
	counts []count         // by choosing term

	// variantsMeant says that the keep terms let no plain release pass, as +-alpine does:
	// they have said which variants are meant.
	variantsMeant bool

	picks    []Pick
	dropped  []Dropped
	warnings []string
	matched  int // what min-tags counts
	misfits  misfits
}

// A candidate is a tag and the index of the choosing term that matched it first, or
// fromAll where narrowing starts from all tags.
type candidate struct {
	*tag
	term int
}

const fromAll = -1

// A count says what a choosing term matched.
type count struct {
	any   bool // a tag, be it one that is left out
	kept  bool // a tag that no excluding or keep term leaves out
	plain bool // among those, a release without a variant suffix
}

func (s *Selector) newRun(in Input) *run {
	return &run{
		Selector: s,
		in:       in,
		trains:   make(trains),
		named:    make(map[string]bool),
		counts:   make([]count, len(s.choose)),
		misfits:  misfits{variants: make(map[string]int)},
	}
}

func (r *run) drop(t *tag, reason string) {
	r.dropped = append(r.dropped, Dropped{Tag: t.name, Reason: reason})
}

func (r *run) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// takeFixed picks what the rules name. Only an excluding term can undo that.
func (r *run) takeFixed() {
	for _, pick := range r.fixed {
		t := readTag(pick.Tag, &r.rules)
		if reason := r.excluded(&t, pick.Digest); reason != "" {
			r.drop(&t, reason)
			continue
		}
		r.picks = append(r.picks, pick)
		r.matched++
	}
}

// excluded says which excluding term leaves the tag out, if any does. An excluding pin
// leaves out the pin with its digest and no other tag of that name.
func (r *run) excluded(t *tag, digest ref.Digest) string {
	for i := range r.exclude {
		m := &r.exclude[i]
		if m.matches(t) && (m.term.Kind != discover.Pin || m.term.Digest == digest) {
			return m.reason
		}
	}
	return ""
}

// unkept says which keep term does not match the tag, if any does not. What is asked for
// is how the tag is written: referrers are no exception.
func (r *run) unkept(t *tag) string {
	for i := range r.keep {
		if m := &r.keep[i]; !m.fits(t) {
			return m.reason
		}
	}
	return ""
}

// matching returns the upstream tags that the choosing terms match and no excluding or
// keep term leaves out.
func (r *run) matching(upstream []string) []candidate {
	for _, pick := range r.fixed {
		r.named[pick.Tag] = true
	}
	tags := r.read(upstream)
	target := r.readTarget()
	for i := range tags {
		r.trains.add(&tags[i])
	}
	for i := range target {
		r.trains.add(&target[i])
	}
	r.variantsMeant = len(r.keep) > 0 && !slices.ContainsFunc(tags, r.isPlainAndKept)
	var candidates []candidate
	for i := range tags {
		if c, ok := r.match(&tags[i]); ok {
			candidates = append(candidates, c)
		}
	}
	r.warnUnmatched()
	return candidates
}

func (r *run) isPlainAndKept(t tag) bool {
	return t.isVersion && t.version.Variant == "" && r.isRelease(&t) && r.unkept(&t) == ""
}

// read parses tags, sorted and without repeats. What cannot be a tag is dropped: a
// registry may answer anything.
func (r *run) read(names []string) []tag {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	tags := make([]tag, 0, len(names))
	for _, name := range names {
		t := readTag(name, &r.rules)
		if !ref.ValidTag(name) {
			r.drop(&t, "not a valid tag")
			continue
		}
		tags = append(tags, t)
	}
	return tags
}

// readTarget parses the target's tags for the one mode that looks at them.
func (r *run) readTarget() []tag {
	if !r.NeedsTargetTags() {
		return nil
	}
	var tags []tag
	for _, name := range r.in.Target {
		tags = append(tags, readTag(name, &r.rules))
	}
	return tags
}

// match finds the first term that chooses t, where neither a literal nor an excluding
// term has decided about it before, and every keep term matches what it chose.
func (r *run) match(t *tag) (candidate, bool) {
	if r.named[t.name] {
		r.count(t, false)
		return candidate{}, false
	}
	reason, unkept := r.excluded(t, ""), r.unkept(t)
	term, ok := r.count(t, reason == "" && unkept == "")
	switch {
	case reason != "":
	case !ok:
		reason = r.unmatchedReason(t)
	case unkept != "":
		reason = unkept
		r.misfits.unkept++
	default:
		return candidate{tag: t, term: term}, true
	}
	r.drop(t, reason)
	return candidate{}, false
}

// count notes what the terms match, and returns the first that chooses t. Once it is
// known, the terms that have nothing more to learn are not asked: this is what keeps
// many terms cheap.
func (r *run) count(t *tag, kept bool) (first int, found bool) {
	if r.startsFromAll() {
		return fromAll, !t.isReferrer()
	}
	plain := kept && t.isVersion && t.version.Variant == "" && r.isRelease(t) && r.plainMisfit(t) == ""
	for i := range r.choose {
		c := &r.counts[i]
		learned := c.any && (c.kept || !kept) && (c.plain || !plain)
		if found && learned || !r.chooses(i, t) {
			continue
		}
		c.any, c.kept, c.plain = true, c.kept || kept, c.plain || plain
		if !found {
			first, found = i, true
		}
	}
	return first, found
}

// chooses reports whether term i chooses t. A range chooses versions that count; globs
// and expressions choose by name.
func (r *run) chooses(i int, t *tag) bool {
	m := &r.choose[i]
	if m.isRange() && r.plainMisfit(t) != "" {
		return false
	}
	return m.matches(t)
}

func (r *run) warnUnmatched() {
	for i, c := range r.counts {
		term := r.choose[i].term
		of := ""
		if term.Key != "" {
			of = " of " + term.Key
		}
		switch {
		case !c.any:
			r.warn("term %q%s matches no tag", written(term), of)
		case !c.kept && !r.anyNamed(i):
			r.warn("every tag that term %q%s matches is left out by %s", written(term), of, r.leavesOut())
		}
	}
}

// leavesOut names the terms that leave out what was chosen.
func (r *run) leavesOut() string {
	switch {
	case len(r.keep) == 0:
		return "an excluding term"
	case len(r.exclude) == 0:
		return "a keep term"
	}
	return "an excluding term or a keep term"
}

// anyNamed reports whether term i matches a tag that a literal takes already.
func (r *run) anyNamed(i int) bool {
	return slices.ContainsFunc(r.picks, func(p Pick) bool {
		t := readTag(p.Tag, &r.rules)
		return r.chooses(i, &t)
	})
}

// unmatchedReason says why no term chose t. Where a range has room for its version, the
// reason is what the version lacks.
func (r *run) unmatchedReason(t *tag) string {
	if t.isReferrer() {
		return "follows its image as a referrer"
	}
	reason := ""
	switch {
	case !t.isVersion:
		return "no term matches"
	case r.plainMisfit(t) != "":
		reason = r.plainMisfit(t)
	case !r.isRelease(t):
		reason = reasonPrerelease
	default:
		return "no term matches"
	}
	released := t.version
	released.pre = ""
	for i := range r.choose {
		m := &r.choose[i]
		if m.isRange() && m.within.Check(released.semver()) {
			return r.noteMisfit(t, reason)
		}
	}
	return "no term matches"
}

// fitting keeps the candidates that pass the filters and, where versions are compared,
// count as versions.
func (r *run) fitting(candidates []candidate) []candidate {
	fitting := candidates[:0]
	for _, c := range candidates {
		if reason := r.unfit(c); reason != "" {
			r.drop(c.tag, r.noteMisfit(c.tag, reason))
			continue
		}
		fitting = append(fitting, c)
	}
	r.matched += len(fitting)
	if len(fitting) == 0 {
		r.warnMisfits()
	}
	return fitting
}

const (
	reasonNoVersion  = "not a version"
	reasonVariant    = "variant "
	reasonPrerelease = "pre-release; prerelease=true counts it"
)

// unfit says why a candidate is dropped before versions are compared. A range has
// judged its versions already.
func (r *run) unfit(c candidate) string {
	if c.term != fromAll && r.choose[c.term].isRange() {
		return ""
	}
	if !r.byVersion() && (c.term != fromAll || r.rules.Mode == discover.ModeAll) {
		return r.filtered(c.tag)
	}
	if !c.isVersion {
		return reasonNoVersion
	}
	if reason := r.misfit(c.tag, !r.asksForVariants(c)); reason != "" {
		return reason
	}
	if !r.isRelease(c.tag) {
		return reasonPrerelease
	}
	return ""
}

// asksForVariants reports whether a term that chose the candidate matches variants
// only: the glob 1.+-alpine has said which variant it means, and 1.+ has not. Keep terms
// say it for all.
func (r *run) asksForVariants(c candidate) bool {
	if r.variantsMeant {
		return true
	}
	if c.term == fromAll || c.version.Variant == "" {
		return false
	}
	for i := c.term; i < len(r.choose); i++ {
		if !r.counts[i].plain && !r.choose[i].isRange() && r.chooses(i, c.tag) {
			return true
		}
	}
	return false
}

// plainMisfit is misfit for plain versions, worked out once for each tag.
func (r *run) plainMisfit(t *tag) string {
	if !t.judged {
		t.judged, t.misfit = true, r.misfit(t, !r.variantsMeant)
	}
	return t.misfit
}

// misfit says why a version does not count among the versions: it floats, it is a
// variant where plain versions are meant, or a filter asks for others.
func (r *run) misfit(t *tag, plainOnly bool) string {
	if !r.rules.Floating && !r.rules.Strict {
		if release, ok := r.trains.release(t); ok {
			return "floating tag beside " + release.name
		}
	}
	if plainOnly && r.rules.Variant == "" && t.version.Variant != "" {
		return reasonVariant + t.version.Variant + "; plain versions are meant where no variant= is given"
	}
	return r.filtered(t)
}

// filtered says which of the filters variant=, major= and minor= drops t, if any.
func (r *run) filtered(t *tag) string {
	if r.rules.Variant == "" && r.rules.Major == nil && r.rules.Minor == nil {
		return ""
	}
	switch v := &t.version; {
	case !t.isVersion:
		return reasonNoVersion
	case r.rules.Variant != "" && !discover.MatchGlob(r.rules.Variant, v.Variant):
		return reasonVariant + strconv.Quote(v.Variant) + " is not the one that variant= asks for"
	case differs(r.rules.Major, v.Major()):
		return fmt.Sprintf("major is not %d", *r.rules.Major)
	case differs(r.rules.Minor, v.Minor()):
		return fmt.Sprintf("minor is not %d", *r.rules.Minor)
	}
	return ""
}

func differs(want *int, have uint64) bool {
	return want != nil && (*want < 0 || uint64(*want) != have)
}

// isRelease reports whether the version counts as far as pre-releases go.
func (r *run) isRelease(t *tag) bool { return r.rules.Prerelease || t.version.pre == "" }

// misfits counts what did not count as a version, to say what there was instead where
// nothing is left.
type misfits struct {
	variants    map[string]int
	prereleases int
	names       int // chosen by a term, and no versions
	unkept      int // chosen, and left out by a keep term
}

// noteMisfit counts a reason for which a tag does not count, and returns it.
func (r *run) noteMisfit(t *tag, reason string) string {
	switch {
	case reason == reasonPrerelease:
		r.misfits.prereleases++
	case reason == reasonNoVersion && !r.startsFromAll():
		r.misfits.names++
	case strings.HasPrefix(reason, reasonVariant):
		r.misfits.variants[t.version.Variant]++
	}
	return reason
}

// warnMisfits tells the user who gets nothing which switch would give something.
func (r *run) warnMisfits() {
	var instead []string
	if len(r.misfits.variants) > 0 {
		instead = append(instead, "variants "+r.misfits.commonVariants()+" (variant=NAME chooses)")
	}
	if r.misfits.prereleases > 0 {
		instead = append(instead, "pre-releases (prerelease=true counts them)")
	}
	if r.misfits.names > 0 {
		instead = append(instead, "tags that are not versions (newest-by=name and newest-by=created can order them)")
	}
	switch {
	case len(instead) > 0:
		r.warn("no version is left; there are %s", strings.Join(instead, ", and "))
	case r.startsFromAll() && r.misfits.unkept > 0:
		r.warn("none of the %d tags that narrowing starts from is kept", r.misfits.unkept)
	case r.startsFromAll() && r.byVersion():
		r.warn("no version is left for %s", r.suffix)
	}
}

// commonVariants names the variants that most versions have.
func (m *misfits) commonVariants() string {
	const most = 5
	names := slices.Sorted(maps.Keys(m.variants))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(m.variants[b], m.variants[a]) })
	if i := slices.Index(names, ""); i >= 0 {
		names[i] = "none"
	}
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}
