package metrics_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Prometheus itself finds nothing wrong with what is scraped.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		promtool, _ = filepath.Abs("../../bin/tools/promtool")
		if _, err := os.Stat(promtool); err != nil {
			t.Skip("promtool is not installed: make bin/tools/promtool")
		}
	}
	var text strings.Builder
	if err := everything().WriteText(&text); err != nil {
		t.Fatal(err)
	}
	check := func(text string) (string, error) {
		cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics", "--extended")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := check(text.String())
	if err != nil || strings.Contains(out, "should") {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	if !strings.Contains(out, "ecr_mirror_sync_mirror_behind_seconds") {
		t.Errorf("promtool did not see the metrics:\n%s", out)
	}
	if out, err := check("# TYPE wrong_count counter\nwrong_count 1\n"); err == nil {
		t.Errorf("promtool finds nothing wrong with anything:\n%s", out)
	}
}
