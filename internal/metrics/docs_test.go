package metrics_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

var update = flag.Bool("update", false, "rewrite the table of docs/metrics.md")

// The table of metrics in the documentation stands between these lines.
const (
	document = "../../docs/metrics.md"
	from     = "<!-- metrics: made by go test ./internal/metrics -update -->\n"
	to       = "<!-- end of metrics -->\n"
)

// The documentation names every metric there is, with its labels, and no others. Tests of
// the chart take the names that dashboards and rules may use from there.
func TestDocumentation(t *testing.T) {
	families, err := everything().Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	table := "| metric | kind | labels | what it says |\n| --- | --- | --- | --- |\n"
	for _, f := range families {
		table += fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), labelsOf(f), f.GetHelp())
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), from)
	old, after, ended := strings.Cut(rest, to)
	switch {
	case !found || !ended:
		t.Fatalf("%s has no place for the table", document)
	case *update:
		if err := os.WriteFile(document, []byte(before+from+"\n"+table+"\n"+to+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case strings.TrimSpace(old) != strings.TrimSpace(table):
		t.Errorf("the table of %s is not what the program has: go test ./internal/metrics -update\nit should be\n%s", document, table)
	}
	for _, word := range strings.FieldsFunc(before+after, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
		name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(word, "_count"), "_sum"), "_bucket")
		known := slices.ContainsFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name })
		if rest, ours := strings.CutPrefix(word, "ecr_mirror_sync_"); ours && rest != "" && !known {
			t.Errorf("%s speaks of %s, which is no metric", document, word)
		}
	}
}

func labelsOf(f *dto.MetricFamily) string {
	var names []string
	for _, pair := range f.GetMetric()[0].GetLabel() {
		names = append(names, "`"+pair.GetName()+"`")
	}
	return strings.Join(names, ", ")
}
