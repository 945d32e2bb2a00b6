package discover_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// What Format writes, FromTags reads back to the same Spec, with no remark.
func TestFormatRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := specs().Draw(t, "spec")
		tags := formatted(t, want)
		for key, value := range tags {
			if len(value) > 256 || !keys.Relevant(key) {
				t.Fatalf("resource tag %s=%q", key, value)
			}
		}
		got, _, err := discover.FromTags(tags, keys)
		if err != nil {
			t.Fatalf("%v\nof %q", err, tags)
		}
		if diff := cmp.Diff(want, got, asRead, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("spec (-want +got):\n%s", diff)
		}
	})
}

func TestFormatTagsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		terms := terms(t)
		printed := discover.FormatTags(terms)
		read, err := discover.ParseRules("--tags", printed)
		if err != nil {
			t.Fatalf("%v\nof %q", err, printed)
		}
		if diff := cmp.Diff(terms, read, asRead, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("rules (-want +got):\n%s", diff)
		}
		if again := read.String(); again != printed {
			t.Fatalf("%q was printed again as %q", printed, again)
		}
	})
}

// specs draws everything that resource tags can say.
func specs() *rapid.Generator[discover.Spec] {
	return rapid.Custom(func(t *rapid.T) discover.Spec {
		rules := terms(t)
		rules.NewestBy = rapid.SampledFrom([]discover.Order{discover.ByVersion, discover.ByCreated, discover.ByName}).Draw(t, "by")
		rules.Variant = rapid.SampledFrom([]string{"", "alpine", "alpine*", "*", "debian-12"}).Draw(t, "variant")
		if rapid.Bool().Draw(t, "has major") {
			rules.Major = new(rapid.IntRange(0, 999).Draw(t, "major"))
		}
		if rapid.Bool().Draw(t, "has minor") {
			rules.Minor = new(rapid.IntRange(0, 999).Draw(t, "minor"))
		}
		rules.Prerelease = rapid.Bool().Draw(t, "prerelease")
		rules.Floating = rapid.Bool().Draw(t, "floating")
		rules.Strict = rapid.Bool().Draw(t, "strict")
		rules.MinTags = rapid.IntRange(0, 50).Draw(t, "min-tags")
		rules.Keep = rapid.SliceOfN(filter(), 0, 2).Draw(t, "keep")
		globs := rapid.SliceOfN(rapid.SampledFrom([]string{"1.*", "v*", "latest"}), 0, 2).Draw(t, "globs")
		if rapid.Bool().Draw(t, "mutable") {
			rules.Mutable = globs
		} else {
			rules.Immutable = globs
		}
		return discover.Spec{
			Upstream: ref.Repository{Host: "quay.io", Path: "org/app"},
			Rules:    rules,
			Platforms: discover.Platforms{Keep: rapid.SliceOfNDistinct(rapid.SampledFrom([]ref.Platform{
				{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm", Variant: "v7"}, {OS: "windows", Architecture: "amd64"},
			}), 0, 3, rapid.ID).Draw(t, "platforms")},
			Options: discover.Options{Replace: rapid.Bool().Draw(t, "replace"), Referrers: rapid.Bool().Draw(t, "referrers")},
			Prune:   prunes(t, rules.Mode),
		}
	})
}

// prunes draws what upstream-options says about pruning.
func prunes(t *rapid.T, mode discover.Mode) discover.Prune {
	return discover.Prune{
		On:          mode != discover.ModeHigher && rapid.Bool().Draw(t, "prune"),
		Protect:     rapid.SliceOfN(rapid.SampledFrom([]string{"stable", "keep-*"}), 0, 2).Draw(t, "protect"),
		KeepAtLeast: rapid.IntRange(0, 9).Draw(t, "keep-at-least"),
		Grace:       time.Duration(rapid.Int64Range(0, 999_999).Draw(t, "grace")) * time.Second,
	}
}

// terms draws rules as far as upstream-tags says them, long enough to be continued.
func terms(t *rapid.T) discover.Rules {
	var rules discover.Rules
	rules.Choose = rapid.SliceOfNDistinct(term(), 0, 30, func(term discover.Term) string { return term.Pattern }).Draw(t, "choose")
	rules.Exclude = rapid.SliceOfN(term().Filter(func(term discover.Term) bool { return !term.Not }), 0, 10).Draw(t, "exclude")
	rules.Newest = rapid.IntRange(0, 9).Draw(t, "newest")
	rules.Mode = rapid.SampledFrom([]discover.Mode{"", discover.ModeAll, discover.ModeHigher, discover.ModeHighest, discover.ModeSemver}).Draw(t, "mode")
	if len(rules.Choose) == 0 && rules.Newest == 0 && rules.Mode == "" {
		rules.Mode = discover.ModeSemver
	}
	return rules
}

func term() *rapid.Generator[discover.Term] {
	tag := rapid.StringMatching(`[A-Za-z0-9_][A-Za-z0-9._-]{0,20}`)
	literal := rapid.Custom(func(t *rapid.T) discover.Term {
		return discover.Term{Kind: discover.Literal, Pattern: tag.Draw(t, "literal")}
	})
	pin := rapid.Custom(func(t *rapid.T) discover.Term {
		return discover.Term{Kind: discover.Pin, Pattern: tag.Draw(t, "pin"), Digest: ref.Digest("sha256:" + rapid.StringMatching(`[0-9a-f]{64}`).Draw(t, "digest"))}
	})
	return rapid.OneOf(literal, pattern(), pattern(), pin)
}

// filter draws a term as keep has it: without spaces, and so short that two leave room
// for all other options.
func filter() *rapid.Generator[discover.Term] {
	return pattern().Filter(func(term discover.Term) bool {
		return len(term.Pattern) <= 12 && (term.Kind == discover.Regexp || !strings.Contains(term.Pattern, " "))
	})
}

// pattern draws a glob, a range or an expression, inverted or not.
func pattern() *rapid.Generator[discover.Term] {
	glob := rapid.Custom(func(t *rapid.T) discover.Term {
		return discover.Term{Kind: discover.Glob, Pattern: rapid.StringMatching(`[a-z0-9]{0,4}\*([._-][a-z0-9]{1,4}\*?)?`).Draw(t, "glob")}
	})
	semver := rapid.Custom(func(t *rapid.T) discover.Term {
		return discover.Term{Kind: discover.Semver, Pattern: rapid.StringMatching(`(>=|<=|!=|>|<|=|)(0|[1-9][0-9]?)(\.(0|[1-9][0-9]?|x))?( (>=|<=|!=|>|<|=)(0|[1-9][0-9]?)\.(0|[1-9])\.(0|[1-9])(-rc\.1)?)?`).Draw(t, "semver")}
	})
	expression := rapid.Custom(func(t *rapid.T) discover.Term {
		return discover.Term{Kind: discover.Regexp, Pattern: rapid.StringMatching(`(\^?[a-z0-9]\.\*|[a-z]\|[^ -~]|\(\?i\)[~>?]?)[a-z]{0,20}`).Filter(valid).Draw(t, "expression")}
	})
	return rapid.Custom(func(t *rapid.T) discover.Term {
		term := rapid.OneOf(glob, semver, expression).Draw(t, "pattern")
		term.Not = rapid.Bool().Draw(t, "not")
		return term
	})
}

func valid(expression string) bool {
	_, err := discover.CompileRegexp(expression)
	return err == nil
}

func TestFormatContinuesLongLists(t *testing.T) {
	var list []string
	for i := range 60 {
		list = append(list, fmt.Sprintf("1.%d.0-alpine", i))
	}
	rules, err := discover.ParseRules("--tags", strings.Join(list, "/"))
	if err != nil {
		t.Fatal(err)
	}
	tags, err := discover.Format(discover.Spec{Upstream: ref.MustParse("nginx").Repository, Rules: rules, Options: discover.DefaultOptions()}, keys)
	if err != nil {
		t.Fatal(err)
	}
	if len(tags) != 5 || len(tags["upstream-tags"]) < 200 || tags["upstream-tags-4"] == "" {
		t.Errorf("60 terms became %d resource tags: %q", len(tags), tags)
	}
}

func TestFormatFillsAValueToItsEnd(t *testing.T) {
	for length, want := range map[int]int{127: 1, 128: 2} { // with a "/" and 128 more: 256 and 257
		terms := []discover.Term{
			{Kind: discover.Literal, Pattern: strings.Repeat("a", length)},
			{Kind: discover.Literal, Pattern: strings.Repeat("b", 128)},
		}
		tags, err := discover.Format(discover.Spec{Rules: discover.Rules{Choose: terms}, Options: discover.DefaultOptions()}, keys)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(tags) - 1; got != want {
			t.Errorf("terms of %d and 128 characters stand in %d values, want %d", length, got, want)
		}
	}
}

func TestFormatRefusesWhatTagsCannotSay(t *testing.T) {
	upstream := ref.MustParse("nginx").Repository
	one := discover.Spec{Upstream: upstream, Platforms: discover.Platforms{One: &ref.Platform{OS: "linux", Architecture: "amd64"}}}
	either := discover.Spec{Upstream: upstream, Rules: discover.Rules{Choose: []discover.Term{{Kind: discover.Semver, Pattern: "^1.2 || ^2.0"}}}}
	spaced := discover.Spec{Upstream: upstream, Rules: discover.Rules{Keep: []discover.Term{{Kind: discover.Semver, Pattern: ">=1.2 <2.0"}}}}
	kept := discover.Spec{Upstream: upstream, Rules: discover.Rules{Keep: []discover.Term{{Kind: discover.Semver, Pattern: "^1.2"}}}}
	both := discover.Spec{Upstream: upstream, Rules: discover.Rules{Immutable: []string{"1.*"}, Mutable: []string{"latest"}}}
	long := discover.Spec{Upstream: upstream, Rules: discover.Rules{Choose: []discover.Term{{Kind: discover.Regexp, Pattern: strings.Repeat("a", 200)}}}}
	for want, spec := range map[string]discover.Spec{
		"linux/amd64 alone": one, `no words for the range "^1.2 || ^2.0"`: either, "270 characters": long,
		"keep=semver:ge1.2 lt2.0": spaced, `no words for the range "^1.2"`: kept, "not both": both,
	} {
		if _, err := discover.Format(spec, keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

func ExampleFromTags() {
	spec, warnings, err := discover.FromTags(map[string]string{
		"upstream-image":   "nginx",
		"upstream-tags":    "stable/semver:ge1.26 lt2/newest:5/-+-perl",
		"upstream-options": "variant=alpine",
		"upstream-tag":     "mainline",
	}, discover.NewKeys("", ""))
	fmt.Println(spec.Upstream, spec.Rules, spec.Rules.Variant)
	fmt.Println(warnings, err)
	// Output:
	// docker.io/library/nginx stable/semver:ge1.26 lt2/newest:5/-+-perl alpine
	// [resource tag "upstream-tag" is not read; did you mean "upstream-tags"?] <nil>
}
