package charts_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
)

const chart = "ecr-mirror-sync"

// Files of values, in the chart's directory.
const (
	irsa       = "ci/irsa-values.yaml"       // the smallest set of values that runs
	full       = "ci/full-values.yaml"       // every value that changes what mode cronjob renders
	deployment = "ci/deployment-values.yaml" // the daemon
	job        = "ci/job-values.yaml"        // one run
	shards     = "ci/shards-values.yaml"     // a schedule of runs that several pods share
	seed       = "ci/seed-values.yaml"       // those of the first ecr-mirror-sync
)

// workloads says what runs the program, for each file of values.
var workloads = map[string]string{irsa: "CronJob", full: "CronJob", shards: "CronJob", seed: "CronJob", deployment: "Deployment", job: "Job"}

var update = flag.Bool("update", false, "write README.md and docs/kubernetes anew")

// rendered remembers what helm made of the same values.
var rendered sync.Map

// template runs helm. Its error holds what helm said.
func template(t *testing.T, values string, set ...string) ([]byte, error) {
	t.Helper()
	key := fmt.Sprint(values, set)
	if out, ok := rendered.Load(key); ok {
		return out.([]byte), nil
	}
	args := []string{"template", "mirror", chart, "--namespace", "tools", "--kube-version", "1.30.0", "--values", chart + "/" + values}
	for _, s := range set {
		args = append(args, "--set-json", s)
	}
	out, err := helm(t, args...)
	if err == nil {
		rendered.Store(key, out)
	}
	return out, err
}

func helm(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	program, err := exec.LookPath("helm")
	if err != nil {
		t.Skip("helm is not installed: the chart is not rendered")
	}
	dependOn(t, chart)
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	return out, nil
}

// dependOn tells go test that its result is good for these files and no others: it does
// not see what another program reads, and would show an old result for a new chart.
func dependOn(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		_, err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// objects are those of a rendered chart, by kind and name: "CronJob mirror-ecr-mirror-sync".
type objects map[string]object

// render returns the objects of the chart.
func render(t *testing.T, values string, set ...string) objects {
	t.Helper()
	out, err := template(t, values, set...)
	if err != nil {
		t.Fatal(err)
	}
	all := objects{}
	for decoder := yaml.NewDecoder(bytes.NewReader(out)); ; {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint(o["kind"], " ", o.at("metadata", "name"))
		if all[name] != nil {
			t.Fatalf("%s is there twice", name)
		}
		all[name] = o
	}
}

// one returns the first object of a kind, by name, or nil.
func (all objects) one(kind string) object {
	names := []string{}
	for name := range all {
		if strings.HasPrefix(name, kind+" ") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return all[slices.Min(names)]
}

// An object is a decoded YAML mapping.
type object map[string]any

// at follows a path of keys and list positions, and returns nil where it ends early.
func (o object) at(path ...any) any {
	var value any = o
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := value.(object)
			value = m[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil
			}
			value = list[step]
		}
	}
	return value
}

// jobSpec is that of a CronJob's jobs, or of a Job.
func jobSpec(workload object) object {
	if workload["kind"] == "CronJob" {
		return workload.at("spec", "jobTemplate", "spec").(object)
	}
	return workload["spec"].(object)
}

func pod(workload object) object {
	if workload["kind"] == "Pod" {
		return workload["spec"].(object)
	}
	return jobSpec(workload).at("template", "spec").(object)
}

func container(workload object) object {
	return pod(workload).at("containers", 0).(object)
}

// mounts returns the volume behind each mounted path.
func mounts(workload object) map[string]object {
	volumes := map[any]object{}
	list, _ := pod(workload)["volumes"].([]any)
	for _, v := range list {
		volumes[v.(object)["name"]] = v.(object)
	}
	all := map[string]object{}
	list, _ = container(workload)["volumeMounts"].([]any)
	for _, m := range list {
		all[fmt.Sprint(m.(object)["mountPath"])] = volumes[m.(object)["name"]]
	}
	return all
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
