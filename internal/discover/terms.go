package discover

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// ParseRules reads a value of the tag language, such as upstream-tags has it:
// "1.27.+/latest/-+-rc+". key names the flag or resource tag in errors and reasons. All
// problems are reported together, each a *SyntaxError.
//
// Terms are separated by "/"; spaces round them do not count.
//
//	1.27.3                 that tag
//	1.27.+                 a glob: + stands for any run of characters, and so does *
//	semver:1.x             versions in a range: 1.x · 1.2 - 1.9 · ge1.2 lt2.0
//	re:BASE64URL           tags that an RE2 expression matches as a whole
//	not:1.+                tags that the glob, semver: or re: term after it does not match
//	name@sha256:…          that digest under that name
//	newest:5               of what was chosen, the five highest
//	mode:highest           of what was chosen, the highest; also higher, semver, all
//	-…                     leaves out what the term after the "-" matches
func ParseRules(key, value string) (Rules, error) {
	var p parser
	p.list(newSpan(key, value))
	p.finish()
	return p.rules, errors.Join(p.problems...)
}

// What errors say was expected, where several need the same words.
const (
	expectedTerm   = "a tag, a glob such as 1.27.+, semver:RANGE, re:BASE64URL, not:TERM, NAME@sha256:DIGEST, newest:N or mode:MODE"
	expectedFilter = "a glob such as 1.27.+, semver:RANGE or re:BASE64URL"
	expectedMode   = "mode:highest, mode:higher, mode:semver or mode:all"
	expectedNewest = "a number from 1 to 100000, as in newest:5"
	expectedTag    = "a tag: at most 128 of letters, digits, _ . and -, not beginning with . or -"
	expectedRegexp = "an RE2 expression in URL-safe base64, at most 1000 characters long"
	expectedOne    = "one narrowing term of each kind"
)

const (
	maxNewest = 100_000
	maxRegexp = 1000 // characters, decoded; a value of 256 holds 192 of them
)

// A parser collects the terms of one description, which may stand in several values.
type parser struct {
	rules    Rules
	first    span // the first term, for problems of the whole list
	problems []error
	newest   bool            // whether newest: was seen
	mode     bool            // whether mode: was seen
	fixed    map[string]Term // literals and pins by tag
}

func (p *parser) fail(err error) { p.problems = append(p.problems, err) }

// list reads a value that may hold every kind of term.
func (p *parser) list(value span) {
	if p.first.key == "" {
		p.first = value
	}
	for _, part := range value.split('/') {
		term := part.trim()
		if excluded, ok := term.cutPrefix("-"); ok {
			p.exclude(excluded, term)
			continue
		}
		p.choose(term)
	}
}

// ignored reads a value that holds only terms to leave out.
func (p *parser) ignored(value span) {
	for _, part := range value.split('/') {
		term := part.trim()
		excluded, _ := term.cutPrefix("-")
		p.exclude(excluded, term)
	}
}

// finish looks at the description as a whole.
func (p *parser) finish() {
	if len(p.problems) > 0 || len(p.rules.Choose) > 0 || p.newest || p.mode {
		return
	}
	p.fail(p.first.trim().problem("a term that chooses tags; + alone chooses every tag", "only excluding terms"))
}

func (p *parser) choose(text span) {
	word, rest, ok := text.word()
	switch {
	case ok && word == "newest":
		p.narrowNewest(text, rest)
	case ok && word == "mode":
		p.narrowMode(text, rest)
	default:
		term, err := parseTerm(text, text)
		if err != nil {
			p.fail(err)
			return
		}
		if err := p.clash(term, text); err != nil {
			p.fail(err)
			return
		}
		p.rules.Choose = append(p.rules.Choose, term)
	}
}

func (p *parser) exclude(text, whole span) {
	if word, _, ok := text.word(); ok && (word == "newest" || word == "mode") {
		p.fail(whole.problem("a term that matches tags: a tag, a glob, semver: or re:", "%s: cannot leave tags out", word))
		return
	}
	term, err := parseTerm(text, whole)
	switch {
	case err != nil:
		p.fail(err)
	case term.Not:
		p.fail(whole.problem("keep="+term.inverted().String()+" among the options, which keeps what it matches and nothing else", "an excluding term that is inverted"))
	default:
		p.rules.Exclude = append(p.rules.Exclude, term)
	}
}

// clash refuses a second meaning for a tag that was named already.
func (p *parser) clash(term Term, text span) error {
	if !term.ChoosesOne() {
		return nil
	}
	if before, ok := p.fixed[term.Pattern]; ok && before.Digest != term.Digest {
		return text.problem("each tag under one digest", "%q was chosen before as %q", term.Pattern, before.Text)
	}
	if p.fixed == nil {
		p.fixed = make(map[string]Term)
	}
	p.fixed[term.Pattern] = term
	return nil
}

func (p *parser) narrowNewest(text, number span) {
	if p.newest {
		p.fail(text.problem(expectedOne, "a second newest term"))
		return
	}
	p.newest = true
	n, err := strconv.Atoi(number.String())
	if err != nil || n < 1 || n > maxNewest {
		p.fail(number.problem(expectedNewest, "%q is not a count", number))
		return
	}
	p.rules.Newest = n
}

func (p *parser) narrowMode(text, name span) {
	if p.mode {
		p.fail(text.problem(expectedOne, "a second mode term"))
		return
	}
	p.mode = true
	switch mode := Mode(name.String()); mode {
	case ModeHighest, ModeHigher, ModeSemver, ModeAll:
		p.rules.Mode = mode
	default:
		p.fail(name.problem(expectedMode, "unknown mode %q", name))
	}
}

