package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// notes is what Helm prints after it installed the chart. Only an installation prints
// it, and that needs a cluster: so a copy of the chart renders it as one more file.
func notes(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "templates", "NOTES.txt"))
	if err != nil {
		t.Fatal(err)
	}
	file := fmt.Sprintf(`{{- define "notes" }}%s{{- end }}notes: {{ include "notes" . | toJson }}`, text)
	if err := os.WriteFile(filepath.Join(dir, "templates", "notes.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return string(helm(t, append([]string{
		"template", "mirror", dir, "--namespace", "tools", "--kube-version", "1.33.0", "--show-only", "templates/notes.yaml",
	}, args...)...))
}

func TestNotes(t *testing.T) {
	const (
		insecure = "Images are copied without checking signatures."
		noRole   = "which has no eks.amazonaws.com/role-arn annotation."
	)
	for _, tt := range []struct {
		values   string
		has, not []string
	}{
		{"irsa", []string{insecure, "create job --from=cronjob/mirror-ecr-mirror-sync"}, []string{noRole}},
		{"shards", []string{insecure, noRole, "as 7 shards", "--max-log-requests=7"}, nil},
		{"job", []string{"get job mirror-ecr-mirror-sync-", "1 shard,"}, []string{"cronjob"}},
		{"deployment", []string{noRole, "every 10m", "port-forward deployment/mirror-ecr-mirror-sync"}, []string{insecure}},
		{"full", []string{`"30 2 * * *" (Europe/London)`, "suspended"}, []string{insecure}},
	} {
		got := notes(t, "--values", chart+"/ci/"+tt.values+"-values.yaml")
		for _, want := range tt.has {
			if !strings.Contains(strings.ReplaceAll(got, `\"`, `"`), want) {
				t.Errorf("%s: the notes do not say %q:\n%s", tt.values, want, got)
			}
		}
		for _, want := range tt.not {
			if strings.Contains(got, want) {
				t.Errorf("%s: the notes say %q:\n%s", tt.values, want, got)
			}
		}
	}
}
