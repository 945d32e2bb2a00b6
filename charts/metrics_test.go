package charts_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// exported are the metrics of the program, with their labels. Where docs/metrics.md is
// there, it has the last word on the names.
var exported = map[string][]string{
	"mirror_last_success_timestamp_seconds":        {"mirror"},
	"mirror_last_run_timestamp_seconds":            {"mirror"},
	"mirror_behind_seconds":                        {"mirror"},
	"mirror_tags":                                  {"mirror", "state"},
	"mirror_failed_runs_in_a_row":                  {"mirror"},
	"runs_total":                                   {"outcome"},
	"run_duration_seconds":                         {"le"},
	"bytes_total":                                  {"direction"},
	"requests_total":                               {"host", "operation", "class"},
	"throttled_total":                              {"host"},
	"upstream_quota_remaining":                     {"host"},
	"upstream_quota_limit":                         {"host"},
	"token_expiry_timestamp_seconds":               {"host"},
	"config_last_reload_successful":                nil,
	"config_last_reload_success_timestamp_seconds": nil,
	"build_info":                                   {"version", "commit", "goversion"},
}

var (
	metricName = regexp.MustCompile(`\becr_mirror_sync_([a-z_]+)`)
	selector   = regexp.MustCompile(`\becr_mirror_sync_([a-z_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`by \(([^)]*)\)`)
	histogram  = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// fromPrometheus are the labels that scraping adds.
var fromPrometheus = []string{"namespace", "job", "pod", "instance"}

func TestQueriesNameMetricsThatExist(t *testing.T) {
	queries := append(ruleQueries(t), dashboardQueries(t)...)
	if len(queries) < 25 {
		t.Fatalf("only %d queries were found", len(queries))
	}
	documented, err := os.ReadFile("../docs/metrics.md")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, query := range queries {
		labels := slices.Clone(fromPrometheus)
		for _, match := range metricName.FindAllStringSubmatch(query, -1) {
			name := match[1]
			if _, ok := exported[name]; !ok {
				name = histogram.ReplaceAllString(name, "")
			}
			own, ok := exported[name]
			if !ok || documented != nil && !strings.Contains(string(documented), "ecr_mirror_sync_"+name) {
				t.Errorf("%s\nasks for %s, which the program does not export", query, match[0])
			}
			used[name] = true
			labels = append(labels, own...)
		}
		for _, name := range labelsOf(query) {
			if !slices.Contains(labels, name) {
				t.Errorf("%s\nasks for the label %s, which its metrics have not", query, name)
			}
		}
	}
	for name := range exported {
		if !used[name] && name != "config_last_reload_success_timestamp_seconds" {
			t.Errorf("neither a rule nor the dashboard shows %s", name)
		}
	}
}

// labelsOf are the labels that a query selects or groups by.
func labelsOf(query string) []string {
	var all []string
	for _, match := range selector.FindAllStringSubmatch(query, -1) {
		for _, m := range matcher.FindAllStringSubmatch(match[2], -1) {
			all = append(all, m[1])
		}
	}
	for _, match := range grouping.FindAllStringSubmatch(query, -1) {
		for name := range strings.SplitSeq(match[1], ",") {
			all = append(all, strings.TrimSpace(name))
		}
	}
	return all
}

func ruleQueries(t *testing.T) []string {
	t.Helper()
	var queries []string
	rules := render(t, deployment).one("PrometheusRule").at("spec", "groups", 0, "rules").([]any)
	for _, rule := range rules {
		queries = append(queries, rule.(object)["expr"].(string))
	}
	return queries
}

func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Definition string }
		}
	}
	if err := json.Unmarshal([]byte(render(t, deployment).one("ConfigMap").at("data", "ecr-mirror-sync.json").(string)), &dashboard); err != nil {
		t.Fatal(err)
	}
	var queries []string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, target.Expr)
		}
	}
	for _, variable := range dashboard.Templating.List {
		if variable.Definition != "" {
			queries = append(queries, variable.Definition)
		}
	}
	return queries
}

// A run of mode cronjob or job pushes its metrics, and nothing counts on from one to the
// next: rules about rates and about the daemon are for the daemon.
func TestRulesFitTheMode(t *testing.T) {
	names := func(values string) []string {
		var all []string
		for _, rule := range render(t, values).one("PrometheusRule").at("spec", "groups", 0, "rules").([]any) {
			if name, ok := rule.(object)["alert"].(string); ok {
				all = append(all, name)
			}
		}
		return all
	}
	daemon, runs := names(deployment), names(full)
	for _, name := range []string{"EcrMirrorSyncMirrorStale", "EcrMirrorSyncMirrorBehind", "EcrMirrorSyncMirrorFailing"} {
		if !slices.Contains(daemon, name) || !slices.Contains(runs, name) {
			t.Errorf("%s is missing: %v, %v", name, daemon, runs)
		}
	}
	for _, name := range []string{"EcrMirrorSyncDown", "EcrMirrorSyncConfigReloadFailed", "EcrMirrorSyncTokenExpired", "EcrMirrorSyncThrottled"} {
		if !slices.Contains(daemon, name) || slices.Contains(runs, name) {
			t.Errorf("%s is for the daemon alone: %v, %v", name, daemon, runs)
		}
	}
}
