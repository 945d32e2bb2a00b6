package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

// A validator knows the keywords of JSON Schema that our schema uses, and refuses any
// other, so that none is taken for checked.
type validator struct {
	defs map[string]any
}

func newValidator(t *testing.T) (validator, map[string]any) {
	t.Helper()
	text, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	defs, _ := root["$defs"].(map[string]any)
	return validator{defs: defs}, root
}

// validate returns the first thing that does not fit.
func (v validator) validate(value any, schema map[string]any, at string) error {
	for keyword, argument := range schema {
		if err := v.keyword(keyword, argument, value); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	return v.children(value, schema, at)
}

func (v validator) keyword(keyword string, argument, value any) error {
	number, isNumber := value.(float64)
	text, isText := value.(string)
	object, isObject := value.(map[string]any)
	fits := true
	switch keyword {
	case "$schema", "$id", "$defs", "title", "description", "properties", "patternProperties", "additionalProperties", "items":
	case "$ref":
		name, _ := strings.CutPrefix(argument.(string), "#/$defs/")
		return v.validate(value, v.defs[name].(map[string]any), name)
	case "type":
		fits = slices.Contains(typesOf(value), "") || slices.ContainsFunc(listOf(argument), func(t any) bool { return slices.Contains(typesOf(value), t.(string)) })
	case "const":
		fits = value == argument
	case "enum":
		fits = slices.Contains(argument.([]any), value)
	case "pattern":
		fits = !isText || regexp.MustCompile(argument.(string)).MatchString(text)
	case "minimum":
		fits = !isNumber || number >= argument.(float64)
	case "maximum":
		fits = !isNumber || number <= argument.(float64)
	case "exclusiveMinimum":
		fits = !isNumber || number > argument.(float64)
	case "minItems":
		items, isList := value.([]any)
		fits = !isList || len(items) >= int(argument.(float64))
	case "minProperties":
		fits = !isObject || len(object) >= int(argument.(float64))
	case "maxProperties":
		fits = !isObject || len(object) <= int(argument.(float64))
	case "required":
		for _, key := range argument.([]any) {
			if _, ok := object[key.(string)]; isObject && !ok {
				return fmt.Errorf("%s is missing", key)
			}
		}
	case "anyOf":
		var why []string
		for _, alternative := range argument.([]any) {
			err := v.validate(value, alternative.(map[string]any), "or")
			if err == nil {
				return nil
			}
			why = append(why, err.Error())
		}
		return fmt.Errorf("fits nothing: %s", strings.Join(why, "; "))
	default:
		return fmt.Errorf("keyword %s is not known", keyword)
	}
	if !fits {
		return fmt.Errorf("%v is against %s %v", value, keyword, argument)
	}
	return nil
}

// children validates what an object or a list holds.
func (v validator) children(value any, schema map[string]any, at string) error {
	if items, ok := value.([]any); ok {
		for i, item := range items {
			if each, ok := schema["items"].(map[string]any); ok {
				if err := v.validate(item, each, fmt.Sprintf("%s[%d]", at, i)); err != nil {
					return err
				}
			}
		}
	}
	object, _ := value.(map[string]any)
	for key, value := range object {
		each, ok := v.property(key, schema)
		if !ok {
			return fmt.Errorf("%s: key %q is not allowed", at, key)
		}
		if each == nil {
			continue
		}
		if err := v.validate(value, each, at+"."+key); err != nil {
			return err
		}
	}
	return nil
}

// property returns the schema of a key, nil where anything goes.
func (v validator) property(key string, schema map[string]any) (map[string]any, bool) {
	properties, _ := schema["properties"].(map[string]any)
	if each, ok := properties[key].(map[string]any); ok {
		return each, true
	}
	patterns, _ := schema["patternProperties"].(map[string]any)
	for pattern, each := range patterns {
		if regexp.MustCompile(pattern).MatchString(key) {
			return each.(map[string]any), true
		}
	}
	switch additional := schema["additionalProperties"].(type) {
	case bool:
		return nil, additional
	case map[string]any:
		return additional, true
	}
	return nil, true
}

func listOf(argument any) []any {
	if l, ok := argument.([]any); ok {
		return l
	}
	return []any{argument}
}

func typesOf(value any) []string {
	switch value := value.(type) {
	case nil:
		return []string{"null"}
	case bool:
		return []string{"boolean"}
	case string:
		return []string{"string"}
	case []any:
		return []string{"array"}
	case map[string]any:
		return []string{"object"}
	case float64:
		if value == float64(int64(value)) {
			return []string{"number", "integer"}
		}
		return []string{"number"}
	}
	return nil
}

// asJSON reads YAML as editors do, for which 1.10 is a number.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	marshalled, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(marshalled, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestSchemaIsCommitted(t *testing.T) {
	text, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "../../docs/config.schema.json", text)
}

func TestReferenceIsCommitted(t *testing.T) {
	golden(t, "../../docs/configuration.md", config.Reference())
}

