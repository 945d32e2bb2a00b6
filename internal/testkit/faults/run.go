package faults

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Run is what a run of the tests has said.
type Run struct {
	Proofs   map[string][]string // by class: the tests that passed and cover it, "copy: TestTree"
	Figures  map[string]int      // by name, those that were measured
	Passed   int                 // tests, with their parts
	Failures []Failure
}

// Failure is a test, or a package, that failed.
type Failure struct{ Name, Output string }

// event is a line of `go test -json`: https://pkg.go.dev/cmd/test2json.
type event struct{ Action, Package, Test, Key, Value, Output string }

// saying is what one test has said so far.
type saying struct {
	covers  []string
	figures []string
	output  strings.Builder
}

// Read reads the output of `go test -json`. What a test says counts once it has passed.
func Read(r io.Reader) (Run, error) {
	run := Run{Proofs: map[string][]string{}, Figures: map[string]int{}}
	open := map[[2]string]*saying{}
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			run.sort()
			return run, nil
		}
		if err != nil && err != io.EOF {
			return Run{}, err
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return Run{}, fmt.Errorf("line %d is not of go test -json: %w", n, err)
		}
		key := [2]string{e.Package, e.Test}
		if open[key] == nil {
			open[key] = &saying{}
		}
		if err := run.take(e, open[key]); err != nil {
			return Run{}, fmt.Errorf("line %d: %w", n, err)
		}
	}
}

func (run *Run) take(e event, s *saying) error {
	switch e.Action {
	case "attr":
		switch e.Key {
		case Attribute:
			s.covers = append(s.covers, e.Value)
		case FigureAttribute:
			s.figures = append(s.figures, e.Value)
		}
	case "output", "build-output":
		s.output.WriteString(e.Output)
	case "fail", "build-fail":
		run.Failures = append(run.Failures, Failure{strings.TrimSpace(e.Package + " " + e.Test), s.output.String()})
	case "pass":
		if e.Test == "" {
			return nil
		}
		run.Passed++
		return run.believe(e, s)
	}
	return nil
}

// believe takes down what a test that has passed said.
func (run *Run) believe(e event, s *saying) error {
	test, _, _ := strings.Cut(e.Test, "/")
	if strings.HasPrefix(e.Test, "TestScripts/") { // each is a test of its own
		test = strings.Join(strings.Split(e.Test, "/")[:2], "/")
	}
	name := path.Base(e.Package) + ": " + test
	for _, id := range s.covers {
		if !slices.Contains(run.Proofs[id], name) {
			run.Proofs[id] = append(run.Proofs[id], name)
		}
	}
	for _, said := range s.figures {
		if err := run.measure(said); err != nil {
			return err
		}
	}
	return nil
}

// measure adds what a test said of a figure.
func (run *Run) measure(said string) error {
	name, value, _ := strings.Cut(said, "=")
	n, err := strconv.Atoi(value)
	i := slices.IndexFunc(Figures(), func(f Figure) bool { return f.Name == name })
	if err != nil || i < 0 {
		return fmt.Errorf("%q is no figure", said)
	}
	if Figures()[i].Peak {
		run.Figures[name] = max(n, run.Figures[name])
	} else {
		run.Figures[name] += n
	}
	return nil
}

func (run *Run) sort() {
	for _, proofs := range run.Proofs {
		slices.Sort(proofs)
	}
	slices.SortFunc(run.Failures, func(a, b Failure) int { return strings.Compare(a.Name, b.Name) })
}
