package migrate_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// tagLists are the lists of tags that the tests of package selection go by, and one of
// what people rarely have.
func tagLists(t *testing.T) map[string][]string {
	t.Helper()
	paths, err := filepath.Glob("../selection/testdata/*.txt")
	if err != nil || len(paths) < 10 {
		t.Fatal("no lists of tags", err)
	}
	lists := map[string][]string{"odd": {
		"1", "v1", "1.2", "v1.2", "01.02", "1.2.3", "v1.2.3", "1.2.03", "1.2.3-musl", "1.2-musl", "1-musl", "1.2.3.4", "1.2.3_4", "22.04", "24.04.1",
		"20240807", "2024-08-07", "1.31.0-musl", "1.31.0", "1.31.9-musl", "1.31.9", "1.31", "latest", "alpine", "alpine3.20", "slim", "7.0-alpine", "7-slim-x", "v", "vv1.0.0",
		"1.2.3-rc.1", "1.2.3-rc.01", "1.2.3-", "1..2", "00", "0.0.0", "v2.0.0-alpha.1", "2.0.0", "3.0.0",
	}}
	for _, path := range paths {
		var tags []string
		for line := range strings.Lines(string(readFile(t, path))) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "sha256-") {
				tags = append(tags, line)
			}
		}
		lists[filepath.Base(path)] = tags
	}
	return lists
}

// rules imports a file with one mirror and returns what its rules choose of tags.
func rules(t *testing.T, format migrate.Format, text string, options migrate.Options) func(tags []string) []string {
	t.Helper()
	imported, err := migrate.Import(format, []migrate.Input{{Name: "old.yaml", Data: []byte(text)}}, options)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	loaded, err := config.Load([]string{"new.yaml"}, imported.Env(lookUp(nil)), func(string) ([]byte, error) { return imported.YAML, nil })
	if err != nil {
		t.Fatalf("%v\n%s", err, imported.YAML)
	}
	if mirrors := loaded.Mirrors(); len(mirrors) != 1 {
		t.Fatalf("%d mirrors\n%s", len(mirrors), imported.YAML)
	}
	selector, err := selection.Compile(loaded.Mirrors()[0].Rules)
	if err != nil {
		t.Fatalf("%v\n%s", err, imported.YAML)
	}
	return func(tags []string) []string {
		result := selector.Select(selection.Input{Upstream: tags, UpstreamListed: true})
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		var chosen []string
		for _, pick := range result.Picks {
			chosen = append(chosen, pick.Tag)
		}
		return sorted(chosen)
	}
}

func sorted(tags []string) []string {
	slices.Sort(tags)
	return slices.Compact(tags)
}

// tolerant reads a version as blang/semver's ParseTolerant does: a "v" and leading zeros
// do not count, missing numbers are zero, and only three numbers can have a suffix.
func tolerant(tag string) (*semver.Version, error) {
	parts := strings.SplitN(strings.TrimPrefix(tag, "v"), ".", 3)
	for i, part := range parts {
		for len(part) > 1 && part[0] == '0' && part[1] >= '0' && part[1] <= '9' {
			part = part[1:]
		}
		parts[i] = part
	}
	if len(parts) < 3 && strings.ContainsAny(parts[len(parts)-1], "+-") {
		return nil, errors.New("a short version with a suffix")
	}
	for len(parts) < 3 {
		parts = append(parts, "0")
	}
	return semver.StrictNewVersion(strings.Join(parts, "."))
}

// dregsyChoice is what dregsy documents of its lists of tags.
func dregsyChoice(t *testing.T, entries, tags []string) []string {
	t.Helper()
	var named, chosen []string
	var filters, keep []func(string) bool
	latest := 0
	for _, entry := range entries {
		kind, rest, _ := strings.Cut(entry, ":")
		rest = strings.TrimSpace(rest)
		switch {
		case kind == "semver":
			filters = append(filters, func(tag string) bool {
				v, err := tolerant(tag)
				return err == nil && inRange(t, rest, v)
			})
		case kind == "regex":
			filters = append(filters, wholeLine(rest))
		case kind == "keep" && strings.HasPrefix(rest, "latest "):
			latest, _ = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(rest, "latest ")))
		case kind == "keep":
			keep = append(keep, wholeLine(rest))
		default:
			named = append(named, entry)
		}
	}
	for _, tag := range tags {
		isChosen := len(filters) == 0 && len(named) == 0
		for _, filter := range filters {
			isChosen = isChosen || filter(tag)
		}
		for _, filter := range keep {
			isChosen = isChosen && filter(tag)
		}
		if isChosen {
			chosen = append(chosen, tag)
		}
	}
	return sorted(reduced(append(chosen, named...), latest))
}

