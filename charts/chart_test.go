package charts_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const (
	chart = "ecr-mirror-sync"
	irsa  = "ci/irsa-values.yaml" // the smallest set of values that runs
	full  = "ci/full-values.yaml" // every value that changes what is rendered
)

// render returns the objects of the chart by kind.
func render(t *testing.T, values string, set ...string) map[string]object {
	t.Helper()
	out, err := template(t, values, set...)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]object{}
	for decoder := yaml.NewDecoder(bytes.NewReader(out)); ; {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		kind := fmt.Sprint(o["kind"])
		if objects[kind] != nil {
			t.Fatalf("two objects of kind %s", kind)
		}
		objects[kind] = o
	}
}

// template runs helm. Its error holds what helm said.
func template(t *testing.T, values string, set ...string) ([]byte, error) {
	t.Helper()
	helm, err := exec.LookPath("helm")
	if err != nil {
		t.Skip("helm is not installed: the chart is not rendered")
	}
	args := []string{"template", "mirror", chart, "--namespace", "tools", "--kube-version", "1.30.0", "--values", chart + "/" + values}
	for _, s := range set {
		args = append(args, "--set-json", s)
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), helm, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	return out, nil
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

var (
	podPath       = []any{"spec", "jobTemplate", "spec", "template", "spec"}
	containerPath = slices.Concat(podPath, []any{"containers", 0})
)

func pod(cronJob object) object       { return cronJob.at(podPath...).(object) }
func container(cronJob object) object { return cronJob.at(containerPath...).(object) }

func TestObjects(t *testing.T) {
	for values, want := range map[string][]string{
		irsa: {"CronJob", "ServiceAccount"},
		full: {"ConfigMap", "CronJob", "Secret", "ServiceAccount"},
	} {
		objects := render(t, values)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(objects))); diff != "" {
			t.Errorf("%s renders kinds (-want +got)\n%s", values, diff)
		}
		if got := objects["CronJob"]["apiVersion"]; got != "batch/v1" {
			t.Errorf("CronJob has apiVersion %v, want batch/v1: v1beta1 is gone since Kubernetes 1.25", got)
		}
	}
}

// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
func TestPodIsRestricted(t *testing.T) {
	for _, values := range []string{irsa, full} {
		cronJob := render(t, values)["CronJob"]
		wantPod := object{
			"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
			"seccompProfile": object{"type": "RuntimeDefault"},
		}
		if diff := cmp.Diff(wantPod, pod(cronJob)["securityContext"]); diff != "" {
			t.Errorf("%s: pod security context (-want +got)\n%s", values, diff)
		}
		wantContainer := object{
			"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
			"capabilities": object{"drop": []any{"ALL"}},
		}
		if diff := cmp.Diff(wantContainer, container(cronJob)["securityContext"]); diff != "" {
			t.Errorf("%s: container security context (-want +got)\n%s", values, diff)
		}
		if got := pod(cronJob)["automountServiceAccountToken"]; got != false {
			t.Errorf("%s: automountServiceAccountToken is %v, want false", values, got)
		}
		if got := container(cronJob).at("volumeMounts", 0); !cmp.Equal(got, object{"name": "tmp", "mountPath": "/tmp"}) {
			t.Errorf("%s: first volume mount is %v, want a writable /tmp", values, got)
		}
		if got := pod(cronJob).at("volumes", 0, "emptyDir"); got == nil {
			t.Errorf("%s: /tmp is no emptyDir", values)
		}
	}
}

func TestJobsDoNotOverlapOrRepeat(t *testing.T) {
	cronJob := render(t, irsa)["CronJob"]
	for _, tt := range []struct {
		path []any
		want any
	}{
		{[]any{"spec", "schedule"}, "0 */12 * * *"},
		{[]any{"spec", "concurrencyPolicy"}, "Forbid"},
		{[]any{"spec", "jobTemplate", "spec", "backoffLimit"}, 0},
		{[]any{"spec", "jobTemplate", "spec", "activeDeadlineSeconds"}, 36000},
		{[]any{"spec", "jobTemplate", "spec", "ttlSecondsAfterFinished"}, nil},
		{slices.Concat(podPath, []any{"restartPolicy"}), "Never"},
	} {
		if got := cronJob.at(tt.path...); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.path, got, tt.want)
		}
	}
}

func TestArguments(t *testing.T) {
	for values, want := range map[string][]any{
		irsa: {"sync", "--insecure-policy", "--log-format=json"},
		full: {
			"sync", "--policy=/etc/ecr-mirror-sync/policy/policy.json", "--log-format=json", "--debug", "--render-table",
			"--region=us-east-1", "--region=eu-west-1", "--prefix=mirrors", "--batch=4", "--src-creds-for=quay.io", "--max-duration=1h",
		},
	} {
		if diff := cmp.Diff(want, container(render(t, values)["CronJob"])["args"]); diff != "" {
			t.Errorf("%s: arguments (-want +got)\n%s", values, diff)
		}
	}
}

