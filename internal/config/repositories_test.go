package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
)

const policyOf100 = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":5},"action":{"type":"expire"}}]}`

func TestRepositories(t *testing.T) {
	tests := []struct {
		name, defaults, own string
		want                provision.Rule
	}{
		{"nowhere", "", "", provision.Rule{}},
		{"created", "", "{create: true}", provision.Rule{Create: provision.ByCall}},
		{"created on push", "", "{create: on-push}", provision.Rule{Create: provision.OnPush}},
		{"not created", "{create: true}", "{create: false}", provision.Rule{}},
		{"reported", "", "{reconcile: true}", provision.Rule{Reconcile: provision.Report}},
		{"reported, in words", "", "{reconcile: report}", provision.Rule{Reconcile: provision.Report}},
		{"applied", "", "{reconcile: apply}", provision.Rule{Reconcile: provision.Apply}},
		{"not looked at", "{reconcile: apply}", "{reconcile: false}", provision.Rule{}},
		{
			"settings", "", `{resourceTags: {team: platform, "cost center": "12"}, scanOnPush: false, encryption: {type: KMS, kmsKey: alias/k}, tagMutability: IMMUTABLE, lifecyclePolicy: '` + policyOf100 + `', policy: "{}"}`,
			provision.Rule{Settings: provision.Settings{
				ResourceTags: map[string]string{"team": "platform", "cost center": "12"}, ScanOnPush: new(false),
				Encryption: provision.Encryption{Type: "KMS", KMSKey: "alias/k"}, TagMutability: provision.TagMutability{Mode: "IMMUTABLE"},
				LifecyclePolicy: policyOf100, Policy: "{}",
			}},
		},
		{
			"from a file", "", `{lifecyclePolicy: file:lifecycle.json}`,
			provision.Rule{Settings: provision.Settings{LifecyclePolicy: policyOf100}},
		},
		{
			"the defaults' keys but for one", "{create: true, scanOnPush: true, tagMutability: {mode: MUTABLE_WITH_EXCLUSION, exclusions: [v1.*, latest]}}", "{scanOnPush: false}",
			provision.Rule{Create: provision.ByCall, Settings: provision.Settings{
				ScanOnPush: new(false), TagMutability: provision.TagMutability{Mode: "MUTABLE_WITH_EXCLUSION", Exclusions: []string{"v1.*", "latest"}},
			}},
		},
		{
			"that describe themselves", "{describe: true}", "{resourceTags: {team: platform}}",
			provision.Rule{Settings: provision.Settings{ResourceTags: map[string]string{"team": "platform", "upstream-image": "quay.io/a/b", "upstream-tags": "1.+"}}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := head
			if test.defaults != "" {
				text += "defaults: {repositories: " + test.defaults + "}\n"
			}
			text += "mirrors:\n- name: m\n  from: quay.io/a/b\n  to: r.example.com/a\n  tags: 1.*\n"
			if test.own != "" {
				text += "  repositories: " + test.own + "\n"
			}
			f := files{"a.yaml": text, "lifecycle.json": policyOf100}
			c, err := config.Load([]string{"a.yaml"}, environment, f.read)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, c.Rules[0].Mirror.Repository); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			shown, err := config.Show(*c)
			if err != nil {
				t.Fatal(err)
			}
			f["shown.yaml"] = string(shown)
			again, err := config.Load([]string{"shown.yaml"}, environment, f.read)
			if err != nil {
				t.Fatalf("%v in:\n%s", err, shown)
			}
			if diff := cmp.Diff(test.want, again.Rules[0].Mirror.Repository); diff != "" {
				t.Errorf("shown and read again (-want +got):\n%s", diff)
			}
		})
	}
}

