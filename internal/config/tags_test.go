package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

const aDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// What resource tags can say, the file says in ordinary words, and both mean the same.
func TestTagsMeanWhatResourceTagsDo(t *testing.T) {
	keys := discover.NewKeys("", "")
	for _, test := range []struct{ yaml, tags, options string }{
		{"latest", "latest", ""},
		{"[stable, 1.27.3]", "stable/1.27.3", ""},
		{`"*"`, "+", ""},
		{"1.27.**", "1.27.+", ""},
		{"{globs: [1.27.*, '*-alpine']}", "1.27.+/+-alpine", ""},
		{`["semver: >=1.2 <2"]`, "semver:ge1.2 lt2", ""},
		{"[semver: '>=1.2 <2']", "semver:ge1.2 lt2", ""},
		{"{semver: 1.2 - 1.9}", "semver:1.2 - 1.9", ""},
		{"{semver: 1.x}", "semver:1.x", ""},
		{"{semver: '>=22.04'}", "semver:ge22.04", ""},
		{`"regex: a|b"`, "re:YXxi", ""},
		{"[regex: a|b]", "re:YXxi", ""},
		{"{regex: a|b}", "re:YXxi", ""},
		{"stable@" + aDigest, "stable@" + aDigest, ""},
		{"{digests: stable@" + aDigest + "}", "stable@" + aDigest, ""},
		{"{globs: '*', exclude: '*-rc*'}", "+/-+-rc+", ""},
		{"{globs: '*', exclude: [latest, semver: <1]}", "+/-latest/-semver:lt1", ""},
		{"{globs: '*', exclude: {literals: latest, semver: <1, regex: a|b}}", "+/-latest/-semver:lt1/-re:YXxi", ""},
		{"{newest: 5}", "newest:5", ""},
		{"{literals: latest, newest: 3, newestBy: created}", "latest/newest:3", "newest-by=created"},
		{"{newest: 3, newestBy: name}", "newest:3", "newest-by=name"},
		{"{newest: 3, newestBy: version}", "newest:3", "newest-by=version"},
		{"{mode: highest}", "mode:highest", ""},
		{"{mode: higher, major: 6, minor: 0}", "mode:higher", "major=6 minor=0"},
		{"{mode: semver, variant: alpine}", "mode:semver", "variant=alpine"},
		{"{mode: semver, variant: debian-*}", "mode:semver", "variant=debian-+"},
		{"{mode: all}", "mode:all", ""},
		{"{globs: '*', prerelease: true, floating: true, strict: true}", "+", "prerelease=true floating=true strict=true"},
		{"{globs: '*', immutable: [v*, 1.0], minTags: 4}", "+", "immutable=v+ immutable=1.0 min-tags=4"},
		{"{globs: '*', mutable: [latest, '*-dev']}", "+", "mutable=latest mutable=+-dev"},
		{"'!1.*'", "not:1.+", ""},
		{"['!regex: a|b', '!semver: >=2', a]", "a/not:semver:ge2/not:re:YXxi", ""},
		{"['!regex': a|b]", "not:re:YXxi", ""},
		{"['! latest']", "not:latest", ""},
		{"{not: [1.*, regex: a|b]}", "not:1.+/not:re:YXxi", ""},
		{"{globs: '*', not: {globs: 1.*, semver: <1}}", "+/not:1.+/not:semver:lt1", ""},
		{"{globs: '*', keep: '*-alpine'}", "+", "keep=+-alpine"},
		{"{globs: '*', keep: [1.27, '*-alpine*', 'semver: >=1.2', 'regex: a|b', '!*-rc*']}", "+", "keep=1.27 keep=+-alpine+ keep=semver:ge1.2 keep=re:YXxi keep=not:+-rc+"},
		{"{globs: '*', keep: {globs: '*-alpine', not: {regex: a|b, globs: '*-rc*'}}}", "+", "keep=+-alpine keep=not:+-rc+ keep=not:re:YXxi"},
		{"{newest: 1, keep: {not: '*.0'}}", "newest:1", "keep=not:+.0"},
	} {
		got := mustLoad(t, withTags("  tags: "+test.yaml+"\n")).Rules[0].Mirror.Rules
		spec, _, err := discover.FromTags(map[string]string{keys.Image: "nginx", keys.Tags: test.tags, keys.Options: test.options}, keys)
		if err != nil {
			t.Fatalf("%s: %v", test.tags, err)
		}
		if diff := cmp.Diff(spec.Rules, got, cmpopts.IgnoreFields(discover.Term{}, "Text", "Key", "Position"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-%s %s +file):\n%s", test.yaml, test.tags, test.options, diff)
		}
	}
}

// Ranges have the whole syntax of the library, which resource tags have no words for.
func TestRangesOfTheLibrary(t *testing.T) {
	for _, versions := range []string{"^1.2 || ~2.1", ">=1.2, <2", "<1 || >=2", "!=1.5 >1"} {
		rules := mustLoad(t, withTags("  tags: {semver: '"+versions+"'}\n")).Rules[0].Mirror.Rules
		if _, err := selection.Compile(rules); err != nil {
			t.Errorf("%s: %v", versions, err)
		}
	}
}

// What a mirror says of its mutable tags goes over the defaults.
func TestMutableOverDefaults(t *testing.T) {
	rules := mustLoad(t, head+"defaults: {immutableTags: v*}\nmirrors:\n- {name: m, from: nginx, to: quay.io/n, tags: {globs: '*', mutable: [latest, v*-dev]}}\n").Rules[0].Mirror.Rules
	for tag, want := range map[string]bool{"v1": true, "1.0": true, "latest": false, "v1-dev": false} {
		if got := rules.IsImmutable(tag); got != want {
			t.Errorf("%s: immutable is %t", tag, got)
		}
	}
}

// Reasons name terms as they are written in the file.
func TestReasons(t *testing.T) {
	rules := mustLoad(t, withTags("  tags: {literals: stable, globs: 1.*, semver: '>=2', regex: 'z+', keep: ['!*.9', 'regex: [^4]*'], not: ['1*', 'regex: [z2].*'], exclude: {globs: '*-rc*'}}\n")).Rules[0].Mirror.Rules
	selector, err := selection.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	result := selector.Select(selection.Input{Upstream: []string{"1.0", "1.0.1", "2.0.0", "zz", "1.0-rc1", "1.9", "1.4", "x"}, UpstreamListed: true})
	var got []string
	for _, pick := range result.Picks {
		got = append(got, pick.Tag+": "+pick.Reason)
	}
	for _, dropped := range result.Dropped {
		got = append(got, dropped.Tag+": "+dropped.Reason)
	}
	want := []string{
		"stable: literal stable", "2.0.0: semver:>=2", "1.0.1: glob 1.*", "1.0: glob 1.*", "x: glob !1*", "zz: re:z+",
		"1.0-rc1: excluded by *-rc* of tags.exclude", "1.4: not kept by re:[^4]* of tags.keep", "1.9: not kept by !*.9 of tags.keep",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

// A tag may be named twice, and by its digest as well where that is the same.
func TestRepeats(t *testing.T) {
	m := mustLoad(t, withTags("  tags: [a, a, b@"+aDigest+", b@"+aDigest+"]\n")).Mirrors()[0]
	if got := m.Rules.String(); got != strings.Join([]string{"a", "a", "b@" + aDigest, "b@" + aDigest}, "/") {
		t.Error(got)
	}
}
