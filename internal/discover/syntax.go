package discover

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A SyntaxError is one thing in a description that cannot be followed. Its text is one
// line, whatever the value holds.
type SyntaxError struct {
	Key      string // the resource tag or flag
	Value    string // the whole value
	Position int    // 1 for the value's first character; 0 where the key itself is the problem
	Problem  string // what is there: `unknown mode "fast"`
	Expected string // what should be there instead
}

// Error names key, value and position, what is wrong there, and what was expected.
func (e *SyntaxError) Error() string {
	if e.Position == 0 {
		return fmt.Sprintf("%s %s: expected %s", e.Key, e.Problem, e.Expected)
	}
	return fmt.Sprintf("%s %q, position %d: %s: expected %s", e.Key, e.Value, e.Position, e.Problem, e.Expected)
}

// A span is a part of a value that remembers where it stands.
type span struct {
	key, value string
	start, end int // bytes
}

func newSpan(key, value string) span { return span{key: key, value: value, end: len(value)} }

func (s span) String() string { return s.value[s.start:s.end] }

func (s span) empty() bool { return s.start == s.end }

// position returns the span's first character as people count: from 1, in characters.
func (s span) position() int { return utf8.RuneCountInString(s.value[:s.start]) + 1 }

// problem is an error at the span's first character.
func (s span) problem(expected, format string, args ...any) error {
	return &SyntaxError{
		Key: s.key, Value: s.value, Position: s.position(),
		Problem: fmt.Sprintf(format, args...), Expected: expected,
	}
}

// from returns the span without its first n bytes.
func (s span) from(n int) span {
	s.start += n
	return s
}

// to returns the span's first n bytes.
func (s span) to(n int) span {
	s.end = s.start + n
	return s
}

func (s span) trim() span {
	s.start = s.end - len(strings.TrimLeft(s.String(), " "))
	s.end = s.start + len(strings.TrimRight(s.String(), " "))
	return s
}

// split cuts the span at every separator, as strings.Split does.
func (s span) split(separator byte) []span {
	var parts []span
	for {
		i := strings.IndexByte(s.String(), separator)
		if i < 0 {
			return append(parts, s)
		}
		parts = append(parts, s.to(i))
		s = s.from(i + 1)
	}
}

// fields cuts the span at runs of spaces; none of the parts is empty.
func (s span) fields() []span {
	var parts []span
	for _, part := range s.split(' ') {
		if !part.empty() {
			parts = append(parts, part)
		}
	}
	return parts
}

// cut cuts the span at the first separator.
func (s span) cut(separator byte) (before, after span, found bool) {
	i := strings.IndexByte(s.String(), separator)
	if i < 0 {
		return s, s.from(len(s.String())), false
	}
	return s.to(i), s.from(i + 1), true
}

// cutPrefix returns the span after prefix.
func (s span) cutPrefix(prefix string) (after span, found bool) {
	if !strings.HasPrefix(s.String(), prefix) {
		return s, false
	}
	return s.from(len(prefix)), true
}
