package action_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ecr-mirror-sync": func() {
			os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// job is the machine that a CI job runs on: a working directory with mirrors.yaml and
// policy.json, an upstream image, a local ECR, and releases to fetch.
type job struct {
	t        *testing.T
	dir, bin string
	releases *httptest.Server
	env      []string
}

const (
	version = "1.0.0"
	archive = "ecr-mirror-sync_" + version + "_linux_amd64.tar.gz"
)

func newJob(t *testing.T) *job {
	t.Helper()
	bash(t)
	local, upstream := ecrlocaltest.Start(t), ecrlocaltest.StartRegistry(t)
	image := imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"}, imagetest.Layer("layer", 1000))
	if _, err := imagetest.Push(t.Context(), nil, upstream.URL, "library/web", "1.0", image); err != nil {
		t.Fatal(err)
	}
	repository := "external/web"
	if _, err := ecr.NewFromConfig(local.AWSConfig("")).CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &repository}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	j := &job{t: t, dir: dir, bin: filepath.Join(dir, "bin")}
	j.releases = httptest.NewServer(http.FileServer(http.Dir(j.release())))
	t.Cleanup(j.releases.Close)
	policy, err := os.ReadFile("../docker/default-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	j.write("policy.json", string(policy))
	j.write("mirrors.yaml", fmt.Sprintf("apiVersion: ecr-mirror-sync.io/v1alpha1\nmirrors:\n  - name: web\n    from: %s/library/web\n    to: %s/external/web\n    tags: [\"1.0\"]\n", upstream.Host, local.Host))
	j.write("bin/.keep", "")
	j.env = append(local.Env(), "HOME="+dir, "XDG_RUNTIME_DIR="+dir, "PATH="+j.bin+":/usr/local/bin:/usr/bin:/bin", "GORACE=atexit_sleep_ms=20")
	return j
}

// bash skips a test where there is none.
func bash(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not installed: the scripts of CI jobs are not run")
	}
}

// release makes a directory as a release's page is: an archive, and its checksums. The
// program in it calls the one that this test is.
func (j *job) release() string {
	j.t.Helper()
	program, err := exec.LookPath("ecr-mirror-sync")
	if err != nil {
		j.t.Fatal(err)
	}
	script := "#!/bin/sh\nexec '" + program + "' \"$@\"\n"
	var packed bytes.Buffer
	compressed := gzip.NewWriter(&packed)
	files := tar.NewWriter(compressed)
	if err := files.WriteHeader(&tar.Header{Name: "ecr-mirror-sync", Mode: 0o755, Size: int64(len(script))}); err != nil {
		j.t.Fatal(err)
	}
	if _, err := files.Write([]byte(script)); err != nil {
		j.t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		j.t.Fatal(err)
	}
	if err := compressed.Close(); err != nil {
		j.t.Fatal(err)
	}
	at := path.Join("releases", "v"+version)
	j.write(path.Join(at, archive), packed.String())
	j.write(path.Join(at, "checksums.txt"), fmt.Sprintf("%x  %s\n%x  other.zip\n", sha256.Sum256(packed.Bytes()), archive, sha256.Sum256(nil)))
	return filepath.Join(j.dir, "releases")
}

func (j *job) write(name, content string) {
	j.t.Helper()
	file := filepath.Join(j.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		j.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		j.t.Fatal(err)
	}
}

func (j *job) read(name string) string {
	j.t.Helper()
	content, err := os.ReadFile(filepath.Join(j.dir, name))
	if err != nil {
		j.t.Fatal(err)
	}
	return string(content)
}

