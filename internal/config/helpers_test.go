package config_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

var update = flag.Bool("update", false, "write the generated documents anew")

// files are what a test's configuration is read from, by path.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	text, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("no such file")}
	}
	return []byte(text), nil
}

// environment is what a test's references are looked up in.
func environment(name string) (string, bool) {
	value, ok := map[string]string{"HUB_USER": "jane", "HUB_PASSWORD": "canary-1", "EMPTY": ""}[name]
	return value, ok
}

// load reads a.yaml, b.yaml … with these texts.
func load(texts ...string) (*config.Config, error) {
	f := files{"secret.txt": "canary-2\n", "empty.txt": "\n"}
	var paths []string
	for i, text := range texts {
		path := fmt.Sprintf("%c.yaml", 'a'+i)
		f[path] = text
		paths = append(paths, path)
	}
	return config.Load(paths, environment, f.read)
}

func mustLoad(t *testing.T, texts ...string) *config.Config {
	t.Helper()
	c, err := load(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const head = "apiVersion: ecr-mirror-sync.io/v1alpha1\n"

// mirror is a file with one mirror, whose keys besides the name are given.
func mirror(keys string) string { return head + "mirrors:\n- name: m\n" + keys }

// withTags is a file with one mirror of nginx; its tags begin on line 6.
func withTags(tags string) string {
	return mirror("  from: docker.io/library/nginx\n  to: registry.example.com/nginx\n" + tags)
}

// golden compares got with a generated document.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got) {
		t.Errorf("%s is stale: go test ./internal/config -update", path)
	}
}
