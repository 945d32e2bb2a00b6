package migrate

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// hasAlternatives reports whether an expression is "a|b" at its top. A tool that anchors
// by text makes "^a|b$" of it, which matches "ax" and "xb".
func hasAlternatives(expression string) bool {
	depth, class := 0, 0 // where a class begins, and 0 outside of one
	for i := 0; i < len(expression); i++ {
		switch c := expression[i]; {
		case c == '\\' && strings.HasPrefix(expression[i:], `\Q`):
			end := strings.Index(expression[i:], `\E`)
			if end < 0 {
				return false
			}
			i += end + 1
		case c == '\\':
			i++
		case class > 0 && strings.HasPrefix(expression[i:], "[:"):
			if end := strings.Index(expression[i+2:], ":]"); end >= 0 {
				i += end + len("[::")
			}
		case class > 0:
			if c == ']' && i > class {
				class = 0
			}
		case c == '[':
			class = i + 1
			if strings.HasPrefix(expression[i+1:], "^") {
				class++
			}
			i = class - 1
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			return true
		}
	}
	return false
}

// noteAlternatives notes what becomes of an expression that a tool anchors by text.
func noteAlternatives(l *line, from *value, expression, tool string) {
	if hasAlternatives(expression) {
		l.note(from, Changed, quoted(expression)+" matches the whole of one alternative or of another",
			tool+" reads it as "+quoted("^"+expression+"$")+", what begins like the first or ends like the last")
	}
}

// anywhere returns an expression that matches the whole of a text where the given one
// matches a part of it.
func anywhere(expression string) string {
	body, starts := strings.CutPrefix(expression, "^")
	body, ends := strings.CutSuffix(body, "$")
	if starts && ends && !hasAlternatives(expression) && isAnchor(body) {
		if _, err := regexp.Compile(body); err == nil && body != "" {
			return body
		}
	}
	if parsed, err := syntax.Parse(expression, syntax.Perl); err == nil && strings.Contains(expression, `\Q`) {
		expression = parsed.String() // which quotes nothing that stands behind
	}
	return ".*(?:" + expression + ").*"
}

// isAnchor reports whether a "$" behind the text would be an anchor, and not escaped.
func isAnchor(before string) bool {
	escapes := len(before) - len(strings.TrimRight(before, `\`))
	return escapes%2 == 0 && !strings.Contains(before, `\Q`)
}

// oneOf returns an expression for what any of several match.
func oneOf(expressions []string) string {
	if len(expressions) == 1 {
		return expressions[0]
	}
	return "(?:" + strings.Join(expressions, ")|(?:") + ")"
}

// A rewrite replaces what an expression matches of a path.
type rewrite struct {
	expression, replacement string
}

// withoutSlash translates a rewrite of paths with a leading slash into one of paths
// without. It reports false where it cannot tell whether both do the same.
func (w rewrite) withoutSlash() (translated rewrite, same bool) {
	rest, behind := w.expression, strings.TrimPrefix(w.replacement, "/")
	switch {
	case !strings.HasPrefix(w.replacement, "/"), hasAlternatives(w.expression), wholeMatch.MatchString(w.replacement):
	case strings.HasPrefix(rest, "^/") && !isRepeated(rest[2:]):
		return rewrite{"^" + rest[2:], behind}, true
	case strings.HasPrefix(rest, "/") && !isRepeated(rest[1:]):
		return rewrite{"(^|/)" + rest[1:], "${1}" + shiftGroups(behind)}, true
	}
	parsed, err := syntax.Parse(w.expression, syntax.Perl)
	if err != nil {
		return w, false
	}
	slash, nothing := opening(parsed)
	return w, !slash && !nothing && !anchors(parsed)
}

// wholeMatch is a reference to all that was matched, the slash included.
var wholeMatch = regexp.MustCompile(`\$(0+|\{0+\})([^0-9A-Za-z_]|$)`)

// isRepeated reports whether what stands before is repeated by what begins here.
func isRepeated(rest string) bool { return rest != "" && strings.ContainsRune("*+?{", rune(rest[0])) }

// neverMatches reports whether an expression is anchored where the path has its slash,
// and wants something else there.
func (w rewrite) neverMatches() bool {
	parsed, err := syntax.Parse(w.expression, syntax.Perl)
	if err != nil || parsed.Op != syntax.OpConcat || parsed.Sub[0].Op != syntax.OpBeginText {
		return false
	}
	slash, nothing := opening(parsed)
	return !slash && !nothing
}

// opening reports whether a match may begin with a slash, and whether it may be empty.
func opening(e *syntax.Regexp) (slash, nothing bool) {
	switch e.Op {
	case syntax.OpNoMatch:
		return false, false
	case syntax.OpLiteral:
		return e.Rune[0] == '/', false
	case syntax.OpCharClass:
		return inClass(e.Rune, '/'), false
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true, false
	case syntax.OpCapture, syntax.OpPlus:
		return opening(e.Sub[0])
	case syntax.OpStar, syntax.OpQuest:
		slash, _ = opening(e.Sub[0])
		return slash, true
	case syntax.OpRepeat:
		slash, nothing = opening(e.Sub[0])
		return slash, nothing || e.Min == 0
	case syntax.OpConcat:
		for _, sub := range e.Sub {
			s, n := opening(sub)
			slash = slash || s
			if !n {
				return slash, false
			}
		}
		return slash, true
	case syntax.OpAlternate:
		for _, sub := range e.Sub {
			s, n := opening(sub)
			slash, nothing = slash || s, nothing || n
		}
		return slash, nothing
	default: // what matches a position
		return false, true
	}
}

func inClass(ranges []rune, r rune) bool {
	for i := 0; i+1 < len(ranges); i += 2 {
		if ranges[i] <= r && r <= ranges[i+1] {
			return true
		}
	}
	return false
}

// anchors reports whether the beginning of the text plays a part.
func anchors(e *syntax.Regexp) bool {
	return e.Op == syntax.OpBeginText || e.Op == syntax.OpBeginLine || slices.ContainsFunc(e.Sub, anchors)
}

// group is a reference to a group in a replacement, or a dollar sign.
var group = regexp.MustCompile(`\$(\$|[0-9A-Za-z_]+|\{[0-9A-Za-z_]+\})`)

// shiftGroups makes room for one group before all those that a replacement refers to.
func shiftGroups(replacement string) string {
	return group.ReplaceAllStringFunc(replacement, func(found string) string {
		n, err := strconv.Atoi(strings.Trim(found, "${}"))
		if err != nil || n == 0 {
			return found
		}
		return fmt.Sprintf("${%d}", n+1)
	})
}
