package metrics_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/metrics"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

var noon = time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)

// at is a clock that stands.
func at(t time.Time) func() time.Time { return func() time.Time { return t } }

// row is one action of a mirror and what came of it.
type row struct {
	mirror, tag string
	verb        plan.Verb
	status      plan.Status
	bytes       int64
}

// ran is the report of a run.
func ran(run report.Run, rows ...row) report.Report {
	var p plan.Plan
	var results []plan.Result
	for _, r := range rows {
		m := &discover.Mirror{Target: ref.Repository{Host: "ecr", Path: "to/" + r.mirror}}
		if !strings.HasPrefix(r.mirror, "tagged") {
			m.Name = r.mirror
		}
		a := plan.Action{Mirror: m, To: m.Target.Tagged(r.tag), Verb: r.verb}
		p.Actions = append(p.Actions, a)
		results = append(results, plan.Result{Action: a, Status: r.status, Bytes: r.bytes, Err: failed(r.status)})
	}
	return report.FromResults(run, p, results)
}

func failed(s plan.Status) error {
	if s == plan.HasFailed {
		return errors.New("502")
	}
	return nil
}

// lines are those of the metrics that begin so.
func lines(t *testing.T, m *metrics.Metrics, prefix string) []string {
	t.Helper()
	var text strings.Builder
	if err := m.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(text.String()) {
		if rest, ok := strings.CutPrefix(line, "ecr_mirror_sync_"+prefix); ok {
			found = append(found, strings.TrimSpace(prefix+rest))
		}
	}
	return found
}

func expect(t *testing.T, m *metrics.Metrics, prefix string, want ...string) {
	t.Helper()
	if got := lines(t, m, prefix); !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", prefix, got, want)
	}
}

// everything is a state in which every metric has a value.
func everything() *metrics.Metrics {
	m := metrics.New(metrics.Options{Version: "v1", Commit: "abc", GoVersion: "go1", Now: at(noon)})
	m.Observe(ran(report.Run{}, row{"web", "1", plan.Copy, plan.Copied, 10}), noon.Add(-time.Minute), noon)
	m.Answered("docker.io", "manifest_read", 200, http.Header{"Ratelimit-Limit": {"100;w=21600"}, "Ratelimit-Remaining": {"76;w=21600"}})
	m.Throttled("docker.io")
	m.TokenExpires("ecr", noon)
	m.Memory().Loaded(noon)
	return m
}

