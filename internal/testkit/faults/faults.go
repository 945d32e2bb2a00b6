// Package faults ties tests to the classes of the fault catalogue, F01 to F105, and to the
// invariants, I1 to I18, so that what is proven can be counted from a test run instead of
// being claimed in a document. The same run says the Figures that a release is judged by.
package faults

import (
	"fmt"
	"os"
	"testing"
)

// Keys under which `go test -json` reports what tests say, in events whose Action is
// "attr": https://pkg.go.dev/testing#T.Attr.
const (
	Attribute       = "covers" // the identifier of a class or an invariant
	FigureAttribute = "figure" // "crash points=1234"
)

// Attributed is what can say something of a run: a test or benchmark.
type Attributed interface {
	Attr(key, value string)
	Helper()
	Fatalf(format string, args ...any)
}

var _ Attributed = testing.TB(nil)

// Covers says that a test proves what the catalogue expects under the faults or invariants
// with these identifiers. It says so only for tests that get this far: one that is skipped
// before covers nothing, and one that fails afterwards is counted as failed.
func Covers(t Attributed, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, ok := Find(id); !ok {
			t.Fatalf("%s is no fault class and no invariant", id)
		}
		t.Attr(Attribute, id)
	}
}

// Measured says what a test has counted of one figure. The counts of several tests go
// together as the figure says.
func Measured(t Attributed, name string, n int) {
	t.Helper()
	for _, f := range Figures() {
		if f.Name == name {
			t.Attr(FigureAttribute, fmt.Sprintf("%s=%d", name, n))
			return
		}
	}
	t.Fatalf("there is no figure %q", name)
}

// Full reports whether this is `make faults`, which has minutes. Other runs prove the same
// on a sample.
func Full() bool { return os.Getenv("FAULTS") == "full" }
