package discover_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

const aDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var keys = discover.NewKeys("", "")

// with returns the resource tags of a repository that mirrors nginx.
func with(pairs ...string) map[string]string {
	tags := map[string]string{"upstream-image": "docker.io/library/nginx", "upstream-tags": "1.27.3"}
	for i := 0; i < len(pairs); i += 2 {
		tags[pairs[i]] = pairs[i+1]
	}
	return tags
}

func without(key string, tags map[string]string) map[string]string {
	delete(tags, key)
	return tags
}

func TestFromTagsReadsAWholeDescription(t *testing.T) {
	spec, warnings, err := discover.FromTags(map[string]string{
		"upstream-image":     " quay.io:443/org/app ",
		"upstream-tags":      "1.27.3 / 1.26.+ /stable@" + aDigest + "/ newest:5",
		"upstream-tags-2":    "semver:ge1.2 lt2.0/-+-rc+/ not: v+ ",
		"ignore-tags":        "1.26.0/-1.26.1",
		"upstream-platforms": "linux/amd64  linux/arm64/v8 linux/arm64",
		"upstream-options":   "prerelease=true variant=alpine+ major=6 minor=0 replace=false referrers=false min-tags=3 immutable=1.+ immutable=2.+ newest-by=created floating=true strict=false keep=+.0 keep=not:semver:ge3",
		"Name":               "someone else's",
	}, keys)
	if err != nil || warnings != nil {
		t.Fatalf("warnings %q, error %v", warnings, err)
	}
	want := discover.Spec{
		Upstream: ref.Repository{Host: "quay.io:443", Path: "org/app"},
		Rules: discover.Rules{
			Choose: []discover.Term{
				{Kind: discover.Literal, Text: "1.27.3", Pattern: "1.27.3", Key: "upstream-tags", Position: 1},
				{Kind: discover.Glob, Text: "1.26.+", Pattern: "1.26.*", Key: "upstream-tags", Position: 10},
				{Kind: discover.Pin, Text: "stable@" + aDigest, Pattern: "stable", Digest: aDigest, Key: "upstream-tags", Position: 18},
				{Kind: discover.Semver, Text: "semver:ge1.2 lt2.0", Pattern: ">=1.2 <2.0", Key: "upstream-tags-2", Position: 1},
				{Kind: discover.Glob, Not: true, Text: "not: v+", Pattern: "v*", Key: "upstream-tags-2", Position: 28},
			},
			Keep: []discover.Term{
				{Kind: discover.Glob, Text: "keep=+.0", Pattern: "*.0", Key: "upstream-options", Position: 168},
				{Kind: discover.Semver, Not: true, Text: "keep=not:semver:ge3", Pattern: ">=3", Key: "upstream-options", Position: 177},
			},
			Exclude: []discover.Term{
				{Kind: discover.Glob, Text: "-+-rc+", Pattern: "*-rc*", Key: "upstream-tags-2", Position: 20},
				{Kind: discover.Literal, Text: "1.26.0", Pattern: "1.26.0", Key: "ignore-tags", Position: 1},
				{Kind: discover.Literal, Text: "-1.26.1", Pattern: "1.26.1", Key: "ignore-tags", Position: 8},
			},
			Newest: 5, NewestBy: discover.ByCreated,
			Variant: "alpine*", Major: new(6), Minor: new(0), Prerelease: true, Floating: true,
			MinTags: 3, Immutable: []string{"1.*", "2.*"},
		},
		Platforms: discover.Platforms{Keep: []ref.Platform{
			{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"},
		}},
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestFromTagsDefaults(t *testing.T) {
	spec, warnings, err := discover.FromTags(with("upstream-image", "nginx", "upstream-platforms", "all", "ignore-tags", "", "upstream-options", " "), keys)
	if err != nil || warnings != nil {
		t.Fatalf("warnings %q, error %v", warnings, err)
	}
	if got := spec.Upstream.String(); got != "docker.io/library/nginx" {
		t.Errorf("a short name became %s", got)
	}
	if !spec.Platforms.All() || spec.Options != discover.DefaultOptions() || len(spec.Rules.Exclude) != 0 {
		t.Errorf("defaults became %+v", spec)
	}
}

// Templates write resource tags that have nothing to say; between its two calls a Change
// does.
func TestEmptyContinuationsSayNothing(t *testing.T) {
	for _, tags := range []map[string]string{
		with("upstream-tags", "a", "upstream-tags-2", ""),
		with("upstream-tags", "a", "upstream-tags-2", " ", "upstream-tags-3", ""),
	} {
		spec, _, err := discover.FromTags(tags, keys)
		if err != nil || spec.Rules.String() != "a" {
			t.Errorf("%v: %q, error %v", tags, spec.Rules, err)
		}
	}
	spec, _, err := discover.FromTags(with("upstream-tags", "a", "upstream-tags-2", "", "upstream-tags-3", "-b"), keys)
	if err != nil || spec.Rules.String() != "a/-b" {
		t.Errorf("an empty continuation in between: %q, error %v", spec.Rules, err)
	}
}

// TestTermsAreRead gives each construct as written, and the canonical form of what was
// understood.
func TestTermsAreRead(t *testing.T) {
	re := func(s string) string { return "re:" + base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, test := range []struct{ name, value, want string }{
		{"literal", "1.27.3", "1.27.3"},
		{"union keeps its order", "b/a/c", "b/a/c"},
		{"spaces round terms", "  a / b  ", "a/b"},
		{"onfido: + is the wildcard", "1.2.+/3.+-slim", "1.2.+/3.+-slim"},
		{"everything", "+", "+"},
		{"a star where it can be typed", "1.*", "1.+"},
		{"wildcards side by side are one", "1.++", "1.+"},
		{"a literal tag of a referrer", "sha256-0a.sig", "sha256-0a.sig"},
		{"range with x", "semver:1.x", "semver:1.x"},
		{"range from to", "semver:1.2 - 1.9", "semver:ge1.2 le1.9"},
		{"range from to, and another condition", "semver:1.2 - 1.9 ne1.5", "semver:ge1.2 le1.9 ne1.5"},
		{"every operator", "semver:ge1 gt2 le3 lt4 eq5 ne6", "semver:ge1 gt2 le3 lt4 eq5 ne6"},
		{"operators apart from their versions", "semver:ge 1.2  lt 2.0", "semver:ge1.2 lt2.0"},
		{"signs where they can be typed", "semver:>=1.2 <2.0 !=1.5", "semver:ge1.2 lt2.0 ne1.5"},
		{"a v in a range", "semver:gev1.2", "semver:ge1.2"},
		{"Ubuntu's leading zeros", "semver:ge22.04 lt24.00", "semver:ge22.4 lt24.0"},
		{"a pre-release in a range", "semver:ge1.0.0-rc.1", "semver:ge1.0.0-rc.1"},
		{"Python's pre-release in a range", "semver:ge3.13.0rc1", "semver:ge3.13.0-rc1"},
		{"any version", "semver:x", "semver:x"},
		{"space after the word", "semver: 1.x", "semver:1.x"},
		{"expression", re("a|b"), re("a|b")},
		{"expression with padding", "re:" + base64.URLEncoding.EncodeToString([]byte("a|bc")), re("a|bc")},
		{"expression in the standard alphabet", "re:" + base64.RawStdEncoding.EncodeToString([]byte("\x3e>")), re("\x3e>")},
		{"pin", "stable@" + aDigest, "stable@" + aDigest},
		{"the same pin twice", "a@" + aDigest + "/a@" + aDigest, "a@" + aDigest + "/a@" + aDigest},
		{"newest", "+/newest:5", "+/newest:5"},
		{"newest alone", "newest:3", "newest:3"},
		{"narrowing with literals", "newest:3/latest", "latest/newest:3"},
		{"mode", "mode:highest", "mode:highest"},
		{"mode and newest", "mode:semver/newest:2", "newest:2/mode:semver"},
		{"narrowing and excluding", "mode:all/-+-rc+", "mode:all/-+-rc+"},
		{"excluding literal", "+/-latest", "+/-latest"},
		{"excluding range", "+/-semver:lt1.0", "+/-semver:lt1.0"},
		{"excluding expression", "+/-" + re("x+"), "+/-" + re("x+")},
		{"excluding pin", "+/-a@" + aDigest, "+/-a@" + aDigest},
		{"space after the dash", "+/- latest", "+/-latest"},
	} {
		rules, err := discover.ParseRules("upstream-tags", test.value)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := discover.FormatTags(rules); got != test.want {
			t.Errorf("%s: %q was read as %q, want %q", test.name, test.value, got, test.want)
		}
	}
}

func TestRegularExpressionIsAnchoredAsAWhole(t *testing.T) {
	// dregsy wrote ^ and $ round the text, so that foo|bar matched "foox" and "xbar".
	expression, err := discover.CompileRegexp("foo|bar")
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]bool{"foo": true, "bar": true, "foox": false, "xbar": false, "foobar": false} {
		if got := expression.MatchString(tag); got != want {
			t.Errorf("foo|bar matches %q: %t, want %t", tag, got, want)
		}
	}
	if _, err := discover.CompileRegexp("a)(b"); err == nil {
		t.Error("a)(b was compiled; it is well-formed only inside of a group")
	}
}

// TestTagProblems has one row for each thing that can be wrong: where it is, what is
// there, what should be.
func TestTagProblems(t *testing.T) {
	re := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, test := range []struct {
		name     string
		tags     map[string]string
		key      string
		position int
		problem  string // part of it
		expected string // part of it
	}{
		{"missing tags", without("upstream-tags", with()), "upstream-tags", 0, "is missing", "+ alone stands for every tag"},
		{"missing image", without("upstream-image", with()), "upstream-image", 0, "is missing", "docker.io/library/nginx"},
		{"empty image", with("upstream-image", " "), "upstream-image", 2, "empty", "repository"},
		{"image with a tag", with("upstream-image", "nginx:1.27"), "upstream-image", 6, `tag "1.27"`, "put the tag into upstream-tags"},
		{"image with a port and a tag", with("upstream-image", "quay.io:443/org/app:v1"), "upstream-image", 20, `tag "v1"`, "put the tag into upstream-tags"},
		{"image with a digest", with("upstream-image", "nginx@"+aDigest), "upstream-image", 6, "digest", "NAME@sha256:"},
		{"image with a scheme", with("upstream-image", "docker://nginx"), "upstream-image", 1, `"docker://"`, "repository"},
		{"image in capitals", with("upstream-image", "Nginx/Nginx"), "upstream-image", 1, "lower", "repository"},

		{"empty value", with("upstream-tags", ""), "upstream-tags", 1, "empty term", "a tag"},
		{"empty term inside", with("upstream-tags", "a//b"), "upstream-tags", 3, "empty term", "a tag"},
		{"empty term at the end", with("upstream-tags", "a/ "), "upstream-tags", 4, "empty term", "a tag"},
		{"empty term in a continuation", with("upstream-tags-2", "a/"), "upstream-tags-2", 3, "empty term", "a tag"},
		{"lone dash", with("upstream-tags", "a/-"), "upstream-tags", 4, "empty term", "a tag"},
		{"only excluding terms", with("upstream-tags", "-+-rc+/-latest"), "upstream-tags", 1, "only excluding terms", "chooses tags"},
		{"only options beside excluding terms", with("upstream-tags", "-a", "upstream-options", "major=6"), "upstream-tags", 1, "only excluding terms", "chooses tags"},
		{"unknown word", with("upstream-tags", "a/regex:b"), "upstream-tags", 3, `"regex:"`, "re:BASE64URL"},
		{"dregsy's keep", with("upstream-tags", "keep: latest 5"), "upstream-tags", 1, `"keep:"`, "newest:N"},
		{"dregsy's keep among the options", with("upstream-tags", "1.+", "upstream-options", "keep=5"), "upstream-options", 6, "a number", "newest:5"},
		{"a keep term with a digest", with("upstream-options", "keep=a@"+aDigest), "upstream-options", 6, "no pattern", "re:BASE64URL"},
		{"a keep term that narrows", with("upstream-options", "keep=newest:5"), "upstream-options", 6, "no pattern", "a glob"},
		{"an empty keep term", with("upstream-options", "keep="), "upstream-options", 6, `""`, "wildcard"},
		{"nothing inverted", with("upstream-tags", "not:"), "upstream-tags", 5, `""`, "wildcard"},
		{"inverted twice", with("upstream-tags", "not:not:a"), "upstream-tags", 5, "twice", "a glob"},
		{"an inverted pin", with("upstream-tags", "not:a@"+aDigest), "upstream-tags", 5, "no pattern", "semver:RANGE"},
		{"an inverted mode", with("upstream-tags", "not:mode:all"), "upstream-tags", 5, "no pattern", "semver:RANGE"},
		{"an inverted term that excludes", with("upstream-tags", "+/-not:1.+"), "upstream-tags", 3, "inverted", "keep=1.+"},
		{"an inverted term that is ignored", with("ignore-tags", "not:1.+"), "ignore-tags", 1, "inverted", "keep=1.+"},
		{"immutable and mutable", with("upstream-options", " immutable=a mutable=b"), "upstream-options", 2, "immutable and mutable", "mutable leaves"},
		{"excluding mode", with("upstream-tags", "a/-mode:all"), "upstream-tags", 3, "mode:", "semver:"},
		{"excluding newest", with("upstream-tags", "a/-newest:2"), "upstream-tags", 3, "newest:", "semver:"},
		{"two modes", with("upstream-tags", "mode:all/mode:semver"), "upstream-tags", 10, "second mode", "one narrowing term"},
		{"two modes over a continuation", with("upstream-tags", "mode:all", "upstream-tags-2", "mode:semver"), "upstream-tags-2", 1, "second mode", "one narrowing term"},
		{"two newest", with("upstream-tags", "newest:1/newest:2"), "upstream-tags", 10, "second newest", "one narrowing term"},
		{"unknown mode", with("upstream-tags", "mode:latest"), "upstream-tags", 6, `"latest"`, "mode:highest"},
		{"newest of none", with("upstream-tags", "newest:0"), "upstream-tags", 8, `"0"`, "from 1"},
		{"newest without a number", with("upstream-tags", "newest:"), "upstream-tags", 8, `""`, "from 1"},
		{"newest out of reach", with("upstream-tags", "newest:99999999999999999999"), "upstream-tags", 8, "not a count", "from 1"},
		{"space inside a tag", with("upstream-tags", "1.2 1.3"), "upstream-tags", 1, `"1.2 1.3"`, "a tag"},
		{"not a tag", with("upstream-tags", ".hidden"), "upstream-tags", 1, `".hidden"`, "not beginning with"},
		{"a tag that is too long", with("upstream-tags", strings.Repeat("a", 129)), "upstream-tags", 1, "not a tag", "128"},
		{"a glob that matches no tag", with("upstream-tags", "a/--rc+"), "upstream-tags", 4, `"-rc+"`, "wildcard"},
		{"a glob with brackets", with("upstream-tags", "1.[0-9]+"), "upstream-tags", 1, "[0-9]", "wildcard"},

		{"empty range", with("upstream-tags", "semver:"), "upstream-tags", 8, "empty range", "1.x"},
		{"malformed range", with("upstream-tags", "semver:1..2"), "upstream-tags", 8, `"1..2"`, "1.x"},
		{"four numbers in a range", with("upstream-tags", "semver:1.2.3.4"), "upstream-tags", 8, `"1.2.3.4"`, "1.x"},
		{"operator without a version", with("upstream-tags", "semver:ge1 lt"), "upstream-tags", 12, `"lt" without`, "1.x"},
		{"unknown operator", with("upstream-tags", "semver:above1"), "upstream-tags", 8, `"above1"`, "lt le gt ge eq ne"},
		{"a range without its spaces", with("upstream-tags", "semver:1.2-1.9 - "), "upstream-tags", 16, `"-"`, "1.2 - 1.9"},
		{"a range without its end", with("upstream-tags", "semver:1.2 -"), "upstream-tags", 12, `"-"`, "1.2 - 1.9"},
		{"a wildcard in a range", with("upstream-tags", "semver:1.+"), "upstream-tags", 8, `"1.+"`, "1.x"},
		{"four parts in a range", with("upstream-tags", "semver:ge1.2.3.x"), "upstream-tags", 8, `"ge1.2.3.x"`, "1.x"},
		{"a bad end of a range", with("upstream-tags", "semver:1.2 - b"), "upstream-tags", 14, `"b"`, "1.x"},
		{"a bad start of a range", with("upstream-tags", "semver:b - 1.2"), "upstream-tags", 8, `"b"`, "1.x"},
		{"a number after x", with("upstream-tags", "semver:1.x.2"), "upstream-tags", 8, `"1.x.2"`, "1.x"},

		{"not base64", with("upstream-tags", "re:a"), "upstream-tags", 4, "base64", "RE2"},
		{"empty expression", with("upstream-tags", "re:"), "upstream-tags", 4, "empty expression", "RE2"},
		{"not an expression", with("upstream-tags", "re:"+re("a(")), "upstream-tags", 4, "missing closing", "RE2"},
		{"an expression that leaves its group", with("upstream-tags", "re:"+re("a)|(b")), "upstream-tags", 4, "unexpected )", "RE2"},
		{"an expression that is too long", with("upstream-tags", "re:"+re(strings.Repeat("a", 1001))), "upstream-tags", 4, "1001", "1000"},

		{"digest without a name", with("upstream-tags", aDigest), "upstream-tags", 1, "without a name", "stable@sha256:"},
		{"pin without a name", with("upstream-tags", "@"+aDigest), "upstream-tags", 1, "not a tag", "a tag"},
		{"pin with a short digest", with("upstream-tags", "a@sha256:12"), "upstream-tags", 3, "not a digest", "64"},
		{"two digests under one name", with("upstream-tags", "a@"+aDigest+"/a@"+strings.Replace(aDigest, "0", "f", 1)), "upstream-tags", 75, "chosen before", "one digest"},
		{"literal and pin under one name", with("upstream-tags", "a/a@"+aDigest), "upstream-tags", 3, "chosen before", "one digest"},

		{"gap in the numbering", with("upstream-tags-3", "a"), "upstream-tags-3", 1, "does not continue", "upstream-tags-2"},
		{"gap further on", with("upstream-tags-2", "a", "upstream-tags-4", "b"), "upstream-tags-4", 1, "does not continue", "upstream-tags-3"},
		{"numbering from 1", with("upstream-tags-1", "a"), "upstream-tags-1", 1, "does not continue", "from 2"},
		{"numbering with zeros", with("upstream-tags-02", "a"), "upstream-tags-02", 1, "does not continue", "from 2"},

		{"numbering with zeros beside the right one", with("upstream-tags-2", "a", "upstream-tags-02", "b"), "upstream-tags-02", 1, "does not continue", "upstream-tags-3"},
		{"numbering out of reach", with("upstream-tags-99999999999999999999", "a"), "upstream-tags-99999999999999999999", 1, "does not continue", "upstream-tags-2"},
		{"numbering from 0", with("upstream-tags-0", "a"), "upstream-tags-0", 1, "does not continue", "from 2"},

		{"ignoring by mode", with("ignore-tags", "mode:all"), "ignore-tags", 1, "mode:", "semver:"},
		{"empty term among the ignored", with("ignore-tags", "a//b"), "ignore-tags", 3, "empty term", "a tag"},

		{"unknown platform", with("upstream-platforms", "linux/amd64 arm64"), "upstream-platforms", 13, `"arm64"`, "linux/arm64"},
		{"all among platforms", with("upstream-platforms", "all linux/amd64"), "upstream-platforms", 1, `"all"`, "linux/arm64"},

		{"unknown option", with("upstream-options", "color=red"), "upstream-options", 1, `"color"`, "prerelease, floating"},
		{"nearly an option", with("upstream-options", "major=1 pre_release=true"), "upstream-options", 9, `"pre_release"`, "prerelease"},
		{"option without a value", with("upstream-options", "prerelease"), "upstream-options", 1, "no value", "prerelease=VALUE"},
		{"option that is neither true nor false", with("upstream-options", "replace=no"), "upstream-options", 9, `"no"`, "true or false"},
		{"option twice", with("upstream-options", "major=1 major=2"), "upstream-options", 9, "second", "once"},
		{"a negative major", with("upstream-options", "major=-1"), "upstream-options", 7, `"-1"`, "from 0"},
		{"an empty variant", with("upstream-options", "variant="), "upstream-options", 9, `""`, "name"},
		{"an unknown order", with("upstream-options", "newest-by=size"), "upstream-options", 11, `"size"`, "created"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := discover.FromTags(test.tags, keys)
			var problem *discover.SyntaxError
			if !errors.As(err, &problem) {
				t.Fatalf("error is %v, want a SyntaxError", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one problem or line:\n%v", err)
			}
			if problem.Key != test.key || problem.Position != test.position || problem.Value != test.tags[test.key] {
				t.Errorf("at %s %q, position %d, want %s, position %d", problem.Key, problem.Value, problem.Position, test.key, test.position)
			}
			if !strings.Contains(problem.Problem, test.problem) || !strings.Contains(problem.Expected, test.expected) {
				t.Errorf("%q, expected %q\nwant %q, expected %q", problem.Problem, problem.Expected, test.problem, test.expected)
			}
			for _, part := range []string{problem.Key, problem.Problem, problem.Expected} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestAllProblemsAreReportedTogether(t *testing.T) {
	spec, _, err := discover.FromTags(map[string]string{
		"upstream-image":     "nginx:1.27",
		"upstream-tags":      "a//mode:fast",
		"upstream-tags-3":    "b",
		"ignore-tags":        "newest:2",
		"upstream-platforms": "arm",
		"upstream-options":   "x=1 major=y",
	}, keys)
	want := []string{
		`upstream-image "nginx:1.27", position 6: tag "1.27": `,
		`upstream-tags "a//mode:fast", position 3: an empty term: `,
		`upstream-tags "a//mode:fast", position 9: unknown mode "fast": expected mode:highest, mode:higher, mode:semver or mode:all`,
		`upstream-tags-3 "b", position 1: `,
		`ignore-tags "newest:2", position 1: `,
		`upstream-platforms "arm", position 1: `,
		`upstream-options "x=1 major=y", position 1: `,
		`upstream-options "x=1 major=y", position 11: `,
	}
	lines := strings.Split(err.Error(), "\n")
	samePart := cmp.Comparer(func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) })
	if diff := cmp.Diff(want, lines, samePart); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if got := spec.Upstream.String(); got != "docker.io/library/nginx" {
		t.Errorf("the readable part of the upstream is %q", got)
	}
}

func TestContinuationsAreReadWithoutTheirBeginning(t *testing.T) {
	_, _, err := discover.FromTags(map[string]string{"upstream-image": "nginx", "upstream-tags-2": "mode:fast"}, keys)
	for _, want := range []string{"upstream-tags is missing", `unknown mode "fast"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestOrderOfNewest(t *testing.T) {
	for value, want := range map[string]discover.Order{"version": discover.ByVersion, "created": discover.ByCreated, "name": discover.ByName} {
		spec, _, err := discover.FromTags(with("upstream-tags", "newest:1", "upstream-options", "newest-by="+value), keys)
		if err != nil || spec.Rules.NewestBy != want {
			t.Errorf("newest-by=%s is %q, error %v", value, spec.Rules.NewestBy, err)
		}
	}
}

func TestErrorsStayOnOneLine(t *testing.T) {
	_, _, err := discover.FromTags(with("upstream-tags", "a\nb\x1b[31m", "upstream-image", "x\ny"), keys)
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !strings.HasPrefix(line, "upstream-") || strings.ContainsRune(line, '\x1b') {
			t.Errorf("a value reached the terminal raw: %q", line)
		}
	}
}

func TestPositionsCountCharacters(t *testing.T) {
	_, err := discover.ParseRules("--tags", "größe/ok")
	var problem *discover.SyntaxError
	if !errors.As(err, &problem) || problem.Position != 1 {
		t.Fatalf("error %v", err)
	}
	_, err = discover.ParseRules("--tags", "ök.+//a")
	for _, want := range []string{"position 1:", "position 6:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not contain %q", err, want)
		}
	}
}

func TestNearMissesAreWarnings(t *testing.T) {
	for _, test := range []struct{ key, meant string }{
		{"upstream-tag", "upstream-tags"}, // onfido/ecr-mirror issue 10: no copies and no word
		{"upstream_tags", "upstream-tags"},
		{"Upstream-Image", "upstream-image"},
		{"upstream-images", "upstream-image"},
		{"ignore-tag", "ignore-tags"},
		{"upstream-option", "upstream-options"},
		{"upstreamplatforms", "upstream-platforms"},
		{"upstream-tags-b", "upstream-tags"},
		{"Name", ""},
		{"team", ""},
		{"upstream", ""},
		{"aws:cloudformation:stack-name", ""},
	} {
		_, warnings, err := discover.FromTags(with(test.key, "x"), keys)
		if err != nil {
			t.Errorf("%s: %v", test.key, err)
		}
		if test.meant == "" {
			if len(warnings) > 0 {
				t.Errorf("%s: unwanted warning %q", test.key, warnings)
			}
			continue
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], `"`+test.key+`"`) || !strings.Contains(warnings[0], `"`+test.meant+`"`) {
			t.Errorf("%s: warnings %q, want one that names %s", test.key, warnings, test.meant)
		}
	}
}

func TestNearMissesOfShortKeys(t *testing.T) {
	short := discover.NewKeys("img", "tags")
	_, warnings, err := discover.FromTags(map[string]string{"img": "nginx", "tags": "1", "logs": "a", "tag": "b", "type": "c", "im": "d", "mi": "e"}, short)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`resource tag "tag" is not read; did you mean "tags"?`,
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestANearMissIsTheHintToAMissingKey(t *testing.T) {
	_, warnings, err := discover.FromTags(map[string]string{"upstream-image": "nginx", "upstream-tag": "1.27"}, keys)
	if err == nil || len(warnings) != 1 {
		t.Errorf("error %v, warnings %q: want both", err, warnings)
	}
}

func TestOptionsWithoutEffectAreWarnings(t *testing.T) {
	_, warnings, err := discover.FromTags(with("upstream-options", "major=6 variant=alpine replace=false keep=6.+"), keys)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"upstream-options: keep=6.+ has no effect, since upstream-tags names single tags only",
		"upstream-options: variant=alpine has no effect, since upstream-tags names single tags only",
		"upstream-options: major=6 has no effect, since upstream-tags names single tags only",
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	for _, list := range []string{"1.+", "newest:2", "semver:1.x", "mode:all"} {
		if _, warnings, _ := discover.FromTags(with("upstream-tags", list, "upstream-options", "major=6"), keys); len(warnings) > 0 {
			t.Errorf("%s: unwanted warnings %q", list, warnings)
		}
	}
}

func TestContinuationsAreOneList(t *testing.T) {
	tags := with("upstream-tags", "a", "upstream-tags-2", "b")
	for i, letter := range strings.Split("cdefghijkl", "") {
		tags[keys.Continuation(i+3)] = letter
	}
	spec, _, err := discover.FromTags(tags, keys)
	if err != nil {
		t.Fatal(err)
	}
	// Twelve parts: -10 must follow -9, not -1.
	if got := spec.Rules.String(); got != "a/b/c/d/e/f/g/h/i/j/k/l" {
		t.Errorf("the list is %q", got)
	}
}

func TestRenamedKeys(t *testing.T) {
	acme := discover.NewKeys("acme-image", "acme-tags")
	spec, warnings, err := discover.FromTags(map[string]string{
		"acme-image": "nginx", "acme-tags": "1.+", "acme-tags-2": "2.+", "acme-options": "major=1",
		"upstream-image": "ignored:1", "upstream-tags": "//",
	}, acme)
	if err != nil || warnings != nil {
		t.Fatalf("warnings %q, error %v", warnings, err)
	}
	if got := spec.Rules.String(); got != "1.+/2.+" || *spec.Rules.Major != 1 {
		t.Errorf("rules %q, major %d", got, *spec.Rules.Major)
	}
}

func TestIsImmutable(t *testing.T) {
	globs := []string{"1.*", "stable"}
	for _, test := range []struct {
		name     string
		rules    discover.Rules
		tags     string // those that are immutable, of the four below
		declares bool
	}{
		{"nothing declared", discover.Rules{}, "", false},
		{"immutable", discover.Rules{Immutable: globs}, "1.27.3 stable", true},
		{"mutable", discover.Rules{Mutable: globs}, "stable-1 2.0", true},
		{"mutable decides alone", discover.Rules{Mutable: globs, Immutable: []string{"stable"}}, "stable-1 2.0", true},
		{"docker-sync: * is mutable", discover.Rules{Mutable: []string{"*"}}, "", true},
	} {
		var got []string
		for _, tag := range []string{"1.27.3", "stable", "stable-1", "2.0"} {
			if test.rules.IsImmutable(tag) {
				got = append(got, tag)
			}
		}
		if strings.Join(got, " ") != test.tags || test.rules.DeclaresImmutable() != test.declares {
			t.Errorf("%s: immutable are %q, declared %t; want %q, %t", test.name, got, test.rules.DeclaresImmutable(), test.tags, test.declares)
		}
	}
}

var asRead = cmpopts.IgnoreFields(discover.Term{}, "Text", "Key", "Position")
