package selection_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

func TestKeepAndNot(t *testing.T) {
	for _, test := range []struct {
		name, tags, options, upstream string
		target                        string
		want                          string
		warning                       string // part of the only one
	}{
		// What keep acts on.
		{name: "keep filters what globs chose", tags: "1.+", options: "keep=+.0", upstream: "1.0 1.1 2.0", want: "1.0"},
		{name: "keep filters what ranges chose", tags: "semver:1.x", options: "keep=+.0", upstream: "1.0.0 1.0.1", want: "1.0.0"},
		{name: "keep filters what expressions chose", tags: re("a.*"), options: "keep=+b", upstream: "ab ac", want: "ab"},
		{name: "keep filters what narrowing starts from", tags: "newest:1", options: "keep=+.0", upstream: "1.0.0 1.1.0 1.1.1", want: "1.1.0"},
		{name: "keep leaves literals and pins", tags: "a/b@" + aDigest + "/c+", options: "keep=d+", upstream: "a c1", want: "a b", warning: "left out by a keep term"},
		{name: "excluding wins over keep", tags: "1.+/-1.0", options: "keep=1.0", upstream: "1.0 1.1", want: "", warning: "left out by an excluding term or a keep term"},
		{name: "a keep term without a wildcard is the whole tag", tags: "1+", options: "keep=1.0", upstream: "1.0 1.0.1", want: "1.0"},
		{name: "referrers that were chosen on purpose", tags: re("sha256-.*"), options: "keep=+.sig", upstream: "sha256-00.sig sha256-00.att", want: "sha256-00.sig"},
		{name: "and the other way round", tags: re("sha256-.*"), options: "keep=not:+.sig", upstream: "sha256-00.sig sha256-00.att", want: "sha256-00.att"},
		{name: "keep that leaves nothing to start from", tags: "newest:1", options: "keep=9.+", upstream: "1.0.0 2.0.0", want: "", warning: "none of the 2 tags that narrowing starts from is kept"},

		// Ranges among the keep terms judge what was chosen by name.
		{name: "keep with a range", tags: "1.+", options: "keep=semver:ge1.2", upstream: "1.1 1.2 1.2-alpine 1.3-rc1 1.x", want: "1.3-rc1 1.2 1.2-alpine"},
		{name: "keep with lt means no candidate", tags: "+", options: "keep=semver:lt2.0", upstream: "1.9.0 2.0.0-rc1 2.0.0", want: "1.9.0"},
		{name: "keep with an inverted range", tags: "+", options: "keep=not:semver:lt2.0", upstream: "1.9.0 2.0.0-rc1 2.0.0 latest", want: "2.0.0 latest"},

		// Keep terms that only variants match have said which.
		{name: "a range of the variants that are kept", tags: "semver:1.x", options: "keep=+-alpine", upstream: "1.0.0 1.0.0-alpine 1.0.0-slim 1.1.0-alpine", want: "1.1.0-alpine 1.0.0-alpine"},
		{name: "newest of the variants that are kept", tags: "newest:1", options: "keep=+-alpine", upstream: "1.0.0 1.0.0-alpine 1.1.0-alpine 1.2.0", want: "1.1.0-alpine"},
		{name: "newest of a glob's variants that are kept", tags: "1.+/newest:1", options: "keep=+-alpine", upstream: "1.0.0 1.0.0-alpine 1.1.0-alpine 1.2.0", want: "1.1.0-alpine"},
		{name: "plain versions where those are kept", tags: "newest:1", options: "keep=1.1.+", upstream: "1.1.0 1.1.1-alpine 1.2.0", want: "1.1.0"},
		{name: "higher compares what is kept", tags: "mode:higher", options: "keep=+-alpine", upstream: "1.0.0-alpine 1.1.0-alpine 2.0.0", target: "1.0.0-alpine 1.5.0", want: "1.1.0-alpine"},
		{name: "kept pre-releases do not say that plain versions are meant", tags: "newest:1", options: "keep=" + re(".*(rc|alpine).*"), upstream: "1.0.0-alpine 1.1.0-rc1 1.0.0", want: "1.0.0-alpine"},
		{name: "kept variants still want no pre-release", tags: "newest:1", options: "keep=+-alpine", upstream: "1.0.0-alpine 1.1.0-rc1-alpine 1.0.0", want: "1.0.0-alpine"},

		// Inverted terms.
		{name: "every other tag", tags: "not:1.+", upstream: "1.0 2.0 latest sha256-00.sig", want: "2.0 latest"},
		{name: "every other tag than one", tags: "not:latest", upstream: "1.0 latest latest-dev", want: "1.0 latest-dev"},
		{name: "inverted terms are united with others", tags: "not:1.+/1.2", upstream: "1.1 1.2 2.0", want: "1.2 2.0"},
		{name: "two inverted terms are united, too", tags: "not:1.+/not:2.+", upstream: "1.0 2.0 3.0", want: "3.0 2.0 1.0"},
		{name: "an inverted range reads everything that is a version", tags: "not:semver:lt2", upstream: "1 1.5.0-alpine 2.0.0-rc1 2.0.0 edge", want: "2.0.0 edge"},
		{name: "an inverted term, narrowed", tags: "not:1.+/newest:1", upstream: "1.0.0 2.0.0 3.0.0 3.0.0-alpine edge", want: "3.0.0"},
		{name: "an inverted term, excluded from", tags: "not:1.+/-+-rc+", upstream: "1.0 2.0 2.1-rc1", want: "2.0"},
		{name: "an inverted term that matches nothing", tags: "not:+", upstream: "1.0 sha256-00.sig", want: "", warning: `term "not:+" of upstream-tags matches no tag`},
	} {
		t.Run(test.name, func(t *testing.T) {
			result := compile(t, test.tags, test.options).Select(selection.Input{
				Upstream: list(test.upstream), UpstreamListed: true, Target: list(test.target),
			})
			if got := pickedTags(result); got != test.want || result.Err != nil {
				t.Errorf("picks %q, want %q, error %v\ndropped %v", got, test.want, result.Err, result.Dropped)
			}
			switch joined := strings.Join(result.Warnings, "\n"); {
			case test.warning == "" && joined != "":
				t.Errorf("unwanted warnings:\n%s", joined)
			case !strings.Contains(joined, test.warning) || len(result.Warnings) > 1:
				t.Errorf("warnings %q, want %q", joined, test.warning)
			}
		})
	}
}

