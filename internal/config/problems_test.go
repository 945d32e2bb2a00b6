package config_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// TestProblems compares what is said of each case with testdata/problems.txt, which was
// reviewed by eye and shows the texts as well.
func TestProblems(t *testing.T) {
	faults.Covers(t, "F86", "F87", "F89", "F90")
	var b strings.Builder
	for _, c := range append(problemCases(), credentialCases()...) {
		_, err := load(c.text)
		checkProblems(t, c.name, err)
		shown := c.text
		switch {
		case len(shown) > 600:
			shown = shown[:60] + "…"
		case !utf8.ValidString(shown):
			shown = strconv.Quote(shown)
		}
		fmt.Fprintf(&b, "== %s\n\n    %s\n\n%v\n\n", c.name, strings.ReplaceAll(strings.TrimSpace(shown), "\n", "\n    "), err)
	}
	golden(t, "testdata/problems.txt", []byte(b.String()))
}

// checkProblems checks what holds for every problem.
func checkProblems(t *testing.T, name string, err error) {
	t.Helper()
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Errorf("%s: %v (%T) is not Problems", name, err, err)
		return
	}
	for _, p := range problems {
		if strings.ContainsFunc(p.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%s: %q has control characters", name, p)
		}
		if !errors.Is(err, p) {
			t.Errorf("%s: %v is not in the chain", name, p)
		}
	}
}

func TestProblemsShowNoSecret(t *testing.T) {
	for _, c := range credentialCases() {
		_, err := load(c.text)
		if strings.Contains(strings.ReplaceAll(fmt.Sprint(err), "CANARY_UNSET", ""), "canary") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestProblemsAreBounded(t *testing.T) {
	_, err := load(head + strings.Repeat("mirrors: [{}]\n", 5000))
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) != 100 {
		t.Errorf("%d problems", len(problems))
	}
}

func TestProblemsOfFiles(t *testing.T) {
	read := files{"a.yaml": head}.read
	for _, test := range []struct {
		name  string
		paths []string
		want  string
	}{
		{"none", nil, ": no configuration file was named"},
		{"missing", []string{"a.yaml", "b.yaml"}, "b.yaml: the file cannot be read: open b.yaml: no such file"},
		{"twice", []string{"a.yaml", "a.yaml"}, "a.yaml: the file is given twice: expected each file once"},
		{"odd name", []string{"b\n.yaml"}, "b?.yaml: the file cannot be read: open b?.yaml: no such file"},
	} {
		if _, err := config.Load(test.paths, environment, read); fmt.Sprint(err) != test.want {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}
