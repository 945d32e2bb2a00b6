// Package metrics counts what runs do and says how fresh each mirror is, as Prometheus
// metrics. The same numbers are scraped from a daemon (Handler), or pushed, written and
// printed when a run ends (Push, WriteTextfile, WriteEMF, WriteText).
//
// What is said of mirrors is read from a State whenever the metrics are collected, so
// that it is what a status page reads from the same State. docs/metrics.md describes
// every metric for users.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// namespace begins the name of every metric.
const namespace = "ecr_mirror_sync"

// Options are what the metrics have to be told.
type Options struct {
	Version, Commit, GoVersion string // of the program

	// State says how mirrors stand. Nil means what Observe was told.
	State State

	// Runtime adds the metrics of Go's runtime and of the process, which say nothing of a
	// run that has ended.
	Runtime bool

	Now func() time.Time // nil means time.Now
}

// Metrics are the metrics of one process, in a registry of their own. They are safe for
// concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	memory   *Memory // nil where another State was given

	runs      *prometheus.CounterVec
	durations prometheus.Histogram
	written   prometheus.Counter

	requests
}

// New returns metrics in which nothing has happened.
func New(o Options) *Metrics {
	if o.Now == nil {
		o.Now = time.Now
	}
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "bytes_total",
		Help: "Bytes of blobs read from upstream registries as they arrive, and written to destinations as runs end.",
	}, []string{"direction"})
	m := &Metrics{
		registry: prometheus.NewPedanticRegistry(),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "runs_total",
			Help: "Runs that ended: ok, partial (some rows failed, are blocked, or were not reached), failed (nothing was done), interrupted.",
		}, []string{"outcome"}),
		durations: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "run_duration_seconds", Help: "How long runs took.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 1800, 3600, 7200},
		}),
		written:  bytes.WithLabelValues("written"),
		requests: newRequests(bytes.WithLabelValues("read")),
	}
	for _, outcome := range outcomes() {
		m.runs.WithLabelValues(string(outcome)) // a counter that is not there cannot be seen to rise
	}
	if o.State == nil {
		m.memory = &Memory{}
		o.State = m.memory
	}
	m.registry.MustRegister(bytes, m.runs, m.durations, buildInfo(o), &mirrors{state: o.State, now: o.Now}, configuration{o.State})
	m.registry.MustRegister(m.collectors()...)
	if o.Runtime {
		m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	return m
}

// buildInfo is a metric whose labels say which program this is.
func buildInfo(o Options) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels say which program this is.",
		ConstLabels: prometheus.Labels{"version": o.Version, "commit": o.Commit, "goversion": o.GoVersion},
	})
	info.Set(1)
	return info
}

// Handler serves the metrics to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Gatherer is where the metrics are read from.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

func outcomes() []status.Outcome {
	return []status.Outcome{status.OK, status.Partial, status.Failed, status.Interrupted}
}

// Observe counts a run that ended with a report. A dry run is none, and neither is a
// listing.
func (m *Metrics) Observe(r report.Report, began, ended time.Time) {
	if r.Kind != report.KindSync {
		return
	}
	m.ended(status.OutcomeOf(r), began, ended)
	m.written.Add(float64(r.Totals.Bytes))
	if m.memory != nil {
		m.memory.Observe(r, began)
	}
}

// Broken counts a run that ended without a report: nothing could be found out.
// interrupted says that a signal ended it.
func (m *Metrics) Broken(interrupted bool, began, ended time.Time) {
	outcome := status.Failed
	if interrupted {
		outcome = status.Interrupted
	}
	m.ended(outcome, began, ended)
}

func (m *Metrics) ended(outcome status.Outcome, began, ended time.Time) {
	m.runs.WithLabelValues(string(outcome)).Inc()
	m.durations.Observe(ended.Sub(began).Seconds())
}

// Memory is what Observe was told, nil where another State was given.
func (m *Metrics) Memory() *Memory { return m.memory }
