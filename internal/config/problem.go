package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Place is where something stands in a file. Line and Column count from 1; where the
// file as a whole is meant, they are 0.
type Place struct {
	File   string
	Line   int
	Column int
}

// String writes the place as editors and compilers do: file:line:column.
func (p Place) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return p.File + ":" + strconv.Itoa(p.Line)
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// line writes the place without the column: what reports and clashes name.
func (p Place) line() string { return Place{File: p.File, Line: p.Line}.String() }

// A Problem is one thing in a file that cannot be followed. Its text is one line,
// whatever the file holds, and never quotes a secret.
type Problem struct {
	Place    Place
	Key      string // "mirrors[nginx].from"; "" for the file as a whole
	Problem  string // what is there: `"1:2" is not a tag`
	Expected string // what should be there instead; "" where Problem says it all
}

// Error names place, key, what is wrong there, and what was expected.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(oneLine(p.Place.String()) + ": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Problem)
	if p.Expected != "" {
		b.WriteString(": expected " + p.Expected)
	}
	return b.String()
}

// Problems are all the problems of a configuration, in the order of the files and of
// their lines. There is at least one.
type Problems []*Problem

// Error has one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems one by one.
func (p Problems) Unwrap() []error {
	errs := make([]error, len(p))
	for i, problem := range p {
		errs[i] = problem
	}
	return errs
}

// maxProblems bounds how many problems are kept: past a hundred nobody reads them.
const maxProblems = 100

// A notebook collects problems. What is said twice of one place, once for its file and
// once for the merge of all, is kept once.
type notebook struct {
	files    []string // in their order
	problems Problems
	seen     map[Problem]bool
	count    int // of all calls of add
}

func (b *notebook) add(place Place, key, problem, expected string) {
	b.count++
	same := Problem{Place: place, Problem: problem}
	if b.seen[same] || b.full() {
		return
	}
	if b.seen == nil {
		b.seen = make(map[Problem]bool)
	}
	b.seen[same] = true
	b.problems = append(b.problems, &Problem{Place: place, Key: key, Problem: problem, Expected: expected})
}

// full reports whether no problem is kept any more, so that none needs to be explained.
func (b *notebook) full() bool { return len(b.problems) >= maxProblems }

// err returns the problems as an error, nil where there are none.
func (b *notebook) err() error {
	if len(b.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(b.problems, func(p, q *Problem) int {
		return cmp.Or(
			cmp.Compare(slices.Index(b.files, p.Place.File), slices.Index(b.files, q.Place.File)),
			cmp.Compare(p.Place.Line, q.Place.Line),
			cmp.Compare(p.Place.Column, q.Place.Column),
		)
	})
	return b.problems
}

// maxQuoted is how many characters of a value a problem quotes.
const maxQuoted = 60

// quoted writes what stands in a file so that it fits on a line.
func quoted(s string) string {
	if runes := []rune(s); len(runes) > maxQuoted {
		s = string(runes[:maxQuoted]) + "…"
	}
	return strconv.Quote(s)
}

// oneLine keeps control characters out of what is not quoted.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// isNot says that a value is not what its key takes.
func isNot(value, noun string) string { return fmt.Sprintf("%s is not %s", quoted(value), noun) }