// word splits "semver:1.x" into its word and the rest. A pin has a colon too, but an
// "@" before it.
func (s span) word() (word string, rest span, ok bool) {
	before, after, found := s.cut(':')
	if !found || strings.Contains(before.String(), "@") {
		return "", span{}, false
	}
	return before.trim().String(), after.trim(), true
}

// parseTerm reads a term that matches tags. whole is the term with its "-", if any.
func parseTerm(text, whole span) (Term, error) {
	text = text.trim()
	term := Term{Text: whole.String(), Key: whole.key, Position: whole.position()}
	word, rest, hasWord := text.word()
	switch {
	case text.empty():
		return Term{}, text.problem(expectedTerm, "an empty term")
	case hasWord:
		return wordTerm(term, text, word, rest)
	case strings.Contains(text.String(), "@"):
		return pinTerm(term, text)
	case strings.ContainsAny(text.String(), "+*"):
		return globTerm(term, text)
	case !ref.ValidTag(text.String()):
		return Term{}, text.problem(expectedTag, "%q is not a tag", text)
	}
	term.Kind, term.Pattern = Literal, text.String()
	return term, nil
}

func wordTerm(term Term, text span, word string, rest span) (Term, error) {
	var err error
	switch word {
	case "semver":
		term.Kind = Semver
		term.Pattern, err = parseRange(rest)
	case "re":
		term.Kind = Regexp
		term.Pattern, err = parseRegexp(rest)
	case "not":
		return notTerm(term, rest)
	case "sha256", "sha512":
		err = text.problem("a name for the digest, as in stable@sha256:…", "a digest without a name")
	case "keep":
		err = text.problem("newest:N for so many versions, or the option keep=TERM for those that match a term", "unknown word %q", word+":")
	default:
		err = text.problem(expectedTerm, "unknown word %q", word+":")
	}
	return term, err
}

// notTerm reads what stands after "not:".
func notTerm(term Term, text span) (Term, error) {
	if word, _, ok := text.word(); ok && word == "not" {
		return Term{}, text.problem(expectedFilter, "not: twice")
	}
	term, err := filterTerm(term, text)
	term.Not = true
	return term, err
}

// filterTerm reads a term that tells tags apart by a pattern, into term. A tag alone is
// a glob without a wildcard here.
func filterTerm(term Term, text span) (Term, error) {
	word, rest, hasWord := text.word()
	switch {
	case hasWord && (word == "semver" || word == "re" || word == "not"):
		return wordTerm(term, text, word, rest)
	case hasWord, strings.Contains(text.String(), "@"):
		return Term{}, text.problem(expectedFilter, "%q is no pattern of tags", text)
	}
	return globTerm(term, text)
}

// inverted returns the term that means the other tags.
func (t Term) inverted() Term {
	t.Not = !t.Not
	return t
}

func pinTerm(term Term, text span) (Term, error) {
	name, digest, _ := text.cut('@')
	if !ref.ValidTag(name.String()) {
		return Term{}, name.problem(expectedTag, "%q is not a tag", name)
	}
	parsed, err := ref.ParseDigest(digest.String())
	if err != nil {
		return Term{}, digest.problem("sha256: and 64 hexadecimal digits", "%q is not a digest", digest)
	}
	term.Kind, term.Pattern, term.Digest = Pin, name.String(), parsed
	return term, nil
}

var globGrammar = regexp.MustCompile(`^[A-Za-z0-9_+*][A-Za-z0-9._+*-]*$`)

func globTerm(term Term, text span) (Term, error) {
	pattern, err := parseGlob(text)
	term.Kind, term.Pattern = Glob, pattern
	return term, err
}

// parseGlob reads a glob that can match a tag, and writes its wildcards as "*".
func parseGlob(text span) (string, error) {
	if !globGrammar.MatchString(text.String()) {
		return "", text.problem("letters, digits, _ . - and the wildcard +, not beginning with . or -", "%q matches no tag", text)
	}
	pattern := strings.ReplaceAll(text.String(), "+", "*")
	for strings.Contains(pattern, "**") {
		pattern = strings.ReplaceAll(pattern, "**", "*")
	}
	return pattern, nil
}

// parseRegexp decodes an expression. The standard alphabet's "+" is understood; its
// "/" cannot be, since it separates terms.
func parseRegexp(text span) (string, error) {
	encoded := strings.NewReplacer("+", "-", "=", "").Replace(text.String())
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	switch {
	case err != nil:
		return "", text.problem(expectedRegexp, "%q is not URL-safe base64", text)
	case len(decoded) == 0:
		return "", text.problem(expectedRegexp, "an empty expression")
	case len(decoded) > maxRegexp:
		return "", text.problem(expectedRegexp, "an expression of %d characters", len(decoded))
	}
	if _, err := CompileRegexp(string(decoded)); err != nil {
		return "", text.problem(expectedRegexp, "%v", err)
	}
	return string(decoded), nil
}

// CompileRegexp compiles an expression that must match a tag as a whole: "a|b" matches
// "a" and "b", and neither "ax" nor "xb".
func CompileRegexp(expression string) (*regexp.Regexp, error) {
	// Compiled alone first: "a)(b" would be well-formed once it stands in a group.
	if _, err := regexp.Compile(expression); err != nil {
		return nil, fmt.Errorf("expression %q: %w", expression, err)
	}
	compiled, err := regexp.Compile(`^(?:` + expression + `)$`)
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", expression, err)
	}
	return compiled, nil
}