func TestPolicyIsMountedWhereTheArgumentPoints(t *testing.T) {
	objects := render(t, full)
	if got := objects["CronJob"].at(slices.Concat(containerPath, []any{"volumeMounts", 1, "mountPath"})...); got != "/etc/ecr-mirror-sync/policy" {
		t.Errorf("mounted at %v", got)
	}
	var policy any
	if err := json.Unmarshal([]byte(objects["ConfigMap"].at("data", "policy.json").(string)), &policy); err != nil {
		t.Errorf("policy.json: %v", err)
	}
}

// The old chart passed credentials as an argument, where every process list shows them.
func TestSecretStandsOnlyInTheSecret(t *testing.T) {
	objects := render(t, full)
	for kind, o := range objects {
		raw, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := bytes.Contains(raw, []byte("s3cret")), kind == "Secret"; got != want {
			t.Errorf("%s contains the secret: %t, want %t", kind, got, want)
		}
	}
	want := object{
		"name":      "ECR_MIRROR_SYNC_SRC_CREDS",
		"valueFrom": object{"secretKeyRef": object{"name": objects["Secret"].at("metadata", "name"), "key": "src-creds"}},
	}
	if diff := cmp.Diff(any(want), objects["CronJob"].at(slices.Concat(containerPath, []any{"env", 0})...)); diff != "" {
		t.Errorf("environment (-want +got)\n%s", diff)
	}
}

func TestExistingSecret(t *testing.T) {
	objects := render(t, irsa, `ecrMirrorSync.sourceCredsSecret={"name":"mine","key":"hub"}`)
	if objects["Secret"] != nil {
		t.Error("a Secret was rendered beside the existing one")
	}
	ref := objects["CronJob"].at(slices.Concat(containerPath, []any{"env", 0, "valueFrom", "secretKeyRef"})...)
	if diff := cmp.Diff(any(object{"name": "mine", "key": "hub"}), ref); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestServiceAccount(t *testing.T) {
	objects := render(t, irsa)
	if got := objects["ServiceAccount"].at("metadata", "annotations", "eks.amazonaws.com/role-arn"); got != "arn:aws:iam::111122223333:role/ecr-mirror-sync" {
		t.Errorf("role annotation is %v", got)
	}
	// The seed chart let the two names differ.
	if name, used := objects["ServiceAccount"].at("metadata", "name"), pod(objects["CronJob"])["serviceAccountName"]; name != used {
		t.Errorf("the service account is called %v, the pod uses %v", name, used)
	}

	objects = render(t, irsa, `serviceAccount={"create":false,"name":"theirs"}`)
	if objects["ServiceAccount"] != nil || pod(objects["CronJob"])["serviceAccountName"] != "theirs" {
		t.Error("an existing service account is not used as it is")
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name, set, want string
	}{
		{"unknown value", `shedule="0 1 * * *"`, "'shedule' not allowed"},
		{"unknown nested value", `ecrMirrorSync.region="us-east-1"`, "'region' not allowed"},
		{"number as image tag", `image.tag=1.10`, "image/tag"},
		{"malformed Region", `ecrMirrorSync.regions=["us-east-1a"]`, "regions/0"},
		{"batch of none", `ecrMirrorSync.batch=0`, "batch"},
		{"no image", `image.repository=""`, "set image.repository"},
		{"no word on trust", `ecrMirrorSync.insecurePolicy=false`, "say which images are trusted"},
		{"credentials twice", `ecrMirrorSync={"sourceCreds":"a:b","sourceCredsSecret":{"name":"mine"}}`, "not both"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := template(t, irsa, tt.set)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that contains %q", err, tt.want)
			}
		})
	}
}

// Helm itself refuses values.yaml where it has more than the closed schema.
func TestValuesSchemaAndReadmeAgree(t *testing.T) {
	var values object
	if err := yaml.Unmarshal(read(t, "values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(read(t, "values.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema["properties"].(map[string]any), "global") // Helm's own, for subcharts

	readme := string(read(t, "README.md"))
	for _, path := range leaves(t, schema, nil) {
		name := fmt.Sprint(path[len(path)-1])
		parent, _ := values.at(path[:len(path)-1]...).(object)
		if _, ok := parent[name]; !ok {
			t.Errorf("%v is in the schema and not in values.yaml", path)
		}
		dotted := strings.Trim(strings.ReplaceAll(fmt.Sprint(path), " ", "."), "[]")
		if !strings.Contains(readme, "`"+dotted+"`") {
			t.Errorf("%s is not in README.md", dotted)
		}
	}
}

// leaves lists the paths of the values that a schema knows. Every mapping on the way
// has to be closed: a misspelt value is an error, not a default.
func leaves(t *testing.T, schema map[string]any, path []any) [][]any {
	t.Helper()
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return [][]any{path}
	}
	if schema["additionalProperties"] != false {
		t.Errorf("the schema is open at %v", path)
	}
	var all [][]any
	for name, property := range properties {
		all = append(all, leaves(t, property.(map[string]any), append(slices.Clip(path), name))...)
	}
	return all
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(chart + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
