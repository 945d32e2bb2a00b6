package config

import (
	"regexp"
	"sync"
)

// expression is a regular expression that is compiled when it is first asked. Most runs ask
// few of those that the grammar has or none, and repetitions such as {2,1000} are unrolled when they are
// compiled: all of them together took 12 MB and half of the time the program needs to start.
type expression struct {
	text     string
	compiled func() *regexp.Regexp
}

// pattern returns the expression that text is. It panics when it is first asked if text is
// none.
func pattern(text string) *expression {
	return &expression{text, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
}

// MatchString reports whether s matches. It may be called concurrently.
func (e *expression) MatchString(s string) bool { return e.compiled().MatchString(s) }

// String returns the text, as the JSON Schema shows it.
func (e *expression) String() string { return e.text }
