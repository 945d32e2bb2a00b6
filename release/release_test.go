package release_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// goreleaser is what of .goreleaser.yaml other files have to agree with.
type goreleaser struct {
	Builds []struct {
		Main    string   `yaml:"main"`
		Env     []string `yaml:"env"`
		Goos    []string `yaml:"goos"`
		Goarch  []string `yaml:"goarch"`
		Tags    []string `yaml:"tags"`
		Flags   []string `yaml:"flags"`
		Ldflags []string `yaml:"ldflags"`
	} `yaml:"builds"`
	Archives []struct {
		Name  string `yaml:"name_template"`
		Files []any  `yaml:"files"`
	} `yaml:"archives"`
	Checksum struct {
		Name string `yaml:"name_template"`
	} `yaml:"checksum"`
}

func loadGoreleaser(t *testing.T) goreleaser {
	t.Helper()
	var g goreleaser
	if err := yaml.Unmarshal([]byte(read(t, ".goreleaser.yaml")), &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// A release is built as `make build` and the snapshot build: with the same tags and the
// same flags, for the same platforms.
func TestReleaseIsBuiltAsTheMakefileDoes(t *testing.T) {
	build := loadGoreleaser(t).Builds[0]
	makefile, script := read(t, "Makefile"), read(t, "release/snapshot.sh")
	if tags := strings.Join(build.Tags, ","); !strings.Contains(makefile, "TAGS    := "+tags+"\n") {
		t.Errorf("a release is built with the tags %s, and make build with others", tags)
	}
	if diff := cmp.Diff([]string{"CGO_ENABLED=0"}, build.Env); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"-trimpath"}, build.Flags); diff != "" {
		t.Error(diff)
	}
	pkg := regexp.MustCompile(`(?m)^CLI +:= (.*)$`).FindStringSubmatch(makefile)[1]
	want := []string{"-s -w", "-X " + pkg + ".version={{ .Version }}", "-X " + pkg + ".commit={{ .ShortCommit }}"}
	if diff := cmp.Diff(want, build.Ldflags); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"version", "commit"} {
		if !regexp.MustCompile(`(?m)^\t` + name + ` += "`).MatchString(read(t, "internal/cli/cli.go")) {
			t.Errorf("internal/cli has no variable %s to set", name)
		}
	}
	var platforms []string
	for _, os := range build.Goos {
		for _, arch := range build.Goarch {
			platforms = append(platforms, os+"/"+arch)
		}
	}
	if !strings.Contains(script, "${PLATFORMS:-"+strings.Join(platforms, " ")+"}") {
		t.Errorf("the snapshot is not built for %v", platforms)
	}
}

// Whoever fetches a release knows its files by name: the action, the documentation, and
// the snapshot.
func TestNamesOfFiles(t *testing.T) {
	g := loadGoreleaser(t)
	name := regexp.MustCompile(`\{\{ \.(\w+) \}\}`).ReplaceAllStringFunc(g.Archives[0].Name, strings.ToLower)
	shell := strings.NewReplacer("{{ .version }}", "${version}", "{{ .os }}", "${os}", "{{ .arch }}", "${arch}").Replace(name)
	for file, want := range map[string]string{
		"action/install.sh":   "archive=" + shell + ".$suffix",
		"docs/ci.md":          "archive=" + strings.NewReplacer("${os}", "linux", "${arch}", "amd64").Replace(shell) + ".tar.gz",
		"release/snapshot.sh": "archive=" + strings.Replace(shell, "${version}", "${VERSION}", 1) + ".$suffix",
	} {
		if text := read(t, file); !strings.Contains(text, want) || !strings.Contains(text, g.Checksum.Name) {
			t.Errorf("%s has no %s, or does not know %s", file, want, g.Checksum.Name)
		}
	}
	for _, file := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		if !slices.Contains(g.Archives[0].Files, any(file)) || !strings.Contains(read(t, "release/snapshot.sh"), file) {
			t.Errorf("archives are without %s", file)
		}
	}
}

var (
	uses        = regexp.MustCompile(`(?m)uses: (\S+)`)
	fullVersion = regexp.MustCompile(`@(v\d+\.\d+\.\d+|[0-9a-f]{40})$`)
)

// A workflow runs what was looked at: actions by their full version, tokens that may do
// nothing by default, and no expression within a script, which whoever names a branch
// could write code with.
func TestWorkflows(t *testing.T) {
	files, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	for _, file := range files {
		text := read(t, strings.TrimPrefix(file, "../"))
		var workflow struct {
			Permissions map[string]string `yaml:"permissions"`
			Jobs        map[string]struct {
				Timeout int `yaml:"timeout-minutes"`
				Steps   []struct {
					Run string `yaml:"run"`
				} `yaml:"steps"`
			} `yaml:"jobs"`
		}
		if err := yaml.Unmarshal([]byte(text), &workflow); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"contents": "read"}, workflow.Permissions); diff != "" {
			t.Errorf("%s: permissions: %s", file, diff)
		}
		for name, job := range workflow.Jobs {
			if job.Timeout == 0 {
				t.Errorf("%s: %s may run for ever", file, name)
			}
			for _, step := range job.Steps {
				if strings.Contains(step.Run, "${{") {
					t.Errorf("%s: %s: an expression within a script: %s", file, name, step.Run)
				}
			}
		}
		pinned(t, file, text)
	}
	pinned(t, "docs/ci.md", read(t, "docs/ci.md"))
}

func pinned(t *testing.T, file, text string) {
	t.Helper()
	found := uses.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		t.Errorf("%s uses no action", file)
	}
	for _, use := range found {
		if !fullVersion.MatchString(use[1]) {
			t.Errorf("%s: %s: expected a full version", file, use[1])
		}
	}
}
