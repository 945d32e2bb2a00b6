package metrics

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// The limits of the embedded metric format.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
const (
	maxEMFMetrics    = 100  // in one object
	maxEMFDimension  = 1024 // bytes of a value
	emfNamespaceName = "ecr-mirror-sync"
)

// document is one object of the embedded metric format: its members are the dimensions
// and the metrics that Metadata names.
type document struct {
	dimensions map[string]string
	values     map[string]float64
}

// metadata is what CloudWatch reads an object by.
type metadata struct {
	Timestamp         int64 // milliseconds
	CloudWatchMetrics []directive
}

type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []definition
}

type definition struct {
	Name string
	Unit string
}

// WriteEMF writes the metrics in CloudWatch's embedded metric format: a line of JSON for
// each set of labels. Names are those of Prometheus without the program's, which is the
// namespace. Points in time are left out, since CloudWatch cannot tell how long ago they
// are, and so are requests_total and build_info: CloudWatch charges by the series.
func (m *Metrics) WriteEMF(to io.Writer, at time.Time) error {
	families, err := m.registry.Gather()
	if err != nil {
		return err
	}
	documents := documentsOf(families)
	for _, key := range slices.Sorted(maps.Keys(documents)) {
		line, err := documents[key].encode(at)
		if err != nil {
			return err
		}
		if _, err := to.Write(append(line, '\n')); err != nil { // at once, so that no other line comes in between
			return err
		}
	}
	return nil
}

// documentsOf gathers series by their labels.
func documentsOf(families []*dto.MetricFamily) map[string]document {
	documents := make(map[string]document)
	for _, family := range families {
		name, ours := strings.CutPrefix(family.GetName(), namespace+"_")
		if !ours || strings.HasSuffix(name, "_timestamp_seconds") || name == "requests_total" || name == "build_info" || name == "config_last_reload_successful" {
			continue
		}
		for _, series := range family.GetMetric() {
			var key strings.Builder
			dimensions := make(map[string]string)
			for _, pair := range series.GetLabel() {
				key.WriteString(pair.GetName() + "\x00" + pair.GetValue() + "\x00")
				dimensions[pair.GetName()] = dimensionValue(pair.GetValue())
			}
			d, ok := documents[key.String()]
			if !ok {
				d = document{dimensions, make(map[string]float64)}
				documents[key.String()] = d
			}
			maps.Copy(d.values, valuesOf(name, series))
		}
	}
	return documents
}

// valuesOf is what a series says. A histogram says how much in all and how often.
func valuesOf(name string, series *dto.Metric) map[string]float64 {
	if h := series.GetHistogram(); h != nil {
		return map[string]float64{name + "_sum": h.GetSampleSum(), name + "_count": float64(h.GetSampleCount())}
	}
	return map[string]float64{name: series.GetCounter().GetValue() + series.GetGauge().GetValue()}
}

// encode writes the object on one line.
func (d document) encode(at time.Time) ([]byte, error) {
	object := make(map[string]any)
	names := slices.Sorted(maps.Keys(d.dimensions))
	for name, value := range d.dimensions {
		object[name] = value
	}
	var metrics []definition
	for _, name := range slices.Sorted(maps.Keys(d.values)) {
		object[name] = d.values[name]
		metrics = append(metrics, definition{name, unit(name)})
	}
	if names == nil {
		names = []string{}
	}
	meta := metadata{Timestamp: at.UnixMilli()}
	for some := range slices.Chunk(metrics, maxEMFMetrics) {
		meta.CloudWatchMetrics = append(meta.CloudWatchMetrics, directive{emfNamespaceName, [][]string{names}, some})
	}
	object["_aws"] = meta
	return json.Marshal(object)
}

// unit is CloudWatch's word for what a metric counts.
func unit(name string) string {
	switch {
	case strings.HasPrefix(name, "bytes"):
		return "Bytes"
	case strings.HasSuffix(name, "_seconds"), strings.HasSuffix(name, "_seconds_sum"):
		return "Seconds"
	}
	return "Count"
}

// dimensionValue makes a text what CloudWatch takes for a dimension's value.
func dimensionValue(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '_'
		}
		return r
	}, s)
	if s = strings.TrimLeft(s, ":"); strings.TrimSpace(s) == "" { // neither may be
		return "_"
	}
	return s[:min(len(s), maxEMFDimension)]
}
