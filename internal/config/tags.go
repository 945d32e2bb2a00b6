package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// A vocabulary is where the short words of a list go, by what they are.
type vocabulary struct {
	tags, digests        *[]string // nil where single tags are not meant: there a tag is a glob
	globs, semver, regex *[]string
	not                  *Patterns // what "!" goes to; nil where it has no meaning
	noun                 string    // what a word is: "a tag"
	expected             string    // what a word may be
	instead              string    // what to write instead of "!", where not is nil
}

func (t *Tags) read(r *reader, n *node, path string) {
	words := t.words()
	words.not = &t.Not
	words.read(r, n, path, t)
}

func (t *Terms) read(r *reader, n *node, path string) { t.words().read(r, n, path, t) }

func (t *Terms) words() vocabulary {
	return vocabulary{
		tags: &t.Literals, digests: &t.Digests, globs: &t.Globs, semver: &t.Semver, regex: &t.Regex,
		noun: "a tag", expected: expectedTerm, instead: expectedKeep,
	}
}

func (p *Patterns) read(r *reader, n *node, path string) { p.words().read(r, n, path, p) }

func (p *Patterns) words() vocabulary {
	return vocabulary{
		globs: &p.Globs, semver: &p.Semver, regex: &p.Regex,
		noun: "a pattern of tags", expected: expectedPattern, instead: expectedPattern,
	}
}

func (k *Keep) read(r *reader, n *node, path string) {
	words := k.words()
	words.not = &k.Not
	words.read(r, n, path, k)
}

// read reads a list of short words, or the map form into the struct that is given.
func (v vocabulary) read(r *reader, n *node, path string, form any) {
	r.places[path] = n.at
	if n.kind == mapping {
		r.structureOf(form, n, path)
		return
	}
	before := r.book.count
	switch {
	case n.kind != list:
		n = &node{at: n.at, kind: list, items: []*node{n}}
	case len(n.items) == 0:
		r.fail(path, "the list is empty", `at least one tag; "*" stands for every tag`)
	}
	for i, item := range n.items {
		v.word(r, item, path+label("", i))
	}
	r.sound(form, before, path)
}

// isTerm reports whether a map is one term of a list that lost its quotes: a colon
// followed by a space makes a map of "semver: >=1.2".
func isTerm(n *node) bool {
	return n.kind == mapping && len(n.entries) == 1 && n.entries[0].value.kind == scalar &&
		slices.Contains([]string{"semver", "regex", "!semver", "!regex"}, n.entries[0].key)
}

// word reads one short word of a list.
func (v vocabulary) word(r *reader, n *node, path string) {
	if n.kind == unread {
		r.book.count++
		return
	}
	if isTerm(n) {
		e := n.entries[0]
		n = &node{at: n.at, kind: scalar, value: e.key + ": " + e.value.value}
	}
	r.places[path] = n.at
	if n.kind != scalar {
		r.wrongKind(n, path, v.expected)
		return
	}
	is, to, written := v.classify(n.value)
	if to == nil {
		r.fail(path, isNot(n.value, v.noun), is)
		return
	}
	if read, ok := r.text(&node{at: n.at, kind: scalar, value: written}, is, path); ok {
		*to = append(*to, read)
	}
}

const (
	expectedTerm      = `a tag, a glob such as 1.27.*, "semver: >=1.2 <2", "regex: …", any of these with ! before it, or NAME@sha256:DIGEST`
	expectedPattern   = `a glob such as *-alpine, "semver: >=1.2 <2" or "regex: …"`
	expectedExclusion = "tags to leave out under exclude, in the map form of tags"
	expectedKeep      = "what is to stay under keep, in the map form of tags"
	expectedStar      = "* for the wildcard, which is + in resource tags only"
	expectedNarrowing = "newest, mode and keep in the map form of tags"
	expectedNewest    = "newest: N, which keeps the N highest; keep is for patterns such as *-alpine"
)

// keepLatest is what dregsy and others keep: a number of the newest.
var keepLatest = regexp.MustCompile(`^(latest )?[0-9]+$`)

