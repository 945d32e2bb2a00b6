package charts_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What only Helm needs, and the names of templates.
var helmsOwn = regexp.MustCompile(`(?m)^( *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*|# Source: .*)\n`)

func TestPlainManifestsAreTheCharts(t *testing.T) {
	for file, set := range map[string][]string{
		"cronjob.yaml":     {"--set=mode=cronjob"},
		"deployment.yaml":  {"--set=mode=deployment"},
		"sharded-job.yaml": {"--set=mode=job,shards=3"},
	} {
		args := []string{
			"template", "ecr-mirror-sync", chart, "--namespace=ecr-mirror-sync", "--kube-version=1.30.0", "--no-hooks",
			"--values=../docs/kubernetes/values.yaml",
		}
		rendered, err := helm(t, append(args, set...)...)
		if err != nil {
			t.Fatal(err)
		}
		want := "# Made by make manifests; see README.md.\n" + helmsOwn.ReplaceAllString(string(rendered), "")
		path := "../docs/kubernetes/" + file
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(want, string(read(t, path))); diff != "" {
			t.Errorf("%s is not what the chart renders; make manifests writes it (-want +got)\n%s", path, diff)
		}
	}
}
