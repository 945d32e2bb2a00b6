package tests

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// rules are the groups of the PrometheusRule, as a file that Prometheus reads.
func rules(t *testing.T, values string) []byte {
	t.Helper()
	rendered := helm(t, "template", "mirror", chart, "--namespace", "tools", "--kube-version", "1.33.0", "--values", chart+"/ci/"+values,
		"--set", "metrics.prometheusRule.enabled=true", "--show-only", "templates/prometheusrule.yaml")
	var rule monitoring.PrometheusRule
	if err := yaml.UnmarshalStrict(rendered, &rule); err != nil {
		t.Fatal(err)
	}
	raw, err := yaml.Marshal(rule.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// promtool runs it in a directory with files.
func promtool(t *testing.T, files map[string][]byte, args ...string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program(t, "promtool"), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestRulesAreRules(t *testing.T) {
	for _, values := range []string{"irsa-values.yaml", "deployment-values.yaml"} {
		promtool(t, map[string][]byte{"rules.yaml": rules(t, values)}, "check", "rules", "--lint-fatal", "rules.yaml")
	}
}

// alerts.yaml says which alerts fire for which metrics, and which do not.
func TestAlertsFire(t *testing.T) {
	cases, err := os.ReadFile("testdata/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, map[string][]byte{"rules.yaml": rules(t, "deployment-values.yaml"), "alerts.yaml": cases}, "test", "rules", "alerts.yaml")
}

// Prometheus parses the dashboard's queries once they are recording rules.
func TestDashboardQueriesAreQueries(t *testing.T) {
	raw, err := os.ReadFile(chart + "/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &dashboard); err != nil {
		t.Fatal(err)
	}
	grafanas := strings.NewReplacer("$__rate_interval", "5m", "$namespace", ".*", "$mirror", ".*")
	var recording []map[string]string
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			recording = append(recording, map[string]string{
				"record": "panel:" + strconv.Itoa(len(recording)), "expr": grafanas.Replace(target.Expr),
			})
		}
	}
	if len(recording) < 20 {
		t.Fatalf("only %d queries were found", len(recording))
	}
	file, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": recording}}})
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, map[string][]byte{"dashboard.yaml": file}, "check", "rules", "dashboard.yaml")
}