// classify says which grammar a short word has, and where it goes. Where nothing does,
// to is nil and is says what was expected.
func (v vocabulary) classify(word string) (is string, to *[]string, written string) {
	before, after, colon := strings.Cut(word, ":")
	inverted, inverts := strings.CutPrefix(word, "!")
	switch {
	case inverts && v.not != nil:
		return v.not.words().classify(strings.TrimSpace(inverted))
	case inverts:
		return v.instead, nil, ""
	case strings.HasPrefix(word, "-"):
		return expectedExclusion, nil, ""
	case colon && before == "semver":
		return "range", v.semver, strings.TrimSpace(after)
	case colon && before == "regex":
		return "regexp", v.regex, strings.TrimSpace(after)
	case strings.Contains(word, "@") && v.digests != nil:
		return "pin", v.digests, word
	case colon && (before == "newest" || before == "mode" || before == "keep"):
		return expectedNarrowing, nil, ""
	case colon:
		return v.expected, nil, ""
	case v.tags == nil && keepLatest.MatchString(word):
		return expectedNewest, nil, ""
	case strings.Contains(word, "+"):
		return expectedStar, nil, ""
	case strings.Contains(word, "*"), v.tags == nil:
		return "glob", v.globs, word
	}
	return "tag", v.tags, word
}

// none reports whether nothing is said.
func (t Terms) none() bool {
	return len(t.Literals)+len(t.Globs)+len(t.Semver)+len(t.Regex)+len(t.Digests) == 0
}

func (p Patterns) none() bool { return len(p.Globs)+len(p.Semver)+len(p.Regex) == 0 }

func (k Keep) none() bool { return k.Patterns.none() && k.Not.none() }

// fixed reports whether only single tags are named.
func (t Tags) fixed() bool {
	return len(t.Globs)+len(t.Semver)+len(t.Regex) == 0 && t.Not.none() && t.Newest == 0 && t.Mode == ""
}

// terms returns what t says in the words of package discover. key names the place in
// reasons.
func (t Terms) terms(key string) []discover.Term {
	var terms []discover.Term
	add := func(term discover.Term) {
		term.Key, term.Position = key, 1
		terms = append(terms, term)
	}
	for _, tag := range t.Literals {
		add(discover.Term{Kind: discover.Literal, Text: tag, Pattern: tag})
	}
	for _, pin := range t.Digests {
		name, digest, _ := strings.Cut(pin, "@")
		add(discover.Term{Kind: discover.Pin, Text: pin, Pattern: name, Digest: ref.Digest(digest)})
	}
	patterns := Patterns{Globs: t.Globs, Semver: t.Semver, Regex: t.Regex}
	return append(terms, patterns.terms(key, false)...)
}

// terms returns what p says in the words of package discover, inverted or not.
func (p Patterns) terms(key string, not bool) []discover.Term {
	var terms []discover.Term
	for _, glob := range p.Globs {
		terms = append(terms, discover.Term{Kind: discover.Glob, Text: glob, Pattern: plainGlob(glob)})
	}
	for _, versions := range p.Semver {
		terms = append(terms, rangeTerm(versions))
	}
	for _, expression := range p.Regex {
		terms = append(terms, discover.Term{Kind: discover.Regexp, Text: "regex:" + expression, Pattern: expression})
	}
	for i := range terms {
		terms[i].Key, terms[i].Position, terms[i].Not = key, 1, not
		if not {
			terms[i].Text = "!" + terms[i].Text
		}
	}
	return terms
}

// plainGlob writes runs of wildcards as one.
func plainGlob(glob string) string {
	for strings.Contains(glob, "**") {
		glob = strings.ReplaceAll(glob, "**", "*")
	}
	return glob
}

