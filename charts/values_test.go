package charts_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// A value is one that a user may set.
type value struct {
	name    string // such as image.tag
	meaning string
	def     *yaml.Node
}

// values lists those of values.yaml: each that has a comment which begins with "--".
// Whatever is below such a value belongs to it.
func values(t *testing.T, node *yaml.Node, path string) []value {
	t.Helper()
	if node.Kind != yaml.MappingNode {
		t.Errorf("%s has no comment in values.yaml", path)
		return nil
	}
	var all []value
	for i := 0; i < len(node.Content); i += 2 {
		key, def := node.Content[i], node.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		if _, meaning, ok := strings.Cut(key.HeadComment, "# -- "); ok {
			all = append(all, value{name: name, meaning: strings.ReplaceAll(meaning, "\n# ", " "), def: def})
			continue
		}
		all = append(all, values(t, def, name)...)
	}
	return all
}

func allValues(t *testing.T) []value {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal(read(t, chart+"/values.yaml"), &doc); err != nil {
		t.Fatal(err)
	}
	return values(t, doc.Content[0], "")
}

// Helm itself refuses values.yaml where it has more than the closed schema.
func TestSchemaKnowsTheValuesAndNoOthers(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(read(t, chart+"/values.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema["properties"].(map[string]any), "global") // Helm's own, for subcharts
	known := map[string]bool{}
	for _, v := range allValues(t) {
		known[v.name] = true
	}
	for _, name := range leaves(t, schema, "") {
		if !known[name] && !known[name[:max(0, strings.LastIndex(name, "."))]] {
			t.Errorf("%s is in the schema and not in values.yaml", name)
		}
		delete(known, name)
		delete(known, name[:max(0, strings.LastIndex(name, "."))])
	}
	for name := range known {
		t.Errorf("%s is in values.yaml and not in the schema", name)
	}
}

// leaves lists the values that a schema knows. Every mapping on the way has to be closed:
// a misspelt value is an error, not a default.
func leaves(t *testing.T, schema map[string]any, path string) []string {
	t.Helper()
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return []string{path}
	}
	if schema["additionalProperties"] != false {
		t.Errorf("the schema is open at %q", path)
	}
	var all []string
	for name, property := range properties {
		all = append(all, leaves(t, property.(map[string]any), strings.TrimPrefix(path+"."+name, "."))...)
	}
	return all
}

const (
	tableBegins = "<!-- Generated from values.yaml by go test ./charts -update. -->\n"
	tableEnds   = "<!-- End of what is generated. -->\n"
)

func TestReadmeHasTheValues(t *testing.T) {
	file := chart + "/README.md"
	readme := string(read(t, file))
	before, rest, begins := strings.Cut(readme, tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		t.Fatalf("%s has no place for the values: want the lines %q and %q", file, tableBegins, tableEnds)
	}
	want := before + tableBegins + "\n" + valuesTable(t) + "\n" + tableEnds + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, readme); diff != "" {
		t.Errorf("%s does not say what values.yaml says; go test ./charts -update writes it (-want +got)\n%s", file, diff)
	}
}

func valuesTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| value | default | meaning |\n| --- | --- | --- |\n")
	for _, v := range allValues(t) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.name, shown(t, v.def), strings.ReplaceAll(v.meaning, "|", `\|`))
	}
	return b.String()
}

// shown is a default as it fits into a table.
func shown(t *testing.T, def *yaml.Node) string {
	t.Helper()
	var plain any
	if err := def.Decode(&plain); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	switch {
	case def.Kind == yaml.ScalarNode && def.Value != "":
		text = def.Value
	case len(text) > 60:
		return "see values.yaml"
	}
	return "`" + text + "`"
}
