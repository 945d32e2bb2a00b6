package aws_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the policies from the table")

// A policy is an IAM policy document, as far as the files here use the language.
type policy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Sid       string
	Effect    string
	Principal map[string]string `json:",omitempty"`
	Action    oneOrMore
	Resource  oneOrMore                       `json:",omitempty"`
	Condition map[string]map[string]oneOrMore `json:",omitempty"`
}

// oneOrMore is a JSON string or a list of them: IAM takes both.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(raw []byte) error {
	if raw[0] == '"' {
		*o = make(oneOrMore, 1)
		return json.Unmarshal(raw, &(*o)[0])
	}
	return json.Unmarshal(raw, (*[]string)(o))
}

func (o oneOrMore) MarshalJSON() ([]byte, error) {
	if len(o) == 1 {
		return json.Marshal(o[0])
	}
	return json.Marshal([]string(o))
}

// The policies are what the table says. -update rewrites them.
func TestPoliciesAreThoseOfTheTable(t *testing.T) {
	for _, d := range documents() {
		t.Run(d.file, func(t *testing.T) {
			want := written(t, policy{Version: "2012-10-17", Statement: d.statements})
			if *update {
				if err := os.WriteFile(d.file, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			raw, err := os.ReadFile(d.file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(raw)); diff != "" {
				t.Errorf("(-table +file; -update rewrites it)\n%s", diff)
			}
		})
	}
	files, err := filepath.Glob("*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		known := slices.ContainsFunc(documents(), func(d document) bool { return d.file == file })
		if !known && !strings.HasPrefix(file, "trust-policy-") {
			t.Errorf("%s is in no table", file)
		}
	}
}

func written(t *testing.T, p policy) string {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	if err := encoder.Encode(p); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// Every action is scoped as narrowly as AWS can scope it, and is in a policy at all.
func TestPoliciesAllowNothingWider(t *testing.T) {
	scopes := make(map[string][]string)
	for _, p := range permissions() {
		scopes[p.action] = p.on
	}
	used := make(map[string]bool)
	for _, d := range documents() {
		for _, s := range d.statements {
			if s.Effect != "Allow" {
				continue
			}
			for _, action := range s.Action {
				used[action] = true
				for _, resource := range s.Resource {
					if !slices.Contains(scopes[action], resource) {
						t.Errorf("%s: %s allows %s on %q, want one of %q", d.file, s.Sid, action, resource, scopes[action])
					}
				}
			}
		}
	}
	for action := range scopes {
		if !used[action] {
			t.Errorf("no policy allows %s", action)
		}
	}
}

// What is for reading changes nothing.
func TestReadingPoliciesWriteNothing(t *testing.T) {
	reads := regexp.MustCompile(`^[a-z0-9-]+:(Get|List|Describe|BatchGet)`)
	for _, d := range documents() {
		if d.file != "iam-policy-list.json" && d.file != "iam-policy-source.json" {
			continue
		}
		for _, s := range d.statements {
			for _, action := range s.Action {
				if !reads.MatchString(action) {
					t.Errorf("%s allows %s", d.file, action)
				}
			}
		}
	}
}

func TestEveryActionIsExplained(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range permissions() {
		if !strings.Contains(string(readme), "`"+p.action+"`") {
			t.Errorf("README.md says nothing of %s", p.action)
		}
	}
	for _, d := range documents() {
		if !strings.Contains(string(readme), "("+d.file+")") {
			t.Errorf("README.md says nothing of %s", d.file)
		}
	}
}

func TestRolesAreTakenOnlyByTheMirror(t *testing.T) {
	const cluster = "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
	tests := []struct {
		file string
		want statement
	}{
		{"trust-policy-irsa.json", statement{
			Principal: map[string]string{"Federated": "arn:aws:iam::111122223333:oidc-provider/" + cluster},
			Action:    oneOrMore{"sts:AssumeRoleWithWebIdentity"},
			Condition: map[string]map[string]oneOrMore{"StringEquals": {
				cluster + ":aud": {"sts.amazonaws.com"},
				cluster + ":sub": {"system:serviceaccount:ecr-mirror-sync:ecr-mirror-sync"},
			}},
		}},
		{"trust-policy-pod-identity.json", statement{
			Principal: map[string]string{"Service": "pods.eks.amazonaws.com"},
			Action:    oneOrMore{"sts:AssumeRole", "sts:TagSession"},
			Condition: map[string]map[string]oneOrMore{"StringEquals": {
				"aws:RequestTag/eks-cluster-arn":            {"arn:aws:eks:us-east-1:111122223333:cluster/example"},
				"aws:RequestTag/kubernetes-namespace":       {"ecr-mirror-sync"},
				"aws:RequestTag/kubernetes-service-account": {"ecr-mirror-sync"},
			}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			got := read(t, tt.file).Statement
			tt.want.Sid, tt.want.Effect = got[0].Sid, "Allow"
			if diff := cmp.Diff([]statement{tt.want}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

var sid = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// IAM refuses a document with two equal Sids or with other characters in one.
func TestSidsAreUnique(t *testing.T) {
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no policies found: %v", err)
	}
	for _, file := range files {
		p := read(t, file)
		if p.Version != "2012-10-17" {
			t.Errorf("%s has version %q", file, p.Version)
		}
		seen := map[string]bool{}
		for _, s := range p.Statement {
			if !sid.MatchString(s.Sid) || seen[s.Sid] {
				t.Errorf("%s: Sid %q is repeated or not made of letters and digits", file, s.Sid)
			}
			seen[s.Sid] = true
		}
	}
}

func read(t *testing.T, file string) policy {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var p policy
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return p
}
