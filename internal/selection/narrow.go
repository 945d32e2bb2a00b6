package selection

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
)

// narrow filters what the terms matched, and picks what is left.
func (r *run) narrow(candidates []candidate) {
	candidates = r.byNewest(r.byMode(r.fitting(candidates)))
	slices.SortFunc(candidates, byRank)
	reasons := r.reasons()
	for _, c := range candidates {
		r.picks = append(r.picks, Pick{Tag: c.name, Reason: reasons[c.term+1]})
	}
}

// reasons returns the reason of a pick for each choosing term, after that of fromAll.
func (r *run) reasons() []string {
	reasons := []string{r.suffix}
	for i := range r.choose {
		reason := r.choose[i].reason
		if r.suffix != "" {
			reason += ", " + r.suffix
		}
		reasons = append(reasons, reason)
	}
	return reasons
}

// byRank orders versions before other tags, the highest first, and equal ones by name.
func byRank(a, b candidate) int {
	switch {
	case a.isVersion && !b.isVersion:
		return -1
	case b.isVersion && !a.isVersion:
		return 1
	case a.isVersion:
		if c := b.version.Compare(a.version); c != 0 {
			return c
		}
	}
	return strings.Compare(a.name, b.name)
}

// byMode applies mode:. The modes semver and all have done their part before: they
// decide what narrowing starts from and what counts.
func (r *run) byMode(candidates []candidate) []candidate {
	highest := highestOf(candidates)
	switch {
	case highest == nil:
		return candidates
	case r.rules.Mode == discover.ModeHighest:
		return r.retain(candidates, "lower than "+highest.name, func(c candidate) bool {
			return c.version.Compare(highest.version) == 0
		})
	case r.rules.Mode == discover.ModeHigher:
		return r.aboveTarget(candidates, highest)
	}
	return candidates
}

// aboveTarget keeps the versions above the target's highest. A target without any gets
// the highest, so that the next run has something to start from.
func (r *run) aboveTarget(candidates []candidate, highest *tag) []candidate {
	floor := r.floor()
	if floor == nil {
		return r.retain(candidates, fmt.Sprintf("lower than %s, with which an empty target starts", highest.name), func(c candidate) bool {
			return c.version.Compare(highest.version) == 0
		})
	}
	return r.retain(candidates, fmt.Sprintf("not above %s, the target's highest", floor.name), func(c candidate) bool {
		return c.version.Compare(floor.version) > 0
	})
}

// floor returns the highest of the target's versions that the rules would choose.
// Others, such as a literal's, say nothing about where this rule got to.
func (r *run) floor() *tag {
	var candidates []candidate
	tags := r.readTarget()
	for i := range tags {
		t := &tags[i]
		if r.named[t.name] || r.excluded(t, "") != "" || r.unkept(t) != "" {
			continue
		}
		if c, ok := r.firstMatch(t); ok && r.unfit(c) == "" {
			candidates = append(candidates, c)
		}
	}
	return highestOf(candidates)
}

// firstMatch finds the term that would choose t, without counting.
func (r *run) firstMatch(t *tag) (candidate, bool) {
	if r.startsFromAll() {
		return candidate{tag: t, term: fromAll}, !t.isReferrer()
	}
	for i := range r.choose {
		if r.chooses(i, t) {
			return candidate{tag: t, term: i}, true
		}
	}
	return candidate{}, false
}

// highestOf returns the highest version, nil where there is no version.
func highestOf(candidates []candidate) *tag {
	var best *tag
	for _, c := range candidates {
		if c.isVersion && (best == nil || higher(c.tag, best)) {
			best = c.tag
		}
	}
	return best
}

// retain keeps the wanted candidates and drops the others.
func (r *run) retain(candidates []candidate, otherwise string, wanted func(candidate) bool) []candidate {
	kept := candidates[:0]
	for _, c := range candidates {
		if wanted(c) {
			kept = append(kept, c)
			continue
		}
		r.drop(c.tag, otherwise)
	}
	return kept
}

// byNewest applies newest:.
//
// By version it counts versions, not tags: variants of one version, and spellings such
// as v1.2.3 beside 1.2.3, stay together. By name and by time it counts tags.
func (r *run) byNewest(candidates []candidate) []candidate {
	n := r.rules.Newest
	if n == 0 || len(candidates) == 0 {
		return candidates
	}
	switch r.rules.NewestBy {
	case discover.ByCreated:
		if len(candidates) <= n {
			return candidates
		}
		r.warnUndated(candidates)
		r.warnMany(candidates)
		slices.SortFunc(candidates, r.byCreated)
	case discover.ByName:
		slices.SortFunc(candidates, byName)
	case discover.ByVersion:
		slices.SortFunc(candidates, byRank)
		n = spanOfVersions(candidates, n)
	}
	reason := fmt.Sprintf("not among the %d newest", r.rules.Newest)
	for _, c := range candidates[min(n, len(candidates)):] {
		r.drop(c.tag, reason+r.age(c))
	}
	return candidates[:min(n, len(candidates))]
}

// age is what newest: by time went by, as a reason says it.
func (r *run) age(c candidate) string {
	created := r.in.Created[c.name]
	switch {
	case r.rules.NewestBy != discover.ByCreated:
		return ""
	case created.IsZero():
		return ": no creation time"
	}
	return ": created " + created.UTC().Format(time.RFC3339)
}

// spanOfVersions returns how many of the sorted candidates make up the first n
// versions.
func spanOfVersions(sorted []candidate, n int) int {
	for i := 1; i < len(sorted); i++ {
		if sorted[i].version.Compare(sorted[i-1].version) != 0 {
			n--
		}
		if n == 0 {
			return i
		}
	}
	return len(sorted)
}

func byName(a, b candidate) int { return compareNatural(b.name, a.name) }

// byCreated orders the latest first. A tag whose time nobody knows counts as oldest.
func (r *run) byCreated(a, b candidate) int {
	return cmp.Or(r.in.Created[b.name].Compare(r.in.Created[a.name]), byRank(a, b))
}

func (r *run) warnUndated(candidates []candidate) {
	undated := 0
	for _, c := range candidates {
		if r.in.Created[c.name].IsZero() {
			undated++
		}
	}
	if undated > 0 {
		r.warn("%d of %d tags have no creation time and count as the oldest", undated, len(candidates))
	}
}

// manyToDate is how many tags may be read for their creation times without a remark.
const manyToDate = 500

// warnMany says what looking at the time of every candidate costs, which nobody sees in
// the rules.
func (r *run) warnMany(candidates []candidate) {
	if len(candidates) > manyToDate {
		r.warn("newest by creation time looked at %d tags, each in several requests; a glob, a range or keep that chooses fewer makes it quicker", len(candidates))
	}
}

// result closes the run.
func (r *run) result() Result {
	slices.SortFunc(r.dropped, func(a, b Dropped) int { return strings.Compare(a.Tag, b.Tag) })
	result := Result{Picks: r.picks, Dropped: r.dropped, Warnings: r.warnings}
	if r.matched < r.rules.MinTags {
		result.Picks, result.Err = nil, &TooFewError{Matched: r.matched, Want: r.rules.MinTags}
	}
	return result
}
