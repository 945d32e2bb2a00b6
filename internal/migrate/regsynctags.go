package migrate

import (
	"regexp"
	"slices"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A regsyncSet is a set of conditions, all of which a tag has to meet: to be in one of
// the ranges, to be matched by one of the allowing expressions, and by none of the
// denying ones. What is not given is met.
type regsyncSet struct {
	ranges      []term
	allow, deny []*value
}

// tags writes which tags are meant: those of any set, or all where there is none.
func (r *regsync) tags(m *section, entry *value) {
	if rename := entry.get("targetTag"); rename.text() != "" && !keepsTag.MatchString(rename.text()) {
		rename.fail("tags cannot get other names at the destination", "no targetTag, or type: image with a target that has a tag")
	}
	before := len(r.problems)
	sets, everything := r.sets(entry)
	from := cmpFirst(entry.get("tags"), entry.get("tagSets"), entry)
	switch {
	case len(r.problems) > before:
		m.text("tags", "*", from)
	case everything || len(sets) == 0:
		m.text("tags", "*", from).comment("Without conditions all tags are mirrored.")
	case len(sets) == 1:
		r.oneSet(m.section("tags", from), sets[0], from)
	default:
		r.severalSets(m.section("tags", from), sets, from)
	}
}

// keepsTag is a template that gives a tag its own name.
var keepsTag = regexp.MustCompile(`^\{\{-?\s*\.Source\.Tag\s*-?\}\}$`)

// cmpFirst returns the first of several values that is there; the last one is.
func cmpFirst(values ...*value) *value {
	for _, v := range values {
		if v.has() {
			return v
		}
	}
	return values[len(values)-1]
}

// sets reads the sets of an entry. One without a condition stands for everything, unless
// it is the old form, tags, which then does not count.
func (r *regsync) sets(entry *value) (sets []regsyncSet, everything bool) {
	for _, v := range entry.get("tagSets").items() {
		set := r.set(v)
		everything = everything || set.isEmpty()
		sets = append(sets, set)
	}
	if set := r.set(entry.get("tags")); !set.isEmpty() {
		sets = append(sets, set)
	}
	return sets, everything
}

func (s regsyncSet) isEmpty() bool { return len(s.ranges)+len(s.allow)+len(s.deny) == 0 }

func (r *regsync) set(v *value) regsyncSet {
	set := regsyncSet{allow: v.get("allow").items(), deny: v.get("deny").items()}
	for _, item := range slices.Concat(set.allow, set.deny) {
		item.text() // which may come to nothing where sets are united
	}
	for _, item := range v.get("semverRange").items() {
		written := item.text()
		if strings.TrimSpace(written) == "" {
			continue
		}
		parsed, err := parseRegsyncRange(written)
		if err != nil {
			item.fail(err.Error(), "a range such as >=1.2.3 <2.0.0")
			continue
		}
		set.ranges = append(set.ranges, term{text: parsed.String(), from: item, say: func(l *line) {
			parsed.explain(l, "regsync", written)
		}})
		r.said.once(item, "a tag with a suffix is a version only where it has three numbers", "regsync takes 3.9-slim for one too, and 1.2.3.4")
	}
	return set
}

// oneSet writes a set that is alone.
func (r *regsync) oneSet(to *section, set regsyncSet, from *value) {
	set.choose(to, nil, from)
	if len(set.ranges) > 0 && len(set.allow) > 0 {
		writeTerms(to, "keep", []term{set.allowed()}, from)
	}
	if len(set.deny) > 0 {
		writeTerms(to.section("exclude", set.deny[0]), "regex", expressions(set.deny), set.deny[0])
	}
	if len(set.ranges) > 0 {
		writeStrict(to, from, "regsync")
	}
}

// choose writes what chooses tags: the ranges or, where there are none, what is allowed.
// Besides, single tags are named.
func (s regsyncSet) choose(to *section, named []term, from *value) {
	writeTerms(to, "literals", named, from)
	switch {
	case len(s.ranges) > 0:
		writeTerms(to, "semver", s.ranges, from)
	case len(s.allow) > 0:
		names, others := split(s.allow)
		writeTerms(to, "globs", names, from)
		writeTerms(to, "regex", others, from)
	default:
		to.text("globs", "*", from)
	}
}

// severalSets writes the union of sets. What one set of them asks for besides its choice
// would filter the others too, except for single tags that are named.
func (r *regsync) severalSets(to *section, sets []regsyncSet, from *value) {
	var named []*value
	var rest []regsyncSet
	for _, set := range sets {
		if set.namesAll() {
			named = append(named, set.allow...)
			continue
		}
		rest = append(rest, set)
	}
	if len(rest) == 1 && rest[0].filters() {
		r.namesBeside(to, named, rest[0], from)
		return
	}
	if slices.ContainsFunc(rest, regsyncSet.filters) {
		to.note(from, Changed, "more tags are mirrored: of a set with ranges, these alone count", "what it allows besides would concern the other sets here")
	}
	union := regsyncSet{allow: named}
	for _, set := range rest {
		if len(set.deny) > 0 {
			set.deny[0].fail("what one of several sets denies cannot be left out of its tags alone", "one set, or sets that deny nothing")
		}
		union.ranges = append(union.ranges, set.ranges...)
		if len(set.ranges) == 0 {
			union.allow = append(union.allow, set.allow...)
		}
	}
	writeTerms(to, "semver", union.ranges, from)
	names, others := split(union.allow)
	writeTerms(to, "globs", names, from)
	writeTerms(to, "regex", others, from)
	if len(union.ranges) > 0 {
		writeStrict(to, from, "regsync")
	}
}

// namesBeside writes single tags, and a set that filters what it chooses.
func (r *regsync) namesBeside(to *section, named []*value, set regsyncSet, from *value) {
	names, _ := split(named)
	if len(names) > 0 {
		first := names[0].from
		names[0].say = func(l *line) {
			l.note(first, Changed, "upstream has to have the tags that are named", "regsync leaves out what is missing")
		}
	}
	set.choose(to, names, from)
	var keep []term
	if len(set.ranges) > 0 && len(set.allow) > 0 {
		keep = append(keep, set.allowed())
	}
	for _, deny := range expressions(set.deny) {
		deny.text = "!regex: " + deny.text
		keep = append(keep, deny)
	}
	writeTerms(to, "keep", keep, from)
	if len(set.ranges) > 0 {
		writeStrict(to, from, "regsync")
	}
}

// filters reports whether the set asks for more than one thing.
func (s regsyncSet) filters() bool {
	return len(s.deny) > 0 || len(s.ranges) > 0 && len(s.allow) > 0
}

// namesAll reports whether the set is a list of single tags.
func (s regsyncSet) namesAll() bool {
	_, others := split(s.allow)
	return len(s.allow) > 0 && len(others)+len(s.ranges)+len(s.deny) == 0
}

// allowed returns what is allowed as one expression.
func (s regsyncSet) allowed() term {
	var texts []string
	for _, v := range s.allow {
		texts = append(texts, v.text())
	}
	return term{text: "regex: " + oneOf(texts), from: s.allow[0], say: func(l *line) {
		for _, allow := range expressions(s.allow) {
			allow.say(l)
		}
	}}
}

// split tells single tags from expressions. A glob without a wildcard is the tag, where
// upstream has it.
func split(allow []*value) (names, others []term) {
	for _, e := range expressions(allow) {
		if ref.ValidTag(e.text) && regexp.QuoteMeta(e.text) == e.text {
			names = append(names, term{text: e.text, from: e.from})
			continue
		}
		others = append(others, e)
	}
	return names, others
}

// expressions reads what matches the whole of a tag.
func expressions(values []*value) []term {
	terms := make([]term, 0, len(values))
	for _, v := range values {
		terms = append(terms, term{text: v.text(), from: v, say: func(l *line) { noteAlternatives(l, v, v.text(), "regsync") }})
	}
	return terms
}
