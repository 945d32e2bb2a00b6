package faults_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// The catalogue is F01 to F105 and I1 to I18, in their order, each said in words.
func TestCatalogue(t *testing.T) {
	var want, got []string
	for i := range 105 {
		want = append(want, fmt.Sprintf("F%02d", i+1))
	}
	for i := range 18 {
		want = append(want, fmt.Sprintf("I%d", i+1))
	}
	for _, c := range faults.Catalogue() {
		got = append(got, c.ID)
		if c.Fault == "" || c.Expected == "" || strings.ContainsAny(c.Fault+c.Expected+c.Open, "|\n") {
			t.Errorf("%+v", c)
		}
		if c.Invariant() != strings.HasPrefix(c.ID, "I") {
			t.Errorf("%s", c.ID)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// sayer is a test that says something wrong.
type sayer struct{ said, refused []string }

func (s *sayer) Attr(key, value string) { s.said = append(s.said, key+" "+value) }
func (*sayer) Helper()                  {}
func (s *sayer) Fatalf(f string, args ...any) {
	s.refused = append(s.refused, fmt.Sprintf(f, args...))
	panic(s)
}

func TestOnlyWhatIsListedIsCovered(t *testing.T) {
	for name, say := range map[string]func(*sayer){
		"F106":     func(s *sayer) { faults.Covers(s, "F05", "F106") },
		"no words": func(s *sayer) { faults.Measured(s, "no words", 1) },
	} {
		s := &sayer{}
		func() {
			defer func() { _ = recover() }()
			say(s)
		}()
		if len(s.refused) != 1 || !strings.Contains(s.refused[0], name) {
			t.Errorf("%s: %v", name, s.refused)
		}
	}
	s := &sayer{}
	faults.Covers(s, "F05", "I3")
	faults.Measured(s, faults.CrashPoints, 7)
	if diff := cmp.Diff([]string{"covers F05", "covers I3", "figure crash points=7"}, s.said); diff != "" {
		t.Error(diff)
	}
}

const output = `{"Action":"start","Package":"m/copy"}
{"Action":"attr","Package":"m/copy","Test":"TestA","Key":"covers","Value":"F01"}
{"Action":"attr","Package":"m/copy","Test":"TestA/x","Key":"covers","Value":"F02"}
{"Action":"attr","Package":"m/copy","Test":"TestA/x","Key":"figure","Value":"crash points=700"}
{"Action":"attr","Package":"m/copy","Test":"TestA/x","Key":"other","Value":"F09"}
{"Action":"attr","Package":"m/copy","Test":"TestA/y","Key":"covers","Value":"F02"}
{"Action":"attr","Package":"m/copy","Test":"TestA/y","Key":"figure","Value":"crash points=400"}
{"Action":"pass","Package":"m/copy","Test":"TestA/x"}
{"Action":"pass","Package":"m/copy","Test":"TestA/y"}
{"Action":"pass","Package":"m/copy","Test":"TestA"}
{"Action":"attr","Package":"m/copy","Test":"TestSkips","Key":"covers","Value":"F03"}
{"Action":"skip","Package":"m/copy","Test":"TestSkips"}
{"Action":"attr","Package":"m/cli","Test":"TestScripts/sync/sync","Key":"covers","Value":"I3"}
{"Action":"attr","Package":"m/cli","Test":"TestScripts/sync/sync","Key":"figure","Value":"stall to error past its limit, ms=30"}
{"Action":"pass","Package":"m/cli","Test":"TestScripts/sync/sync"}
{"Action":"attr","Package":"m/cli","Test":"TestSlow","Key":"figure","Value":"stall to error past its limit, ms=20"}
{"Action":"pass","Package":"m/cli","Test":"TestSlow"}
{"Action":"output","Package":"m/cli","Test":"TestFails","Output":"why\n"}
{"Action":"attr","Package":"m/cli","Test":"TestFails","Key":"covers","Value":"F04"}
{"Action":"fail","Package":"m/cli","Test":"TestFails"}
{"Action":"pass","Package":"m/copy"}
`

func TestRead(t *testing.T) {
	run, err := faults.Read(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	want := faults.Run{
		Proofs:   map[string][]string{"F01": {"copy: TestA"}, "F02": {"copy: TestA"}, "I3": {"cli: TestScripts/sync"}},
		Figures:  map[string]int{faults.CrashPoints: 1100, faults.StallPastLimit: 30},
		Passed:   5,
		Failures: []faults.Failure{{Name: "m/cli TestFails", Output: "why\n"}},
	}
	if diff := cmp.Diff(want, run); diff != "" {
		t.Error(diff)
	}
	for _, wrong := range []string{"ok m/copy\n", strings.ReplaceAll(output, "=700", "=many"), strings.ReplaceAll(output, "crash points=", "crashes=")} {
		if _, err := faults.Read(strings.NewReader(wrong)); err == nil {
			t.Error("no error")
		}
	}
}

func TestFigures(t *testing.T) {
	run := faults.Run{Figures: map[string]int{faults.CrashPoints: 1000, faults.BrokenTags: 1}}
	var b strings.Builder
	if run.WriteFigures(&b) {
		t.Error("all met")
	}
	for name, ok := range map[string]bool{faults.CrashPoints: true, faults.BrokenTags: false, faults.Canaries: false, "fault classes": false} {
		for line := range strings.Lines(b.String()) {
			if strings.HasPrefix(line, name) && strings.Contains(line, "NOT MET") == ok {
				t.Error(line)
			}
		}
	}
	run = faults.Run{Figures: map[string]int{}, Proofs: map[string][]string{}}
	for _, f := range faults.Figures() {
		run.Figures[f.Name] = f.Goal
	}
	for _, c := range faults.Catalogue() {
		run.Proofs[c.ID] = []string{"x: TestX"}
	}
	if b.Reset(); !run.WriteFigures(&b) {
		t.Error(b.String())
	}
}

func TestMatrix(t *testing.T) {
	run := faults.Run{Proofs: map[string][]string{"F01": {"a: A", "b: B", "c: C", "d: D", "e: E"}, "I18": {"a: A"}}}
	document := "# Title\n<!-- begin: written by make faults -->\nOUTDATED\n<!-- end: written by make faults -->\nafter\n"
	got, err := run.Into(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"# Title\n<!-- begin", "-->\nafter\n", "\n1 of 105 classes of faults and 1 of 18 invariants have",
		"\n| F01 | connection refused | ", " | `a: A`, `b: B`, `c: C` and 2 more |\n", "\n| F02 | ", " | **not covered**", "\n| I18 | Drift detection |",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("it lacks %q", part)
		}
	}
	if strings.Contains(got, "OUTDATED") {
		t.Error("the old one is still there")
	}
	if again, err := run.Into(got); err != nil || again != got {
		t.Errorf("a second time it is another: %v", err)
	}
	if _, err := run.Into("# Title\n"); err == nil {
		t.Error("no error")
	}
}
