package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

var update = flag.Bool("update", false, "rewrite golden files and the sample in docs/output.md")

const (
	registryHost = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	digestA      = ref.Digest("sha256:1d6a1f3c9a0b4e5d8c7b6a5948372615a0b1c2d3e4f5061728394a5b6c7d8e9f")
	digestB      = ref.Digest("sha256:9f8e7d6c5b4a39281706f5e4d3c2b1a01526374859a6b7c8d5e4b0a9c3f1a6d1")
)

func started() time.Time { return time.Date(2026, 3, 14, 1, 59, 26, 0, time.UTC) }

func run() report.Run { return report.Run{Started: started(), Elapsed: 3100 * time.Millisecond} }

// action is a decision about one tag of a mirror in the test registry.
func action(verb plan.Verb, upstream, repo, tag, reason string) plan.Action {
	from := ref.MustParse(upstream).Repository
	to := ref.Repository{Host: registryHost, Path: repo}
	a := plan.Action{
		Verb:   verb,
		From:   ref.Reference{Repository: from, Tag: tag, Digest: digestA},
		To:     to.Tagged(tag),
		Want:   digestA,
		Reason: reason,
		Mirror: &discover.Mirror{
			Name:     repo,
			Upstream: from,
			Target:   to,
			Options:  discover.DefaultOptions(),
			Origin: discover.Origin{
				Kind:   discover.FromResourceTags,
				Place:  "arn:aws:ecr:eu-west-1:123456789012:repository/" + repo,
				Region: "eu-west-1",
			},
		},
	}
	switch verb {
	case plan.InSync:
		a.Have, a.Size = digestA, 71_204_112
	case plan.Update, plan.Blocked, plan.Drifted:
		a.Have, a.Size = digestB, 68_000_000
	default:
	}
	return a
}

func samplePlan() plan.Plan {
	narrow := action(plan.Copy, "quay.io/prometheus/node-exporter", "mirrors/quay.io/prometheus/node-exporter", "v1.10", "missing at destination")
	narrow.Mirror.Platforms.Keep = []ref.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
	broken := action(plan.Failed, "ghcr.io/kedacore/keda", "mirrors/ghcr.io/kedacore/keda", "",
		"upstream-tags \"2.4.0//2.5.0\", character 7: empty term\nexpected a tag, a glob or semver:RANGE")
	broken.Want, broken.From.Digest = "", ""
	return plan.Plan{
		Actions: []plan.Action{
			broken,
			narrow,
			action(plan.Copy, "registry.k8s.io/pause", "mirrors/registry.k8s.io/pause", "3.10", "missing at destination"),
			action(plan.InSync, "nginx", "mirrors/nginx", "1.10", "same digest"),
			action(plan.Update, "nginx", "mirrors/nginx", "latest", "upstream moved"),
			action(plan.Blocked, "redis", "mirrors/redis", "7.4.1-alpine", "tag is immutable at destination and upstream moved"),
		},
		Warnings: []string{"mirrors/redis: upstream-tags term \"6.+\" matches no tag"},
	}
}

// sampleResults carries the sample plan out: one copy works, one fails.
func sampleResults() []plan.Result {
	var results []plan.Result
	for _, a := range samplePlan().Actions {
		results = append(results, plan.Unchanged(a))
	}
	failure := errors.New("copy blob destination " + registryHost + "/mirrors/registry.k8s.io/pause@sha256:e0b1a2: 503 Service Unavailable after 4 attempts")
	results[1].Status, results[1].Bytes, results[1].Duration = plan.Copied, 23_400_000, 1900*time.Millisecond
	results[1].Referrers = plan.Referrers{Mirrored: 1, Incomplete: []string{string(digestB) + ": copy blob to destination: 503 Service Unavailable"}}
	results[1].Reason = results[1].Referrers.Because(results[1].Reason)
	results[2].Status, results[2].Reason, results[2].Err = plan.HasFailed, failure.Error(), failure
	results[4].Referrers.Mirrored = 2
	results[4].Reason = results[4].Referrers.Because(results[4].Reason)
	results[4].Status, results[4].Bytes, results[4].Duration = plan.Updated, 21_800_000, 2250*time.Millisecond
	return results
}

