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

// Every other tag than the mutable ones is immutable; Immutable alone cannot say so.
func TestMutable(t *testing.T) {
	rule := mustLoad(t, head+"defaults: {immutableTags: v*}\nmirrors:\n- {name: m, from: nginx, to: quay.io/n, tags: {globs: '*', mutable: [latest, '*-dev']}}\n").Rules[0]
	if diff := cmp.Diff([]string{"*"}, rule.Mirror.Rules.Immutable); diff != "" {
		t.Errorf("immutable (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"latest", "*-dev"}, rule.Mutable); diff != "" {
		t.Errorf("mutable (-want +got):\n%s", diff)
	}
}

// Reasons name terms as they are written in the file.
func TestReasons(t *testing.T) {
	rules := mustLoad(t, withTags("  tags: {literals: stable, globs: 1.*, semver: '>=2', regex: 'z+', exclude: {globs: '*-rc*'}}\n")).Rules[0].Mirror.Rules
	selector, err := selection.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	result := selector.Select(selection.Input{Upstream: []string{"1.0", "1.0.1", "2.0.0", "zz", "1.0-rc1"}, UpstreamListed: true})
	var got []string
	for _, pick := range result.Picks {
		got = append(got, pick.Tag+": "+pick.Reason)
	}
	for _, dropped := range result.Dropped {
		got = append(got, dropped.Tag+": "+dropped.Reason)
	}
	want := []string{
		"stable: literal stable", "2.0.0: semver:>=2", "1.0.1: glob 1.*", "1.0: glob 1.*", "zz: re:z+",
		"1.0-rc1: excluded by *-rc* of tags.exclude",
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
