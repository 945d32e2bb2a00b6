// Command changelog writes CHANGELOG.md from the files below changelog/, as its
// README.md describes.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

func main() {
	text, err := Changelog(os.DirFS("changelog"))
	if err == nil {
		err = os.WriteFile("CHANGELOG.md", []byte(text), 0o644) //nolint:gosec // everybody may read it
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "changelog:", err)
		os.Exit(1)
	}
}

const preface = `# Changelog

Written by ` + "`make changelog`" + ` from [changelog/](changelog/README.md). Versions are those of [semver.org](https://semver.org).
`

// kinds are the kinds of changes, in the order in which they are shown.
var kinds = []string{"Added", "Changed", "Fixed", "Removed", "Security"}

// release is a directory of entries.
type release struct {
	dir     string
	title   string
	version *semver.Version // nil: unreleased
}

// Changelog returns the text for the files below a directory: what is unreleased first,
// then the releases, the newest first.
func Changelog(files fs.FS) (string, error) {
	releases, err := releasesOf(files)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(preface)
	for _, r := range releases {
		entries, err := entriesOf(files, r.dir)
		if err != nil {
			return "", err
		}
		if len(entries) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n", r.title)
		for _, kind := range kinds {
			if texts := entries[kind]; len(texts) > 0 {
				fmt.Fprintf(&b, "\n### %s\n\n%s", kind, strings.Join(texts, ""))
			}
		}
	}
	return b.String(), nil
}

var releaseName = regexp.MustCompile(`^(\S+)_(\d{4}-\d{2}-\d{2})$`)

func releasesOf(files fs.FS) ([]release, error) {
	found, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, err
	}
	var all []release
	for _, entry := range found {
		switch parts := releaseName.FindStringSubmatch(entry.Name()); {
		case !entry.IsDir():
		case entry.Name() == "unreleased":
			all = append(all, release{dir: "unreleased", title: "Unreleased"})
		case parts == nil:
			return nil, fmt.Errorf("%s: expected unreleased or VERSION_YYYY-MM-DD", entry.Name())
		default:
			version, err := semver.StrictNewVersion(parts[1])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", entry.Name(), err)
			}
			all = append(all, release{dir: entry.Name(), title: parts[1] + " (" + parts[2] + ")", version: version})
		}
	}
	slices.SortFunc(all, func(a, b release) int {
		switch {
		case a.version == nil:
			return -1
		case b.version == nil:
			return 1
		}
		return b.version.Compare(a.version)
	})
	return all, nil
}

// entriesOf reads the entries of a release by kind, each written as an item of a list.
func entriesOf(files fs.FS, dir string) (map[string][]string, error) {
	names, err := fs.Glob(files, path.Join(dir, "*.md"))
	if err != nil {
		return nil, err
	}
	entries := map[string][]string{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		kind, item, err := entry(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		entries[kind] = append(entries[kind], item)
	}
	return entries, nil
}

// entry reads one file: its kind, and the item of a list that it becomes.
func entry(text string) (kind, item string, err error) {
	title, body, _ := strings.Cut(strings.TrimSpace(text), "\n")
	kind, title, found := strings.Cut(title, ": ")
	if !found || !slices.Contains(kinds, kind) || strings.TrimSpace(title) == "" {
		return "", "", fmt.Errorf("the first line has to be KIND: TITLE, KIND one of %s", strings.Join(kinds, ", "))
	}
	if body != "" && !strings.HasPrefix(body, "\n") {
		return "", "", errors.New("an empty line has to follow the first")
	}
	item = "- " + title + "\n"
	if body = strings.TrimSpace(body); body != "" {
		item += "\n  " + strings.ReplaceAll(strings.ReplaceAll(body, "\n", "\n  "), "\n  \n", "\n\n") + "\n"
	}
	return kind, item, nil
}
