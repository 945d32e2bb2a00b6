package cli_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/pushgateway"
)

// pushgateway NAME starts a Pushgateway and puts its URL into the variable NAME.
func (s *stage) pushgateway(ts *testscript.TestScript, _ bool, args []string) {
	s.pushed = pushgateway.Start(s.t)
	ts.Setenv(args[0], s.pushed.URL)
}

// pushedTo EXPRESSION looks for a series at the Pushgateway.
func (s *stage) pushedTo(ts *testscript.TestScript, neg bool, args []string) {
	lines := s.pushed.Lines()
	if slices.ContainsFunc(lines, regexp.MustCompile(args[0]).MatchString) == neg {
		ts.Fatalf("the gateway has:\n%s", strings.Join(lines, "\n"))
	}
}

// measured REPORT FILE compares the metrics of a run with its JSON report, and with what
// the registries saw since they were told to forget.
func (s *stage) measured(ts *testscript.TestScript, _ bool, args []string) {
	var r struct {
		Totals report.Totals
		Rows   []report.Row
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &r))
	want := map[string]float64{`bytes_total{direction="written"}`: float64(r.Totals.Bytes), `bytes_total{direction="read"}`: 0}
	for _, row := range r.Rows {
		state := map[report.Status]string{report.StatusInSync: "in_sync", report.StatusCopied: "copied", report.StatusUpdated: "copied", report.StatusFailed: "failed", report.StatusBlocked: "blocked"}[row.Status]
		for _, each := range []string{"wanted", "in_sync", "copied", "failed", "blocked"} {
			counts := each == state || each == "wanted" || each == "in_sync" && state == "copied"
			want[fmt.Sprintf("mirror_tags{mirror=%q,state=%q}", row.Destination, each)] += map[bool]float64{true: 1}[counts]
		}
	}
	for _, e := range s.upstream.registry.Journal() {
		want["requests of "+s.upstream.host]++
		if e.Op == "blob-get" && e.Status == 200 {
			want[`bytes_total{direction="read"}`] += float64(e.BytesOut)
		}
	}
	for _, e := range s.ecr.Journal() {
		if e.Plane == ecrlocal.PlaneAPI {
			want["calls of "+e.Op]++
			continue
		}
		want["requests of "+s.ecr.Host]++
	}
	have := read(ts, args[1])
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have[name] != want[name] {
			ts.Fatalf("%s is %v in the metrics, and %v was seen", name, have[name], want[name])
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok && (strings.HasPrefix(name, "requests of") || strings.HasPrefix(name, "calls of") || strings.HasPrefix(name, "mirror_tags")) {
			ts.Fatalf("%s is %v in the metrics, and nobody saw that", name, have[name])
		}
	}
}

// read reads a file of metrics, with requests summed up by their host, or, at AWS, by the
// operation.
func read(ts *testscript.TestScript, file string) map[string]float64 {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(ts.ReadFile(file)))
	ts.Check(err)
	have := map[string]float64{}
	for _, family := range families {
		for _, series := range family.GetMetric() {
			labels, pairs := map[string]string{}, []string{}
			for _, pair := range series.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
				pairs = append(pairs, fmt.Sprintf("%s=%q", pair.GetName(), pair.GetValue()))
			}
			slices.Sort(pairs)
			name := strings.TrimPrefix(family.GetName(), "ecr_mirror_sync_")
			key := fmt.Sprintf("%s{%s}", name, strings.Join(pairs, ","))
			if name == "requests_total" && labels["class"] == "error" {
				continue // nobody saw it: the question whether the host speaks TLS
			}
			if name == "requests_total" {
				key = "requests of " + labels["host"]
				if _, operation, aws := strings.Cut(labels["operation"], ":"); aws {
					key = "calls of " + operation
				}
			}
			have[key] += series.GetCounter().GetValue() + series.GetGauge().GetValue()
		}
	}
	return have
}
