package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

func TestReadYAML(t *testing.T) {
	root, err := config.ReadYAML("old.yaml", []byte("base: &base {a: 1.10}\nlist:\n- <<: *base\n  b: ~\n- no\n"))
	if err != nil {
		t.Fatal(err)
	}
	list := root.Entries[1]
	merged := list.Value.Items[0]
	switch {
	case root.Kind != config.Mapping || list.Key != "list" || list.At.String() != "old.yaml:2:1" || list.Value.Kind != config.List:
		t.Errorf("%+v", root)
	case merged.Kind != config.Mapping || len(merged.Entries) != 2 || merged.Entries[0].Value.Tag != "!!null" || merged.Entries[1].Key != "a":
		t.Errorf("the merged map: %+v", merged)
	case merged.Entries[1].Value.Value != "1.10" || merged.Entries[1].Value.Kind != config.Scalar:
		t.Errorf("a: %+v", merged.Entries[1].Value)
	case list.Value.Items[1].Value != "no" || list.Value.Items[1].At.String() != "old.yaml:5:3":
		t.Errorf("the second item: %+v", list.Value.Items[1])
	}
}

func TestReadYAMLRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "old.yaml: the file is empty",
		"# nothing\n":                    "old.yaml: the file is empty",
		"a: 1\na: 2\n":                   `old.yaml:2:1: a second "a"; the first is in line 1: expected each key once`,
		strings.Repeat("#", 1<<20) + "#": "old.yaml: the file is too large: expected at most 1048576 bytes",
	} {
		root, err := config.ReadYAML("old.yaml", []byte(text))
		var problems config.Problems
		if root != nil || !errors.As(err, &problems) || problems[0].Error() != want {
			t.Errorf("%.20q: %v, %v, want %s", text, root, err, want)
		}
	}
}
