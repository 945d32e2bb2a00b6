package metrics

import (
	"io"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// pushTimeOf is the metric that a Pushgateway adds to a group: when it was pushed.
const pushTimeOf = "push_time_seconds"

// readMirrors reads from metrics in the text format how mirrors stood when these were
// written, which they say themselves where written is zero. Only series with the labels
// of group count. Tags are not read: they are of one run.
func readMirrors(from io.Reader, group map[string]string, written time.Time) ([]Mirror, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(from)
	if err != nil {
		return nil, err
	}
	for _, series := range families[pushTimeOf].GetMetric() {
		if within(labelsOf(series), group) {
			written = timeOf(valueOf(series))
		}
	}
	mirrors := make(map[string]Mirror)
	for _, name := range []string{lastRun, lastSuccess, failedRuns, behind} {
		for _, series := range families[prometheus.BuildFQName(namespace, "", name)].GetMetric() {
			labels := labelsOf(series)
			if !within(labels, group) || labels["mirror"] == "" || labels["mirror"] == other {
				continue
			}
			m := mirrors[labels["mirror"]]
			m.Name = labels["mirror"]
			m.recall(name, valueOf(series), written)
			mirrors[m.Name] = m
		}
	}
	return slices.SortedFunc(maps.Values(mirrors), byName), nil
}

// recall sets what a metric said when it was written.
func (m *Mirror) recall(metric string, value float64, written time.Time) {
	switch metric {
	case lastRun:
		m.LastRun = timeOf(value)
	case lastSuccess:
		m.LastSuccess = timeOf(value)
	case failedRuns:
		m.FailedRuns = int(value)
	case behind:
		if value > 0 && !written.IsZero() {
			m.BehindSince = written.Add(-time.Duration(value * float64(time.Second)))
		}
	}
}

func valueOf(series *dto.Metric) float64 {
	return series.GetGauge().GetValue() + series.GetUntyped().GetValue()
}

func timeOf(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)).UTC() }

func labelsOf(series *dto.Metric) map[string]string {
	labels := make(map[string]string)
	for _, pair := range series.GetLabel() {
		labels[pair.GetName()] = pair.GetValue()
	}
	return labels
}

func within(labels, group map[string]string) bool {
	for name, value := range group {
		if labels[name] != value {
			return false
		}
	}
	return true
}
