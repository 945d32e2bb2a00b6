package metrics_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/metrics"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/pushgateway"
)

func open(t *testing.T, address string, grouping map[string]string) *metrics.Pushgateway {
	t.Helper()
	g, err := metrics.NewPushgateway(address, "mirror", grouping)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Runs are processes that follow each other: each pushes what it knows, and a mirror that
// fails keeps the time of its last success and adds to its failures.
func TestPushAfterPush(t *testing.T) {
	server := pushgateway.Start(t)
	elsewhere := open(t, server.URL, map[string]string{"shard": "1"})
	here := open(t, server.URL, map[string]string{"shard": "0"})
	run := func(to *metrics.Pushgateway, now time.Time, rows ...row) {
		t.Helper()
		m := metrics.New(metrics.Options{Now: at(now)})
		earlier, err := to.Earlier(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m.Memory().Remember(earlier)
		m.Observe(ran(report.Run{}, rows...), now.Add(-time.Minute), now)
		server.Now = at(now)
		if err := to.Push(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	good := row{"web", "1", plan.InSync, plan.StaysInSync, 0}
	bad := row{"web", "1", plan.Update, plan.HasFailed, 0}
	gone := row{"gone", "1", plan.InSync, plan.StaysInSync, 0}
	run(elsewhere, noon.Add(-time.Hour), good)
	run(here, noon, good, gone)
	run(here, noon.Add(time.Hour), bad)
	run(here, noon.Add(2*time.Hour), bad)
	for _, want := range []string{
		fmt.Sprintf(`ecr_mirror_sync_mirror_last_success_timestamp_seconds{job="mirror",mirror="web",shard="0"} %v`, float64(noon.Unix()-60)),
		fmt.Sprintf(`ecr_mirror_sync_mirror_last_success_timestamp_seconds{job="mirror",mirror="web",shard="1"} %v`, float64(noon.Unix()-3660)),
		`ecr_mirror_sync_mirror_failed_runs_in_a_row{job="mirror",mirror="web",shard="0"} 2`,
		`ecr_mirror_sync_mirror_behind_seconds{job="mirror",mirror="web",shard="0"} 3660`,
		`ecr_mirror_sync_runs_total{job="mirror",outcome="failed",shard="0"} 1`,
	} {
		if !slices.Contains(server.Lines(), want) {
			t.Errorf("the gateway lacks %s", want)
		}
	}
	for _, line := range server.Lines() {
		if strings.Contains(line, `"gone"`) {
			t.Errorf("a mirror that is no more is still there: %s", line)
		}
	}
}

// The password goes to the gateway and nowhere else.
func TestPushgatewayPassword(t *testing.T) {
	server := pushgateway.Start(t)
	withUser := strings.Replace(server.URL, "://", "://prom:s3cret@", 1)
	g := open(t, withUser, nil)
	if err := g.Push(t.Context(), everything()); err != nil {
		t.Fatal(err)
	}
	if got := server.Auth(); got != "prom:s3cret" {
		t.Errorf("the gateway saw %q", got)
	}
	server.Refuse(http.StatusInternalServerError)
	_, earlierErr := g.Earlier(t.Context())
	refused := g.Push(t.Context(), everything())
	dead := open(t, "http://prom:s3cret@127.0.0.1:1", nil).Push(t.Context(), everything())
	_, malformed := metrics.NewPushgateway("http://prom:s3cret@[::1", "mirror", nil)
	for _, err := range []error{earlierErr, refused, dead, malformed} {
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error is %v", err)
		}
	}
	if strings.Contains(g.String(), "prom") {
		t.Errorf("it is written %s", g)
	}
}

func TestPushgatewayAddresses(t *testing.T) {
	for _, address := range []string{"", "gateway:9091", "ftp://gateway", "http://", "http://gateway?job=x", "http://gateway/#x", ":"} {
		if _, err := metrics.NewPushgateway(address, "mirror", nil); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}

func TestTextfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ecr-mirror-sync.prom")
	if earlier, err := metrics.EarlierText(path); err != nil || len(earlier) > 0 {
		t.Fatalf("before the first run: %v, %v", earlier, err)
	}
	if err := everything().WriteTextfile(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	earlier, err := metrics.EarlierText(path)
	if want := (metrics.Mirror{Name: "web", LastRun: noon.Add(-time.Minute), LastSuccess: noon.Add(-time.Minute)}); err != nil || len(earlier) != 1 || earlier[0] != want {
		t.Errorf("read back: %+v, %v", earlier, err)
	}
	if err := everything().WriteTextfile(filepath.Join(path, "below-a-file.prom")); err == nil {
		t.Error("a path that cannot be is written to")
	}
	// A file that cannot be replaced leaves nothing beside it.
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "x.prom", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := everything().WriteTextfile(filepath.Join(folder, "x.prom")); err == nil {
		t.Error("a directory is replaced")
	}
	if left, _ := os.ReadDir(folder); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.WriteFile(path, []byte("ecr_mirror_sync_mirror_last_run{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := metrics.EarlierText(path); err == nil {
		t.Error("a broken file reads as no file")
	}
}

// A mirror that a run did not look at stays known only where the run looked at some
// alone, or at none.
func TestKeep(t *testing.T) {
	web := metrics.Mirror{Name: "web", LastRun: noon, LastSuccess: noon}
	for _, keep := range []bool{false, true} {
		m := metrics.New(metrics.Options{Now: at(noon)})
		m.Memory().Remember([]metrics.Mirror{web})
		if keep {
			m.Memory().Keep()
		}
		m.Observe(ran(report.Run{}, row{"db", "1", plan.InSync, plan.StaysInSync, 0}), noon, noon)
		if n := len(lines(t, m, "mirror_last_success")); (n == 2) != keep {
			t.Errorf("keep %v: %d mirrors", keep, n)
		}
	}
}

// What CloudWatch is given keeps to its specification.
func TestEMF(t *testing.T) {
	m := everything()
	m.Observe(ran(report.Run{}, row{"wéb\n" + strings.Repeat("x", 2000), "1", plan.Copy, plan.HasFailed, 0}), noon, noon)
	var out strings.Builder
	if err := m.WriteEMF(&out, noon); err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for line := range strings.Lines(out.String()) {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var meta struct {
			Timestamp         int64
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
				Metrics    []struct{ Name, Unit string }
			}
		}
		if err := json.Unmarshal(object["_aws"], &meta); err != nil {
			t.Fatal(err)
		}
		if meta.Timestamp != noon.UnixMilli() || len(meta.CloudWatchMetrics) == 0 {
			t.Errorf("%+v", meta)
		}
		for _, d := range meta.CloudWatchMetrics {
			if d.Namespace == "" || len(d.Metrics) == 0 || len(d.Metrics) > 100 || len(d.Dimensions) != 1 || len(d.Dimensions[0]) > 30 {
				t.Errorf("%+v", d)
			}
			id := ""
			for _, dimension := range d.Dimensions[0] {
				var value string
				if err := json.Unmarshal(object[dimension], &value); err != nil || value == "" || len(value) > 1024 || strings.ContainsFunc(value, func(r rune) bool { return r < 32 || r > 126 }) {
					t.Errorf("dimension %s: %q, %v", dimension, value, err)
				}
				id += "," + value
			}
			for _, metric := range d.Metrics {
				var value float64
				if err := json.Unmarshal(object[metric.Name], &value); err != nil || metric.Unit == "" {
					t.Errorf("%s: %v, unit %q", metric.Name, err, metric.Unit)
				}
				if _, twice := found[metric.Name+id]; twice {
					t.Errorf("%s%s stands twice", metric.Name, id)
				}
				found[metric.Name+id] = value
			}
		}
	}
	for name, want := range map[string]float64{
		"mirror_behind_seconds,web": 0, "mirror_tags,web,copied": 1, "mirror_failed_runs_in_a_row,w_b_" + strings.Repeat("x", 1020): 1,
		"run_duration_seconds_sum": 60, "run_duration_seconds_count": 2, "bytes_total,written": 10, "runs_total,ok": 1, "runs_total,failed": 1, "upstream_quota_remaining,docker.io": 76,
	} {
		if got, ok := found[name]; !ok || got != want {
			t.Errorf("%s is %v, %v; want %v", name, got, ok, want)
		}
	}
	for name := range found {
		if strings.Contains(name, "timestamp") || strings.Contains(name, "build_info") || strings.Contains(name, "requests_total") {
			t.Errorf("%s costs money and tells nothing", name)
		}
	}
}
