package charts_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

func TestObjects(t *testing.T) {
	for values, want := range map[string][]string{
		irsa: {"CronJob mirror-ecr-mirror-sync", "Pod mirror-ecr-mirror-sync-test", "ServiceAccount mirror-ecr-mirror-sync"},
		full: {
			"ConfigMap mirror", "ConfigMap mirror-dashboard", "ConfigMap mirror-registries-d", "CronJob mirror", "NetworkPolicy mirror",
			"Pod mirror-test", "PrometheusRule mirror", "Secret mirror", "ServiceAccount mirror-account",
		},
		deployment: {
			"ConfigMap mirror-ecr-mirror-sync-dashboard", "Deployment mirror-ecr-mirror-sync", "NetworkPolicy mirror-ecr-mirror-sync",
			"Pod mirror-ecr-mirror-sync-test", "PodMonitor mirror-ecr-mirror-sync", "PrometheusRule mirror-ecr-mirror-sync",
			"Service mirror-ecr-mirror-sync", "ServiceAccount mirror-ecr-mirror-sync", "ServiceMonitor mirror-ecr-mirror-sync",
		},
	} {
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(render(t, values)))); diff != "" {
			t.Errorf("%s renders (-want +got)\n%s", values, diff)
		}
	}
}

// Every file of values is one that the tests know.
func TestEveryCIFileIsTested(t *testing.T) {
	files, err := filepath.Glob(chart + "/ci/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if workloads["ci/"+filepath.Base(file)] == "" {
			t.Errorf("no test renders %s", file)
		}
	}
}

func TestModesRunOneWorkload(t *testing.T) {
	for values, want := range workloads {
		all := render(t, values)
		for _, kind := range []string{"CronJob", "Deployment", "Job"} {
			if got := all.one(kind) != nil; got != (kind == want) {
				t.Errorf("%s renders a %s: %t", values, kind, got)
			}
		}
	}
}

// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
// The evaluator that Kubernetes has is asked in charts/tests; this is what it does not ask for.
func TestPodsWriteToVolumesAlone(t *testing.T) {
	for values, kind := range workloads {
		for _, kind := range []string{kind, "Pod"} {
			workload := render(t, values).one(kind)
			if got := container(workload).at("securityContext", "readOnlyRootFilesystem"); got != true {
				t.Errorf("%s, %s: readOnlyRootFilesystem is %v", values, kind, got)
			}
			if got := pod(workload)["automountServiceAccountToken"]; got != false {
				t.Errorf("%s, %s: automountServiceAccountToken is %v", values, kind, got)
			}
			for _, path := range []string{"/tmp", "/var/cache/ecr-mirror-sync"} {
				volume := mounts(workload)[path]
				if volume["emptyDir"] == nil && volume["ephemeral"] == nil {
					t.Errorf("%s, %s: %s is %v, want a volume of the pod's own", values, kind, path, volume)
				}
			}
		}
	}
}

func TestArguments(t *testing.T) {
	spool := []any{"--spool-dir=/var/cache/ecr-mirror-sync", "--spool-limit=10GiB"}
	for values, want := range map[string][]any{
		irsa: slices.Concat([]any{"sync", "--insecure-policy", "--log-format=json"}, spool),
		full: {
			"sync", "--policy=/etc/ecr-mirror-sync/policy/policy.json", "--log-format=console", "--debug", "--log-level=debug",
			"--config=/etc/ecr-mirror-sync/config/mirrors.yaml", "--region=us-east-1", "--region=eu-west-1", "--prefix=mirrors", "--batch=4",
			"--allow-upstream=quay.io", "--allow-upstream=docker.io/library/*", "--src-authfile=/etc/ecr-mirror-sync/auth/auth.json",
			"--render-table", "--spool-dir=/var/cache/ecr-mirror-sync", "--spool-limit=50GiB", "--state=/var/lib/ecr-mirror-sync/state.json",
			"--notify=slack=file:/etc/ecr-mirror-sync/notify-0/url", "--notify=webhook=file:/etc/ecr-mirror-sync/notify-1/url",
			"--notify-secret=file:/etc/ecr-mirror-sync/notify-signing/secret", "--notify-every=4h", "--notify-state=/var/lib/ecr-mirror-sync/notified.json",
			"--metrics-pushgateway=http://pushgateway.monitoring:9091", "--metrics-emf", "--max-duration=1h",
		},
		deployment: slices.Concat([]any{
			"daemon", "--policy=/etc/ecr-mirror-sync/policy/policy.json", "--log-format=json",
			"--config=/etc/ecr-mirror-sync/config/mirrors.yaml", "--src-authfile=/etc/ecr-mirror-sync/auth/auth.json",
		}, spool, []any{
			"--state=s3://my-bucket/ecr-mirror-sync/prune.json", "--notify=shoutrrr=file:/etc/ecr-mirror-sync/notify-0/url",
			"--notify-state=s3://my-bucket/ecr-mirror-sync/told.json", "--listen=:8080", "--interval=10m", "--jitter=30s", "--max-failed-runs=5",
			"--grace=30s", "--pprof",
		}),
		job:    slices.Concat([]any{"sync", "--insecure-policy", "--log-format=json"}, spool, []any{"--shards=1"}),
		shards: slices.Concat([]any{"sync", "--insecure-policy", "--log-format=json"}, spool, []any{"--shards=7"}),
	} {
		if diff := cmp.Diff(want, container(render(t, values).one(workloads[values]))["args"]); diff != "" {
			t.Errorf("%s: arguments (-want +got)\n%s", values, diff)
		}
	}
}

