package action_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var fence = regexp.MustCompile("(?s)```(sh|yaml|groovy)\n(.*?)```")

// snippet returns the block of docs/ci.md that begins like this.
func snippet(t *testing.T, beginning string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range fence.FindAllStringSubmatch(string(page), -1) {
		if strings.HasPrefix(block[2], beginning) {
			return block[2]
		}
	}
	t.Fatalf("docs/ci.md has no block that begins %q", beginning)
	return ""
}

// The shell of the documentation is run, with the addresses of this test in place of
// GitHub's and of a directory that only root may write to.
func TestDocumentedSnippets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		check []string // what runs on a pull request, which finds changes
		code  int      // with which it then ends
		run   []string
	}{
		{"GitLab", gitLab(t, "mirror-check"), 4, gitLab(t, "mirror")},
		{"CodeBuild", nil, 0, codeBuild(t)},
		{"Jenkins", jenkins(t, "check"), 0, jenkins(t, "mirror")},
		{"the page's first lines", indented(t)[1:], 4, indented(t)[:1]},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			install := strings.NewReplacer(
				"https://github.com/ecr-mirror-sync/ecr-mirror-sync/releases/download", j.releases.URL, "/usr/local/bin", j.bin,
			).Replace(snippet(t, "version="))
			j.write("ci/install.sh", install)
			if test.name == "the page's first lines" {
				j.shell("sh -e ci/install.sh")
			}
			if len(test.check) > 0 {
				if out, code := j.shell(strings.Join(test.check, "\n")); code != test.code || !strings.Contains(out, "would copy") {
					t.Errorf("the check ended with %d, expected %d\n%s", code, test.code, out)
				}
			}
			if out, code := j.shell(strings.Join(test.run, "\n")); code != 0 {
				t.Errorf("the run ended with %d\n%s", code, out)
			}
			if out, code := j.shell("ecr-mirror-sync sync --config mirrors.yaml --policy policy.json --dry-run --exit-code"); code != 0 {
				t.Errorf("after the run there is still something to do: %d\n%s", code, out)
			}
		})
	}
}

// indented are the commands that the page begins with.
func indented(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^    (ecr-mirror-sync sync .*)$`).FindAllStringSubmatch(string(page), -1)
	if len(found) != 2 {
		t.Fatalf("docs/ci.md begins with %d commands, expected 2", len(found))
	}
	return []string{found[0][1], found[1][1]}
}

func gitLab(t *testing.T, job string) []string {
	t.Helper()
	var jobs map[string]struct {
		Script []string `yaml:"script"`
		After  []string `yaml:"after_script"`
	}
	if err := yaml.Unmarshal([]byte(snippet(t, "# .gitlab-ci.yml")), &jobs); err != nil {
		t.Fatal(err)
	}
	return append(jobs[job].Script, jobs[job].After...)
}

func codeBuild(t *testing.T) []string {
	t.Helper()
	var spec struct {
		Phases map[string]struct {
			Commands []string `yaml:"commands"`
		} `yaml:"phases"`
	}
	if err := yaml.Unmarshal([]byte(snippet(t, "# buildspec.yml")), &spec); err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, phase := range []string{"install", "build", "post_build"} {
		commands = append(commands, spec.Phases[phase].Commands...)
	}
	return commands
}

// jenkins returns the sh steps of a stage.
func jenkins(t *testing.T, stage string) []string {
	t.Helper()
	_, rest, found := strings.Cut(snippet(t, "// Jenkinsfile"), "stage('"+stage+"')")
	if !found {
		t.Fatalf("the Jenkinsfile has no stage %s", stage)
	}
	rest, _, _ = strings.Cut(rest, "stage(")
	var commands []string
	for _, step := range regexp.MustCompile(`sh '([^']*)'`).FindAllStringSubmatch(rest, -1) {
		commands = append(commands, step[1])
	}
	return commands
}
