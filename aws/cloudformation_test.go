package aws_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
)

const template = "cloudformation/ecs-scheduled.yaml"

// cloudFormation is the template, as far as the tests look at it. What a function computes
// is read as the function's text.
type cloudFormation struct {
	Metadata struct {
		Interface struct {
			ParameterGroups []struct {
				Parameters []string `yaml:"Parameters"`
			} `yaml:"ParameterGroups"`
		} `yaml:"AWS::CloudFormation::Interface"`
	} `yaml:"Metadata"`
	Parameters map[string]struct {
		Default any `yaml:"Default"`
	} `yaml:"Parameters"`
	Resources map[string]struct {
		Type       string `yaml:"Type"`
		Properties struct {
			Policies []struct {
				PolicyDocument struct {
					Statement []struct {
						Sid      string  `yaml:"Sid"`
						Effect   string  `yaml:"Effect"`
						Action   scalars `yaml:"Action"`
						Resource scalars `yaml:"Resource"`
					} `yaml:"Statement"`
				} `yaml:"PolicyDocument"`
			} `yaml:"Policies"`
		} `yaml:"Properties"`
	} `yaml:"Resources"`
}

// scalars is one text or a list of them.
type scalars []string

func (s *scalars) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*s = scalars{n.Value}
		return nil
	}
	return n.Decode((*[]string)(s))
}

func readTemplate(t *testing.T) (cloudFormation, string) {
	t.Helper()
	raw, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	var parsed cloudFormation
	if err := yaml.Unmarshal(raw, &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed, string(raw)
}

// The task may do what iam-policy-sync.json allows, and nothing else.
func TestTheTaskIsAllowedWhatSyncNeeds(t *testing.T) {
	parsed, _ := readTemplate(t)
	got := make(map[string][]string)
	resources := make(map[string][]string)
	for _, p := range parsed.Resources["TaskRole"].Properties.Policies {
		for _, s := range p.PolicyDocument.Statement {
			if s.Effect != "Allow" {
				t.Errorf("%s: effect %s", s.Sid, s.Effect)
			}
			got[s.Sid], resources[s.Sid] = s.Action, s.Resource
		}
	}
	want := make(map[string][]string)
	scoped := make(map[string][]string)
	const own = "arn:${AWS::Partition}:ecr:*:${AWS::AccountId}:repository/"
	for _, s := range read(t, "iam-policy-sync.json").Statement {
		want[s.Sid] = s.Action
		switch s.Sid {
		case "ReadRepositories":
			scoped[s.Sid] = []string{own + "*"}
		case "WriteImages":
			scoped[s.Sid] = []string{own + "${RepositoryPattern}"}
		default:
			scoped[s.Sid] = s.Resource
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("actions (-iam-policy-sync.json +template)\n%s", diff)
	}
	if diff := cmp.Diff(scoped, resources); diff != "" {
		t.Errorf("resources (-want +got)\n%s", diff)
	}
}

// Every parameter is used, stands in one group of the form, and is in the README where it
// has no default.
func TestParametersAreUsed(t *testing.T) {
	parsed, text := readTemplate(t)
	readme, err := os.ReadFile("cloudformation/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, g := range parsed.Metadata.Interface.ParameterGroups {
		shown = append(shown, g.Parameters...)
	}
	for name, p := range parsed.Parameters {
		if !strings.Contains(text, "!Ref "+name) && !strings.Contains(text, "${"+name+"}") {
			t.Errorf("nothing uses the parameter %s", name)
		}
		if n := len(slices.DeleteFunc(slices.Clone(shown), func(s string) bool { return s != name })); n != 1 {
			t.Errorf("the parameter %s is in %d groups", name, n)
		}
		if p.Default == nil && !strings.Contains(string(readme), name+"=") {
			t.Errorf("the README's command lacks the parameter %s", name)
		}
	}
	if len(shown) != len(parsed.Parameters) {
		t.Errorf("%d parameters are shown and %d are declared", len(shown), len(parsed.Parameters))
	}
}

// The arguments that the task has by default are the program's.
func TestTheProgramTakesTheDefaultArguments(t *testing.T) {
	parsed, _ := readTemplate(t)
	written, ok := parsed.Parameters["Arguments"].Default.(string)
	if !ok {
		t.Fatal("Arguments has no default")
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	args := append(strings.Split(written, ","), "--help") // flags are read up to it
	if code := cli.Main(args, cli.Streams{In: strings.NewReader(""), Out: out, Err: out}); code != 0 {
		said, _ := os.ReadFile(out.Name())
		t.Errorf("%v ends with %d: %s", args, code, said)
	}
}

// cfn-lint knows what CloudFormation takes: pip install cfn-lint.
func TestCloudFormationTakesTheTemplate(t *testing.T) {
	linter, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("cfn-lint is not installed")
	}
	out, err := exec.CommandContext(t.Context(), linter, template).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
