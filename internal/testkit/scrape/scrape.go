// Package scrape reads a daemon's /metrics as Prometheus does, and holds it against what the
// daemon says of itself at /api/v1/status.
package scrape

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// prefix begins the names of the program's own metrics.
const prefix = "ecr_mirror_sync_"

// Metrics are values by the names of their series, labels sorted and the program's prefix
// left out: mirror_tags{mirror="web",state="wanted"}. Of a histogram there are _count and
// _sum.
type Metrics map[string]float64

// Read reads the text format.
func Read(from io.Reader) (Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(from)
	if err != nil {
		return nil, err
	}
	m := Metrics{}
	for _, family := range families {
		name := strings.TrimPrefix(family.GetName(), prefix)
		for _, series := range family.GetMetric() {
			labels := labelsOf(series)
			if h := series.GetHistogram(); h != nil {
				m[Name(name+"_count", labels)], m[Name(name+"_sum", labels)] = float64(h.GetSampleCount()), h.GetSampleSum()
				continue
			}
			m[Name(name, labels)] = series.GetCounter().GetValue() + series.GetGauge().GetValue() + series.GetUntyped().GetValue()
		}
	}
	return m, nil
}

func labelsOf(series *dto.Metric) map[string]string {
	labels := map[string]string{}
	for _, pair := range series.GetLabel() {
		labels[pair.GetName()] = pair.GetValue()
	}
	return labels
}

// Name is a series as Metrics has it.
func Name(name string, labels map[string]string) string {
	if len(labels) == 0 {
		return name
	}
	var pairs []string
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", label, labels[label]))
	}
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// Disagreements says where the metrics are not what a status is, as long as no run has ended
// and nothing was loaded between the two. How long a mirror is behind is at least what it was
// at the time of the status.
func (m Metrics) Disagreements(s status.Snapshot) []string {
	want := wanted(s)
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		have, ok := m[name]
		switch {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("%s is missing, and the status says %v", name, want[name]))
		case strings.HasPrefix(name, "mirror_behind_seconds") && want[name] > 0 && have >= want[name]:
		case math.Abs(have-want[name]) > 0.001: // of a point in time; metrics have milliseconds
			wrong = append(wrong, fmt.Sprintf("%s is %v, and the status says %v", name, have, want[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if _, ok := want[name]; !ok && strings.HasPrefix(name, "mirror_") {
			wrong = append(wrong, fmt.Sprintf("%s is %v, and the status knows nothing of it", name, m[name]))
		}
	}
	return wrong
}

// wanted are the metrics that a status stands for.
func wanted(s status.Snapshot) Metrics {
	runs := s.Totals.Runs
	want := Metrics{
		`runs_total{outcome="ok"}`:                     float64(runs.OK),
		`runs_total{outcome="partial"}`:                float64(runs.Partial),
		`runs_total{outcome="failed"}`:                 float64(runs.Failed),
		`runs_total{outcome="interrupted"}`:            float64(runs.Interrupted),
		"run_duration_seconds_count":                   float64(runs.OK + runs.Partial + runs.Failed + runs.Interrupted),
		`bytes_total{direction="written"}`:             float64(s.Totals.Bytes),
		"config_last_reload_successful":                1,
		"config_last_reload_success_timestamp_seconds": float64(s.Config.Loaded.UnixMicro()) / 1e6,
	}
	if s.Config.Error != "" {
		want["config_last_reload_successful"] = 0
	}
	for _, mirror := range s.Mirrors {
		want.add(mirror, s)
	}
	return want
}

// add adds a mirror. Of one that nobody has looked at there is nothing to say.
func (m Metrics) add(mirror status.Mirror, s status.Snapshot) {
	if mirror.LastRun == nil {
		return
	}
	set := func(name string, value float64) { m[Name(name, map[string]string{"mirror": mirror.Name})] = value }
	set("mirror_last_run_timestamp_seconds", float64(mirror.LastRun.UnixMicro())/1e6)
	if mirror.LastSuccess != nil {
		set("mirror_last_success_timestamp_seconds", float64(mirror.LastSuccess.UnixMicro())/1e6)
	}
	set("mirror_failed_runs_in_a_row", float64(mirror.FailedRunsInARow))
	set("mirror_behind_seconds", 0)
	if mirror.BehindSince != nil {
		set("mirror_behind_seconds", s.Time.Sub(*mirror.BehindSince).Seconds())
	}
	for state, count := range map[string]int{
		"wanted": mirror.Tags.Wanted, "in_sync": mirror.Tags.InSync, "copied": mirror.Tags.Copied, "blocked": mirror.Tags.Blocked, "failed": mirror.Tags.Failed,
	} {
		m[Name("mirror_tags", map[string]string{"mirror": mirror.Name, "state": state})] = float64(count)
	}
}
