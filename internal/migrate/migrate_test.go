package migrate_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A sample is a case below testdata: NAME.in.yaml, further files NAME.in2.yaml …, and
// NAME.options with lines NAME=VALUE: the environment, and the options destination and
// scoped.
type sample struct {
	format  migrate.Format
	path    string // without the endings
	files   []migrate.Input
	options migrate.Options
}

func samples(tb testing.TB) []sample {
	tb.Helper()
	paths, err := filepath.Glob("testdata/*/*.in.yaml")
	if err != nil || len(paths) == 0 {
		tb.Fatal("no samples", err)
	}
	all := make([]sample, 0, len(paths))
	for _, path := range paths {
		format, err := migrate.ParseFormat(filepath.Base(filepath.Dir(path)))
		if err != nil {
			tb.Fatal(err)
		}
		s := sample{format: format, path: strings.TrimSuffix(path, ".in.yaml")}
		further, err := filepath.Glob(s.path + ".in?.yaml")
		if err != nil {
			tb.Fatal(err)
		}
		for _, file := range append([]string{path}, further...) {
			s.files = append(s.files, migrate.Input{Name: filepath.Base(file), Data: readFile(tb, file)})
		}
		s.options = optionsOf(tb, s.path+".options")
		all = append(all, s)
	}
	return all
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func optionsOf(tb testing.TB, path string) migrate.Options {
	tb.Helper()
	variables := map[string]string{}
	if _, err := os.Stat(path); err == nil {
		for line := range strings.Lines(string(readFile(tb, path))) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			variables[name] = value
		}
	}
	return migrate.Options{
		Env:         lookUp(variables),
		Destination: variables["destination"],
		Scoped:      variables["scoped"] == "true",
	}
}

func lookUp(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}

// TestSamples compares what each sample becomes with its golden file, which was reviewed
// by eye.
func TestSamples(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(strings.TrimPrefix(s.path, "testdata/"), func(t *testing.T) {
			imported, err := migrate.Import(s.format, s.files, s.options)
			golden(t, s.path+".golden", shown(imported, err))
			if err != nil {
				checkProblems(t, s.files, err)
				return
			}
			checkImported(t, imported, s.options)
			if all := string(imported.YAML) + fmt.Sprint(imported); strings.Contains(all, "canary") {
				t.Errorf("a secret is shown:\n%s", all)
			}
		})
	}
}

// shown writes everything there is to see of an import.
func shown(imported *migrate.Imported, err error) string {
	if err != nil {
		return fmt.Sprintf("%v\n", err)
	}
	var b strings.Builder
	b.Write(imported.YAML)
	b.WriteString("\n---- notes\n")
	for _, note := range imported.Notes {
		fmt.Fprintln(&b, note)
	}
	b.WriteString("\n---- secrets\n")
	for _, name := range slices.Sorted(maps.Keys(imported.Secrets)) {
		fmt.Fprintf(&b, "%s = %q\n", name, imported.Secrets[name].Reveal())
	}
	fmt.Fprintf(&b, "\n---- settings\n%+v\n", imported.Settings)
	return strings.ReplaceAll(b.String(), "\n\n----", "\n----")
}

// checkImported checks what holds for every import: it loads, each mirror has its place,
// and every note is a line.
func checkImported(t *testing.T, imported *migrate.Imported, options migrate.Options) {
	t.Helper()
	env := options.Env
	if env == nil {
		env = lookUp(nil)
	}
	readFile := func(name string) ([]byte, error) {
		if name == "imported.yaml" {
			return imported.YAML, nil
		}
		return []byte("there"), nil
	}
	loaded, err := config.Load([]string{"imported.yaml"}, func(name string) (string, bool) {
		if value, ok := imported.Env(env)(name); ok {
			return value, ok
		}
		return "there", true // a reference that the old file has itself
	}, readFile)
	if err != nil {
		t.Errorf("it does not load: %v\n%s", err, imported.YAML)
		return
	}
	for _, m := range loaded.File.Mirrors {
		if imported.Places[m.Name].File == "" {
			t.Errorf("the mirror %q stands nowhere", m.Name)
		}
	}
	for _, note := range imported.Notes {
		if strings.ContainsAny(note.String(), "\n\r\u0085\u2028") || note.What == "" || note.Severity == "" {
			t.Errorf("note %q", note)
		}
	}
}

// checkProblems checks what holds for every error: one line each, in one of the files.
func checkProblems(t *testing.T, files []migrate.Input, err error) {
	t.Helper()
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) == 0 {
		t.Errorf("%v (%T) is not Problems", err, err)
	}
	for _, p := range problems {
		if strings.ContainsFunc(p.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q has control characters", p)
		}
		if strings.Contains(p.Error(), "imported:") {
			t.Errorf("%q names a place that nobody has seen", p)
		}
		if !slices.ContainsFunc(files, func(file migrate.Input) bool { return file.Name == p.Place.File }) {
			t.Errorf("%q is in no file", p)
		}
	}
}

// TestNothingIsDropped adds a key to each map of each sample, one at a time. Something
// must be said of it, or become of it.
func TestNothingIsDropped(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(strings.TrimPrefix(s.path, "testdata/"), func(t *testing.T) {
			if _, err := migrate.Import(s.format, s.files, s.options); err != nil {
				t.Skip("a sample of what cannot be imported")
			}
			var root yaml.Node
			if err := yaml.Unmarshal(s.files[0].Data, &root); err != nil {
				t.Fatal(err)
			}
			for _, at := range mapsOf(&root) {
				content := at.Content
				at.Content = append(slices.Clone(content),
					&yaml.Node{Kind: yaml.ScalarNode, Value: "zz-unheard-of"}, &yaml.Node{Kind: yaml.ScalarNode, Value: "canary"})
				changed, err := yaml.Marshal(&root)
				at.Content = content
				if err != nil {
					t.Fatal(err)
				}
				files := slices.Clone(s.files)
				files[0].Data = changed
				if after := shown(migrate.Import(s.format, files, s.options)); !strings.Contains(after, "zz-unheard-of") {
					t.Errorf("a key added to the map in line %d is dropped without a word", at.Line)
				}
			}
		})
	}
}

func mapsOf(n *yaml.Node) []*yaml.Node {
	var found []*yaml.Node
	if n.Kind == yaml.MappingNode {
		found = append(found, n)
	}
	for _, child := range n.Content {
		found = append(found, mapsOf(child)...)
	}
	return found
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(readFile(t, path)); want != got {
		t.Errorf("%s differs: go test ./internal/migrate -update, and look at what changed; got\n%s", path, got)
	}
}