// rangeTerm reads a range as the tag language does, which knows Ubuntu's 22.04 and
// Python's 3.13rc1; what that has no words for, such as ^1.2 || ~2.1, is left to the
// library of versions.
func rangeTerm(versions string) discover.Term {
	term := discover.Term{Kind: discover.Semver, Text: "semver:" + versions, Pattern: versions}
	if strings.Contains(versions, "/") {
		return term
	}
	rules, err := discover.ParseRules("semver", "semver:"+versions)
	if err == nil && len(rules.Choose) == 1 {
		term.Pattern = rules.Choose[0].Pattern
	}
	return term
}

func (t *Tags) check(r *reader, path string) {
	switch {
	case t.none() && t.fixed():
		r.fail(path, "nothing chooses tags", `literals, globs, semver, regex, not, digests, newest or mode; globs: "*" stands for every tag`)
	case t.NewestBy != "" && t.Newest == 0:
		r.fail(path+".newestBy", "newestBy has nothing to order", "newest")
	case len(t.Immutable) > 0 && len(t.Mutable) > 0:
		r.fail(path+".mutable", "immutable and mutable are given", "one of them; mutable leaves every other tag immutable")
	case t.fixed():
		for _, key := range t.idle() {
			r.fail(path+"."+key, key+" has no effect, since tags names single tags only", "globs, semver, regex, not, newest or mode beside it")
		}
	}
	t.checkNames(r, path)
}

// idle returns the narrowing keys that are set.
func (t *Tags) idle() []string {
	return ofWhich(map[string]bool{
		"variant": t.Variant != "", "major": t.Major != nil, "minor": t.Minor != nil,
		"prerelease": t.Prerelease, "floating": t.Floating, "strict": t.Strict, "keep": !t.Keep.none(),
	})
}

// checkNames refuses a tag that is to have two meanings.
func (t *Tags) checkNames(r *reader, path string) {
	meaning := make(map[string]string)
	for _, tag := range t.Literals {
		meaning[tag] = tag
	}
	for _, pin := range t.Digests {
		name, _, _ := strings.Cut(pin, "@")
		if other, taken := meaning[name]; taken && other != pin {
			r.fail(path, quoted(pin)+" and "+quoted(other)+" name one tag", "each tag under one digest")
		}
		meaning[name] = pin
	}
}

// rules returns what the tags of a mirror mean.
func (t Tags) rules(d Defaults) discover.Rules {
	rules := discover.Rules{
		Choose:  append(t.terms("tags"), t.Not.terms("tags", true)...),
		Exclude: t.Exclude.terms("tags.exclude"),
		Keep:    append(t.Keep.terms("tags.keep", false), t.Keep.Not.terms("tags.keep", true)...),
		Newest:  t.Newest, NewestBy: discover.Order(t.NewestBy), Mode: discover.Mode(t.Mode),
		Variant: plainGlob(t.Variant), Major: t.Major, Minor: t.Minor,
		Prerelease: t.Prerelease, Floating: t.Floating, Strict: t.Strict,
		Immutable: t.Immutable, Mutable: t.Mutable, MinTags: orElse(t.MinTags, orElse(d.MinTags, 0)),
	}
	if t.NewestBy == "version" {
		rules.NewestBy = discover.ByVersion
	}
	if len(t.Immutable)+len(t.Mutable) == 0 {
		rules.Immutable = d.ImmutableTags
	}
	return rules
}

// fixedTags returns the tags that rules choose whatever upstream has: those they name,
// without those they leave out.
func fixedTags(rules discover.Rules) []string {
	only := discover.Rules{Exclude: rules.Exclude, Strict: rules.Strict, Prerelease: rules.Prerelease}
	for _, term := range rules.Choose {
		if term.ChoosesOne() {
			only.Choose = append(only.Choose, term)
		}
	}
	selector, err := selection.Compile(only)
	if err != nil {
		return nil
	}
	var tags []string
	for _, pick := range selector.Select(selection.Input{}).Picks {
		tags = append(tags, pick.Tag)
	}
	return tags
}

// orElse returns what a pointer points to, or what holds where it is nil.
func orElse[T any](given *T, fallback T) T {
	if given == nil {
		return fallback
	}
	return *given
}
