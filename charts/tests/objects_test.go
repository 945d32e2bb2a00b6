// Package tests asks Kubernetes' and Prometheus' own code what it thinks of the chart. It
// is a module of its own, so that the program's go.mod knows nothing of theirs.
package tests

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

const chart = "../ecr-mirror-sync"

// manifests are all that is applied to a cluster, by where they come from: the chart with
// each of its files of values in ci/, and docs/kubernetes.
func manifests(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	values := files(t, chart+"/ci/*-values.yaml")
	for _, file := range values {
		all[file] = helm(t, "template", "mirror", chart, "--namespace", "tools", "--kube-version", "1.33.0", "--values", file)
	}
	for _, file := range files(t, "../../docs/kubernetes/*.yaml") {
		if filepath.Base(file) == "values.yaml" {
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[file] = raw
	}
	return all
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	return names
}

func helm(t *testing.T, args ...string) []byte {
	t.Helper()
	dependOn(t, chart)
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), program(t, "helm"), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("helm %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out
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

// program is the path of another program. A test whose program is missing is skipped.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// documents are the YAML documents of a stream that say something.
func documents(stream []byte) [][]byte {
	return slices.DeleteFunc(bytes.Split(stream, []byte("\n---\n")), func(doc []byte) bool {
		var content map[string]any
		return yaml.Unmarshal(doc, &content) == nil && content == nil
	})
}

// decode reads an object as the Kubernetes API does with strict validation: an unknown
// field, one that stands twice and one of the wrong type are errors.
func decode(doc []byte) (any, error) {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &kind); err != nil {
		return nil, err
	}
	var object any
	switch kind.APIVersion + " " + kind.Kind {
	case "batch/v1 CronJob":
		object = &batchv1.CronJob{}
	case "batch/v1 Job":
		object = &batchv1.Job{}
	case "apps/v1 Deployment":
		object = &appsv1.Deployment{}
	case "v1 Pod":
		object = &corev1.Pod{}
	case "v1 ConfigMap":
		object = &corev1.ConfigMap{}
	case "v1 Secret":
		object = &corev1.Secret{}
	case "v1 Service":
		object = &corev1.Service{}
	case "v1 ServiceAccount":
		object = &corev1.ServiceAccount{}
	case "networking.k8s.io/v1 NetworkPolicy":
		object = &networkingv1.NetworkPolicy{}
	case "monitoring.coreos.com/v1 ServiceMonitor":
		object = &monitoring.ServiceMonitor{}
	case "monitoring.coreos.com/v1 PodMonitor":
		object = &monitoring.PodMonitor{}
	case "monitoring.coreos.com/v1 PrometheusRule":
		object = &monitoring.PrometheusRule{}
	default:
		return nil, fmt.Errorf("%s %s is none of the kinds that the chart is known to render", kind.APIVersion, kind.Kind)
	}
	return object, yaml.UnmarshalStrict(doc, object)
}

func TestObjectsAreThoseOfTheAPI(t *testing.T) {
	kinds := map[string]bool{}
	for from, stream := range manifests(t) {
		for _, doc := range documents(stream) {
			object, err := decode(doc)
			if err != nil {
				t.Errorf("%s: %v\n%s", from, err, doc)
			}
			kinds[fmt.Sprintf("%T", object)] = true
		}
	}
	if len(kinds) != 12 {
		t.Errorf("of the 12 kinds of the chart, the files of values render %d: %v", len(kinds), kinds)
	}
}

// podOf is the pod that an object runs, if it runs one.
func podOf(object any) (metav1.ObjectMeta, corev1.PodSpec, bool) {
	var template corev1.PodTemplateSpec
	switch o := object.(type) {
	case *corev1.Pod:
		return o.ObjectMeta, o.Spec, true
	case *batchv1.CronJob:
		template = o.Spec.JobTemplate.Spec.Template
	case *batchv1.Job:
		template = o.Spec.Template
	case *appsv1.Deployment:
		template = o.Spec.Template
	default:
		return metav1.ObjectMeta{}, corev1.PodSpec{}, false
	}
	return template.ObjectMeta, template.Spec, true
}

func TestPodsAreRestricted(t *testing.T) {
	checks, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	pods := 0
	for from, stream := range manifests(t) {
		for _, doc := range documents(stream) {
			object, err := decode(doc)
			if err != nil {
				t.Fatal(err)
			}
			meta, spec, ok := podOf(object)
			if !ok {
				continue
			}
			pods++
			for _, result := range checks.EvaluatePod(restricted, &meta, &spec) {
				if !result.Allowed {
					t.Errorf("%s: %T is forbidden: %s: %s", from, object, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
		}
	}
	if pods < 9 {
		t.Errorf("only %d pods were looked at", pods)
	}
}

func TestKubectlValidate(t *testing.T) {
	validate := program(t, "kubectl-validate")
	dir := t.TempDir()
	n := 0
	for _, stream := range manifests(t) {
		for _, doc := range documents(stream) {
			if bytes.Contains(doc, []byte("monitoring.coreos.com/v1")) {
				continue // it would need their definitions
			}
			n++
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", n)), doc, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, version := range []string{"1.29", "1.30"} {
		out, err := exec.CommandContext(t.Context(), validate, "--version", version, dir).CombinedOutput()
		if err != nil {
			t.Errorf("Kubernetes %s: %v\n%s", version, err, out)
		}
		if got := strings.Count(string(out), "OK"); got != n {
			t.Errorf("Kubernetes %s: %d of %d objects are looked at\n%s", version, got, n, out)
		}
	}
}

// Each kind of failure of a run has to reach the rule that is meant: Kubernetes refuses a
// policy with a pod that may restart its containers, and rules about containers that are not there.
func TestPodFailurePolicy(t *testing.T) {
	looked := 0
	for from, stream := range manifests(t) {
		for _, doc := range documents(stream) {
			object, err := decode(doc)
			if err != nil {
				t.Fatal(err)
			}
			var spec batchv1.JobSpec
			switch o := object.(type) {
			case *batchv1.CronJob:
				spec = o.Spec.JobTemplate.Spec
			case *batchv1.Job:
				spec = o.Spec
			default:
				continue
			}
			looked++
			if spec.PodFailurePolicy == nil || spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
				t.Errorf("%s: policy %v with restartPolicy %s", from, spec.PodFailurePolicy, spec.Template.Spec.RestartPolicy)
				continue
			}
			if first := spec.PodFailurePolicy.Rules[0]; first.Action != batchv1.PodFailurePolicyActionFailJob || !slices.Equal(first.OnExitCodes.Values, []int32{10}) {
				t.Errorf("%s: the first rule is %+v", from, first)
			}
			for _, rule := range spec.PodFailurePolicy.Rules {
				if rule.OnExitCodes != nil && !slices.IsSorted(rule.OnExitCodes.Values) {
					t.Errorf("%s: Kubernetes wants %v in order", from, rule.OnExitCodes.Values)
				}
			}
			if spec.BackoffLimitPerIndex != nil && (spec.CompletionMode == nil || *spec.CompletionMode != batchv1.IndexedCompletion) {
				t.Errorf("%s: backoffLimitPerIndex is for Indexed Jobs", from)
			}
		}
	}
	if looked < 7 {
		t.Errorf("only %d jobs were looked at", looked)
	}
}
