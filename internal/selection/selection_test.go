package selection_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand"
	"path/filepath"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

const aDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func re(expression string) string {
	return "re:" + base64.RawURLEncoding.EncodeToString([]byte(expression))
}

// list splits the lists of the tables below.
func list(tags string) []string { return strings.Fields(tags) }

func pickedTags(result selection.Result) string {
	var tags []string
	for _, pick := range result.Picks {
		tags = append(tags, pick.Tag)
	}
	return strings.Join(tags, " ")
}

func droppedReason(result selection.Result, tag string) string {
	for _, dropped := range result.Dropped {
		if dropped.Tag == tag {
			return dropped.Reason
		}
	}
	return ""
}

// TestSelect has a row for each construct and for each edge that the tools this one
// replaces are known for.
func TestSelect(t *testing.T) {
	const busybox = "1.30.1 1.31.0 1.31.0-musl 1.31.1 1.31.9-musl 1.31 1-musl latest"
	for _, test := range []struct {
		name, tags, options, upstream string
		target                        string
		want                          string
		warning                       string // part of the only one
	}{
		// literals
		{name: "a literal need not be listed", tags: "1.27.3", upstream: "", want: "1.27.3"},
		{name: "literals keep their order", tags: "b/a/c", upstream: "a b c", want: "b a c"},
		{name: "a literal twice is one pick", tags: "a/b/a", upstream: "a b", want: "a b"},
		{name: "literals come before what globs choose", tags: "1.+/latest", upstream: "1.2 latest 1.1", want: "latest 1.2 1.1"},
		{name: "a literal is not chosen again by a glob", tags: "1.1/1.+", upstream: "1.1 1.2", want: "1.1 1.2"},
		{name: "an absent literal beside a glob", tags: "9.9/1.+", upstream: "1.1", want: "9.9 1.1"},

		// globs
		{name: "ecr-mirror-sync: + is expanded", tags: "1.2+", upstream: "1.1 1.2 1.20 2.1", want: "1.20 1.2"},
		{name: "a glob never takes a referrer tag", tags: "+", upstream: "a sha256-00.sig sha256-00", want: "a"},
		{name: "versions before names, highest first", tags: "+", upstream: "a 1.2 1.10 b 1.9", want: "1.10 1.9 1.2 a b"},
		{name: "an unmatched glob is remarked on", tags: "2.+", upstream: "1.0", want: "", warning: `term "2.+" of upstream-tags matches no tag`},
		{name: "a glob that matches only what another term took", tags: "1.+/1.0+", upstream: "1.0 1.1", want: "1.1 1.0"},
		{name: "a glob that matches only a literal", tags: "1.0/1.+", upstream: "1.0", want: "1.0"},
		{name: "onfido: ignored patterns win", tags: "+/-1.1", upstream: "1.1 1.2", want: "1.2"},

		// expressions
		{name: "dregsy: foo|bar matches whole tags", tags: re("foo|bar"), upstream: "foo bar foox xbar", want: "bar foo"},
		{name: "an expression may take a referrer tag", tags: re("sha256-.*"), upstream: "sha256-00.sig a", want: "sha256-00.sig"},
		{name: "an excluded expression", tags: "+/-" + re("[0-9.]+"), upstream: "1.2 1.2-alpine a", want: "1.2-alpine a"},

		// pins
		{name: "a pin", tags: "stable@" + aDigest, upstream: "", want: "stable"},
		{name: "a pin is not listed twice", tags: "stable@" + aDigest + "/s+", upstream: "stable s1", want: "stable s1"},
		{name: "an excluded pin leaves out that digest", tags: "a@" + aDigest + "/-a@" + aDigest, upstream: "", want: ""},
		{name: "an excluded pin leaves other digests", tags: "a/-a@" + aDigest, upstream: "a", want: "a"},
		{name: "an excluded literal leaves out the pin", tags: "a@" + aDigest + "/-a", upstream: "", want: ""},

		// ranges
		{name: "dregsy: 1.31.0-musl is in >=1.31.0", tags: "semver:ge1.31.0", options: "variant=musl", upstream: busybox, want: "1.31.9-musl 1.31.0-musl"},
		{name: "a range means plain versions", tags: "semver:ge1.31", upstream: busybox, want: "1.31.1 1.31.0"},
		{name: "dregsy: 1.31.9-musl is not below 1.31.9", tags: "semver:lt1.31.9", options: "variant=musl", upstream: busybox, want: "1.31.0-musl"},
		{name: "any variant and none", tags: "semver:1.31.x", options: "variant=+", upstream: busybox, want: "1.31.9-musl 1.31.1 1.31.0 1.31.0-musl"},
		{name: "a range in words", tags: "semver:ge1.2 lt2.0", upstream: "1.1.9 1.2.0 1.9.9 2.0.0", want: "1.9.9 1.2.0"},
		{name: "a range from to includes both", tags: "semver:1.2 - 1.9", upstream: "1.1.9 1.2.0 1.9.9 1.10.0", want: "1.9.9 1.2.0"},
		{name: "ne", tags: "semver:1.x ne1.5.1", upstream: "1.5.0 1.5.1 2.0.0", want: "1.5.0"},
		{name: "two ranges are united", tags: "semver:1.x/semver:3.x", upstream: "1.0.0 2.0.0 3.0.0", want: "3.0.0 1.0.0"},
		{name: "a range takes no pre-release", tags: "semver:1.x", upstream: "1.0.0 1.1.0-rc.1", want: "1.0.0"},
		{name: "a range takes pre-releases when asked", tags: "semver:1.x", options: "prerelease=true", upstream: "1.0.0 1.1.0-rc.1", want: "1.1.0-rc.1 1.0.0"},
		{name: "lt2.0 means no candidate of 2.0", tags: "semver:ge1 lt2.0", options: "prerelease=true", upstream: "1.0.0 1.9.0-rc1 2.0.0-rc.1", want: "1.9.0-rc1 1.0.0"},
		{name: "a range that names a pre-release", tags: "semver:ge1.0.0-rc.2", upstream: "1.0.0-rc1 1.0.0-rc2 1.0.0-rc10 1.0.0", want: "1.0.0 1.0.0-rc10 1.0.0-rc2"},
		{name: "floating tags are no versions", tags: "semver:1.x", upstream: "1 1.27 1.27.3 1-alpine", want: "1.27.3"},
		{name: "floating tags when asked", tags: "semver:1.27", options: "floating=true", upstream: "1.27 1.27.3", want: "1.27.3 1.27"},
		{name: "short releases are versions", tags: "semver:ge15", upstream: "14.9 15 15.7 15.8 16 16.4", want: "16.4 15.8 15.7"},
		{name: "a date is no version", tags: "semver:ge1", upstream: "20240807 3.20.1", want: "3.20.1"},
		{name: "calendar versions", tags: "semver:ge2024.2", upstream: "2024.1.1 2024.8.1 2023.12.1", want: "2024.8.1"},
		{name: "leading zeros", tags: "semver:ge22.04", upstream: "20.04 22.04 24.04", want: "24.04 22.04"},
		{name: "a range takes only variants that are asked for", tags: "semver:1.x", upstream: "1.0.0-jdk 1.0.0-jre 1.1.0-jdk", want: "", warning: "there are variants jdk, jre (variant=NAME chooses)"},
		{name: "an exclusion reads everything that is a version", tags: "+/-semver:lt2", upstream: "1 1.5 1.5.0 1.5.0-rc1 1.5.0-alpine 2.0.0 2.0.0-rc1 a", want: "2.0.0 a"},
		{name: "an exclusion keeps to the strict order", tags: "semver:ge1/-semver:lt2", options: "prerelease=true", upstream: "1.5.0 2.0.0-rc1 2.0.0 2.1.0-rc1", want: "2.1.0-rc1 2.0.0"},
		{name: "haproxy: a numbered pre-release of a train does not float", tags: "newest:2", options: "prerelease=true", upstream: "3.1.0 3.1-dev6 3.1-dev5 3.1-dev", want: "3.1.0 3.1-dev6"},
		{name: "an exclusion wins over a literal", tags: "latest/1.0.0/-semver:1.x", upstream: "latest 1.0.0", want: "latest"},

		// newest
		{name: "newest alone starts from all versions", tags: "latest/newest:2", upstream: "latest edge 1.0.0 1.1.0 1.2.0", want: "latest 1.2.0 1.1.0"},
		{name: "dregsy: newest never drops a literal", tags: "1.0.0/newest:1", upstream: "1.0.0 2.0.0", want: "1.0.0 2.0.0"},
		{name: "newest filters what was chosen", tags: "1.+/newest:1", upstream: "1.0.0 1.1.0 2.0.0", want: "1.1.0"},
		{name: "newest counts numbers as numbers", tags: "newest:2", upstream: "1.9.0 1.10.0 1.2.0", want: "1.10.0 1.9.0"},
		{name: "newest after excluding", tags: "newest:1/-1.2.0", upstream: "1.1.0 1.2.0", want: "1.1.0"},
		{name: "newest takes plain versions", tags: "1.+/newest:2", upstream: "1.1.0 1.1.0-alpine 1.2.0 1.2.0-alpine", want: "1.2.0 1.1.0"},
		{name: "newest of a variant", tags: "newest:1", options: "variant=alpine", upstream: "1.2.0 1.1.0-alpine 1.0.0-alpine", want: "1.1.0-alpine"},
		{name: "replicant: compatibility is exact", tags: "newest:9", options: "variant=alpine", upstream: "1.2.3-alpine v1.2-alpine 6-alpine 1.2.3-alpine3.15 1.2.3-rc.1-alpine", want: "6-alpine 1.2.3-alpine"},
		{name: "any alpine", tags: "newest:1", options: "variant=alpine+", upstream: "1.2.3-alpine 1.2.3-alpine3.15 1.2.3-slim 1.2.2-alpine", want: "1.2.3-alpine 1.2.3-alpine3.15"},
		{name: "a glob that says the variant", tags: "+-alpine/newest:1", upstream: "1.2.3 1.2.3-alpine 1.2.2-alpine", want: "1.2.3-alpine"},
		{name: "a glob that says the variant beside one that does not", tags: "1.+/+-alpine/newest:1", upstream: "1.2.3 1.2.3-alpine 1.2.2-alpine 1.2.3-slim", want: "1.2.3 1.2.3-alpine"},
		{name: "newest wants no pre-release, not even by glob", tags: "2.+/newest:1", upstream: "2.0.0-rc1 1.0.0", want: "", warning: "pre-releases (prerelease=true counts them)"},
		{name: "spellings of one version stay together", tags: "newest:1", upstream: "v1.2.3 1.2.3 1.2.2", want: "1.2.3 v1.2.3"},
		{name: "newest of too few", tags: "newest:9", upstream: "1.0.0", want: "1.0.0"},
		{name: "newest of names", tags: "noble-+/newest:1", upstream: "noble-20240801 noble-20240827.1", want: "", warning: "newest-by=name"},
		{name: "newest by name", tags: "noble-+/newest:1", options: "newest-by=name", upstream: "noble-20240801 noble-20240827.2 noble-20240827.10 jammy-20250101", want: "noble-20240827.10"},
		{name: "newest of nothing", tags: "newest:1", upstream: "a b", want: "", warning: "no version is left for newest:1"},
		{name: "newest of an empty list", tags: "newest:1", upstream: "", want: "", warning: "no version is left for newest:1"},

		// modes
		{name: "highest", tags: "mode:highest", upstream: "1.0.0 1.10.0 1.9.0 latest", want: "1.10.0"},
		{name: "replicant: highest is no short form", tags: "mode:highest", upstream: "1.2 1.2.0 1 20230101", want: "1.2.0"},
		{name: "highest of what a glob chose", tags: "1.+/mode:highest", upstream: "1.0.0 1.1.0 2.0.0", want: "1.1.0"},
		{name: "replicant: pinned-major", tags: "mode:highest", options: "major=6", upstream: "5.0.0 6.0.0 6.2.0 7.0.0", want: "6.2.0"},
		{name: "replicant: pinned-major 0", tags: "mode:highest", options: "major=0", upstream: "0.1.0 0.2.0 1.0.0", want: "0.2.0"},
		{name: "pinned minor", tags: "mode:semver", options: "major=1 minor=2", upstream: "1.2.0 1.2.1 1.3.0 2.2.0", want: "1.2.1 1.2.0"},
		{name: "semver", tags: "mode:semver", upstream: "1.0.0 1.0.0-alpine 1.1.0-rc.1 latest 1.1.0", want: "1.1.0 1.0.0"},
		{name: "all", tags: "mode:all", upstream: "a 1.0.0 1.0.0-alpine sha256-00.sig", want: "1.0.0 1.0.0-alpine a"},
		{name: "all, of what a glob chose", tags: "1+/mode:all", upstream: "1.0 2.0 1.0-alpine", want: "1.0 1.0-alpine"},
		{name: "all and a filter", tags: "mode:all", options: "major=1", upstream: "1.0.0 1.0.0-alpine 2.0.0 a", want: "1.0.0 1.0.0-alpine"},
		{name: "all and newest", tags: "mode:all/newest:1", upstream: "1.0.0 2.0.0 a", want: "2.0.0"},
		{name: "higher", tags: "mode:higher", upstream: "1.0.0 1.1.0 1.2.0", target: "1.0.0 0.9.0", want: "1.2.0 1.1.0"},
		{name: "replicant: higher on an empty target", tags: "mode:higher", upstream: "1.0.0 1.1.0 1.2.0", want: "1.2.0"},
		{name: "higher on a target without a version", tags: "mode:higher", upstream: "1.0.0 1.1.0", target: "latest 1.0.0-alpine", want: "1.1.0"},
		{name: "higher with nothing new", tags: "mode:higher", upstream: "1.0.0 1.1.0", target: "1.1.0", want: ""},
		{name: "higher compares within the filters", tags: "mode:higher", options: "major=1 variant=alpine", upstream: "1.0.0-alpine 1.1.0-alpine 2.0.0-alpine", target: "1.0.0-alpine 2.0.0-alpine 1.9.0", want: "1.1.0-alpine"},
		{name: "higher compares within the terms", tags: "1.+/mode:higher", upstream: "1.0.0 1.1.0 2.0.0", target: "1.0.0 2.0.0", want: "1.1.0"},
		{name: "a literal does not raise the bar", tags: "9.0.0/mode:higher", upstream: "1.0.0 1.1.0 9.0.0", target: "1.0.0 9.0.0", want: "9.0.0 1.1.0"},
		{name: "an excluded tag does not raise the bar", tags: "mode:higher/-9.0.0", upstream: "1.0.0 1.1.0 9.0.0", target: "1.0.0 9.0.0", want: "1.1.0"},
		{name: "higher and newest", tags: "mode:higher/newest:1", upstream: "1.0.0 1.1.0 1.2.0", target: "1.0.0", want: "1.2.0"},

		// filters
		{name: "a filter without narrowing", tags: "6.+", options: "variant=alpine", upstream: "6.2 6.2-alpine 6.2.1 6.2.1-alpine 6.x", want: "6.2.1-alpine 6.2-alpine"},
		{name: "filters leave literals", tags: "latest/1.+", options: "major=2", upstream: "latest 1.0", want: "latest"},

		// the strict reading
		{name: "strict: a suffix is a pre-release", tags: "semver:ge1.31.0", options: "strict=true", upstream: busybox, want: "1.31.1 1.31.0"},
		{name: "strict: pre-releases when asked", tags: "semver:ge1.31.0", options: "strict=true prerelease=true", upstream: busybox, want: "1.31.9-musl 1.31.1 1.31.0"},
		{name: "strict: three numbers", tags: "semver:ge1.0.0", options: "strict=true", upstream: "1 1.2 v1.2 01.2.3 1.2.3 22.04 v2.0.0", want: "v2.0.0 1.2.3"},
		{name: "strict: fewer where floating tags count", tags: "semver:ge1.0.0", options: "strict=true floating=true", upstream: "1 1.2 v1.2 01.2.3 1.2.3 1.2.3.4 22.04 v2.0.0 20240807 latest", want: "20240807 22.04 v2.0.0 01.2.3 1.2.3 1.2 v1.2 1"},
		{name: "strict: a suffix needs three numbers", tags: "semver:ge1.0.0", options: "strict=true floating=true prerelease=true", upstream: "1-musl 1.2-musl 1.2.3-musl 1.2.03-musl 1.2.3-", want: "1.2.03-musl 1.2.3-musl"},

		// excluding
		{name: "excluding wins over a literal", tags: "1.0/1.1/-1.0", upstream: "1.0 1.1", want: "1.1"},
		{name: "excluding everything that a term matches", tags: "1.+/2.+/-1+", upstream: "1.0 2.0", want: "2.0", warning: `every tag that term "1.+" of upstream-tags matches is left out`},

		// what registries answer
		{name: "repeats and disorder", tags: "+", upstream: "b a b a", want: "a b"},
		{name: "what cannot be a tag", tags: re(".*"), upstream: "a ../b -c", want: "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			result := compile(t, test.tags, test.options).Select(selection.Input{
				Upstream: list(test.upstream), UpstreamListed: true, Target: list(test.target),
			})
			if result.Err != nil {
				t.Fatal(result.Err)
			}
			if got := pickedTags(result); got != test.want {
				t.Errorf("picks %q, want %q\ndropped %v", got, test.want, result.Dropped)
			}
			switch joined := strings.Join(result.Warnings, "\n"); {
			case test.warning == "" && joined != "":
				t.Errorf("unwanted warnings:\n%s", joined)
			case !strings.Contains(joined, test.warning):
				t.Errorf("warnings %q, want %q", joined, test.warning)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	selector := compile(t, "latest/gone/pin@"+aDigest+"/1.+/semver:ge2.00 lt3/"+re("x.*")+"/newest:1/-+-bad/-"+re("v.*"), "prerelease=false")
	result := selector.Select(selection.Input{UpstreamListed: true, Upstream: list(
		"latest pin 1.0.0 1.1.0 1.1.0-alpine 1.1 2.0.0 2.1.0 2.1 2.1.0-slim 2.1.0-rc.1 3.0.0 x1 y 9.9-bad v2 sha256-00.sig -no",
	)})
	var got []string
	for _, pick := range result.Picks {
		got = append(got, pick.Tag+": "+pick.Reason)
	}
	got = append(got, "--")
	for _, dropped := range result.Dropped {
		got = append(got, dropped.Tag+": "+dropped.Reason)
	}
	want := []string{
		"latest: literal latest",
		"gone: literal gone",
		"pin: pin pin",
		"2.1.0: semver:ge2.00 lt3, newest:1",
		"--",
		"-no: not a valid tag",
		"1.0.0: not among the 1 newest",
		"1.1: floating tag beside 1.1.0",
		"1.1.0: not among the 1 newest",
		"1.1.0-alpine: variant alpine; plain versions are meant where no variant= is given",
		"2.0.0: not among the 1 newest",
		"2.1: floating tag beside 2.1.0",
		"2.1.0-rc.1: pre-release; prerelease=true counts it",
		"2.1.0-slim: variant slim; plain versions are meant where no variant= is given",
		"3.0.0: no term matches",
		"9.9-bad: excluded by -+-bad of upstream-tags",
		"sha256-00.sig: follows its image as a referrer",
		"v2: excluded by -re:v.* of upstream-tags",
		"x1: not a version",
		"y: no term matches",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if got := result.Picks[2].Digest; got != aDigest {
		t.Errorf("the pin has the digest %q", got)
	}
}

func TestReasonsOfModesAndFilters(t *testing.T) {
	for _, test := range []struct{ tags, options, upstream, target, tag, want string }{
		{"mode:highest", "", "1.0.0 1.1.0", "", "1.0.0", "lower than 1.1.0"},
		{"mode:higher", "", "1.0.0 1.1.0", "1.0.0", "1.0.0", "not above 1.0.0, the target's highest"},
		{"mode:higher", "", "1.0.0 1.1.0", "", "1.0.0", "lower than 1.1.0, with which an empty target starts"},
		{"mode:semver", "major=1", "1.0.0 2.0.0", "", "2.0.0", "major is not 1"},
		{"mode:semver", "minor=0", "1.0.0 2.1.0", "", "2.1.0", "minor is not 0"},
		{"mode:semver", "variant=alpine+", "1.0.0-alpine 1.0.0", "", "1.0.0", `variant "" is not the one that variant= asks for`},
		{"mode:semver", "", "1.0.0 edge", "", "edge", "not a version"},
		{"ignored/1.+", "", "1.0.0", "", "1.0.0", ""},
	} {
		result := compile(t, test.tags, test.options).Select(selection.Input{
			UpstreamListed: true, Upstream: list(test.upstream), Target: list(test.target),
		})
		if got := droppedReason(result, test.tag); got != test.want {
			t.Errorf("%s %s drops %s: %q, want %q", test.tags, test.options, test.tag, got, test.want)
		}
	}
}

func TestNeeds(t *testing.T) {
	for _, test := range []struct {
		tags, options         string
		list, target, created bool
		literals              string
	}{
		{tags: "latest/1.27.3", literals: "latest 1.27.3"},
		{tags: "a@" + aDigest + "/b/-+c", literals: "a b"},
		{tags: "latest", options: "major=6", literals: "latest"},
		{tags: "latest/1.+", list: true, literals: "latest"},
		{tags: "semver:1.x", list: true},
		{tags: re("a"), list: true},
		{tags: "a/newest:2", list: true, literals: "a"},
		{tags: "mode:all", list: true},
		{tags: "mode:higher", list: true, target: true},
		{tags: "newest:2", options: "newest-by=created", list: true, created: true},
		{tags: "1.+", options: "newest-by=created", list: true},
	} {
		s := compile(t, test.tags, test.options)
		if s.NeedsTagList() != test.list || s.NeedsTargetTags() != test.target || s.NeedsCreated() != test.created {
			t.Errorf("%s %s: needs list %t, target %t, created %t", test.tags, test.options, s.NeedsTagList(), s.NeedsTargetTags(), s.NeedsCreated())
		}
		if got := strings.Join(s.Literals(), " "); got != test.literals {
			t.Errorf("%s: literals %q, want %q", test.tags, got, test.literals)
		}
	}
}

func TestANeededListMustBeGiven(t *testing.T) {
	// A listing that failed must not look like an empty upstream.
	result := compile(t, "latest/1.+", "").Select(selection.Input{})
	if result.Err == nil || len(result.Picks) > 0 {
		t.Errorf("picks %v, error %v", result.Picks, result.Err)
	}
	result = compile(t, "latest", "").Select(selection.Input{})
	if result.Err != nil || pickedTags(result) != "latest" {
		t.Errorf("picks %v, error %v", result.Picks, result.Err)
	}
}

func TestMinTags(t *testing.T) {
	for _, test := range []struct {
		tags, options, upstream string
		matched                 int // 0: enough
	}{
		{"1.+", "min-tags=2", "1.0 1.1", 0},
		{"1.+", "min-tags=3", "1.0 1.1", 2},
		{"latest/1.+", "min-tags=2", "1.0", 0},
		{"1.+/newest:1", "min-tags=2", "1.0 1.1", 0}, // newest: chooses few of many on purpose
		{"mode:highest", "min-tags=3", "1.0.0 1.1.0 latest", 2},
		{"1.+/-1.1", "min-tags=2", "1.0 1.1", 1},
		{"1.+", "min-tags=2 variant=alpine", "1.0 1.1-alpine", 1},
	} {
		result := compile(t, test.tags, test.options).Select(selection.Input{UpstreamListed: true, Upstream: list(test.upstream)})
		var few *selection.TooFewError
		switch {
		case test.matched == 0 && result.Err != nil:
			t.Errorf("%s %s: %v", test.tags, test.options, result.Err)
		case test.matched == 0:
		case !errors.As(result.Err, &few) || !strings.Contains(few.Error(), fmt.Sprintf("match %d tags", few.Matched)) || len(result.Picks) > 0:
			t.Errorf("%s %s: error %v, picks %v", test.tags, test.options, result.Err, result.Picks)
		case few.Matched != test.matched:
			t.Errorf("%s %s: %d matched, want %d", test.tags, test.options, few.Matched, test.matched)
		}
	}
}

func TestMinTagsOfOneIsToldWithoutTheOption(t *testing.T) {
	result := compile(t, "1.+", "min-tags=1").Select(selection.Input{UpstreamListed: true})
	var few *selection.TooFewError
	if !errors.As(result.Err, &few) || !strings.HasPrefix(few.Error(), "the rules match no tag: ") || len(result.Picks) > 0 {
		t.Errorf("error %v, picks %v", result.Err, result.Picks)
	}
}

func TestMinTagsWithNothingNewAbove(t *testing.T) {
	result := compile(t, "mode:higher", "min-tags=2").Select(selection.Input{
		UpstreamListed: true, Upstream: list("1.0.0 1.1.0"), Target: list("1.1.0"),
	})
	if result.Err != nil || len(result.Picks) > 0 {
		t.Errorf("picks %v, error %v: an up-to-date target is no alarm", result.Picks, result.Err)
	}
}

func TestNewestByCreation(t *testing.T) {
	s := compile(t, "latest/build-+/newest:2/-build-9", "newest-by=created")
	in := selection.Input{UpstreamListed: true, Upstream: list("build-1 build-2 build-3 build-9 latest other")}
	if diff := cmp.Diff(list("build-1 build-2 build-3"), s.Candidates(in)); diff != "" {
		t.Errorf("candidates (-want +got):\n%s", diff)
	}
	day := func(n int) time.Time { return time.Date(2024, 8, n, 0, 0, 0, 0, time.UTC) }
	in.Created = map[string]time.Time{"build-1": day(3), "build-2": day(1), "build-3": day(2)}
	result := s.Select(in)
	if got := pickedTags(result); got != "latest build-1 build-3" || len(result.Warnings) > 0 {
		t.Errorf("picks %q, warnings %q", got, result.Warnings)
	}
	if got := droppedReason(result, "build-2"); got != "not among the 2 newest: created 2024-08-01T00:00:00Z" {
		t.Errorf("build-2 was dropped: %q", got)
	}
	delete(in.Created, "build-1")
	result = s.Select(in)
	if got := droppedReason(result, "build-1"); got != "not among the 2 newest: no creation time" {
		t.Errorf("build-1 was dropped: %q", got)
	}
	if got := pickedTags(result); got != "latest build-2 build-3" {
		t.Errorf("with one time unknown: picks %q", got)
	}
	if want := []string{"1 of 3 tags have no creation time and count as the oldest"}; !cmp.Equal(want, result.Warnings) {
		t.Errorf("warnings %q, want %q", result.Warnings, want)
	}
	if got := compile(t, "build-+/newest:4", "newest-by=created").Candidates(in); got != nil {
		t.Errorf("with room for all: candidates %q", got)
	}
	if got := compile(t, "build-+/newest:4", "newest-by=created").Select(selection.Input{UpstreamListed: true, Upstream: in.Upstream}); len(got.Picks) != 4 || got.Warnings != nil {
		t.Errorf("with room for all: %+v", got)
	}
	if got := compile(t, "latest", "").Candidates(in); got != nil {
		t.Errorf("literals have the candidates %q", got)
	}
}

// Tags that were created at the same time, or that nobody knows the time of, are ordered
// as they are elsewhere: the highest version first, then by name.
func TestEqualCreationTimes(t *testing.T) {
	s := compile(t, "+/newest:3", "newest-by=created")
	in := selection.Input{UpstreamListed: true, Upstream: list("b a 1.0 1.1 c"), Created: map[string]time.Time{}}
	if got := pickedTags(s.Select(in)); got != "1.1 1.0 a" {
		t.Errorf("without any time: picks %q", got)
	}
	in.Created["c"] = time.Unix(1_700_000_000, 0)
	in.Created["b"] = in.Created["c"].In(time.FixedZone("elsewhere", 3600))
	if got := pickedTags(s.Select(in)); got != "1.1 b c" {
		t.Errorf("with two equal times: picks %q", got)
	}
}

func TestManyCandidatesAreRemarkedOn(t *testing.T) {
	s := compile(t, "build-+/newest:1", "newest-by=created")
	in := selection.Input{UpstreamListed: true, Created: map[string]time.Time{}}
	for i := range 501 {
		if i == 500 && len(s.Select(in).Warnings) > 0 {
			t.Errorf("500 tags: warnings %q", s.Select(in).Warnings)
		}
		name := fmt.Sprintf("build-%d", i)
		in.Upstream, in.Created[name] = append(in.Upstream, name), time.Unix(int64(1_700_000_000+i), 0)
	}
	if got := s.Select(in).Warnings; len(got) != 1 || !strings.Contains(got[0], "501 tags") {
		t.Errorf("501 tags: warnings %q", got)
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		term discover.Term
		want string
	}{
		{"a variant in a range", discover.Term{Kind: discover.Semver, Pattern: ">=1.31.0-musl", Text: "semver:ge1.31.0-musl", Key: "upstream-tags", Position: 3}, `upstream-tags: term "semver:ge1.31.0-musl", position 3: "musl" in a range is not a pre-release; a variant is chosen by variant=musl`},
		{"a malformed range", discover.Term{Kind: discover.Semver, Pattern: "~~1"}, `term "semver:~~1": "~~1" is not a range`},
		{"a malformed expression", discover.Term{Kind: discover.Regexp, Pattern: "a)(b"}, "unexpected )"},
		{"an unknown kind", discover.Term{Kind: "fnord", Pattern: "a"}, `unknown kind "fnord"`},
		{"two words in a range", discover.Term{Kind: discover.Semver, Pattern: ">=1.0.0-rc.1-slim"}, `"rc.1-slim" in a range is not a pre-release`},
	} {
		for _, rules := range []discover.Rules{{Choose: []discover.Term{test.term}}, {Exclude: []discover.Term{test.term}}} {
			_, err := selection.Compile(rules)
			var problem *selection.TermError
			if !errors.As(err, &problem) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: error %v, want %q", test.name, err, test.want)
			}
		}
	}
}

func TestTermErrorKeepsItsCause(t *testing.T) {
	_, err := selection.Compile(discover.Rules{Choose: []discover.Term{{Kind: discover.Regexp, Pattern: "("}}})
	if _, ok := errors.AsType[*syntax.Error](err); !ok {
		t.Errorf("%v has no syntax error in its chain", err)
	}
}

// The tag language refuses a literal and a pin for one tag; other sources may not.
func TestAPinIsMoreThanALiteral(t *testing.T) {
	literal, pin := discover.Term{Kind: discover.Literal, Pattern: "a"}, discover.Term{Kind: discover.Pin, Pattern: "a", Digest: aDigest}
	for _, terms := range [][]discover.Term{{literal, pin}, {pin, literal}} {
		s, err := selection.Compile(discover.Rules{Choose: terms})
		if err != nil {
			t.Fatal(err)
		}
		want := []selection.Pick{{Tag: "a", Digest: aDigest, Reason: "pin a"}}
		if diff := cmp.Diff(want, s.Select(selection.Input{}).Picks); diff != "" {
			t.Errorf("picks (-want +got):\n%s", diff)
		}
	}
}

// Rules may come from elsewhere than resource tags, in the full syntax of ranges.
func TestRangesInTheLibrarysSyntax(t *testing.T) {
	for pattern, want := range map[string]string{
		"^1.2 || ^3":       "3.1.0 1.9.0 1.2.0",
		"~1.2":             "1.2.0",
		">=1.2, <2":        "1.9.0 1.2.0",
		"1.2 - 1.9":        "1.9.0 1.2.0",
		"*":                "3.1.0 2.0.0 1.9.0 1.2.0 1.1.0",
		">=2.0.0-0, <3":    "2.0.0 2.0.0-rc1",
		">=2.0.0-rc.1, <3": "2.0.0 2.0.0-rc1",
	} {
		s, err := selection.Compile(discover.Rules{Choose: []discover.Term{{Kind: discover.Semver, Pattern: pattern}}})
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		result := s.Select(selection.Input{UpstreamListed: true, Upstream: list("1.1.0 1.2.0 1.9.0 2.0.0-rc1 2.0.0 3.1.0")})
		if got := pickedTags(result); got != want {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
	}
}

// manyRules are used where the particular rule does not matter.
var manyRules = []rule{
	{tags: "latest/1.+/-+-rc+"},
	{tags: "newest:5"},
	{tags: "mode:all"},
	{tags: "mode:higher"},
	{tags: "mode:highest/v1.+"},
	{tags: "semver:ge1.2 lt4/+-alpine/newest:4"},
	{tags: "semver:3.x/-semver:3.12"},
	{tags: "+/newest:3", options: "newest-by=name"},
	{tags: "semver:ge1", options: "variant=alpine+ prerelease=true floating=true"},
	{tags: re(".*(slim|rc).*") + "/newest:7"},
	{tags: "not:1.+/newest:9", options: "keep=not:+-rc+ keep=semver:ge1"},
	{tags: "mode:higher", options: "keep=+-alpine+"},
}

// Whatever the rules: the same lists in another order give the same result, and every
// upstream tag is either picked or dropped, once.
func TestSelectIsDeterministicAndComplete(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d lists, error %v", len(paths), err)
	}
	random := rand.New(rand.NewSource(1))
	for _, path := range paths {
		upstream := readList(t, path)
		target := upstream[:len(upstream)/3]
		for _, rule := range manyRules {
			s := compile(t, rule.tags, rule.options)
			first := s.Select(selection.Input{Upstream: upstream, UpstreamListed: true, Target: target})
			shuffled := slices.Concat(upstream, upstream)
			random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			again := s.Select(selection.Input{Upstream: shuffled, UpstreamListed: true, Target: target})
			if diff := cmp.Diff(first, again); diff != "" {
				t.Errorf("%s %v: order matters (-first +again):\n%s", path, rule, diff)
			}
			checkComplete(t, upstream, first)
		}
	}
}

func checkComplete(t *testing.T, upstream []string, result selection.Result) {
	t.Helper()
	times := make(map[string]int)
	for _, pick := range result.Picks {
		times[pick.Tag]++
		if pick.Reason == "" {
			t.Errorf("%s was picked for no reason", pick.Tag)
		}
	}
	for _, dropped := range result.Dropped {
		times[dropped.Tag]++
		if dropped.Reason == "" {
			t.Errorf("%s was dropped for no reason", dropped.Tag)
		}
	}
	for _, tag := range upstream {
		if times[tag] != 1 {
			t.Errorf("%s was decided about %d times", tag, times[tag])
		}
	}
}

func TestSelectLeavesItsInputAlone(t *testing.T) {
	upstream := list("b 1.0.0 a 1.1.0 b")
	before := slices.Clone(upstream)
	compile(t, "+/newest:1", "").Select(selection.Input{Upstream: upstream, UpstreamListed: true})
	if diff := cmp.Diff(before, upstream); diff != "" {
		t.Errorf("input (-before +after):\n%s", diff)
	}
}

// However the tags look, narrowing only ever takes away, and excluding wins.
func TestNarrowingTakesAwayAndExcludingWins(t *testing.T) {
	tag := rapid.StringMatching(`(v?[0-3](\.[0-3]){0,3}(-rc\.?[0-3])?(-(alpine|slim))?|[a-c]{1,3})`)
	rapid.Check(t, func(t *rapid.T) {
		upstream := rapid.SliceOfN(tag, 0, 40).Draw(t, "upstream")
		chosen := rapid.SampledFrom([]string{"1+", "+", "semver:ge1", "v+/2.+", "mode:semver"}).Draw(t, "choose")
		narrowing := rapid.SampledFrom([]string{"newest:1", "newest:3"}).Draw(t, "narrow")
		in := selection.Input{Upstream: upstream, UpstreamListed: true}
		all := selectTags(t, chosen, in)
		for _, pick := range selectTags(t, chosen+"/"+narrowing, in) {
			if !slices.Contains(all, pick) {
				t.Fatalf("%s: %s is chosen only with %s", chosen, pick, narrowing)
			}
		}
		for _, pick := range selectTags(t, chosen+"/1.1.1/-1.1+", in) {
			if strings.HasPrefix(pick, "1.1") {
				t.Fatalf("%s was chosen although it is excluded", pick)
			}
		}
	})
}

func selectTags(t *rapid.T, tags string, in selection.Input) []string {
	rules, err := discover.ParseRules("--tags", tags)
	if err != nil {
		t.Fatal(err)
	}
	s, err := selection.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(pickedTags(s.Select(in)))
}

func ExampleSelector_Select() {
	rules, err := discover.ParseRules("--tags", "stable/semver:1.x/newest:2/-1.27.1")
	if err != nil {
		fmt.Println(err)
	}
	selector, err := selection.Compile(rules)
	if err != nil {
		fmt.Println(err)
	}
	result := selector.Select(selection.Input{
		Upstream:       []string{"stable", "1.27", "1.27.2", "1.27.1", "1.27.0", "1.27.2-alpine", "2.0.0"},
		UpstreamListed: true,
	})
	for _, pick := range result.Picks {
		fmt.Printf("+ %-13s %s\n", pick.Tag, pick.Reason)
	}
	for _, dropped := range result.Dropped {
		fmt.Printf("- %-13s %s\n", dropped.Tag, dropped.Reason)
	}
	// Output:
	// + stable        literal stable
	// + 1.27.2        semver:1.x, newest:2
	// + 1.27.0        semver:1.x, newest:2
	// - 1.27          floating tag beside 1.27.2
	// - 1.27.1        excluded by -1.27.1 of --tags
	// - 1.27.2-alpine variant alpine; plain versions are meant where no variant= is given
	// - 2.0.0         no term matches
}
