package report_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

const outputPage = "../../docs/output.md"

// TestSampleInDocs keeps the page's sample what the program writes.
func TestSampleInDocs(t *testing.T) {
	p := samplePlan()
	p.Actions = p.Actions[3:5]
	sample := write(t, report.FromResults(run(), p, sampleResults()[3:5]), report.JSON, report.Options{})

	page := readPage(t)
	before, rest, ok := strings.Cut(page, "```json\n")
	_, after, closed := strings.Cut(rest, "```\n")
	if !ok || !closed {
		t.Fatalf("%s has no JSON sample", outputPage)
	}
	want := before + "```json\n" + sample + "```\n" + after
	if page == want {
		return
	}
	if !*update {
		t.Fatalf("the sample in %s is out of date; -update rewrites it", outputPage)
	}
	if err := os.WriteFile(outputPage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestEveryFieldIsDocumented asks for a table row about each field and each status.
func TestEveryFieldIsDocumented(t *testing.T) {
	page := readPage(t)
	for prefix, fields := range map[string]reflect.Type{
		"":        reflect.TypeFor[report.Report](),
		"totals.": reflect.TypeFor[report.Totals](),
		"rows[].": reflect.TypeFor[report.Row](),
	} {
		for field := range fields.Fields() {
			row := "| `" + prefix + field.Tag.Get("json") + "` |"
			if !strings.Contains(page, row) {
				t.Errorf("%s lacks %s", outputPage, row)
			}
		}
	}
	for _, s := range []report.Status{
		report.StatusCopied, report.StatusUpdated, report.StatusInSync, report.StatusPresent, report.StatusDrifted, report.StatusBlocked, report.StatusFailed,
		report.StatusNotDone, report.StatusWouldCopy, report.StatusWouldUpdate, report.StatusListed, report.StatusLeftOut,
		report.StatusPruned, report.StatusStale, report.StatusWouldPrune,
		report.StatusVerified, report.StatusRepaired, report.StatusMissing, report.StatusDamaged,
	} {
		if row := "| `" + string(s) + "` | " + s.String() + " |"; !strings.Contains(page, row) {
			t.Errorf("%s lacks %s", outputPage, row)
		}
	}
}

func readPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(outputPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}