func sampleSync() report.Report { return report.FromResults(run(), samplePlan(), sampleResults()) }

func sampleList() report.Report {
	target := ref.Repository{Host: registryHost, Path: "mirrors/nginx"}
	return report.FromListing(run(), []report.Listed{
		{Source: ref.MustParse("nginx:1.27"), Destination: target.Tagged("1.27"), Term: "1.27"},
		{Source: ref.MustParse("nginx:1.28.0"), Destination: target.Tagged("1.28.0"), Term: "1.28.+"},
		{Source: ref.MustParse("ghcr.io/x/y"), Destination: ref.Reference{Repository: target}, Err: fmt.Errorf("upstream ghcr.io/x/y: %w", plan.ErrForbidden)},
		{Destination: ref.Reference{Repository: target}, Err: errors.New("resource tag upstream-image is missing")},
	}, nil)
}

func write(t *testing.T, r report.Report, f report.Format, o report.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, r, f, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

func TestGolden(t *testing.T) {
	dryRun := report.FromPlan(run(), samplePlan())
	interrupted := report.FromResults(report.Run{Started: started(), Elapsed: time.Second, Interrupted: true}, samplePlan(), sampleResults()[:2])
	for _, tc := range []struct {
		name   string
		report report.Report
		format report.Format
		opts   report.Options
	}{
		{"table-pipe", sampleSync(), report.Table, report.Options{}},
		{"table-60", sampleSync(), report.Table, report.Options{Width: 60}},
		{"table-80", sampleSync(), report.Table, report.Options{Width: 80}},
		{"table-120", sampleSync(), report.Table, report.Options{Width: 120}},
		{"table-color", sampleSync(), report.Table, report.Options{Width: 120, Color: true}},
		{"table-dry-run", dryRun, report.Table, report.Options{}},
		{"table-interrupted", interrupted, report.Table, report.Options{Width: 160}},
		{"table-list", sampleList(), report.Table, report.Options{Width: 120}},
		{"json", sampleSync(), report.JSON, report.Options{}},
		{"yaml", sampleSync(), report.YAML, report.Options{}},
		{"markdown", sampleSync(), report.Markdown, report.Options{}},
		{"markdown-dry-run", dryRun, report.Markdown, report.Options{}},
		{"markdown-list", sampleList(), report.Markdown, report.Options{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			golden(t, tc.name, write(t, tc.report, tc.format, tc.opts))
		})
	}
}

// A reason longer than a line is told once below the table, whole, whatever rows it is of. A
// short one stays where it is, and so does any where there is room.
func TestLongReasonsStandBelow(t *testing.T) {
	target := ref.Repository{Host: registryHost, Path: "mirrors/nginx"}
	long := "upstream does not answer, and this is why: " + strings.Repeat("lorem ipsum ", 10) + "the end"
	var listed []report.Listed
	for i := range 60 {
		reason := long
		if i%2 == 1 {
			reason = fmt.Sprintf("%d %s", i, long)
		}
		listed = append(listed, report.Listed{Destination: ref.Reference{Repository: target}, Err: errors.New(reason)})
	}
	listed = append(listed, report.Listed{Destination: ref.Reference{Repository: target}, Err: errors.New("short")})
	text := write(t, report.FromListing(run(), listed, nil), report.Table, report.Options{Width: 100})
	rows, notes, _ := strings.Cut(text, "\n[1] ")
	if got := strings.Count(rows, "see [1] below"); got != 30 {
		t.Errorf("%d rows refer to the reason that 30 have\n%s", got, text)
	}
	if !strings.Contains(rows, "  short\n") || strings.Contains(notes, "short") {
		t.Errorf("a short reason is not in its row\n%s", rows)
	}
	if joined := strings.Join(strings.Fields(notes), " "); !strings.HasPrefix(joined, long+" [2] 1 "+long+" [3] 3 ") || strings.Contains(notes, "[21]") {
		t.Errorf("below stands\n%s", notes)
	}
	if wide := write(t, report.FromListing(run(), listed, nil), report.Table, report.Options{}); strings.Contains(wide, "below") {
		t.Errorf("where lines have no end, reasons are not in their rows\n%s", wide)
	}
}

func TestTableFitsWidth(t *testing.T) {
	for width := 40; width <= 260; width++ {
		text := write(t, sampleSync(), report.Table, report.Options{Width: width})
		rows, _, _ := strings.Cut(text, "\n6 images")
		for line := range strings.Lines(rows) {
			if got := human.Width(strings.TrimSuffix(line, "\n")); got > width && !strings.HasPrefix(line, "Destination registry") {
				t.Errorf("width %d: line of %d cells: %q", width, got, line)
			}
		}
		for _, tag := range []string{"v1.10", "3.10", "1.10", "latest", "7.4.1-alpine"} {
			if !strings.Contains(rows, " "+tag) {
				t.Errorf("width %d: tag %s is broken", width, tag)
			}
		}
	}
}

func TestLongTagIsNeverBroken(t *testing.T) {
	tag := "release-" + strings.Repeat("0123456789", 12)
	p := plan.Plan{Actions: []plan.Action{action(plan.Copy, "nginx", "mirrors/nginx", tag, "missing at destination")}}
	text := write(t, report.FromPlan(run(), p), report.Table, report.Options{Width: 80})
	if !strings.Contains(text, tag) {
		t.Errorf("tag is broken:\n%s", text)
	}
}

func TestDestinationsInSeveralRegistriesKeepTheirHosts(t *testing.T) {
	p := samplePlan()
	p.Actions[3].To.Repository.Host = "210987654321.dkr.ecr.us-east-1.amazonaws.com"
	text := write(t, report.FromPlan(run(), p), report.Table, report.Options{Width: 120})
	if strings.Contains(text, "Destination registry:") {
		t.Errorf("one registry stands for two:\n%s", text)
	}
}

func TestColumnsInPipeAreFoundByTheirGaps(t *testing.T) {
	p := samplePlan()
	p.Actions[3].Reason = "same   digest"
	text := write(t, report.FromPlan(run(), p), report.Table, report.Options{})
	table, _, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(table) {
		fields := strings.FieldsFunc(strings.ReplaceAll(strings.TrimSpace(line), "  ", "\x00"), func(r rune) bool { return r == 0 })
		if len(fields) != 7 {
			t.Errorf("%d columns in %q", len(fields), line)
		}
	}
}

func TestJSONDecodesToTheReport(t *testing.T) {
	for _, want := range []report.Report{sampleSync(), report.FromPlan(run(), samplePlan()), sampleList(), hostileReport()} {
		written := []byte(write(t, want, report.JSON, report.Options{}))
		var got struct {
			report.Report
			Rows []report.Row `json:"rows"`
		}
		if err := json.Unmarshal(written, &got); err != nil {
			t.Fatal(err)
		}
		var rows []report.Row
		for _, row := range want.Rows.All() {
			rows = append(rows, row)
		}
		if diff := cmp.Diff(rows, got.Rows); diff != "" {
			t.Errorf("rows of %s (-want +got):\n%s", want.Kind, diff)
		}
		if diff := cmp.Diff(want, got.Report, cmpopts.IgnoreFields(report.Report{}, "Rows")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Kind, diff)
		}
	}
}

