package metrics

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxMirrors is how many mirrors have series of their own; the others share those of the
// mirror that is called other.
const maxMirrors = 1000

// other is the label's value for what is one too many.
const other = "other"

// mirrors reads a State into metrics.
type mirrors struct {
	state State
	now   func() time.Time
}

// The metrics of mirrors.
const (
	lastSuccess = "mirror_last_success_timestamp_seconds"
	lastRun     = "mirror_last_run_timestamp_seconds"
	behind      = "mirror_behind_seconds"
	failedRuns  = "mirror_failed_runs_in_a_row"
	mirrorTags  = "mirror_tags"
)

func described(name string) *prometheus.Desc {
	full := prometheus.BuildFQName(namespace, "", name)
	byMirror := []string{"mirror"}
	switch name {
	case lastSuccess:
		return prometheus.NewDesc(full, "When the last run began that left nothing of the mirror undone. Absent where none is known.", byMirror, nil)
	case lastRun:
		return prometheus.NewDesc(full, "When the last run began that looked at the mirror.", byMirror, nil)
	case behind:
		return prometheus.NewDesc(full, "Time since a difference from upstream was first seen that is still there; 0 when in sync.", byMirror, nil)
	case failedRuns:
		return prometheus.NewDesc(full, "Runs in a row, up to the last, after which tags of the mirror had failed.", byMirror, nil)
	}
	return prometheus.NewDesc(full, "Destination tags after the last run: wanted by the rules, in sync (copied among them), copied by that run, blocked, failed.", []string{"mirror", "state"}, nil)
}

// Describe implements prometheus.Collector.
func (c *mirrors) Describe(to chan<- *prometheus.Desc) {
	for _, name := range []string{lastSuccess, lastRun, behind, failedRuns, mirrorTags} {
		to <- described(name)
	}
}

// Collect implements prometheus.Collector.
func (c *mirrors) Collect(to chan<- prometheus.Metric) {
	now := c.now()
	gauge := func(name string, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(described(name), prometheus.GaugeValue, value, labels...)
	}
	for _, m := range bounded(c.state.Mirrors()) {
		if m.LastRun.IsZero() {
			continue // nobody has looked: there is nothing to say
		}
		if !m.LastSuccess.IsZero() {
			gauge(lastSuccess, seconds(m.LastSuccess), m.Name)
		}
		gauge(lastRun, seconds(m.LastRun), m.Name)
		gauge(behind, m.behind(now).Seconds(), m.Name)
		gauge(failedRuns, float64(m.FailedRuns), m.Name)
		gauge(mirrorTags, float64(m.Tags.Wanted), m.Name, "wanted")
		gauge(mirrorTags, float64(m.Tags.InSync), m.Name, "in_sync")
		gauge(mirrorTags, float64(m.Tags.Copied), m.Name, "copied")
		gauge(mirrorTags, float64(m.Tags.Blocked), m.Name, "blocked")
		gauge(mirrorTags, float64(m.Tags.Failed), m.Name, "failed")
	}
}

// behind is how long a difference has been known.
func (m Mirror) behind(now time.Time) time.Duration {
	if m.BehindSince.IsZero() {
		return 0
	}
	return max(0, now.Sub(m.BehindSince))
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// bounded returns one mirror for each name, sorted, and at most maxMirrors besides other,
// which stands for the rest at its worst.
func bounded(all []Mirror) []Mirror {
	all = slices.SortedStableFunc(slices.Values(all), byName)
	var kept []Mirror
	for _, m := range all {
		m.Name = label(m.Name)
		if len(kept) > 0 && kept[len(kept)-1].Name == m.Name {
			kept[len(kept)-1].join(m)
			continue
		}
		if len(kept) < maxMirrors {
			kept = append(kept, m)
			continue
		}
		if len(kept) == maxMirrors {
			kept = append(kept, Mirror{Name: other, LastRun: m.LastRun, LastSuccess: m.LastSuccess})
		}
		kept[maxMirrors].join(m)
	}
	return apart(kept)
}

// apart joins a mirror that really is called other with those that have to share it.
func apart(kept []Mirror) []Mirror {
	if len(kept) <= maxMirrors {
		return kept
	}
	named := slices.IndexFunc(kept[:maxMirrors], func(m Mirror) bool { return m.Name == other })
	if named < 0 {
		return kept
	}
	kept[maxMirrors].join(kept[named])
	return slices.Delete(kept, named, named+1)
}

// join makes m stand for another one, too: counts add up, and of times the worse holds.
func (m *Mirror) join(o Mirror) {
	m.LastRun = earlier(m.LastRun, o.LastRun)
	m.LastSuccess = earlier(m.LastSuccess, o.LastSuccess)
	if m.BehindSince.IsZero() || !o.BehindSince.IsZero() && o.BehindSince.Before(m.BehindSince) {
		m.BehindSince = o.BehindSince
	}
	m.FailedRuns = max(m.FailedRuns, o.FailedRuns)
	m.Tags.Wanted += o.Tags.Wanted
	m.Tags.InSync += o.Tags.InSync
	m.Tags.Copied += o.Tags.Copied
	m.Tags.Blocked += o.Tags.Blocked
	m.Tags.Failed += o.Tags.Failed
	m.Tags.NotDone += o.Tags.NotDone
}

// earlier is the earlier of two times; never is the earliest.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// label makes a text one that may be a label's value.
func label(s string) string { return strings.ToValidUTF8(s, "�") }
