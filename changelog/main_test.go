package main

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestChangelogIsWritten(t *testing.T) {
	want, err := Changelog(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(have)); diff != "" {
		t.Errorf("CHANGELOG.md is old: run make changelog\n%s", diff)
	}
}

func TestChangelog(t *testing.T) {
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"README.md":                   "not an entry",
		"1.2.0_2026-10-01/older.md":   "Fixed: Older",
		"1.10.0_2026-11-01/newer.md":  "Changed: Newer\n\nFirst.\n\nSecond.\n",
		"unreleased/b.md":             "Fixed: B\n",
		"unreleased/a.md":             "Fixed: A\n",
		"unreleased/z.md":             "Added: Z: with a colon\n",
		"unreleased/notes.txt":        "not an entry",
		"0.9.0_2026-01-01/.gitignore": "",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	have, err := Changelog(files)
	if err != nil {
		t.Fatal(err)
	}
	want := preface + `
## Unreleased

### Added

- Z: with a colon

### Fixed

- A
- B

## 1.10.0 (2026-11-01)

### Changed

- Newer

  First.

  Second.

## 1.2.0 (2026-10-01)

### Fixed

- Older
`
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

func TestChangelogRefuses(t *testing.T) {
	for _, test := range []struct{ name, text, problem string }{
		{"unreleased/a.md", "", "KIND: TITLE"},
		{"unreleased/a.md", "Improved: Everything", "KIND: TITLE"},
		{"unreleased/a.md", "Added:  ", "KIND: TITLE"},
		{"unreleased/a.md", "Added: A\nB", "an empty line"},
		{"next/a.md", "Added: A", "expected unreleased"},
		{"1.0_2026-01-01/a.md", "Added: A", "1.0_2026-01-01"},
	} {
		_, err := Changelog(fstest.MapFS{test.name: {Data: []byte(test.text)}})
		if err == nil || !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s %q: error %v, expected one with %q", test.name, test.text, err, test.problem)
		}
	}
}