func TestYAMLHoldsWhatJSONHolds(t *testing.T) {
	for _, r := range []report.Report{sampleSync(), report.FromPlan(run(), samplePlan()), sampleList(), hostileReport(), {}} {
		var fromJSON, fromYAML any
		if err := json.Unmarshal([]byte(write(t, r, report.JSON, report.Options{})), &fromJSON); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(write(t, r, report.YAML, report.Options{})), &fromYAML); err != nil {
			t.Fatal(err)
		}
		// Through JSON again, for YAML tells integers from floats and JSON does not.
		text, err := json.Marshal(fromYAML)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &fromYAML); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fromJSON, fromYAML); diff != "" {
			t.Errorf("(-json +yaml):\n%s", diff)
		}
	}
}

func TestRowDigests(t *testing.T) {
	write := action(plan.Update, "nginx", "mirrors/nginx", "latest", "upstream moved")
	blocked := action(plan.Blocked, "nginx", "mirrors/nginx", "latest", "immutable")
	drifted := action(plan.Drifted, "nginx", "mirrors/nginx", "latest", "replace is off")
	for _, tc := range []struct {
		name   string
		result plan.Result
		status report.Status
		digest ref.Digest
	}{
		{"updated holds what was planned", plan.Result{Action: write, Status: plan.Updated}, report.StatusUpdated, digestA},
		{"planned would hold it", plan.Unchanged(write), report.StatusWouldUpdate, digestA},
		{"not begun holds what it held", plan.Result{Action: write, Status: plan.Pending}, report.StatusNotDone, digestB},
		{"blocked by the plan holds what it held", plan.Unchanged(blocked), report.StatusBlocked, digestB},
		{"drifted holds what it held", plan.Unchanged(drifted), report.StatusDrifted, digestB},
		{"failed write is not known", plan.Result{Action: write, Status: plan.HasFailed}, report.StatusFailed, ""},
		{"changed meanwhile is not known", plan.Result{Action: write, Status: plan.StaysBlocked}, report.StatusBlocked, ""},
		{"unknown status is a failure", plan.Result{Action: write, Status: "?"}, report.StatusFailed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			row := report.FromResults(run(), plan.Plan{Actions: []plan.Action{tc.result.Action}}, []plan.Result{tc.result}).Rows.At(0)
			if row.Status != tc.status || row.Digest != tc.digest || row.Previous != digestB || row.UpstreamDigest != digestA {
				t.Errorf("got %s, digest %q, previous %q, upstream %q", row.Status, row.Digest, row.Previous, row.UpstreamDigest)
			}
		})
	}
}