func TestReasonsOfKeep(t *testing.T) {
	selector := compile(t, "1.+/not:"+re("[0-9.]+|latest")+"/-+-rc", "keep=+.0 keep=not:"+re("1.[12].*")+" keep=semver:lt9")
	result := selector.Select(selection.Input{UpstreamListed: true, Upstream: list("1.0 1.1.0 1.1.1 v2.0 v2.1 v9.0 1.0-rc 2.0 latest sha256-00.sig")})
	var got []string
	for _, pick := range result.Picks {
		got = append(got, pick.Tag+": "+pick.Reason)
	}
	got = append(got, "--")
	for _, dropped := range result.Dropped {
		got = append(got, dropped.Tag+": "+dropped.Reason)
	}
	want := []string{
		"v2.0: not:re:[0-9.]+|latest",
		"1.0: glob 1.+",
		"--",
		"1.0-rc: excluded by -+-rc of upstream-tags",
		"1.1.0: not kept by not:re:1.[12].* of upstream-options",
		"1.1.1: not kept by keep=+.0 of upstream-options",
		"2.0: no term matches",
		"latest: no term matches",
		"sha256-00.sig: follows its image as a referrer",
		"v2.1: not kept by keep=+.0 of upstream-options",
		"v9.0: not kept by keep=semver:lt9 of upstream-options",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

// min-tags guards what is kept: an upstream that renames its tags is what it is there for.
func TestMinTagsCountsWhatIsKept(t *testing.T) {
	result := compile(t, "1.+", "keep=+.0 min-tags=2").Select(selection.Input{UpstreamListed: true, Upstream: list("1.0 1.1 1.2")})
	if result.Err == nil || !strings.Contains(result.Err.Error(), "match 1 tags") {
		t.Errorf("error %v", result.Err)
	}
}

func TestCompileRefusesMisplacedTerms(t *testing.T) {
	literal := discover.Term{Kind: discover.Literal, Pattern: "a"}
	pin := discover.Term{Kind: discover.Pin, Pattern: "a", Digest: aDigest}
	inverted := func(term discover.Term) discover.Term {
		term.Not = true
		return term
	}
	for want, rules := range map[string]discover.Rules{
		"an excluding term cannot be inverted":      {Exclude: []discover.Term{{Kind: discover.Glob, Not: true, Pattern: "a*"}}},
		`"not:a": a single tag cannot be inverted`:  {Choose: []discover.Term{inverted(literal)}},
		`@` + aDigest + `": a single tag cannot be`: {Choose: []discover.Term{inverted(pin)}},
		"a single tag cannot be a keep term":        {Keep: []discover.Term{literal}},
		`"musl" in a range is not a pre-release`:    {Keep: []discover.Term{{Kind: discover.Semver, Pattern: ">=1.0-musl"}}},
	} {
		if _, err := selection.Compile(rules); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// However the tags look: keep only takes away, and of what a name chooses exactly what
// its terms match is kept. A term and its inversion split the tags in two.
func TestKeepTakesAwayAndNotSplits(t *testing.T) {
	tag := rapid.StringMatching(`(v?[0-3](\.[0-3]){0,3}(-rc\.?[0-3])?(-(alpine|slim))?|[a-c]{1,3}|sha256-[0-3]{2}\.sig)`)
	rapid.Check(t, func(t *rapid.T) {
		upstream := rapid.SliceOfN(tag, 0, 40).Draw(t, "upstream")
		term := rapid.SampledFrom([]string{"1+", "+-alpine", "semver:ge1.1", "semver:1.x", re("(v|a).*")}).Draw(t, "term")
		in := selection.Input{Upstream: upstream, UpstreamListed: true}
		choose := func(tags, options string) []string {
			picked := strings.Fields(pickedTags(compile(t, tags, options).Select(in)))
			slices.Sort(picked)
			return picked
		}
		all := choose("+", "")
		kept, others := choose("+", "keep="+term), choose("+", "keep=not:"+term)
		for _, pick := range kept {
			if slices.Contains(others, pick) {
				t.Fatalf("%s is kept by %s and by its inversion", pick, term)
			}
		}
		for _, pick := range slices.Concat(kept, others) {
			if !slices.Contains(all, pick) {
				t.Fatalf("%s is chosen only with a keep term", pick)
			}
		}
		if !strings.HasPrefix(term, "semver:") {
			both := slices.Concat(kept, others)
			slices.Sort(both)
			if !slices.Equal(both, all) {
				t.Fatalf("of %q, %q and %q are left", all, kept, others)
			}
			if inverted := choose("not:"+term, ""); !slices.Equal(inverted, others) {
				t.Fatalf("not:%s chooses %q, and keep=not:%s keeps %q", term, inverted, term, others)
			}
		}
	})
}
