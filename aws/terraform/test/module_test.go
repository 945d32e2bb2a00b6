// Package module_test checks the Terraform module without Terraform and without AWS: it
// parses it, and evaluates what the module makes of its example. It is a Go module of its
// own, so that the program does not depend on HCL.
package module_test

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
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
)

const example = "../examples/complete/main.tf"

func parse(t *testing.T, path string) *hclsyntax.Body {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, problems := hclsyntax.ParseConfig(text, path, hcl.InitialPos)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return file.Body.(*hclsyntax.Body)
}

func sources(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../*.tf")
	if err != nil || len(files) < 4 {
		t.Fatalf("the module's files are %v, %v", files, err)
	}
	return append(files, example)
}

func TestFilesAreFormatted(t *testing.T) {
	for _, path := range sources(t) {
		parse(t, path)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if formatted := hclwrite.Format(text); !bytes.Equal(text, formatted) {
			t.Errorf("%s (-file +formatted)\n%s", path, cmp.Diff(string(text), string(formatted)))
		}
	}
}

// block returns the one block of a kind with these labels.
func block(t *testing.T, body *hclsyntax.Body, kind string, labels ...string) *hclsyntax.Block {
	t.Helper()
	for _, b := range body.Blocks {
		if b.Type == kind && slices.Equal(b.Labels, labels) {
			return b
		}
	}
	t.Fatalf("there is no %s %q", kind, labels)
	return nil
}

func value(t *testing.T, expr hcl.Expression, in *hcl.EvalContext) cty.Value {
	t.Helper()
	v, problems := expr.Value(in)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return v
}

// functions are Terraform's, as far as the module uses them outside of its resources.
func functions() map[string]function.Function {
	return map[string]function.Function{
		"alltrue": allTrue(), "can": tryfunc.CanFunc,
		"chunklist": stdlib.ChunklistFunc, "concat": stdlib.ConcatFunc, "floor": stdlib.FloorFunc, "join": stdlib.JoinFunc,
		"jsonencode": stdlib.JSONEncodeFunc, "length": length(), "max": stdlib.MaxFunc, "merge": stdlib.MergeFunc,
		"regex": stdlib.RegexFunc, "values": stdlib.ValuesFunc,
	}
}

// length is Terraform's, which counts the characters of texts too.
func length() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if args[0].Type() == cty.String {
				return stdlib.Strlen(args[0])
			}
			return args[0].Length(), nil
		},
	})
}

func allTrue() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.List(cty.Bool)}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			for _, v := range args[0].AsValueSlice() {
				if v.False() {
					return cty.False, nil
				}
			}
			return cty.True, nil
		},
	})
}

// repositories returns what a value of var.repositories is once Terraform has converted it
// to the variable's type, and its conditions hold of it.
func repositories(t *testing.T, given cty.Value) (cty.Value, []string) {
	t.Helper()
	variable := block(t, parse(t, "../variables.tf"), "variable", "repositories").Body
	wanted, defaults, problems := typeexpr.TypeConstraintWithDefaults(variable.Attributes["type"].Expr)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	converted, err := convert.Convert(defaults.Apply(given), wanted)
	if err != nil {
		t.Fatal(err)
	}
	var refused []string
	for _, b := range variable.Blocks {
		in := &hcl.EvalContext{Functions: functions(), Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{"repositories": converted})}}
		if value(t, b.Body.Attributes["condition"].Expr, in).False() {
			refused = append(refused, value(t, b.Body.Attributes["error_message"].Expr, nil).AsString())
		}
	}
	return converted, refused
}

// mirrors evaluates local.mirrors: the resource tags of each repository.
func mirrors(t *testing.T, converted cty.Value) map[string]map[string]string {
	t.Helper()
	locals := block(t, parse(t, "../main.tf"), "locals").Body.Attributes
	in := &hcl.EvalContext{Functions: functions(), Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{"repositories": converted})}}
	in.Variables["local"] = cty.ObjectVal(map[string]cty.Value{"term_lists": value(t, locals["term_lists"].Expr, in)})
	all := make(map[string]map[string]string)
	for name, tags := range value(t, locals["mirrors"].Expr, in).AsValueMap() {
		all[name] = make(map[string]string)
		for key, v := range tags.AsValueMap() {
			all[name][key] = v.AsString()
		}
	}
	return all
}

func exampleRepositories(t *testing.T) cty.Value {
	t.Helper()
	call := block(t, parse(t, example), "module", "mirror").Body
	return value(t, call.Attributes["repositories"].Expr, &hcl.EvalContext{Functions: functions()})
}

// The program reads the example's resource tags as they were meant, and AWS takes them.
func TestTheProgramReadsWhatTheModuleWrites(t *testing.T) {
	converted, refused := repositories(t, exampleRepositories(t))
	if len(refused) > 0 {
		t.Fatal(refused)
	}
	got := mirrors(t, converted)
	for name, tags := range got {
		spec, warnings, err := discover.FromTags(tags, discover.NewKeys("", ""))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", name, err, warnings)
		}
		if spec.Upstream.String() != tags["upstream-image"] {
			t.Errorf("%s has the upstream %s", name, spec.Upstream)
		}
		for key, v := range tags {
			if len(v) > 256 {
				t.Errorf("%s: %s has %d characters", name, key, len(v))
			}
		}
	}
	golang := got["mirrors/golang"]
	var terms []string
	for _, key := range []string{"upstream-tags", "upstream-tags-2", "upstream-tags-3", "upstream-tags-4"} {
		if golang[key] != "" {
			terms = append(terms, strings.Split(golang[key], "/")...)
		}
	}
	if len(terms) != 16 || golang["upstream-tags-2"] == "" {
		t.Errorf("16 terms became %q", golang)
	}
	delete(got, "mirrors/golang")
	if diff := cmp.Diff(map[string]map[string]string{
		"mirrors/nginx": {
			"upstream-image": "docker.io/library/nginx", "upstream-tags": "1.27.+/stable/newest:5", "ignore-tags": "+-perl",
			"upstream-platforms": "linux/amd64 linux/arm64",
		},
		"mirrors/postgres": {
			"upstream-image": "docker.io/library/postgres", "upstream-tags": "semver:ge16 lt18", "upstream-options": "min-tags=1 variant=alpine",
		},
		"mirrors/argocd": {
			"upstream-image": "quay.io/argoproj/argocd", "upstream-tags": "semver:2.x/newest:3", "upstream-options": "referrers=false",
		},
	}, got); diff != "" {
		t.Errorf("resource tags (-want +got)\n%s", diff)
	}
}

// What AWS would refuse, or the program could not follow, is refused before anything is made.
func TestWhatCannotBeAMirrorIsRefused(t *testing.T) {
	one := func(terms ...string) cty.Value {
		list := cty.ListValEmpty(cty.String)
		if len(terms) > 0 {
			var values []cty.Value
			for _, term := range terms {
				values = append(values, cty.StringVal(term))
			}
			list = cty.ListVal(values)
		}
		return cty.MapVal(map[string]cty.Value{"a": cty.ObjectVal(map[string]cty.Value{"image": cty.StringVal("docker.io/library/nginx"), "tags": list})})
	}
	tests := map[string]struct {
		given cty.Value
		want  string
	}{
		"a star":      {one("1.27.*"), "write + for *"},
		"an operator": {one("semver:>=1.0"), "write + for *"},
		"no terms":    {one(), "at least one term"},
		"too long":    {one(strings.Repeat("a", 257)), "at most 256"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, refused := repositories(t, tt.given)
			if len(refused) != 1 || !strings.Contains(refused[0], tt.want) {
				t.Errorf("refused with %q, want %q", refused, tt.want)
			}
		})
	}
	if _, refused := repositories(t, one("1.27.+", "-+-rc+", strings.Repeat("a", 256))); refused != nil {
		t.Errorf("refused with %q", refused)
	}
}

// The role may do what the generated policies allow, and nothing else.
func TestTheRoleIsAllowedWhatThePoliciesAllow(t *testing.T) {
	got := make(map[string][]string)
	document := block(t, parse(t, "../role.tf"), "data", "aws_iam_policy_document", "mirror").Body
	for _, b := range document.Blocks {
		body := b.Body
		if b.Type == "dynamic" {
			body = b.Body.Blocks[0].Body
		}
		var actions []string
		for _, action := range value(t, body.Attributes["actions"].Expr, nil).AsValueSlice() {
			actions = append(actions, action.AsString())
		}
		got[value(t, body.Attributes["sid"].Expr, nil).AsString()] = actions
	}
	want := allowed(t, "../../iam-policy-sync.json")
	want["RemoveTags"] = allowed(t, "../../iam-policy-prune.json")["RemoveTags"]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-policies +module)\n%s", diff)
	}
}

// allowed returns the actions of a policy by statement.
func allowed(t *testing.T, path string) map[string][]string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Statement []struct {
			Sid    string
			Action any
		}
	}
	if err := json.Unmarshal(raw, &policy); err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, s := range policy.Statement {
		switch action := s.Action.(type) {
		case string:
			all[s.Sid] = []string{action}
		case []any:
			for _, a := range action {
				all[s.Sid] = append(all[s.Sid], a.(string))
			}
		}
	}
	return all
}

// The example sets variables that the module has, and leaves none out that it needs.
func TestTheExampleFitsTheModule(t *testing.T) {
	declared := make(map[string]bool) // and whether it has a default
	for _, b := range parse(t, "../variables.tf").Blocks {
		declared[b.Labels[0]] = b.Body.Attributes["default"] != nil
	}
	call := block(t, parse(t, example), "module", "mirror").Body
	for _, name := range slices.Sorted(maps.Keys(call.Attributes)) {
		if _, known := declared[name]; !known && name != "source" {
			t.Errorf("the module has no variable %s", name)
		}
	}
	for name, optional := range declared {
		if !optional && call.Attributes[name] == nil {
			t.Errorf("the example leaves %s out", name)
		}
	}
}
