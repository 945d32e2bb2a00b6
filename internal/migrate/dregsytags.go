package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// dregsyTags are the entries of a list of tags, by their kinds.
//
// dregsy unites what its ranges and expressions match of all tags, or takes all tags
// where there are none of these and no tag is named; drops what does not match every
// keep: entry; adds the tags that are named; and reduces the whole to the latest.
type dregsyTags struct {
	list   *value
	named  []term // tags
	pinned []term // digests, with a name
	ranges []term
	regex  []term
	not    []term // expressions behind "!"
	keep   []term // the short words of keep
	latest int    // 0 where there is no limit
	limit  *value // where it stands
}

// latestEntry limits how many tags are taken. Without the space behind the colon it is
// an expression.
var latestEntry = regexp.MustCompile(`^keep:\s*latest\s+([0-9]+)$`)

func (r *dregsy) readTags(list *value) dregsyTags {
	tags := dregsyTags{list: list}
	for _, item := range list.items() {
		entry := strings.TrimSpace(item.text())
		switch found := latestEntry.FindStringSubmatch(entry); {
		case found != nil:
			tags.setLatest(item, found[1])
		case strings.HasPrefix(entry, "semver:"):
			tags.addRange(item, strings.TrimPrefix(entry, "semver:"))
		case strings.HasPrefix(entry, "regex:"):
			tags.addExpression(item, strings.TrimPrefix(entry, "regex:"))
		case strings.HasPrefix(entry, "keep:"):
			tags.addKeep(item, strings.TrimPrefix(entry, "keep:"))
		case strings.Contains(entry, "sha256:"):
			tags.addDigest(item, entry)
		default:
			tags.named = append(tags.named, term{text: entry, from: item})
		}
	}
	tags.noteLatest()
	tags.settleNames()
	return tags
}

// setLatest reads how many of the latest are kept. The last such entry counts.
func (t *dregsyTags) setLatest(item *value, number string) {
	n, err := strconv.Atoi(number)
	if err != nil || n > maxNewest {
		item.fail(number+" is too many tags", fmt.Sprintf("at most %d", maxNewest))
		return
	}
	if t.limit != nil {
		t.limit.note(Ignored, "a later entry says how many of the latest are taken", "")
	}
	t.latest, t.limit = n, item
}

// noteLatest notes the traps of the entry that counts.
func (t *dregsyTags) noteLatest() {
	switch {
	case t.limit == nil:
	case t.latest == 0:
		t.limit.note(Ignored, "0 is no limit", "")
	case !strings.Contains(t.limit.text(), ": ") && !strings.Contains(t.limit.text(), ":\t"):
		t.limit.note(Changed, fmt.Sprintf("the latest %d are taken", t.latest), "without a space behind keep: dregsy takes this for an expression, which no tag matches, and drops all but the tags that are named")
	}
}

// maxNewest is the most that newest can say.
const maxNewest = 100_000

func (t *dregsyTags) addRange(item *value, written string) {
	parsed, remarks, err := parseDregsyRange(written)
	if err != nil {
		item.fail(err.Error(), `a range such as "semver: >=1.31.0 <1.32.0"`)
		return
	}
	t.ranges = append(t.ranges, term{text: parsed.String(), from: item, say: func(l *line) {
		parsed.explain(l, "dregsy", written)
		for _, remark := range remarks {
			l.note(item, Changed, remark, "")
		}
	}})
}

func (t *dregsyTags) addExpression(item *value, written string) {
	expression, inverted, say := dregsyExpression(item, written)
	entry := term{text: expression, from: item, say: say}
	if inverted {
		t.not = append(t.not, entry)
		return
	}
	t.regex = append(t.regex, entry)
}

func (t *dregsyTags) addKeep(item *value, written string) {
	expression, inverted, say := dregsyExpression(item, written)
	word := "regex: " + expression
	if inverted {
		word = "!" + word
	}
	t.keep = append(t.keep, term{text: word, from: item, say: say})
}

// dregsyExpression reads an expression with a "!" before it, or without.
func dregsyExpression(item *value, written string) (expression string, inverted bool, say func(*line)) {
	behind, inverted := strings.CutPrefix(strings.TrimSpace(written), "!")
	expression = strings.TrimSpace(behind)
	return expression, inverted, func(l *line) {
		noteAlternatives(l, item, expression, "dregsy")
		switch {
		case behind != expression:
			l.note(item, Changed, "the space behind ! does not count", "for dregsy it is part of the expression, which matches no tag then")
		case strings.Contains(expression, " "):
			l.note(item, Changed, quoted(expression)+" has a space, and so matches no tag", "dregsy takes it so too")
		}
	}
}

// addDigest reads NAME@sha256:…, or a digest alone.
func (t *dregsyTags) addDigest(item *value, entry string) {
	pin := term{text: entry, from: item}
	if digest, alone := strings.CutPrefix(strings.TrimPrefix(entry, "@"), "sha256:"); alone {
		pin.text = "dregsy-" + digest + "@sha256:" + digest
		pin.say = func(l *line) {
			l.note(item, Changed, "a digest gets a name at the destination", "dregsy's docker relay gives it this one, and its skopeo relay none; it can be pulled by the digest as before")
		}
	}
	t.pinned = append(t.pinned, pin)
}