func TestRowPlatforms(t *testing.T) {
	for _, tc := range []struct {
		platforms discover.Platforms
		want      string
	}{
		{discover.Platforms{}, "all"},
		{discover.Platforms{One: &ref.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}}, "linux/arm/v7"},
		{discover.Platforms{Keep: []ref.Platform{{OS: "linux", Architecture: "arm64"}, {OS: "linux", Architecture: "amd64"}}}, "linux/amd64,linux/arm64"},
	} {
		listed := []report.Listed{{Source: ref.MustParse("nginx:1"), Destination: ref.MustParse("example.com/nginx:1"), Platforms: tc.platforms}}
		if got := report.FromListing(run(), listed, nil).Rows.At(0).Platforms; got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

func TestListedErrorsAreJudgedAsPlansAre(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want report.Status
	}{
		{nil, report.StatusListed},
		{errors.New("timeout"), report.StatusFailed},
		{fmt.Errorf("x: %w", plan.ErrForbidden), report.StatusBlocked},
		{&registry.Error{Err: registry.ErrDenied}, report.StatusBlocked},
		{&registry.Error{Err: registry.ErrNotFound}, report.StatusBlocked},
	} {
		r := report.FromListing(run(), []report.Listed{{Destination: ref.MustParse("example.com/nginx:1"), Err: tc.err}}, nil)
		if got := r.Rows.At(0).Status; got != tc.want {
			t.Errorf("%v: got %s, want %s", tc.err, got, tc.want)
		}
	}
}

func TestSourceTagShowsWhereItDiffers(t *testing.T) {
	a := action(plan.Copy, "nginx", "mirrors/nginx", "stable", "missing at destination")
	a.From.Tag = "1.28"
	text := write(t, report.FromPlan(run(), plan.Plan{Actions: []plan.Action{a}}), report.Table, report.Options{})
	if !strings.Contains(text, "docker.io/library/nginx:1.28 ") {
		t.Errorf("source tag is missing:\n%s", text)
	}
}

