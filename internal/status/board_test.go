package status_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func minute(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

// row is one line of a report.
type row struct {
	mirror string
	tag    string
	verb   plan.Verb
	status plan.Status
	reason string
}

func action(r row) plan.Action {
	repo := ref.Repository{Host: "example.com", Path: "copies/" + r.mirror}
	a := plan.Action{
		Mirror: &discover.Mirror{Name: r.mirror, Target: repo, Origin: discover.Origin{Kind: "file", Place: "mirrors.yaml:3"}},
		Verb:   r.verb, To: repo.Tagged(r.tag), Reason: r.reason,
	}
	if r.verb != plan.Failed {
		a.From.Digest = "sha256:new"
	}
	return a
}

func results(at time.Time, rows ...row) report.Report {
	var p plan.Plan
	var done []plan.Result
	for _, r := range rows {
		p.Actions = append(p.Actions, action(r))
		done = append(done, plan.Result{Action: action(r), Status: r.status, Reason: r.reason, Bytes: 10})
	}
	return report.FromResults(report.Run{Started: at}, p, done)
}

func all(string) bool { return true }

func board(names ...string) *status.Board {
	b := status.NewBoard(start)
	var mirrors []status.Described
	for _, name := range names {
		mirrors = append(mirrors, status.Described{
			Name: name, Origin: "mirrors.yaml:3", Upstream: "docker.io/" + name, Destination: "example.com/copies/" + name, Schedule: "5m",
		})
	}
	b.Describe(mirrors, []string{"5m"}, all)
	return b
}

// run tells the board of a run that began at a minute.
func run(b *status.Board, at int, rows ...row) {
	r := results(minute(at), rows...)
	b.Finished(status.Run{Started: minute(at), Outcome: status.OutcomeOf(r), Schedules: []string{"5m"}, Totals: r.Totals}, r, all)
}

func since(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return fmt.Sprint(int(t.Sub(start).Minutes()))
}

// What a mirror's times and counts are after each of a series of runs.
func TestMirrorThroughItsRuns(t *testing.T) {
	b := board("web")
	steps := []struct {
		what string
		rows []row
		want string // behind since, last success, failed runs in a row; wanted, in sync, copied, blocked, failed, not done
	}{
		{"copied", []row{{"web", "1", plan.Copy, plan.Copied, ""}, {"web", "2", plan.InSync, plan.StaysInSync, ""}}, "- 0 0; 2 2 1 0 0 0"},
		{"a copy fails", []row{{"web", "1", plan.Update, plan.HasFailed, "reset"}, {"web", "2", plan.InSync, plan.StaysInSync, ""}}, "1 0 1; 2 1 0 0 1 0"},
		{"and again", []row{{"web", "1", plan.Update, plan.HasFailed, "reset"}}, "1 0 2; 1 0 0 0 1 0"},
		{"upstream does not answer", []row{{"web", "1", plan.Failed, plan.HasFailed, "no answer"}}, "1 0 3; 1 0 0 0 1 0"},
		{"interrupted", []row{{"web", "1", plan.Update, plan.Pending, "not begun"}}, "1 0 3; 1 0 0 0 0 1"},
		{"updated", []row{{"web", "1", plan.Update, plan.Updated, ""}}, "- 5 0; 1 1 1 0 0 0"},
		{"upstream does not answer, and nothing is known", []row{{"web", "1", plan.Failed, plan.HasFailed, "no answer"}}, "- 5 1; 1 0 0 0 1 0"},
		{"blocked", []row{{"web", "1", plan.Blocked, plan.StaysBlocked, "immutable"}}, "7 5 0; 1 0 0 1 0 0"},
		{"left as it is", []row{{"web", "1", plan.Drifted, plan.StaysDrifted, ""}}, "- 8 0; 1 0 0 0 0 0"},
		{"declared immutable", []row{{"web", "1", plan.Present, plan.StaysPresent, ""}, {"web", "0", plan.Prune, plan.Pruned, ""}}, "- 9 0; 1 1 0 0 0 0"},
		{"nothing is wanted", nil, "- 10 0; 0 0 0 0 0 0"},
	}
	for i, step := range steps {
		run(b, i, step.rows...)
		m := b.Snapshot(minute(i)).Mirrors[0]
		n := m.Tags
		have := fmt.Sprintf("%s %s %d; %d %d %d %d %d %d", since(m.BehindSince), since(m.LastSuccess), m.FailedRunsInARow, n.Wanted, n.InSync, n.Copied, n.Blocked, n.Failed, n.NotDone)
		if have != step.want || since(m.LastRun) != fmt.Sprint(i) {
			t.Errorf("minute %d, %s: %s (last run %s), want %s", i, step.what, have, since(m.LastRun), step.want)
		}
	}
}

// Behind begins when the difference was seen, not when the copy of it ended badly.
func TestBehindBeginsWithThePlan(t *testing.T) {
	b := board("web")
	p := plan.Plan{Actions: []plan.Action{action(row{"web", "1", plan.Update, "", "upstream moved"})}}
	b.Planned(report.FromPlan(report.Run{Started: minute(1)}, p))
	if m := b.Snapshot(minute(2)).Mirrors[0]; since(m.BehindSince) != "1" {
		t.Errorf("while it is copied: behind since %s", since(m.BehindSince))
	}
	run(b, 3, row{"web", "1", plan.Update, plan.HasFailed, "reset"})
	if m := b.Snapshot(minute(4)).Mirrors[0]; since(m.BehindSince) != "1" {
		t.Errorf("after it failed: behind since %s", since(m.BehindSince))
	}
	b.Planned(report.FromPlan(report.Run{Started: minute(5)}, p))
	if m := b.Snapshot(minute(6)).Mirrors[0]; since(m.BehindSince) != "1" {
		t.Errorf("while it is copied again: behind since %s", since(m.BehindSince))
	}
}

func TestErrorsAreBoundedAndHarmless(t *testing.T) {
	b := board("web")
	var rows []row
	for i := range 20 {
		rows = append(rows, row{"web", fmt.Sprint(i), plan.Update, plan.HasFailed, strings.Repeat("long ", 1000) + "\x1b[31m"})
	}
	rows[0].reason = "first\nsecond\x1b[31m"
	run(b, 0, rows...)
	errs := b.Snapshot(start).Mirrors[0].Errors
	if len(errs) != status.KeptErrors || errs[0].Destination != "example.com/copies/web:0" || errs[0].Status != report.StatusFailed {
		t.Fatalf("%d errors, the first %+v", len(errs), errs[0])
	}
	if errs[0].Reason != `first; second\x1b[31m` || len(errs[1].Reason) > 600 {
		t.Errorf("reasons %q, and one of %d bytes", errs[0].Reason, len(errs[1].Reason))
	}
}

func TestRunsAreBoundedAndCounted(t *testing.T) {
	b := board("web")
	for i := range 120 {
		rows := []row{{"web", "1", plan.Update, plan.Updated, ""}}
		if i%3 == 2 {
			rows = append(rows, row{"web", "2", plan.Update, plan.HasFailed, "reset"})
		}
		run(b, i, rows...)
	}
	s := b.Snapshot(minute(200))
	if len(s.Runs) != status.KeptRuns || s.Runs[0].Number != 120 || s.Runs[0].Behind != 1 || s.Runs[49].Number != 71 {
		t.Errorf("%d runs, from %d to %d", len(s.Runs), s.Runs[0].Number, s.Runs[len(s.Runs)-1].Number)
	}
	if want := (status.Runs{OK: 80, Partial: 40}); s.Totals.Runs != want || s.Totals.Copied != 120 || s.Totals.Bytes != 1600 || s.Totals.FailedRunsInARow != 1 {
		t.Errorf("totals %+v", s.Totals)
	}
	b.Finished(status.Run{Started: minute(201), Outcome: status.Failed, Error: "discovery: denied"}, report.Report{}, all)
	b.Finished(status.Run{Started: minute(202), Outcome: status.Interrupted, Error: "interrupted"}, report.Report{}, all)
	s = b.Snapshot(minute(203))
	if s.Totals.FailedRunsInARow != 2 || s.Totals.Runs.Failed != 1 || s.Totals.Runs.Interrupted != 1 || s.Runs[1].Error != "discovery: denied" {
		t.Errorf("after a run without a plan: %+v", s.Totals)
	}
	if m := s.Mirrors[0]; since(m.LastRun) != "119" {
		t.Errorf("a run without a plan says of a mirror that it ran at %s", since(m.LastRun))
	}
}

// Mirrors come and go with the configuration and the resource tags; a search that saw only a
// part removes nothing.
func TestMirrorsComeAndGo(t *testing.T) {
	b := status.NewBoard(start)
	names := func() string {
		var all []string
		for _, m := range b.Snapshot(start).Mirrors {
			all = append(all, m.Name)
		}
		return strings.Join(all, " ")
	}
	mirror := func(name, schedule string) status.Described {
		return status.Described{Name: name, Upstream: "docker.io/" + name, Destination: "example.com/" + name, Schedule: schedule}
	}
	five, hourly := mirror("a", "5m"), mirror("b", "1h")
	b.Describe([]status.Described{hourly, five, mirror("c", "5m")}, []string{"5m", "1h"}, all)
	if have := names(); have != "a b c" {
		t.Fatalf("first %q", have)
	}
	b.Describe([]status.Described{five}, nil, all)
	if have := names(); have != "a b c" {
		t.Errorf("after a search that saw a part %q", have)
	}
	b.Describe([]status.Described{five}, []string{"5m"}, all)
	if have := names(); have != "a b" {
		t.Errorf("after a whole one %q: what another schedule has stays", have)
	}
	b.Describe([]status.Described{five}, nil, func(schedule string) bool { return schedule == "5m" })
	if have := names(); have != "a" {
		t.Errorf("with a schedule gone %q", have)
	}
	second := five
	second.Destination = "backup.example.com/a"
	b.Describe([]status.Described{five, second, five}, nil, all)
	if m := b.Snapshot(start).Mirrors[0]; strings.Join(m.Destinations, " ") != "backup.example.com/a example.com/a" || len(m.Upstreams) != 1 {
		t.Errorf("with two destinations: %v from %v", m.Destinations, m.Upstreams)
	}
}

func TestConfigIsToldOf(t *testing.T) {
	b := board()
	b.Loaded([]string{"a.yaml"}, minute(1))
	b.Rejected(errors.New("a.yaml:3: no such key\nb"), minute(2))
	c := b.Snapshot(minute(3)).Config
	if c.Error != "a.yaml:3: no such key; b" || since(c.ErrorAt) != "2" || since(&c.Loaded) != "1" {
		t.Errorf("broken: %+v", c)
	}
	b.Loaded([]string{"a.yaml"}, minute(4))
	if c := b.Snapshot(minute(5)).Config; c.Error != "" || c.ErrorAt != nil || since(&c.Loaded) != "4" {
		t.Errorf("mended: %+v", c)
	}
}

func TestNextRuns(t *testing.T) {
	b := board("web")
	run(b, 0, row{"web", "1", plan.Update, plan.HasFailed, "reset"})
	b.Schedule(map[string]time.Time{"5m": minute(5), "1h": minute(3)})
	s := b.Snapshot(minute(1))
	if since(s.NextRun) != "3" || since(s.Mirrors[0].NextRun) != "5" || s.Mirrors[0].WaitsFor != "" {
		t.Errorf("next run %s, the mirror's %s, which waits for %q", since(s.NextRun), since(s.Mirrors[0].NextRun), s.Mirrors[0].WaitsFor)
	}
	b.Rest(map[string]time.Time{"web": minute(20)})
	if m := b.Snapshot(minute(1)).Mirrors[0]; since(m.NextRun) != "20" || m.WaitsFor != "rests after 1 failed run in a row" {
		t.Errorf("resting: %s, %q", since(m.NextRun), m.WaitsFor)
	}
	b.Rest(nil)
	run(b, 6, row{"web", "1", plan.Blocked, plan.StaysBlocked, "immutable"})
	if m := b.Snapshot(minute(7)).Mirrors[0]; since(m.NextRun) != "5" || m.WaitsFor != "1 blocked row for a person" {
		t.Errorf("blocked: %s, %q", since(m.NextRun), m.WaitsFor)
	}
}

func TestNameOf(t *testing.T) {
	for _, test := range [][4]string{
		{"web", "example.com/copies/web", "mirrors.yaml:3", "web"},
		{"external/web", "1.dkr.ecr.eu-central-1.amazonaws.com/external/web", "arn:aws:ecr:eu-central-1:1:repository/external/web", "1.dkr.ecr.eu-central-1.amazonaws.com/external/web"},
		{"", "example.com/web", "mirrors.yaml:3", "example.com/web"},
		{"", "", "discovery", ""},
	} {
		if have := status.NameOf(test[0], test[1], test[2]); have != test[3] {
			t.Errorf("%q is called %q, want %q", test[:3], have, test[3])
		}
	}
}

// A snapshot is a value: nothing that happens later, and nothing done to it, is seen
// elsewhere. Two of the same moment are the same text.
func TestSnapshotSharesNothing(t *testing.T) {
	b := board("web", "api", "db")
	b.Loaded([]string{"a.yaml"}, start)
	run(b, 0, row{"web", "1", plan.Update, plan.HasFailed, "reset"}, row{"api", "1", plan.Update, plan.HasFailed, "reset"})
	text := func() string {
		encoded, err := json.Marshal(b.Snapshot(minute(1)))
		if err != nil {
			t.Fatal(err)
		}
		return string(encoded)
	}
	before := text()
	if strings.Contains(before, ":null,\"reason\"") || strings.Contains(before, `"errors":null`) {
		t.Errorf("a list is null: %s", before)
	}
	s := b.Snapshot(minute(1))
	s.Mirrors[2].Errors[0].Reason, s.Mirrors[2].Destinations[0], s.Config.Files[0], s.Runs[0].Schedules[0] = "x", "x", "x", "x"
	*s.Mirrors[2].LastRun, *s.Mirrors[2].BehindSince = minute(9), minute(9)
	for range 20 {
		if text() != before {
			t.Fatalf("it was\n%s\nand is\n%s", before, text())
		}
	}
}

func TestBoardIsSafeForConcurrentUse(t *testing.T) {
	b := board("web")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				run(b, i, row{"web", "1", plan.Update, plan.Updated, ""})
				b.Enter(status.Copying, start)
				b.Schedule(map[string]time.Time{"5m": start})
				b.Snapshot(start)
			}
		})
	}
	wg.Wait()
	if runs := b.Snapshot(start).Totals.Runs.OK; runs != 400 {
		t.Errorf("%d runs were counted", runs)
	}
}