// settleNames leaves one meaning to each name. dregsy copies one after the other, in the
// order of the entries as text, and the last one stays.
func (t *dregsyTags) settleNames() {
	slices.SortStableFunc(t.pinned, func(a, b term) int { return strings.Compare(a.text, b.text) })
	meaning := make(map[string]string)
	for _, pin := range t.pinned {
		name, _, _ := strings.Cut(pin.text, "@")
		meaning[name] = pin.text
	}
	t.pinned = slices.DeleteFunc(t.pinned, func(pin term) bool {
		name, _, _ := strings.Cut(pin.text, "@")
		last := meaning[name] == pin.text
		if last {
			meaning[name] = "taken"
			return false
		}
		pin.from.note(Ignored, "another digest takes the name "+quoted(name), "dregsy overwrites this one with it")
		return true
	})
	t.named = slices.DeleteFunc(t.named, func(tag term) bool {
		if _, pinned := meaning[tag.text]; pinned {
			tag.from.note(Ignored, "a digest takes the name "+quoted(tag.text), "dregsy overwrites the tag with it")
			return true
		}
		return false
	})
}

// onlyNamed reports whether nothing but single tags is taken, which are not filtered.
func (t *dregsyTags) onlyNamed() bool {
	return len(t.named)+len(t.pinned) > 0 && len(t.ranges)+len(t.regex)+len(t.not) == 0
}

// tags writes a list of tags.
func (r *dregsy) tags(m *section, list, mapping *value) {
	t := r.readTags(list)
	if t.onlyNamed() {
		t.dropFilters()
	}
	r.noteDockerRelay(&t)
	if len(t.named)+len(t.pinned)+len(t.ranges)+len(t.regex)+len(t.not)+len(t.keep) == 0 && t.latest == 0 {
		if list.isText() || list.isList() && len(list.items()) > 0 {
			return // nothing is left of a list with a problem
		}
		m.text("tags", "*", mapping).comment("Without tags all of them are mirrored.")
		return
	}
	if named := slices.Concat(t.named, t.pinned); t.onlyNamed() && areTags(t.named) {
		writeTerms(m, "tags", named, list)
		return
	}
	r.writeTags(m.section("tags", list), &t)
}

// dropFilters leaves out what does not concern tags that are named.
func (t *dregsyTags) dropFilters() {
	for _, keep := range t.keep {
		keep.from.note(Ignored, "keep: filters what ranges and expressions match, and there are none", "")
	}
	if t.latest > 0 && len(t.named)+len(t.pinned) > t.latest {
		t.limit.note(Changed, "every tag that is named is mirrored", "dregsy counts them too, and drops those with the lowest versions")
	}
	t.keep, t.latest = nil, 0
}

// noteDockerRelay notes the traps of one of dregsy's relays.
func (r *dregsy) noteDockerRelay(t *dregsyTags) {
	if r.relay != dockerRelay {
		return
	}
	if len(t.ranges)+len(t.regex)+len(t.not) > 0 && len(t.named)+len(t.pinned) == 0 {
		r.said.once(t.list, "where ranges and expressions match no tag, none is mirrored", "dregsy's docker relay then takes all tags")
	}
	if len(t.keep) > 0 && len(t.named)+len(t.pinned)+len(t.ranges)+len(t.regex)+len(t.not) == 0 {
		r.said.once(t.list, "keep: alone filters all tags", "dregsy's docker relay does not look at it then, and takes all tags")
	}
}

func (r *dregsy) writeTags(to *section, t *dregsyTags) {
	writeTerms(to, "literals", t.named, t.list)
	writeTerms(to, "digests", t.pinned, t.list)
	writeTerms(to, "semver", t.ranges, t.list)
	writeTerms(to, "regex", t.regex, t.list)
	if len(t.not) > 0 {
		writeTerms(to.section("not", t.list), "regex", t.not, t.list)
	}
	if len(t.ranges)+len(t.regex)+len(t.not) == 0 && len(t.keep) > 0 {
		to.text("globs", "*", t.list)
	}
	writeTerms(to, "keep", t.keep, t.list)
	if t.latest > 0 {
		r.writeLatest(to, t)
	}
	if len(t.ranges) > 0 || t.latest > 0 {
		writeStrict(to, t.list, "dregsy")
	}
}

// writeLatest writes how many versions are kept, and what dregsy counts otherwise.
func (r *dregsy) writeLatest(to *section, t *dregsyTags) {
	line := to.number("newest", t.latest, t.limit)
	if slices.ContainsFunc(t.named, func(tag term) bool { return looseVersion.MatchString(tag.text) }) {
		line.note(t.limit, Changed, "tags that are named are mirrored in any case, and not counted", "dregsy counts those that are versions, and drops the lowest")
	}
	if len(t.regex)+len(t.not) > 0 || len(t.ranges) == 0 {
		line.note(t.limit, Changed, "among what matches, only versions are taken", "dregsy takes every tag that is no version too, or, where there is no version at all, the last ones by name, which newestBy: name does")
	}
}

// looseVersion is what dregsy reads as a version.
var looseVersion = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+){0,2}$|^v?[0-9]+\.[0-9]+\.[0-9]+-`)
