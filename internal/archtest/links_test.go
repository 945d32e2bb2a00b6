package archtest_test

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// pages are the Markdown files of the repository, by path, without those that programs write
// or tests read.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "dist", "node_modules", "testdata"}, entry.Name()):
			return fs.SkipDir
		case !entry.IsDir() && path.Ext(name) == ".md":
			text, err := fs.ReadFile(root, name)
			found[name] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 50 || found["README.md"] == "" {
		t.Fatalf("%d pages were found", len(found))
	}
	return found
}

var (
	fenced   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	codeSpan = regexp.MustCompile("`[^`\n]*`")
	linked   = regexp.MustCompile(`\]\(<?([^)>\s]+)>?\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *$`)
	explicit = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
)

// links are the targets that a page links to, besides those of other sites.
func links(text string) []string {
	var targets []string
	for _, m := range linked.FindAllStringSubmatch(codeSpan.ReplaceAllString(fenced.ReplaceAllString(text, ""), "``"), -1) {
		if target, err := url.Parse(m[1]); err != nil || target.Scheme == "" {
			targets = append(targets, m[1])
		}
	}
	return targets
}

// anchors are the names that GitHub gives the headings of a page: lower case, without
// punctuation, with hyphens for spaces, and numbered where one comes again.
func anchors(text string) []string {
	var names []string
	seen := map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		title := linkText.ReplaceAllString(m[1], "$1")
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, title)
		if n := seen[name]; n > 0 {
			names = append(names, name+"-"+string(rune('0'+n)))
		} else {
			names = append(names, name)
		}
		seen[name]++
	}
	for _, m := range explicit.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

var linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// Every link from page to page leads somewhere, also to the place on the page.
func TestLinksOfTheDocumentation(t *testing.T) {
	all := pages(t)
	followed := 0
	for name, text := range all {
		from := name
		if name == "internal/config/reference.md" {
			from = "docs/configuration.md" // which is made of it
		}
		for _, link := range links(text) {
			followed++
			file, anchor, _ := strings.Cut(link, "#")
			target := from
			if file != "" {
				target = path.Join(path.Dir(from), file)
			}
			if _, err := os.Stat(filepath.Join("../..", target)); err != nil {
				t.Errorf("%s links to %s: there is no %s", name, link, target)
				continue
			}
			if page, isPage := all[target]; anchor != "" && isPage && !slices.Contains(anchors(page), anchor) {
				t.Errorf("%s links to %s: %s has no such heading", name, link, target)
			}
		}
	}
	if followed < 100 {
		t.Errorf("%d links were followed", followed)
	}
}

// A page that nothing leads to is read by nobody: README.md names every page of docs/, and
// all others are linked from there, or from a page that is.
func TestEveryPageIsLinkedFromTheReadme(t *testing.T) {
	all := pages(t)
	direct := map[string]bool{}
	reached, queue := map[string]bool{"README.md": true}, []string{"README.md"}
	for len(queue) > 0 {
		page := queue[0]
		queue = queue[1:]
		for _, link := range links(all[page]) {
			file, _, _ := strings.Cut(link, "#")
			target := path.Join(path.Dir(page), file)
			if page == "README.md" {
				direct[target] = true
			}
			for _, page := range []string{target, path.Join(target, "README.md")} {
				if _, isPage := all[page]; isPage && !reached[page] {
					reached[page] = true
					queue = append(queue, page)
				}
			}
		}
	}
	for name := range all {
		switch {
		case strings.HasPrefix(name, "changelog/"), strings.HasPrefix(name, ".github/"), name == "internal/config/reference.md":
			// parts that CHANGELOG.md, GitHub and docs/configuration.md are made of
		case !reached[name]:
			t.Errorf("nothing that README.md leads to links to %s", name)
		case path.Dir(name) == "docs" && !direct[name]:
			t.Errorf("README.md does not link to %s", name)
		}
	}
}