// inRange is about the operators >=, >, <=, < and =, of which all must hold; package
// migrate tests the others.
func inRange(t *testing.T, written string, v *semver.Version) bool {
	t.Helper()
	for part := range strings.FieldsSeq(written) {
		version := strings.TrimLeft(part, "<>=")
		c := v.Compare(semver.MustParse(version))
		holds, known := map[string]bool{">=": c >= 0, ">": c > 0, "<=": c <= 0, "<": c < 0, "=": c == 0}[strings.TrimSuffix(part, version)]
		if !known {
			t.Fatalf("range %q", written)
		}
		if !holds {
			return false
		}
	}
	return true
}

// wholeLine is how expressions are anchored where there is no alternative at their top.
func wholeLine(expression string) func(string) bool {
	expression, inverted := strings.CutPrefix(expression, "!")
	compiled := regexp.MustCompile("^" + expression + "$")
	return func(tag string) bool { return compiled.MatchString(tag) != inverted }
}

// reduced keeps the highest versions, as many as that, and what is no version.
func reduced(tags []string, latest int) []string {
	var versions, others []string
	for _, tag := range tags {
		if _, err := tolerant(tag); err == nil && latest > 0 {
			versions = append(versions, tag)
			continue
		}
		others = append(others, tag)
	}
	slices.SortFunc(versions, func(a, b string) int {
		x, _ := tolerant(a)
		y, _ := tolerant(b)
		return y.Compare(x)
	})
	return append(others, versions[:min(latest, len(versions))]...)
}

func dregsyFile(entries []string) string {
	var b strings.Builder
	b.WriteString("relay: skopeo\ntasks:\n- name: a\n  source: {registry: quay.io}\n  target: {registry: registry.example.com}\n  mappings:\n  - from: a/b\n    tags:\n")
	for _, entry := range entries {
		fmt.Fprintf(&b, "    - %q\n", entry)
	}
	return b.String()
}

// TestDregsyChoosesTheSame: lists of tags whose import says nothing of a difference
// choose the same tags of every repository.
func TestDregsyChoosesTheSame(t *testing.T) {
	lists := [][]string{
		{},
		{"latest"},
		{"latest", "1.29.4"},
		{"semver: >=1.31.0 <1.31.9"},
		{"semver: >=1.31.0"},
		{"semver: <1.31.9"},
		{"semver: <=1.31.9"},
		{"semver: >1.31.0 <2.0.0", "semver: =3.0.0"},
		{"semver: >=1.31.0 <1.31.9", `regex: 1\.2[0-9]\.[0-9]-(glibc|uclibc|musl|alpine)`, "1.29.4", "latest"},
		{"latest", "semver: >=2.0.0", "keep: .+-(alpine|buster|musl)"},
		{"semver: >=1.0.0", "keep: !.*-rc.*", "keep: !.*alpine.*"},
		{"regex: .*alpine.*"},
		{"regex: !.*alpine.*"},
		{"regex: !.*-.*", "semver: >=1.0.0", "regex: .*-slim"},
		{"keep: v.*"},
		{"keep: !v.*", "keep: .*[0-9]"},
		{"latest", "keep: v.*"},
		{"regex: v.*", "semver: >=1.0.0", "keep: .*[0-9]", "keep: !.*-alpha.*", "edge"},
		{"semver: >=0.0.0"},
		{"semver: >=20.4.0 <25.0.0"},
		{"semver: >=1.0.0-alpha <2.0.0-rc.1"},
	}
	all := tagLists(t)
	for _, entries := range lists {
		choose := rules(t, migrate.Dregsy, dregsyFile(entries), migrate.Options{})
		for name, tags := range all {
			if diff := cmp.Diff(dregsyChoice(t, entries, tags), choose(tags)); diff != "" {
				t.Errorf("%s, %q (-dregsy +ours):\n%s", name, entries, diff)
			}
		}
	}
}