// Names and help texts are as Prometheus wants them.
func TestLint(t *testing.T) {
	m := everything()
	problems, err := testutil.GatherAndLint(m.Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if n, err := testutil.GatherAndCount(m.Gatherer()); err != nil || n < 15 {
		t.Errorf("%d series, %v: the lint looked at too little", n, err)
	}
}

// What is said of mirrors is what the reports of the runs said, one after another.
func TestMirrorsAfterRuns(t *testing.T) {
	now := noon
	m := metrics.New(metrics.Options{Now: func() time.Time { return now }})
	run := func(rows ...row) {
		began := now
		now = now.Add(10 * time.Second)
		m.Observe(ran(report.Run{}, rows...), began, now)
	}
	run(
		row{"web", "1", plan.InSync, plan.StaysInSync, 0},
		row{"web", "2", plan.Copy, plan.Copied, 30},
		row{"web", "3", plan.Update, plan.Updated, 12},
		row{"web", "4", plan.Prune, plan.Pruned, 0},
		row{"web", "5", plan.Stale, plan.StaysStale, 0},
		row{"web", "6", plan.Drifted, plan.StaysDrifted, 0},
		row{"db", "1", plan.Copy, plan.HasFailed, 7},
		row{"db", "2", plan.Blocked, plan.StaysBlocked, 0},
		row{"tagged", "1", plan.Copy, plan.Pending, 0},
	)
	expect(t, m, "mirror_tags",
		`mirror_tags{mirror="db",state="blocked"} 1`, `mirror_tags{mirror="db",state="copied"} 0`, `mirror_tags{mirror="db",state="failed"} 1`, `mirror_tags{mirror="db",state="in_sync"} 0`, `mirror_tags{mirror="db",state="wanted"} 2`,
		`mirror_tags{mirror="ecr/to/tagged",state="blocked"} 0`, `mirror_tags{mirror="ecr/to/tagged",state="copied"} 0`, `mirror_tags{mirror="ecr/to/tagged",state="failed"} 0`, `mirror_tags{mirror="ecr/to/tagged",state="in_sync"} 0`, `mirror_tags{mirror="ecr/to/tagged",state="wanted"} 1`,
		`mirror_tags{mirror="web",state="blocked"} 0`, `mirror_tags{mirror="web",state="copied"} 2`, `mirror_tags{mirror="web",state="failed"} 0`, `mirror_tags{mirror="web",state="in_sync"} 3`, `mirror_tags{mirror="web",state="wanted"} 4`)
	expect(t, m, "mirror_behind", `mirror_behind_seconds{mirror="db"} 10`, `mirror_behind_seconds{mirror="ecr/to/tagged"} 10`, `mirror_behind_seconds{mirror="web"} 0`)
	expect(t, m, "mirror_failed", `mirror_failed_runs_in_a_row{mirror="db"} 1`, `mirror_failed_runs_in_a_row{mirror="ecr/to/tagged"} 0`, `mirror_failed_runs_in_a_row{mirror="web"} 0`)
	expect(t, m, "mirror_last_success", `mirror_last_success_timestamp_seconds{mirror="web"} 1.774008e+09`)
	expect(t, m, "bytes_total", `bytes_total{direction="read"} 0`, `bytes_total{direction="written"} 49`)

	// The next run fails again, and the time since the first difference goes on.
	run(row{"db", "1", plan.Copy, plan.HasFailed, 0})
	expect(t, m, "mirror_behind", `mirror_behind_seconds{mirror="db"} 20`, `mirror_behind_seconds{mirror="ecr/to/tagged"} 20`, `mirror_behind_seconds{mirror="web"} 0`)
	expect(t, m, `mirror_failed_runs_in_a_row{mirror="db"}`, `mirror_failed_runs_in_a_row{mirror="db"} 2`)

	run(row{"db", "1", plan.Copy, plan.Copied, 0})
	expect(t, m, `mirror_behind_seconds{mirror="db"}`, `mirror_behind_seconds{mirror="db"} 0`)
	expect(t, m, `mirror_failed_runs_in_a_row{mirror="db"}`, `mirror_failed_runs_in_a_row{mirror="db"} 0`)
	expect(t, m, "run_duration_seconds_count", "run_duration_seconds_count 3")
	expect(t, m, "run_duration_seconds_sum", "run_duration_seconds_sum 30")
}

// What was known before holds only where no run has looked.
func TestWhatIsKeptIsTheLatest(t *testing.T) {
	m := metrics.New(metrics.Options{Now: at(noon)})
	m.Memory().Remember([]metrics.Mirror{{Name: "web", LastRun: noon, FailedRuns: 3}, {Name: "db", LastRun: noon, FailedRuns: 4}})
	m.Observe(ran(report.Run{}, row{"web", "1", plan.Copy, plan.HasFailed, 0}), noon, noon)
	m.Memory().Keep()
	expect(t, m, "mirror_failed", `mirror_failed_runs_in_a_row{mirror="db"} 4`, `mirror_failed_runs_in_a_row{mirror="web"} 4`)
	m.Observe(ran(report.Run{}, row{"web", "1", plan.Copy, plan.Copied, 0}), noon, noon)
	m.Memory().Keep()
	expect(t, m, "mirror_failed", `mirror_failed_runs_in_a_row{mirror="db"} 4`, `mirror_failed_runs_in_a_row{mirror="web"} 0`)
}

func TestOutcomes(t *testing.T) {
	good, bad, blocked, pending := row{"a", "1", plan.Copy, plan.Copied, 0}, row{"a", "2", plan.Copy, plan.HasFailed, 0}, row{"a", "3", plan.Blocked, plan.StaysBlocked, 0}, row{"a", "4", plan.Copy, plan.Pending, 0}
	for _, test := range []struct {
		name string
		run  report.Run
		rows []row
		want status.Outcome
	}{
		{"nothing to do", report.Run{}, nil, status.OK},
		{"all done", report.Run{}, []row{good}, status.OK},
		{"one failed", report.Run{}, []row{good, bad}, status.Partial},
		{"one blocked", report.Run{}, []row{good, blocked}, status.Partial},
		{"one not reached", report.Run{BudgetUsedUp: true}, []row{good, pending}, status.Partial},
		{"all failed", report.Run{}, []row{bad, bad}, status.Failed},
		{"interrupted", report.Run{Interrupted: true}, []row{good, bad, pending}, status.Interrupted},
	} {
		m := metrics.New(metrics.Options{})
		m.Observe(ran(test.run, test.rows...), noon, noon)
		for _, outcome := range []status.Outcome{status.OK, status.Partial, status.Failed, status.Interrupted} {
			want := "0"
			if outcome == test.want {
				want = "1"
			}
			expect(t, m, fmt.Sprintf("runs_total{outcome=%q}", outcome), fmt.Sprintf("runs_total{outcome=%q} %s", outcome, want))
		}
	}
	m := metrics.New(metrics.Options{})
	m.Broken(false, noon, noon)
	m.Broken(true, noon, noon)
	expect(t, m, "runs_total", `runs_total{outcome="failed"} 1`, `runs_total{outcome="interrupted"} 1`, `runs_total{outcome="ok"} 0`, `runs_total{outcome="partial"} 0`)
}

// A dry run is no run: it would say of mirrors what is not so.
func TestDryRunsDoNotCount(t *testing.T) {
	m := metrics.New(metrics.Options{})
	m.Observe(report.FromPlan(report.Run{}, plan.Plan{}), noon, noon)
	expect(t, m, "run_duration_seconds_count", "run_duration_seconds_count 0")
}

// state is a State of a test's own.
type state struct {
	mirrors []metrics.Mirror
	config  metrics.Config
}

func (s state) Mirrors() []metrics.Mirror { return s.mirrors }
func (s state) Config() metrics.Config    { return s.config }

// However many mirrors there are, there are no more than a thousand and one series of a
// metric, and nothing that is wrong with one of the rest is hidden.
func TestMirrorsAreBounded(t *testing.T) {
	var many []metrics.Mirror
	for i := range 1200 {
		many = append(many, metrics.Mirror{Name: fmt.Sprintf("m%04d", i), LastRun: noon, LastSuccess: noon, Tags: status.Tags{Wanted: 2}})
	}
	many[1100].BehindSince, many[1100].FailedRuns, many[1100].LastSuccess = noon.Add(-time.Hour), 4, noon.Add(-2*time.Hour)
	many = append(many, metrics.Mirror{Name: "other", LastRun: noon, LastSuccess: noon, Tags: status.Tags{Wanted: 5}})
	m := metrics.New(metrics.Options{State: state{mirrors: many}, Now: at(noon)})
	if n := len(lines(t, m, "mirror_behind_seconds")); n != 1001 {
		t.Errorf("%d series", n)
	}
	expect(t, m, `mirror_behind_seconds{mirror="other"}`, `mirror_behind_seconds{mirror="other"} 3600`)
	expect(t, m, `mirror_failed_runs_in_a_row{mirror="other"}`, `mirror_failed_runs_in_a_row{mirror="other"} 4`)
	expect(t, m, `mirror_tags{mirror="other",state="wanted"}`, `mirror_tags{mirror="other",state="wanted"} 405`)
	expect(t, m, `mirror_last_success_timestamp_seconds{mirror="other"}`, fmt.Sprintf(`mirror_last_success_timestamp_seconds{mirror="other"} %g`, float64(noon.Unix()-7200)))
	expect(t, m, `mirror_tags{mirror="m0000",state="wanted"}`, `mirror_tags{mirror="m0000",state="wanted"} 2`)
}

// Names that no label may have, or that two mirrors have, break no scrape.
func TestAwkwardNames(t *testing.T) {
	m := metrics.New(metrics.Options{Now: at(noon), State: state{mirrors: []metrics.Mirror{
		{Name: "twice", LastRun: noon, Tags: status.Tags{Wanted: 1}},
		{Name: "bad\xffname", LastRun: noon},
		{Name: "never looked at"},
		{Name: "twice", LastRun: noon, Tags: status.Tags{Wanted: 2}},
		{Name: "quo\"ted\nline", LastRun: noon.Add(time.Hour), BehindSince: noon.Add(time.Hour)}, // a clock that went back
	}}})
	expect(t, m, "mirror_behind", `mirror_behind_seconds{mirror="bad�name"} 0`, `mirror_behind_seconds{mirror="quo\"ted\nline"} 0`, `mirror_behind_seconds{mirror="twice"} 0`)
	expect(t, m, `mirror_tags{mirror="twice",state="wanted"}`, `mirror_tags{mirror="twice",state="wanted"} 3`)
}

func TestRequests(t *testing.T) {
	m := metrics.New(metrics.Options{})
	m.Answered("docker.io", "manifest_read", 200, http.Header{"Ratelimit-Limit": {"100;w=21600"}, "Ratelimit-Remaining": {"76;w=21600"}})
	m.Answered("docker.io", "manifest_read", 204, nil)
	m.Answered("docker.io", "manifest_read", 429, http.Header{"Ratelimit-Remaining": {"many"}})
	m.Answered("docker.io", "token", 0, nil)
	m.Answered("quay.io", "ping", 777, http.Header{"Ratelimit-Remaining": {"-1"}, "Ratelimit-Limit": {"1e400"}})
	m.Throttled("docker.io")
	m.Read(40)
	m.Read(2)
	m.TokenExpires("ecr", noon)
	expect(t, m, "requests_total",
		`requests_total{class="2xx",host="docker.io",operation="manifest_read"} 2`,
		`requests_total{class="4xx",host="docker.io",operation="manifest_read"} 1`,
		`requests_total{class="error",host="docker.io",operation="token"} 1`,
		`requests_total{class="error",host="quay.io",operation="ping"} 1`)
	expect(t, m, "throttled_total", `throttled_total{host="docker.io"} 1`)
	expect(t, m, "upstream_quota", `upstream_quota_limit{host="docker.io"} 100`, `upstream_quota_remaining{host="docker.io"} 76`)
	expect(t, m, "bytes_total{direction=\"read\"}", `bytes_total{direction="read"} 42`)
	expect(t, m, "token_expiry", fmt.Sprintf(`token_expiry_timestamp_seconds{host="ecr"} %g`, float64(noon.Unix())))
}

// A run against hosts that never end, such as an upstream that somebody else names, has
// an end of its series.
func TestHostsAreBounded(t *testing.T) {
	m := metrics.New(metrics.Options{})
	for i := range 500 {
		m.Answered(fmt.Sprintf("h%d\xff.example.com", i), "ping", 200, nil)
	}
	if n := len(lines(t, m, "requests_total")); n != 201 {
		t.Errorf("%d series", n)
	}
	expect(t, m, `requests_total{class="2xx",host="other"`, `requests_total{class="2xx",host="other",operation="ping"} 300`)
}

func TestConfiguration(t *testing.T) {
	expect(t, metrics.New(metrics.Options{}), "config_") // nobody says anything of it
	for _, rejected := range []bool{false, true} {
		m := metrics.New(metrics.Options{State: state{config: metrics.Config{Loaded: noon, Rejected: rejected}}})
		want := map[bool]string{false: "1", true: "0"}[rejected]
		expect(t, m, "config_", fmt.Sprintf("config_last_reload_success_timestamp_seconds %g", float64(noon.Unix())), "config_last_reload_successful "+want)
	}
}