// Every key has its words, in the schema and in the reference.
func TestEveryKeyIsDescribed(t *testing.T) {
	v, root := newValidator(t)
	v.defs["File"] = root
	for name, def := range v.defs {
		properties, _ := def.(map[string]any)["properties"].(map[string]any)
		for key, property := range properties {
			if description, _ := property.(map[string]any)["description"].(string); !strings.HasSuffix(description, ".") && !strings.HasSuffix(description, "…") {
				t.Errorf("%s.%s is described as %q", name, key, description)
			}
			if !strings.Contains(string(config.Reference()), "| `"+key+"` |") {
				t.Errorf("%s.%s is not in the reference", name, key)
			}
		}
	}
}

// Links of the reference lead to its headings.
func TestReferenceLinks(t *testing.T) {
	text := string(config.Reference())
	headings := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(text, -1) {
		anchor := regexp.MustCompile("[^a-z0-9 -]").ReplaceAllString(strings.ToLower(m[1]), "")
		headings[strings.ReplaceAll(anchor, " ", "-")] = true
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		if !headings[m[1]] {
			t.Errorf("no heading #%s", m[1])
		}
	}
}

// exampleFiles are the example of config init and those of docs/examples, by name.
func exampleFiles(t *testing.T) map[string]string {
	t.Helper()
	examples := map[string]string{"example": string(config.Example())}
	paths, err := filepath.Glob("../../docs/examples/*.yaml")
	if err != nil || len(paths) < 3 {
		t.Fatalf("examples %v, %v", paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		examples[filepath.Base(path)] = string(text)
	}
	return examples
}

// The examples load and fit the schema, which their first line names.
func TestExamples(t *testing.T) {
	v, root := newValidator(t)
	everything := func(string) (string, bool) { return "canary", true }
	for name, text := range exampleFiles(t) {
		if err := v.validate(asJSON(t, text), root, name); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(text, "# yaml-language-server: $schema="+config.SchemaURL+"\n") {
			t.Errorf("%s does not name its schema first", name)
		}
		c, err := config.Load([]string{name}, everything, func(string) ([]byte, error) { return []byte(text), nil })
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		shown, err := config.Show(*c)
		if err != nil || strings.Contains(string(shown), "canary") {
			t.Errorf("%s is shown as\n%s\n%v", name, shown, err)
		}
	}
}

// The lines of the example that are commented out are right as well.
func TestExampleUncommented(t *testing.T) {
	commented := regexp.MustCompile(`(?m)^( *)# ((?:  )*[A-Za-z.]+:|(?:  )*- [a-z])`)
	text := commented.ReplaceAllString(string(config.Example()), "$1$2")
	if text == string(config.Example()) {
		t.Fatal("nothing is commented out")
	}
	v, root := newValidator(t)
	if err := v.validate(asJSON(t, text), root, "example"); err != nil {
		t.Error(err)
	}
	everything := func(string) (string, bool) { return "canary", true }
	c, err := config.Load([]string{"example.yaml"}, everything, func(name string) ([]byte, error) {
		return map[string][]byte{"example.yaml": []byte(text), "/run/secrets/dockerhub": []byte("canary")}[name], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !c.File.Discovery.On() || len(c.File.AllowedUpstreams) != 3 || c.File.Defaults.Schedule == nil || len(c.File.Registries) != 2 {
		t.Errorf("config %+v", c.File)
	}
}

// The schema refuses what is wrong in a single key.
func TestSchemaRefuses(t *testing.T) {
	v, root := newValidator(t)
	for _, text := range []string{
		"mirors: []\n",
		"mirrors: {}\n",
		"apiVersion: v2\n",
		"defaults: {replace: \"true\"}\n",
		"defaults: {minTags: -1}\n",
		"defaults: {minTags: 1.5}\n",
		"mirrors: [{name: a, from: quay.io/a, to: quay.io/b}]\n",
		"mirrors: [{name: a, from: quay.io/a, to: quay.io/b, tags: []}]\n",
		"mirrors: [{name: a, from: quay.io/a, to: quay.io/b, tags: {newest: 0}}]\n",
		"mirrors: [{name: a, from: quay.io/a, to: quay.io/b, tags: {mode: newest}}]\n",
		"mirrors: [{name: a, from: quay.io/a, to: quay.io/b, tags: {globs: \"a+\"}}]\n",
		"mirrors: [{name: a, from: quay.io/a, to: quay.io/b, tags: a, platforms: linux}]\n",
		"mirrors: [{name: a b, from: quay.io/a, to: quay.io/b, tags: a}]\n",
		"registries: {quay.io: {credentials: some}}\n",
		"registries: {quay.io: {limits: {requests: 0}}}\n",
	} {
		if err := v.validate(asJSON(t, text), root, "file"); err == nil {
			t.Errorf("the schema takes %s", text)
		}
	}
}