// What the arguments name is mounted: a file is never looked for where nothing is.
func TestFilesAreWhereTheArgumentsPoint(t *testing.T) {
	for values, kind := range workloads {
		workload := render(t, values).one(kind)
		args, _ := container(workload)["args"].([]any)
		for _, arg := range args {
			file := arg.(string)[strings.LastIndexAny(arg.(string), "=:")+1:]
			if !strings.HasPrefix(file, "/etc/") {
				continue
			}
			volume := mounts(workload)[filepath.Dir(file)]
			source, _ := volume["configMap"].(object)
			if source == nil {
				source, _ = volume["secret"].(object)
			}
			if got := source.at("items", 0, "path"); got != filepath.Base(file) {
				t.Errorf("%s: %v points to a volume with the file %v", values, arg, got)
			}
		}
	}
}

func TestFilesFromValues(t *testing.T) {
	data := render(t, full)["ConfigMap mirror"]["data"].(object)
	var policy any
	if err := json.Unmarshal([]byte(data["policy.json"].(string)), &policy); err != nil {
		t.Errorf("policy.json: %v", err)
	}
	// As a map it would have become the number 1.1 on its way through Helm.
	if file := data["mirrors.yaml"].(string); !strings.Contains(file, "tags: [stable, 1.10]\n") {
		t.Errorf("the configuration file is not the text that was given:\n%s", file)
	}
	_, err := config.Load([]string{"mirrors.yaml"}, os.LookupEnv, func(string) ([]byte, error) { return []byte(data["mirrors.yaml"].(string)), nil })
	if err != nil {
		t.Errorf("the program refuses the configuration file: %v", err)
	}
}

// The old chart passed credentials as an argument, where every process list shows them.
func TestSecretStandsOnlyInTheSecret(t *testing.T) {
	for _, values := range []string{full, seed} {
		for name, o := range render(t, values) {
			raw, err := yaml.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			secret := bytes.Contains(raw, []byte("s3cret")) || bytes.Contains(raw, []byte("c29tZW9uZTpzM2NyZXQ="))
			if want := strings.HasPrefix(name, "Secret "); secret != want {
				t.Errorf("%s: %s contains the secret: %t, want %t", values, name, secret, want)
			}
		}
	}
}

// The program itself reads the file that sourceCreds becomes.
func TestSourceCredsAreForTheirRegistryAlone(t *testing.T) {
	for values, host := range map[string]string{seed: "docker.io", full: "quay.io"} {
		file := filepath.Join(t.TempDir(), "auth.json")
		content := render(t, values).one("Secret").at("stringData", "auth.json").(string)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		opened, err := auth.OpenFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, asked := range []string{"docker.io", "quay.io"} {
			got, err := opened.Credential(t.Context(), asked)
			if err != nil {
				t.Fatal(err)
			}
			want := auth.Credential{}
			if asked == host {
				want = auth.Credential{Username: "someone", Password: "s3cret"}
			}
			if got != want {
				t.Errorf("%s: %s gets %v, want %v", values, asked, got, want)
			}
		}
	}
}

