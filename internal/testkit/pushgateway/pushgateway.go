// Package pushgateway behaves, for tests, as Prometheus's Pushgateway is documented to:
// POST replaces the metrics of the same names within a group, which the path names, and
// GET /metrics shows those of all groups with their labels. What is pushed is read by
// Prometheus's own parser. https://github.com/prometheus/pushgateway#api
package pushgateway

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Gateway is one that runs.
type Gateway struct {
	URL string
	Now func() time.Time // time.Now, where the test does not say otherwise

	mu     sync.Mutex
	groups map[string]map[string][]string // by path and metric: its lines
	auth   string
	status int
}

// pushTime is the metric that a gateway adds to each group.
const pushTime = "push_time_seconds"

// Start starts a gateway that ends with the test.
func Start(tb testing.TB) *Gateway {
	tb.Helper()
	g := &Gateway{Now: time.Now, groups: map[string]map[string][]string{}}
	server := httptest.NewServer(g)
	tb.Cleanup(server.Close)
	g.URL = server.URL
	return g
}

// Refuse has every further request answered with a status; 0 ends that.
func (g *Gateway) Refuse(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status = status
}

// Auth is user and password of the last request, with a colon.
func (g *Gateway) Auth() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.auth
}

// Lines are all series, such as name{job="a",x="b"} 1, with their labels sorted.
func (g *Gateway) Lines() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for _, group := range g.groups {
		for _, lines := range group {
			all = append(all, lines...)
		}
	}
	slices.Sort(all)
	return all
}

// ServeHTTP answers as a gateway does.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	lines := g.Lines()
	g.mu.Lock()
	defer g.mu.Unlock()
	user, password, _ := r.BasicAuth()
	g.auth = user + ":" + password
	switch {
	case g.status != 0:
		w.WriteHeader(g.status)
	case r.Method == http.MethodGet && r.URL.Path == "/metrics":
		_, _ = io.WriteString(w, strings.Join(lines, "\n")+"\n")
	case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/metrics/job/"):
		if err := g.push(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// push keeps what is pushed.
func (g *Gateway) push(r *http.Request) error {
	pushed, err := read(r, groupOf(r.URL.Path))
	if err != nil {
		return err
	}
	group := g.groups[r.URL.Path]
	if group == nil {
		group = map[string][]string{}
		g.groups[r.URL.Path] = group
	}
	maps.Copy(group, pushed)
	when := model.Sample{Metric: model.Metric{}, Value: model.SampleValue(float64(g.Now().UnixMilli()) / 1000)}
	group[pushTime] = []string{line(pushTime, &when, groupOf(r.URL.Path))}
	return nil
}

// groupOf reads the labels of a group off /metrics/job/a/x/b.
func groupOf(path string) []string {
	parts := strings.Split(strings.TrimPrefix(path, "/metrics/"), "/")
	var labels []string
	for i := 0; i+1 < len(parts); i += 2 {
		labels = append(labels, fmt.Sprintf("%s=%q", parts[i], parts[i+1]))
	}
	return labels
}

// read reads what is pushed, by metric.
func read(r *http.Request, group []string) (map[string][]string, error) {
	format := expfmt.ResponseFormat(r.Header)
	if format.FormatType() == expfmt.TypeUnknown {
		return nil, fmt.Errorf("nobody reads %q", r.Header.Get("Content-Type"))
	}
	samples := expfmt.SampleDecoder{Dec: expfmt.NewDecoder(r.Body, format), Opts: &expfmt.DecodeOptions{Timestamp: model.Now()}}
	pushed := map[string][]string{}
	for {
		var some model.Vector
		err := samples.Decode(&some)
		if errors.Is(err, io.EOF) {
			return pushed, nil
		}
		if err != nil {
			return nil, err
		}
		for _, s := range some {
			name := string(s.Metric[model.MetricNameLabel])
			pushed[name] = append(pushed[name], line(name, s, group))
		}
	}
}

func line(name string, s *model.Sample, group []string) string {
	all := slices.Clone(group)
	for label, value := range s.Metric {
		if label != model.MetricNameLabel {
			all = append(all, fmt.Sprintf("%s=%q", label, value))
		}
	}
	slices.Sort(all)
	return fmt.Sprintf("%s{%s} %v", name, strings.Join(all, ","), float64(s.Value))
}