// TestDregsyLatest: "keep: latest" takes as many versions. Equal ones, which dregsy
// counts one by one, stay together, and what is no version is not taken.
func TestDregsyLatest(t *testing.T) {
	all := tagLists(t)
	for _, entries := range [][]string{
		{"semver: >=1.34.0", "keep: latest 5"},
		{"semver: >=0.0.0", "keep: !.*-.*", "keep: latest 3", "latest"},
		{"keep: latest 4"},
		{"regex: v.*", "keep: latest 2"},
	} {
		choose := rules(t, migrate.Dregsy, dregsyFile(entries), migrate.Options{})
		for name, tags := range all {
			got := choose(tags)
			for _, tag := range dregsyChoice(t, entries, tags) {
				_, err := tolerant(tag)
				if isVersion := err == nil; isVersion != slices.Contains(got, tag) && tag != "latest" {
					t.Errorf("%s, %q: %s is chosen: %t, among %q", name, entries, tag, !isVersion, got)
				}
			}
			limit, _ := strconv.Atoi(entries[slices.IndexFunc(entries, func(e string) bool { return strings.HasPrefix(e, "keep: latest") })][len("keep: latest "):])
			different := make(map[string]bool)
			for _, tag := range got {
				if v, err := tolerant(tag); err == nil {
					different[v.String()] = true
				}
			}
			if len(different) > limit {
				t.Errorf("%s, %q: %d versions: %q", name, entries, len(different), got)
			}
		}
	}
}

// TestSkopeoSyncChoosesTheSame: skopeo takes what an expression matches anywhere, and
// what satisfies a constraint of the same library that ranges are read with here.
func TestSkopeoSyncChoosesTheSame(t *testing.T) {
	all := tagLists(t)
	for _, test := range []struct{ expression, constraint string }{
		{"alpine", ""},
		{"^v?1", ""},
		{`^1\.13\.[12]-alpine-perl$`, ""},
		{"alpine|slim", ""},
		{"^1.*|musl$", ""},
		{"[0-9]$", ""},
		{"", ">= 3.12.0"},
		{"", ">=1.31.0, <1.32"},
		{"", "1.27.x"},
		{"", "~1.27 || ^3"},
		{"", "1.2 - 1.4"},
		{"", "*"},
		{"", "!=1.2.3"},
		{"", "= 1.31.0"},
		{"", ">22.4"},
		{"", ">=1.0.0-0 <2"},
		{"musl$", "<2"},
		{`-rc\.[0-9]`, "^2"},
	} {
		text := "quay.io:\n"
		if test.expression != "" {
			text += fmt.Sprintf("  images-by-tag-regex: {app: %q}\n", test.expression)
		}
		if test.constraint != "" {
			text += fmt.Sprintf("  images-by-semver: {app: %q}\n", test.constraint)
		}
		choose := rules(t, migrate.SkopeoSync, text, migrate.Options{Destination: "registry.example.com"})
		for name, tags := range all {
			var want []string
			for _, tag := range tags {
				if skopeoTakes(t, test.expression, test.constraint, tag) {
					want = append(want, tag)
				}
			}
			if diff := cmp.Diff(sorted(want), choose(tags)); diff != "" {
				t.Errorf("%s, %+v (-skopeo +ours):\n%s", name, test, diff)
			}
		}
	}
}