// The file's defaults hold for copy, too, which no mirror of the file describes.
func TestRepositoriesOfOthers(t *testing.T) {
	c := mustLoad(t, head+"defaults: {repositories: {create: true, scanOnPush: true}}\n")
	want := provision.Rule{Create: provision.ByCall, Settings: provision.Settings{ScanOnPush: new(true)}}
	if diff := cmp.Diff(want, c.Repository); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each repository of a pattern says what it mirrors, and not what another does.
func TestRepositoriesOfPatterns(t *testing.T) {
	c := mustLoad(t, head+"mirrors:\n- {name: m, from: {registry: quay.io, repositories: 'a/*'}, to: {registry: r.example.com}, tags: 1.*, repositories: {describe: true, resourceTags: {k: v}}}\n")
	mirrors, err := c.Patterns[0].Expand([]string{"a/b", "a/c"})
	if err != nil || len(mirrors) != 2 {
		t.Fatalf("%+v, %v", mirrors, err)
	}
	for _, m := range mirrors {
		want := map[string]string{"k": "v", "upstream-image": m.Upstream.String(), "upstream-tags": "1.+"}
		if diff := cmp.Diff(want, m.Repository.Settings.ResourceTags); diff != "" {
			t.Errorf("%s (-want +got):\n%s", m.Target, diff)
		}
	}
}

func TestRepositoriesProblems(t *testing.T) {
	many := "[a, b, c, d, e, f]"
	for _, test := range []struct{ own, problem string }{
		{"{create: maybe}", `"maybe" is not a choice`},
		{"{create: [true]}", "this is a list"},
		{"{reconcile: on-push}", `"on-push" is not a choice`},
		{"{encryption: {type: DES}}", `"DES" is not an encryption`},
		{"{encryption: {kmsKey: k}}", "type is missing"},
		{"{encryption: {type: AES256, kmsKey: k}}", "AES256 has no key of yours"},
		{"{tagMutability: SOMETIMES}", `"SOMETIMES" is not a mode`},
		{"{tagMutability: IMMUTABLE_WITH_EXCLUSION}", "these need them"},
		{"{tagMutability: {mode: IMMUTABLE, exclusions: a}}", "these need them"},
		{"{tagMutability: {mode: IMMUTABLE_WITH_EXCLUSION, exclusions: " + many + "}}", "6 exclusions"},
		{"{tagMutability: {mode: IMMUTABLE_WITH_EXCLUSION, exclusions: 'a b'}}", `"a b" is not a filter`},
		{"{lifecyclePolicy: '{}'}", "a lifecycle policy of 2 characters"},
		{"{lifecyclePolicy: file:none.json}", "the file cannot be read"},
		{"{policy: 'no JSON'}", "this is no JSON object"},
		{"{policy: '[]'}", "this is no JSON object"},
		{"{policy: {a: b}}", "this is a map"},
		{"{policy: '{\"a\":\"" + strings.Repeat("x", 10240) + "\"}'}", "a policy of 10248 characters"},
		{"{resourceTags: {k: 'a,b'}}", `"a,b" is not a value of a resource tag`},
		{"{resourceTags: {'a,b': k}}", `"a,b" is not a resource-tag key`},
		{"{imageScanning: true}", "scanOnPush, as it is called here"},
	} {
		_, err := load(mirror("  from: quay.io/a\n  to: r.example.com/a\n  tags: 1.*\n  repositories: " + test.own + "\n"))
		if err == nil || !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s: %v", test.own, err)
		}
	}
}

// A rule that resource tags cannot say is no description, and two rules for one repository
// cannot both be in it.
func TestRepositoriesThatCannotDescribeThemselves(t *testing.T) {
	for _, test := range []struct{ mirrors, problem string }{
		{"- {name: m, from: quay.io/a, to: r.example.com/a, tags: 1.*, platform: linux/arm64, repositories: {describe: true}}", "resource tags cannot say that the image for linux/arm64 alone is mirrored"},
		{"- {name: m, from: quay.io/a, to: r.example.com/a:stable, tags: '1.0', repositories: {describe: true}}", "resource tags cannot say that the tag is called stable"},
		{"- {name: m, from: quay.io/a, to: r.example.com/a, tags: 1.*, repositories: {describe: true}}\n- {name: n, from: quay.io/b, to: r.example.com/a, tags: 2.*, repositories: {describe: true}}", `the mirror "m" asks for other settings of the repository r.example.com/a`},
		{"- {name: m, from: quay.io/a, to: r.example.com/a, tags: 1.*, repositories: {scanOnPush: true}}\n- {name: n, from: quay.io/b, to: r.example.com/a, tags: 2.*}", `the mirror "m" asks for other settings of the repository r.example.com/a`},
	} {
		if _, err := load(head + "mirrors:\n" + test.mirrors + "\n"); err == nil || !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s: %v", test.mirrors, err)
		}
	}
}

func TestRolesOfRegistriesAndScopes(t *testing.T) {
	c := mustLoad(t, head+`registries:
  r.example.com: {ecr: {account: "111122223333", region: eu-west-1, role: "arn:aws:iam::111122223333:role/m", externalId: "12", sessionName: blue, profile: theirs, endpoint: "https://vpce.example.com:8443/x"}}
  111122223333.dkr.ecr.eu-west-1.amazonaws.com: {ecr: {}}
discovery: {ecr: [{role: "arn:aws-cn:iam::111122223333:role/m", externalId: tenant-7, sessionName: green}]}
`)
	want := &config.ECR{Account: "111122223333", Region: "eu-west-1", Role: "arn:aws:iam::111122223333:role/m", ExternalID: "12", SessionName: "blue", Profile: "theirs", Endpoint: "https://vpce.example.com:8443/x"}
	if diff := cmp.Diff(want, c.File.Registries["r.example.com"].ECR); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := c.File.Discovery.ECR[0]; s.ExternalID != "tenant-7" || s.SessionName != "green" {
		t.Errorf("%+v", s)
	}
	for _, test := range []struct{ ecr, problem string }{
		{"{account: \"111122223333\"}", "does not say which registry it is"},
		{"{account: \"1\", region: eu-west-1}", "is not an account"},
		{"{account: \"111122223333\", region: eu-west-1, externalId: tenant}", "belong to a role"},
		{"{account: \"111122223333\", region: eu-west-1, endpoint: vpce.example.com}", "is not a URL"},
		{"{account: \"111122223333\", region: eu-west-1, role: 'arn:aws:iam::111122223333:role/m', sessionName: 'a b'}", "is not a session name"},
	} {
		if _, err := load(head + "registries: {r.example.com: {ecr: " + test.ecr + "}}\n"); err == nil || !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s: %v", test.ecr, err)
		}
	}
}
