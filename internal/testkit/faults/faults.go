// Package faults ties tests to the classes of the fault catalogue, F01 to F105, and to the
// invariants, I1 to I18, so that what is proven can be counted from a test run instead of
// being claimed in a document.
package faults

import "testing"

// Attribute is the key under which `go test -json` reports what a test covers, in events
// whose Action is "attr": https://pkg.go.dev/testing#T.Attr.
const Attribute = "covers"

// Covers says that tb proves what the catalogue expects under the faults or invariants with
// these identifiers. It says so only for tests that get this far: one that is skipped
// before covers nothing, and one that fails afterwards is counted as failed.
func Covers(tb testing.TB, ids ...string) {
	tb.Helper()
	for _, id := range ids {
		tb.Attr(Attribute, id)
	}
}