// shell runs a script as CI systems do and returns what it printed and its exit code.
func (j *job) shell(script string, env ...string) (string, int) {
	j.t.Helper()
	cmd := exec.CommandContext(j.t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = j.dir, append(append([]string{}, j.env...), env...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		j.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// definition is what action.yml says.
type definition struct {
	Inputs map[string]struct {
		Description string `yaml:"description"`
		Default     string `yaml:"default"`
	} `yaml:"inputs"`
	Outputs map[string]struct {
		Value string `yaml:"value"`
	} `yaml:"outputs"`
	Runs struct {
		Steps []struct {
			Name  string            `yaml:"name"`
			Shell string            `yaml:"shell"`
			Env   map[string]string `yaml:"env"`
			Run   string            `yaml:"run"`
		} `yaml:"steps"`
	} `yaml:"runs"`
}

func loadAction(t *testing.T) definition {
	t.Helper()
	text, err := os.ReadFile("../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var d definition
	if err := yaml.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

var expression = regexp.MustCompile(`\$\{\{ inputs\.([a-z-]+)( \|\| github\.action_ref)? \}\}`)

// step runs the action's steps with inputs, one after the other as a runner does, and
// returns what they printed, the outputs of the last, and the exit code.
func (j *job) step(inputs map[string]string) (printed string, outputs map[string]string, code int) {
	j.t.Helper()
	d := loadAction(j.t)
	here, err := filepath.Abs("..")
	if err != nil {
		j.t.Fatal(err)
	}
	for _, name := range []string{"output", "summary", "path"} {
		j.write("github/"+name, "")
	}
	inputs["download-url"] = j.releases.URL
	outputs = map[string]string{}
	for _, step := range d.Runs.Steps {
		env := []string{
			"GITHUB_ACTION_PATH=" + here, "RUNNER_TEMP=" + j.dir + "/temp", "RUNNER_OS=Linux", "RUNNER_ARCH=X64",
			"GITHUB_OUTPUT=" + j.dir + "/github/output", "GITHUB_STEP_SUMMARY=" + j.dir + "/github/summary", "GITHUB_PATH=" + j.dir + "/github/path",
			"PATH=" + strings.TrimSpace(j.read("github/path")) + ":/usr/bin:/bin",
		}
		for name, value := range step.Env {
			env = append(env, name+"="+evaluated(d, inputs, value))
		}
		out, stepCode := j.shell(step.Run, env...)
		if printed, code = printed+out, stepCode; code != 0 {
			break
		}
	}
	for line := range strings.Lines(j.read("github/output")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		outputs[name] = value
	}
	return printed, outputs, code
}

// evaluated puts inputs, or their defaults, into a value. The action is used at v1.0.0.
func evaluated(d definition, inputs map[string]string, value string) string {
	return expression.ReplaceAllStringFunc(value, func(found string) string {
		parts := expression.FindStringSubmatch(found)
		given, ok := inputs[parts[1]]
		if !ok {
			given = d.Inputs[parts[1]].Default
		}
		if given == "" && parts[2] != "" {
			return "v" + version
		}
		return given
	})
}

// The life of a file of mirrors: a pull request shows what it would do, the run does it,
// and afterwards there is nothing to do.
func TestAction(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	inputs := map[string]string{"config": "mirrors.yaml\n", "policy": "policy.json", "dry-run": "true", "exit-code": "true"}
	out, outputs, code := j.step(inputs)
	if code != 4 || outputs["copied"] != "1" || outputs["failed"] != "0" || outputs["exit-code"] != "4" {
		t.Errorf("the check ended with %d, %v\n%s", code, outputs, out)
	}
	if summary := j.read("github/summary"); !strings.HasPrefix(summary, "## Image mirror: dry run\n") || !strings.Contains(summary, "would copy") {
		t.Errorf("summary of the check: %s", summary)
	}
	inputs["dry-run"], inputs["exit-code"], inputs["report"] = "false", "false", "reports/now.json"
	out, outputs, code = j.step(inputs)
	if code != 0 || outputs["copied"] != "1" || outputs["report"] != "reports/now.json" || !strings.Contains(j.read("reports/now.json"), `"SyncReport"`) {
		t.Errorf("the run ended with %d, %v\n%s", code, outputs, out)
	}
	inputs["dry-run"], inputs["exit-code"], inputs["summary"] = "true", "true", "false"
	out, outputs, code = j.step(inputs)
	if code != 0 || outputs["copied"] != "0" || j.read("github/summary") != "" {
		t.Errorf("the second check ended with %d, %v\n%s", code, outputs, out)
	}
}

func TestActionFails(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		inputs  map[string]string
		damage  func(*job)
		code    int
		says    string
		outputs string // of failed
	}{
		{
			name: "an archive that is not what the checksums say", inputs: map[string]string{},
			damage: func(j *job) { j.write("releases/v"+version+"/"+archive, "something else") },
			code:   3, says: "is not what checksums.txt of release 1.0.0 says",
		},
		{
			name: "checksums without the archive", inputs: map[string]string{},
			damage: func(j *job) {
				j.write("releases/v"+version+"/checksums.txt", strings.Repeat("0", 64)+"  x"+archive+"\n")
			},
			code: 3, says: "is not what checksums.txt",
		},
		{name: "a branch in place of a version", inputs: map[string]string{"version": "main"}, code: 10, says: `version "main" is no release`},
		{name: "a release that is not there", inputs: map[string]string{"version": "v9.9.9"}, code: 22, says: "404"},
		{name: "a command of another kind", inputs: map[string]string{"command": "untrack"}, code: 10, says: "expected sync, copy or list"},
		{name: "a flag that is none", inputs: map[string]string{"args": "--polcy"}, code: 10, says: "unknown flag: --polcy"},
		{name: "arguments are not code", inputs: map[string]string{"args": "$(touch pwned)\n`touch pwned`; touch pwned"}, code: 10, says: "$(touch pwned)"},
		{
			name: "an upstream tag that is missing", inputs: map[string]string{"config": "mirrors.yaml", "args": "--insecure-policy"},
			damage: func(j *job) {
				j.write("mirrors.yaml", strings.Replace(j.read("mirrors.yaml"), `["1.0"]`, `["1.0", gone]`, 1))
			},
			code: 1, says: "gone", outputs: "1",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			if test.damage != nil {
				test.damage(j)
			}
			out, outputs, code := j.step(test.inputs)
			if code != test.code || !strings.Contains(out, test.says) || outputs["failed"] != test.outputs {
				t.Errorf("exit code %d, outputs %v\n%s", code, outputs, out)
			}
			if _, err := os.Stat(filepath.Join(j.dir, "pwned")); err == nil {
				t.Error("an argument was run as code")
			}
		})
	}
}

// An expression in a script would be code that whoever writes an input can change; and an
// input that nothing reads is a promise.
func TestActionInputsGoThroughTheEnvironment(t *testing.T) {
	t.Parallel()
	d := loadAction(t)
	var read strings.Builder
	for _, step := range d.Runs.Steps {
		if strings.Contains(step.Run, "${{") || step.Shell != "bash" {
			t.Errorf("step %s: %q by %s", step.Name, step.Run, step.Shell)
		}
		for _, value := range step.Env {
			if !expression.MatchString(value) {
				t.Errorf("step %s: this test cannot evaluate %s", step.Name, value)
			}
			read.WriteString(value)
		}
	}
	documented, err := os.ReadFile("../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range d.Inputs {
		if !strings.Contains(read.String(), "inputs."+name+" ") {
			t.Errorf("no step reads the input %s", name)
		}
		if !strings.Contains(string(documented), "| `"+name+"` |") {
			t.Errorf("docs/ci.md does not know the input %s", name)
		}
	}
	for name, output := range d.Outputs {
		if output.Value != "${{ steps.run.outputs."+name+" }}" || !strings.Contains(string(documented), "| `"+name+"` |") {
			t.Errorf("output %s is %s, or docs/ci.md does not know it", name, output.Value)
		}
	}
}
