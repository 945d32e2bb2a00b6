package config

import (
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

func (t *Tags) read(r *reader, n *node, path string) {
	if n.kind != mapping {
		before := r.book.count
		t.Terms.read(r, n, path)
		r.sound(t, before, path)
		return
	}
	r.structureOf(t, n, path)
}

// isTerm reports whether a map is one term of a list that lost its quotes: a colon
// followed by a space makes a map of "semver: >=1.2".
func isTerm(n *node) bool {
	return n.kind == mapping && len(n.entries) == 1 && n.entries[0].value.kind == scalar &&
		(n.entries[0].key == "semver" || n.entries[0].key == "regex")
}

func (t *Terms) read(r *reader, n *node, path string) {
	r.places[path] = n.at
	switch {
	case n.kind == mapping:
		r.structureOf(t, n, path)
		return
	case n.kind != list:
		n = &node{at: n.at, kind: list, items: []*node{n}}
	case len(n.items) == 0:
		r.fail(path, "the list is empty", `at least one tag; "*" stands for every tag`)
	}
	for i, item := range n.items {
		t.term(r, item, path+label("", i))
	}
}

// term reads one short word of a list.
func (t *Terms) term(r *reader, n *node, path string) {
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
		r.wrongKind(n, path, expectedTerm)
		return
	}
	is, to, written := t.classify(n.value)
	if to == nil {
		r.fail(path, isNot(n.value, "a tag"), is)
		return
	}
	if read, ok := r.text(&node{at: n.at, kind: scalar, value: written}, is, path); ok {
		*to = append(*to, read)
	}
}

const (
	expectedTerm      = `a tag, a glob such as 1.27.*, "semver: >=1.2 <2", "regex: …" or NAME@sha256:DIGEST`
	expectedExclusion = "tags to leave out under exclude, in the map form of tags"
	expectedStar      = "* for the wildcard, which is + in resource tags only"
	expectedNarrowing = "newest and mode in the map form of tags"
)

// classify says which grammar a short word has, and where it goes. Where nothing does,
// to is nil and is says what was expected.
func (t *Terms) classify(word string) (is string, to *[]string, written string) {
	before, after, colon := strings.Cut(word, ":")
	switch {
	case strings.HasPrefix(word, "-") || strings.HasPrefix(word, "!"):
		return expectedExclusion, nil, ""
	case colon && before == "semver":
		return "range", &t.Semver, strings.TrimSpace(after)
	case colon && before == "regex":
		return "regexp", &t.Regex, strings.TrimSpace(after)
	case strings.Contains(word, "@"):
		return "pin", &t.Digests, word
	case colon && (before == "newest" || before == "mode" || before == "keep"):
		return expectedNarrowing, nil, ""
	case colon:
		return expectedTerm, nil, ""
	case strings.Contains(word, "+"):
		return expectedStar, nil, ""
	case strings.Contains(word, "*"):
		return "glob", &t.Globs, word
	}
	return "tag", &t.Literals, word
}

// none reports whether nothing is said.
func (t Terms) none() bool {
	return len(t.Literals)+len(t.Globs)+len(t.Semver)+len(t.Regex)+len(t.Digests) == 0
}

// fixed reports whether only single tags are named.
func (t Terms) fixed() bool { return len(t.Globs)+len(t.Semver)+len(t.Regex) == 0 }

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
	for _, glob := range t.Globs {
		add(discover.Term{Kind: discover.Glob, Text: glob, Pattern: plainGlob(glob)})
	}
	for _, versions := range t.Semver {
		add(rangeTerm(versions))
	}
	for _, expression := range t.Regex {
		add(discover.Term{Kind: discover.Regexp, Text: "regex:" + expression, Pattern: expression})
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
	case t.none() && t.Newest == 0 && t.Mode == "":
		r.fail(path, "nothing chooses tags", `literals, globs, semver, regex, digests, newest or mode; globs: "*" stands for every tag`)
	case t.NewestBy != "" && t.Newest == 0:
		r.fail(path+".newestBy", "newestBy has nothing to order", "newest")
	case len(t.Immutable) > 0 && len(t.Mutable) > 0:
		r.fail(path+".mutable", "immutable and mutable are given", "one of them; mutable leaves every other tag immutable")
	case t.fixed() && t.Newest == 0 && t.Mode == "":
		for _, key := range t.idle() {
			r.fail(path+"."+key, key+" has no effect, since tags names single tags only", "globs, semver, regex, newest or mode beside it")
		}
	}
	t.checkNames(r, path)
}

// idle returns the narrowing keys that are set.
func (t *Tags) idle() []string {
	return ofWhich(map[string]bool{
		"variant": t.Variant != "", "major": t.Major != nil, "minor": t.Minor != nil,
		"prerelease": t.Prerelease, "floating": t.Floating, "strict": t.Strict,
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
		Choose: t.terms("tags"), Exclude: t.Exclude.terms("tags.exclude"),
		Newest: t.Newest, NewestBy: discover.Order(t.NewestBy), Mode: discover.Mode(t.Mode),
		Variant: plainGlob(t.Variant), Major: t.Major, Minor: t.Minor,
		Prerelease: t.Prerelease, Floating: t.Floating, Strict: t.Strict,
		Immutable: t.Immutable, MinTags: orElse(t.MinTags, orElse(d.MinTags, 0)),
	}
	if t.NewestBy == "version" {
		rules.NewestBy = discover.ByVersion
	}
	switch {
	case len(t.Mutable) > 0:
		rules.Immutable = []string{"*"}
	case len(t.Immutable) == 0:
		rules.Immutable = d.ImmutableTags
	}
	return rules
}

// fixedTags returns the tags that rules choose whatever upstream has: those they name,
// without those they leave out.
func fixedTags(rules discover.Rules) []string {
	only := discover.Rules{Exclude: rules.Exclude, Strict: rules.Strict, Prerelease: rules.Prerelease}
	for _, term := range rules.Choose {
		if term.Kind == discover.Literal || term.Kind == discover.Pin {
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
