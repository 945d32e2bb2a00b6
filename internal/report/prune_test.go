package report_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// prunes is a plan that removes a tag and leaves another.
func prunes() plan.Plan {
	gone := action(plan.Prune, "nginx", "mirrors/nginx", "1.8", "upstream does not have it")
	kept := action(plan.Stale, "nginx", "mirrors/nginx", "1.9", "the rules do not choose it; report only")
	for _, a := range []*plan.Action{&gone, &kept} {
		a.From, a.Want, a.Have = ref.Reference{Repository: a.From.Repository}, "", digestB
	}
	return plan.Plan{Actions: []plan.Action{gone, kept}}
}

func TestPrunedRows(t *testing.T) {
	p := prunes()
	removed := plan.Result{Action: p.Actions[0], Status: plan.Pruned}
	kept := plan.Unchanged(p.Actions[1])
	for _, tc := range []struct {
		name    string
		report  report.Report
		status  report.Status
		digest  ref.Digest
		totals  report.Totals
		outcome report.Outcome
	}{
		{
			"done", report.FromResults(run(), p, []plan.Result{removed, kept}), report.StatusPruned, "",
			report.Totals{Images: 2, Pruned: 1, Stale: 1, ElapsedMs: 3100},
			report.Outcome{},
		},
		{
			"dry run", report.FromPlan(run(), p), report.StatusWouldPrune, "",
			report.Totals{Images: 2, WouldPrune: 1, Stale: 1, ElapsedMs: 3100},
			report.Outcome{ChangesPlanned: true},
		},
		{
			"not reached", report.FromResults(run(), p, nil), report.StatusNotDone, digestB,
			report.Totals{Images: 2, Pending: 1, Stale: 1, ElapsedMs: 3100},
			report.Outcome{Pending: true},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			row, other := tc.report.Rows.At(0), tc.report.Rows.At(1)
			if row.Status != tc.status || row.Digest != tc.digest || row.Previous != digestB || row.Verb != plan.Prune {
				t.Errorf("got %s %s, digest %q, previous %q", row.Verb, row.Status, row.Digest, row.Previous)
			}
			if other.Status != report.StatusStale || other.Digest != digestB {
				t.Errorf("what is left is %s, digest %q", other.Status, other.Digest)
			}
			if diff := cmp.Diff(tc.totals, tc.report.Totals); diff != "" {
				t.Errorf("totals (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.outcome, tc.report.Outcome()); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
	table := write(t, report.FromResults(run(), p, []plan.Result{removed, kept}), report.Table, report.Options{})
	for _, want := range []string{"upstream does not have it (was 9f8e7d6c5b4a)", "report only\n", "2 images: 1 pruned, 1 stale;"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
}