// shortWithSuffix is what skopeo and regsync take for a version, and the program does
// not: the import says so.
var shortWithSuffix = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+)?-`)

func skopeoTakes(t *testing.T, expression, constraint, tag string) bool {
	t.Helper()
	if expression != "" && regexp.MustCompile(expression).MatchString(tag) {
		return true
	}
	v, err := semver.NewVersion(tag)
	if constraint == "" || err != nil || shortWithSuffix.MatchString(tag) {
		return false
	}
	within, err := semver.NewConstraint(constraint)
	if err != nil {
		t.Fatal(err)
	}
	return within.Check(v)
}

// TestRegsyncChoosesTheSame: a tag has to meet all conditions of one of the sets.
func TestRegsyncChoosesTheSame(t *testing.T) {
	type set struct{ ranges, allow, deny []string }
	lists := [][]set{
		{},
		{{allow: []string{"latest", "edge", `v[0-9\.]+`}}},
		{{deny: []string{".*-rc.*", ".*alpine.*"}}},
		{{allow: []string{".*alpine.*", "latest"}, deny: []string{"1.*"}}},
		{{ranges: []string{">=1.31.0 <1.31.9", "^2.0.0"}}},
		{{ranges: []string{">=1.0.0"}, allow: []string{`[0-9.]+`, ".*-alpine"}, deny: []string{`1\.2.*`}}},
		{{allow: []string{"latest", "alpine"}}, {ranges: []string{">=1.0.0 <4.0"}, allow: []string{`[0-9]+\.[0-9]+\.[0-9]+`}}},
		{{allow: []string{"latest"}}, {deny: []string{".*-.*", "latest"}}},
		{{allow: []string{"v1.*"}}, {ranges: []string{">=2.0.0"}}, {allow: []string{"latest"}}},
	}
	all := tagLists(t)
	for _, sets := range lists {
		text := "sync:\n- source: quay.io/a/b\n  target: registry.example.com/a/b\n  type: repository\n  tagSets:\n"
		for _, s := range sets {
			text += fmt.Sprintf("  - {semverRange: %s, allow: %s, deny: %s}\n", flow(s.ranges), flow(s.allow), flow(s.deny))
		}
		choose := rules(t, migrate.Regsync, text, migrate.Options{})
		for name, tags := range all {
			var want []string
			for _, tag := range tags {
				takes := len(sets) == 0
				for _, s := range sets {
					takes = takes || (len(s.ranges) == 0 || anyRange(t, s.ranges, tag)) && (len(s.allow) == 0 || anyMatches(s.allow, tag)) && !anyMatches(s.deny, tag)
				}
				if takes {
					want = append(want, tag)
				}
			}
			// Single tags beside a set that filters are named, whether they are there or not.
			got := slices.DeleteFunc(choose(tags), func(tag string) bool { return !slices.Contains(tags, tag) })
			if diff := cmp.Diff(sorted(want), got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s, %+v (-regsync +ours):\n%s", name, sets, diff)
			}
		}
	}
}

func flow(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = strconv.Quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func anyMatches(expressions []string, tag string) bool {
	return slices.ContainsFunc(expressions, func(expression string) bool { return wholeLine(expression)(tag) })
}

// anyRange reports whether a range has the tag, as far as regsync and the program agree
// on what a version is: with a suffix, it has three numbers.
func anyRange(t *testing.T, ranges []string, tag string) bool {
	t.Helper()
	v, err := tolerant(tag)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(ranges, func(written string) bool {
		written = strings.NewReplacer("^2.0.0", ">=2.0.0 <3.0.0", "<4.0", "<4.0.0").Replace(written)
		return inRange(t, written, v)
	})
}

// TestECRMirrorChoosesTheSame: patterns are those of the shell, "+" in place of "*".
func TestECRMirrorChoosesTheSame(t *testing.T) {
	all := tagLists(t)
	for _, test := range []struct{ chosen, ignored string }{
		{"1.+", ""}, {"+", "+-rc+/+alpha+"}, {"1.27+/3.+/+-alpine", "+-perl"}, {"+alpine+", "1+/v+"}, {"", "+-+"}, {"", ""}, {"v+.0", "v1.0"},
	} {
		choose := rules(t, migrate.ECRMirror, `{"ResourceTagMappingList": [{"ResourceARN": "arn:aws:ecr:eu-west-1:111122223333:repository/a", "Tags": [`+
			fmt.Sprintf(`{"Key": "upstream-image", "Value": "nginx"}, {"Key": "upstream-tags", "Value": %q}, {"Key": "ignore-tags", "Value": %q}]}]}`, test.chosen, test.ignored), migrate.Options{})
		for name, tags := range all {
			var want []string
			for _, tag := range tags {
				if (test.chosen == "" || shellMatches(test.chosen, tag)) && !shellMatches(test.ignored, tag) {
					want = append(want, tag)
				}
			}
			if diff := cmp.Diff(sorted(want), choose(tags)); diff != "" {
				t.Errorf("%s, %q without %q (-ecr-mirror +ours):\n%s", name, test.chosen, test.ignored, diff)
			}
		}
	}
}

func shellMatches(patterns, tag string) bool {
	return slices.ContainsFunc(strings.Split(patterns, "/"), func(pattern string) bool {
		ok, _ := filepath.Match(strings.ReplaceAll(pattern, "+", "*"), tag)
		return ok
	})
}
