package faults

import (
	"fmt"
	"io"
	"strings"
)

// Goals for how many of the catalogue's classes and invariants have a test.
const (
	goalClasses    = 95
	goalInvariants = 18
)

// WriteFigures prints the figures of a run beside their goals, and reports whether all of
// them are met.
func (run Run) WriteFigures(w io.Writer) bool {
	met := true
	row := func(name, value string, capped bool, goal int, ok bool) {
		verdict, bound := "", "at least"
		if capped {
			bound = "at most"
		}
		if !ok {
			verdict, met = "  NOT MET", false
		}
		fmt.Fprintf(w, "%-52s %9s   goal: %s %d%s\n", name, value, bound, goal, verdict)
	}
	classes, invariants := run.covered()
	row("fault classes with a test, of 105", fmt.Sprint(classes), false, goalClasses, classes >= goalClasses)
	row("invariants with a test, of 18", fmt.Sprint(invariants), false, goalInvariants, invariants >= goalInvariants)
	for _, f := range Figures() {
		n, measured := run.Figures[f.Name]
		value := fmt.Sprint(n)
		if !measured {
			value = "not seen"
		}
		row(f.Name, value, f.Cap, f.Goal, measured && f.Met(n))
	}
	return met
}

// covered counts what has a test that passed.
func (run Run) covered() (classes, invariants int) {
	for _, c := range Catalogue() {
		switch {
		case len(run.Proofs[c.ID]) == 0:
		case c.Invariant():
			invariants++
		default:
			classes++
		}
	}
	return classes, invariants
}

// Markdown is the matrix as two tables.
func (run Run) Markdown() string {
	var b strings.Builder
	classes, invariants := run.covered()
	fmt.Fprintf(&b, "%d of 105 classes of faults and %d of 18 invariants have a test that passed.\n", classes, invariants)
	b.WriteString("\n| | fault | what must come of it | proven by |\n| --- | --- | --- | --- |\n")
	table := func(invariants bool) {
		for _, c := range Catalogue() {
			if c.Invariant() == invariants {
				fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.ID, c.Fault, c.Expected, run.proof(c))
			}
		}
	}
	table(false)
	b.WriteString("\n| | invariant | what it says | proven by |\n| --- | --- | --- | --- |\n")
	table(true)
	return b.String()
}

// shown is how many tests of a class are named.
const shown = 3

func (run Run) proof(c Class) string {
	proofs := run.Proofs[c.ID]
	if len(proofs) == 0 {
		if c.Open == "" {
			return "**not covered**"
		}
		return "**not covered**: " + c.Open
	}
	var names []string
	for _, p := range proofs[:min(shown, len(proofs))] {
		names = append(names, "`"+p+"`")
	}
	text := strings.Join(names, ", ")
	if more := len(proofs) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Marks between which a document holds the matrix.
const (
	begin = "<!-- begin: written by make faults -->\n"
	end   = "<!-- end: written by make faults -->\n"
)

// Into returns a document with the matrix between its marks.
func (run Run) Into(document string) (string, error) {
	before, rest, ok := strings.Cut(document, begin)
	_, after, found := strings.Cut(rest, end)
	if !ok || !found {
		return "", fmt.Errorf("the document lacks a line %q or %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + "\n" + run.Markdown() + "\n" + end + after, nil
}