func TestExistingSourceCredsSecret(t *testing.T) {
	all := render(t, irsa, `ecrMirrorSync={"sourceCredsSecret":{"name":"mine","key":"hub"},"sourceCredsFor":"quay.io"}`)
	if all.one("Secret") != nil {
		t.Error("a Secret was rendered beside the existing one")
	}
	want := object{"name": "ECR_MIRROR_SYNC_SRC_CREDS", "valueFrom": object{"secretKeyRef": object{"name": "mine", "key": "hub"}}}
	if diff := cmp.Diff(any(want), container(all.one("CronJob")).at("env", 0)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if args := container(all.one("CronJob"))["args"].([]any); !slices.Contains(args, any("--src-creds-for=quay.io")) {
		t.Errorf("arguments %v do not say for whom", args)
	}
}

func TestServiceAccount(t *testing.T) {
	for values, kind := range workloads {
		all := render(t, values)
		// The seed chart let the two names differ.
		if name, used := all.one("ServiceAccount").at("metadata", "name"), pod(all.one(kind))["serviceAccountName"]; name != used {
			t.Errorf("%s: the service account is called %v, the pod uses %v", values, name, used)
		}
	}
	if got := render(t, irsa).one("ServiceAccount").at("metadata", "annotations", "eks.amazonaws.com/role-arn"); got != "arn:aws:iam::111122223333:role/ecr-mirror-sync" {
		t.Errorf("role annotation is %v", got)
	}
	all := render(t, irsa, `serviceAccount={"create":false,"name":"theirs"}`)
	if all.one("ServiceAccount") != nil || pod(all.one("CronJob"))["serviceAccountName"] != "theirs" {
		t.Error("an existing service account is not used as it is")
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name, set, want string
	}{
		{"unknown value", `shedule="0 1 * * *"`, "'shedule' not allowed"},
		{"unknown nested value", `ecrMirrorSync.region="us-east-1"`, "'region' not allowed"},
		{"unknown mode", `mode="daemonset"`, "mode"},
		{"number as image tag", `image.tag=1.10`, "image/tag"},
		{"malformed Region", `ecrMirrorSync.regions=["us-east-1a"]`, "regions/0"},
		{"batch of none", `ecrMirrorSync.batch=0`, "batch"},
		{"a configuration that YAML has changed already", `ecrMirrorSync.config={"mirrors":[]}`, "ecrMirrorSync/config"},
		{"credentials without a colon", `ecrMirrorSync.sourceCreds="token"`, "sourceCreds"},
		{"no image", `image.repository=""`, "set image.repository"},
		{"no word on trust", `ecrMirrorSync.insecurePolicy=false`, "say which images are trusted"},
		{"trust twice", `ecrMirrorSync={"policy":{"default":[]},"policyFrom":{"configMap":"mine"}}`, "not both"},
		{"configuration twice", `ecrMirrorSync={"config":"a","configFrom":{"secret":"mine"}}`, "set one of"},
		{"credentials twice", `ecrMirrorSync={"sourceCreds":"a:b","authSecret":{"name":"mine"}}`, "set one of"},
		{"a registry without credentials", `ecrMirrorSync.sourceCredsFor="quay.io"`, "no credentials"},
		{"authorities twice", `caBundle={"pem":"a","configMap":"mine"}`, "not both"},
		{"a daemon in shards", `{"mode":"deployment","shards":2}`, "one process"},
		{"a daemon that pushes", `{"mode":"deployment","metrics":{"pushgateway":"http://p"}}`, "scraped"},
		{"a scraped run", `metrics.podMonitor.enabled=true`, "ends before"},
		{"a monitor without a Service", `{"mode":"deployment","service":{"enabled":false},"metrics":{"serviceMonitor":{"enabled":true}}}`, "needs service.enabled"},
		{"a receiver of no kind", `notify.receivers=[{"kind":"mail","secret":"a","key":"b"}]`, "kind"},
		{"a receiver without a Secret", `notify.receivers=[{"kind":"slack","url":"https://hooks.example.com/T0/secret"}]`, "receivers"},
		{"a signature of no webhook", `notify={"receivers":[{"kind":"slack","secret":"a","key":"b"}],"signing":{"secret":"s"}}`, "has none"},
		{"a collector that is no URL", `tracing.endpoint="collector:4318"`, "tracing"},
		{"headers for nobody", `tracing.headersSecret.name="collector"`, "set tracing.endpoint"},
		{"shards that prune", `{"shards":2,"state":{"location":"s3://b/k"}}`, "cannot share"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var sets []string
			if strings.HasPrefix(tt.set, "{") {
				var top map[string]json.RawMessage
				if err := json.Unmarshal([]byte(tt.set), &top); err != nil {
					t.Fatal(err)
				}
				for key, value := range top {
					sets = append(sets, key+"="+string(value))
				}
			} else {
				sets = []string{tt.set}
			}
			_, err := template(t, irsa, sets...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that contains %q", err, tt.want)
			}
		})
	}
}

// The pod of the test tells nobody, and needs no Secret for that.
func TestTheTestTellsNobody(t *testing.T) {
	for path, volume := range mounts(render(t, full).one("Pod")) {
		if strings.Contains(path, "notify") {
			t.Errorf("%s is %v", path, volume)
		}
	}
}

// The collector is in the environment, and what it wants to see comes from a Secret.
func TestTracing(t *testing.T) {
	variables := func(values string) map[string]object {
		all := map[string]object{}
		env, _ := container(render(t, values).one(workloads[values]))["env"].([]any)
		for _, v := range env {
			all[v.(object)["name"].(string)] = v.(object)
		}
		return all
	}
	if v := variables(irsa); v["OTEL_EXPORTER_OTLP_ENDPOINT"] != nil || v["OTEL_EXPORTER_OTLP_HEADERS"] != nil {
		t.Errorf("traces are on: %v", v)
	}
	v := variables(full)
	if got := v["OTEL_EXPORTER_OTLP_ENDPOINT"]["value"]; got != "http://collector.observability:4318" {
		t.Errorf("the collector is %v", got)
	}
	secret := v["OTEL_EXPORTER_OTLP_HEADERS"].at("valueFrom", "secretKeyRef")
	if diff := cmp.Diff(object{"name": "collector", "key": "headers"}, secret); diff != "" {
		t.Errorf("headers (-want +got)\n%s", diff)
	}
	for values, want := range map[string]int{full: 4318, deployment: 443} {
		found := false
		for _, rule := range render(t, values).one("NetworkPolicy").at("spec", "egress").([]any) {
			found = found || rule.(object)["to"] == nil && rule.(object).at("ports", 0, "port") == want
		}
		if !found {
			t.Errorf("%s: the collector's port %d is closed", values, want)
		}
	}
}