func TestTotals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		report report.Report
		want   report.Totals
	}{
		{"sync", sampleSync(), report.Totals{Images: 6, Copied: 1, Updated: 1, InSync: 1, Blocked: 1, Failed: 2, Incomplete: 1, Bytes: 45_200_000, ElapsedMs: 3100, ReferrersNotCompared: 1}},
		{"dry run", report.FromPlan(run(), samplePlan()), report.Totals{Images: 6, WouldCopy: 2, WouldUpdate: 1, InSync: 1, Blocked: 1, Failed: 1, ElapsedMs: 3100, ReferrersNotCompared: 1}},
		{"list", sampleList(), report.Totals{Images: 4, Listed: 2, Blocked: 1, Failed: 1, ElapsedMs: 3100}},
		{"ended before its first write", report.FromResults(run(), samplePlan(), nil), report.Totals{Images: 6, InSync: 1, Blocked: 1, Failed: 1, Pending: 3, ElapsedMs: 3100, ReferrersNotCompared: 1}},
		{"nothing", report.FromResults(run(), plan.Plan{}, nil), report.Totals{ElapsedMs: 3100}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.report.Totals); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutcome(t *testing.T) {
	failed := plan.Plan{Actions: []plan.Action{action(plan.Failed, "nginx", "a", "1", "x")}}
	blocked := plan.Plan{Actions: []plan.Action{action(plan.Blocked, "nginx", "a", "1", "x")}}
	drifted := plan.Plan{Actions: []plan.Action{action(plan.Drifted, "nginx", "a", "1", "x")}}
	synced := plan.Plan{Actions: []plan.Action{action(plan.InSync, "nginx", "a", "1", "x")}}
	wanted := plan.Plan{Actions: []plan.Action{action(plan.Copy, "nginx", "a", "1", "x")}}
	for _, tc := range []struct {
		name   string
		report report.Report
		want   report.Outcome
	}{
		{"nothing", report.FromPlan(run(), plan.Plan{}), report.Outcome{}},
		{"in sync", report.FromPlan(run(), synced), report.Outcome{}},
		{"one of several failed", sampleSync(), report.Outcome{AnyFailed: true, AnyBlocked: true}},
		{"all failed", report.FromPlan(run(), failed), report.Outcome{AnyFailed: true, AllFailed: true}},
		{"blocked", report.FromPlan(run(), blocked), report.Outcome{AnyBlocked: true}},
		{"drifted", report.FromPlan(run(), drifted), report.Outcome{}},
		{"changes", report.FromPlan(run(), wanted), report.Outcome{ChangesPlanned: true}},
		{"out of time", report.FromResults(report.Run{BudgetUsedUp: true}, wanted, nil), report.Outcome{Pending: true, BudgetUsedUp: true}},
		{"interrupted", report.FromResults(report.Run{Interrupted: true}, wanted, nil), report.Outcome{Pending: true, Interrupted: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.report.Outcome()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Drift is no error, and is not lost among what is in sync either.
func TestDriftIsShown(t *testing.T) {
	var actions []plan.Action
	for _, verb := range []plan.Verb{plan.InSync, plan.Drifted, plan.Copy, plan.Blocked} {
		actions = append(actions, action(verb, "nginx", "mirrors/nginx", string(verb), "the reason"))
	}
	r := report.FromPlan(run(), plan.Plan{Actions: actions})
	if got := write(t, r, report.Table, report.Options{}); !strings.Contains(got, "1 in sync, 1 drifted, 1 blocked;") {
		t.Errorf("table\n%s", got)
	}
	markdown := write(t, r, report.Markdown, report.Options{})
	blocked, drifted, copied := strings.Index(markdown, "| blocked |"), strings.Index(markdown, "| drifted |"), strings.Index(markdown, "| would copy |")
	if blocked < 0 || drifted < blocked || copied < drifted {
		t.Errorf("Markdown\n%s", markdown)
	}
	colored := write(t, r, report.Table, report.Options{Color: true})
	if !strings.Contains(colored, "\x1b[33mdrifted") {
		t.Errorf("in colours\n%q", colored)
	}
}

func TestEmptyReportSaysWhatTheCallerHints(t *testing.T) {
	empty := report.FromPlan(run(), plan.Plan{Warnings: []string{"near miss"}})
	hint := "no repositories carry upstream-image in eu-west-1"
	for _, tc := range []struct {
		format report.Format
		opts   report.Options
		want   string
	}{
		{report.Table, report.Options{Empty: hint}, hint + "\ndry run: nothing was written\nwarning: near miss\n"},
		{report.Table, report.Options{}, "nothing to mirror\ndry run: nothing was written\nwarning: near miss\n"},
		{report.Markdown, report.Options{Empty: hint}, "## Image mirror: dry run\n\n" + hint + "\n\ndry run: nothing was written\n\n### Warnings\n\n- near miss\n"},
	} {
		if diff := cmp.Diff(tc.want, write(t, empty, tc.format, tc.opts)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.format, diff)
		}
	}
	if text := write(t, report.Report{}, report.JSON, report.Options{}); !strings.Contains(text, `"rows": []`) || !strings.Contains(text, `"warnings": []`) {
		t.Errorf("nil slices are not written as empty ones:\n%s", text)
	}
}

// hostileReport is what a registry, a resource tag and an error can say at their worst.
func hostileReport() report.Report {
	nasty := "a\x1b[2J\x1b]0;owned\x07b\r\nc\u202egnp.exe\u200b\u009b31m\x7f\U000e0041|`code` <img src=x> [x](http://y) $x$ \\"
	a := action(plan.Failed, "nginx", "mirrors/nginx", "1.10", nasty)
	a.From.Repository.Path = nasty
	a.To.Repository.Path = nasty
	a.To.Tag, a.From.Tag = nasty, nasty
	a.Have, a.From.Digest = ref.Digest(nasty), ref.Digest(nasty)
	a.Mirror.Origin.Place = nasty
	return report.FromPlan(run(), plan.Plan{Actions: []plan.Action{a}, Warnings: []string{nasty}})
}

func TestHostileTextNeverReachesATerminalRaw(t *testing.T) {
	faults.Covers(t, "F99")
	for _, f := range report.Formats() {
		for _, width := range []int{0, 40, 80, 120, 400} {
			text := write(t, hostileReport(), f, report.Options{Width: width, Empty: "\x1b"})
			if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && human.Text(string(r)) != string(r) }); i >= 0 {
				t.Errorf("%s, width %d: raw %q", f, width, text[i:min(i+12, len(text))])
			}
		}
	}
}

func TestHostileTextInMarkdownIsNoMarkup(t *testing.T) {
	faults.Covers(t, "F99")
	text := write(t, hostileReport(), report.Markdown, report.Options{})
	for line := range strings.Lines(text) {
		bare := strings.NewReplacer(`\\`, "", `\|`, "", "\\`", "", `\<`, "", `\[`, "", `\$`, "").Replace(line)
		if strings.HasPrefix(line, "|") && strings.Count(bare, "|") != 8 {
			t.Errorf("a cell ends early: %s", line)
		}
		if strings.ContainsAny(bare, "`<[$") {
			t.Errorf("markup: %s", line)
		}
	}
}

func TestMarkdownStaysBelowTheLimitOfJobSummaries(t *testing.T) {
	var p plan.Plan
	for i := range 12_000 {
		p.Actions = append(p.Actions, action(plan.InSync, "nginx", "mirrors/nginx", fmt.Sprint("1.", i), "same digest"))
	}
	p.Actions = append(p.Actions, action(plan.Failed, "nginx", "mirrors/nginx", "broken", "timeout"))
	text := write(t, report.FromPlan(run(), p), report.Markdown, report.Options{})
	if len(text) >= 1<<20 {
		t.Errorf("%d bytes", len(text))
	}
	if !strings.Contains(text, "| broken |") {
		t.Error("the failed row was left out")
	}
	if !strings.Contains(text, "Left out, to keep this readable: ") {
		t.Error("what was left out is not counted")
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range report.Formats() {
		if got, err := report.ParseFormat(string(f)); err != nil || got != f {
			t.Errorf("%s: %q, %v", f, got, err)
		}
	}
	for _, s := range []string{"", "JSON", "csv"} {
		if _, err := report.ParseFormat(s); err == nil || !strings.Contains(err.Error(), "table, json, yaml or markdown") {
			t.Errorf("%q: %v", s, err)
		}
	}
	if err := report.Write(io.Discard, sampleSync(), "csv", report.Options{}); err == nil {
		t.Error("an unknown format was written")
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriteReturnsTheWritersError(t *testing.T) {
	if err := report.Write(brokenPipe{}, sampleSync(), report.Table, report.Options{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

// Nothing is said of referrers that nobody looked at but that nobody did.
func TestReferrersNotCompared(t *testing.T) {
	byDigest := action(plan.InSync, "nginx", "mirrors/nginx", "1", "same digest")
	unwanted := action(plan.InSync, "nginx", "mirrors/nginx", "2", "same digest")
	unwanted.Mirror.Options.Referrers = false
	same := action(plan.InSync, "nginx", "mirrors/nginx", "3", "same digest").Complete(plan.Comparison{Referrers: plan.Referrers{Mirrored: 2}})
	lacking := action(plan.InSync, "nginx", "mirrors/nginx", "4", "same digest").Complete(plan.Comparison{Referrers: plan.Referrers{Mirrored: 1}, Missing: 2})
	p := plan.Plan{Actions: []plan.Action{byDigest, unwanted, same, lacking}}
	r := report.FromPlan(run(), p)
	if got := r.Totals; got.ReferrersNotCompared != 1 || got.InSync != 3 || got.WouldUpdate != 1 {
		t.Errorf("totals %+v", got)
	}
	if !r.Outcome().ChangesPlanned {
		t.Error("missing referrers are no change")
	}
	for i, compared := range []bool{false, false, true, true} {
		if r.Rows.At(i).Referrers.Compared != compared {
			t.Errorf("row %d: compared is %t", i, !compared)
		}
	}
	text := write(t, r, report.Table, report.Options{})
	for _, line := range []string{
		"1 image compared by digest alone: --recheck compares signatures, SBOMs and attestations\n",
		"same digest; with 2 referrers\n",
		"same digest; 2 of 3 referrers missing at destination\n", // and not "was": it stays
	} {
		if strings.Count(text, line) != 1 {
			t.Errorf("the table does not say %q once:\n%s", line, text)
		}
	}
	p.Actions = p.Actions[1:]
	if text := write(t, report.FromPlan(run(), p), report.Table, report.Options{}); strings.Contains(text, "--recheck") {
		t.Errorf("all were compared that are wanted:\n%s", text)
	}
}

// TestVerification reads the rows, the totals and the outcome of a verification.
func TestVerification(t *testing.T) {
	p := samplePlan()
	p.Actions = p.Actions[:0:0]
	var results []plan.Result
	for _, row := range []struct {
		status plan.Status
		damage []plan.Damage
	}{
		{plan.Verified, nil},
		{plan.Repaired, nil},
		{plan.Missing, nil},
		{plan.StaysDrifted, nil},
		{plan.Damaged, []plan.Damage{{Digest: digestA, What: "blob", Problem: "missing"}}},
	} {
		a := samplePlan().Actions[3]
		a.Have, a.Want = digestA, digestB
		p.Actions = append(p.Actions, a)
		results = append(results, plan.Result{Action: a, Status: row.status, Reason: "because", Inspected: &plan.Inspection{Damage: row.damage, Hashed: 1_000_000}})
	}
	r := report.FromVerification(run(), p, results)
	o := r.Outcome()
	if !o.AnyDamaged || !o.AnyDrift || o.AnyFailed || o.AllFailed || o.AnyBlocked {
		t.Errorf("outcome %+v", o)
	}
	for i, row := range r.Rows.All() {
		want := digestA // which the tag holds
		if row.Status == report.StatusRepaired {
			want = digestB
		}
		if row.Digest != want || len(row.Damage) != len(results[i].Inspected.Damage) || row.BytesHashed != 1_000_000 {
			t.Errorf("row %+v", row)
		}
	}
	text := write(t, r, report.Table, report.Options{})
	for _, line := range []string{"5 images: 1 verified, 1 repaired, 1 damaged, 1 missing, 1 drifted; 5.00 MB hashed; verified in "} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is not in\n%s", line, text)
		}
	}
	if markdown := write(t, r, report.Markdown, report.Options{}); strings.Index(markdown, "damaged |") > strings.Index(markdown, "verified |") {
		t.Errorf("what is damaged does not come first:\n%s", markdown)
	}
	sync := report.FromResults(run(), p, []plan.Result{{Action: p.Actions[0], Status: plan.StaysDrifted}})
	if sync.Outcome().AnyDrift {
		t.Error("a sync exits with drift that its rule accepts")
	}
}
