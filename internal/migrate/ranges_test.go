package migrate

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// holds is what a range of blang/semver means by its documentation: versions in the
// order of semver.org, pre-releases like any other; x stands for a series.
func holds(t *testing.T, written string, v *semver.Version) bool {
	t.Helper()
	for alternative := range strings.SplitSeq(written, "||") {
		all := true
		for part := range strings.FieldsSeq(alternative) {
			all = all && partHolds(t, part, v)
		}
		if all {
			return true
		}
	}
	return false
}

func partHolds(t *testing.T, part string, v *semver.Version) bool {
	t.Helper()
	digits := strings.IndexAny(part, "0123456789")
	operator, text := part[:digits], part[digits:]
	low, high := text, text // the first version of a series, and the first behind it
	if prefix, ok := strings.CutSuffix(text, ".x"); ok {
		bound := semver.MustParse(prefix)
		next := bound.IncMajor()
		if strings.Contains(prefix, ".") {
			next = bound.IncMinor()
		}
		low, high = bound.String(), next.String()
	}
	below, behind := v.Compare(semver.MustParse(low)) < 0, v.Compare(semver.MustParse(high)) >= 0
	if low == high {
		behind = v.Compare(semver.MustParse(high)) > 0
	}
	switch operator {
	case "", "=", "==":
		return !below && !behind
	case "!", "!=":
		return below || behind
	case ">":
		return behind
	case ">=":
		return !below
	case "<":
		return below
	case "<=":
		return !behind
	}
	t.Fatalf("operator %q", operator)
	return false
}

// chosenBy reports whether the translated range chooses the tag.
func chosenBy(t *testing.T, pattern, tag string) bool {
	t.Helper()
	selector, err := selection.Compile(discover.Rules{
		Choose: []discover.Term{{Kind: discover.Semver, Pattern: pattern}},
		Strict: true, Prerelease: true, Floating: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(selector.Select(selection.Input{Upstream: []string{tag}, UpstreamListed: true}).Picks) > 0
}

func TestDregsyRanges(t *testing.T) {
	versions := []string{
		"0.9.0", "1.0.0-alpha", "1.0.0", "1.0.1", "1.2.2", "1.2.3-rc.1", "1.2.3", "1.2.3-musl", "1.2.9", "1.3.0-musl", "1.3.0",
		"1.30.9", "1.31.0-musl", "1.31.0", "1.31.1-musl", "1.31.8", "1.31.9-musl", "1.31.9", "1.32.0", "2.0.0-rc.1", "2.0.0", "2.1.0", "3.0.0", "10.0.0",
	}
	ranges := []string{
		">=1.31.0 <1.31.9", "<1.31.9", "<=1.31.9", ">1.31.0", "1.31.0", "=1.31.0", "==1.31.0", "!1.31.0", "!=1.31.0",
		"1.2.x", "=1.2.x", ">1.2.x", ">=1.2.x", "<1.2.x", "<=1.2.x", "1.x", ">1.x", ">=1.x", "<1.x", "<=1.x",
		">1.0.0 <2.0.0 !1.2.3", "<1.0.0 || >=2.0.0", "<1.2.0||>=1.31.0 <2.0.0", ">=1.2.3-rc.1 <1.3.0", "<1.2.3-rc.1", "!=1.2.x", "!1.x >=1.0.0",
		"> 1.31.0 <  1.32.0",
	}
	for _, written := range ranges {
		parsed, _, err := parseDregsyRange(written)
		if err != nil {
			t.Errorf("%q: %v", written, err)
			continue
		}
		for _, version := range versions {
			v := semver.MustParse(version)
			want := holds(t, strings.NewReplacer("> ", ">", "<  ", "<").Replace(written), v)
			if got := chosenBy(t, parsed.String(), version); got != want {
				t.Errorf("%q, written %q: %s is chosen: %t, want %t", written, parsed, version, got, want)
			}
		}
	}
}

// TestDregsyRangesAtRandom compares ranges that nobody thought of.
func TestDregsyRangesAtRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	for range 2000 {
		var b strings.Builder
		for i := range 1 + random.IntN(4) {
			if i > 0 {
				b.WriteString(pick(" ", " ", " || "))
			}
			b.WriteString(pick("", "=", "==", "!", "!=", "<", "<=", ">", ">="))
			b.WriteString(pick("0", "1", "2") + "." + pick("0", "1", "2.0", "2.1", "x", "1.x", "0.0-rc.1", "1.1-musl"))
		}
		written := complete(b.String())
		parsed, _, err := parseDregsyRange(written)
		if err != nil {
			t.Fatalf("%q: %v", written, err)
		}
		version := pick("0", "1", "2", "3") + "." + pick("0", "1", "2") + "." + pick("0", "1") + pick("", "", "-rc.1", "-musl", "-rc.2")
		if got, want := chosenBy(t, parsed.String(), version), holds(t, written, semver.MustParse(version)); got != want {
			t.Errorf("%q, written %q: %s is chosen: %t, want %t", written, parsed, version, got, want)
		}
	}
}

// complete gives versions of two numbers a third one.
func complete(written string) string {
	fields := strings.Fields(written)
	for i, field := range fields {
		if strings.Count(field, ".") == 1 && !strings.HasSuffix(field, "x") {
			fields[i] += ".0"
		}
	}
	return strings.Join(fields, " ")
}

func TestDregsyRangeTraps(t *testing.T) {
	tests := []struct{ written, meant, remark string }{
		{"! 1.0.0", "!=1.0.0", "leaves that version out"},
		{"1.x.x", ">=1.0.0 <=2.0.0 !=2.0.0", "the whole of that major version"},
		{"!=1.2.x", "<=1.2.0 !=1.2.0 || >=1.3.0", "no version at all fits it"},
		{"!1.x", "<=1.0.0 !=1.0.0 || >=2.0.0", "no version at all fits it"},
		{">=1.0.0", ">=1.0.0", ""},
	}
	for _, test := range tests {
		parsed, remarks, err := parseDregsyRange(test.written)
		if err != nil || parsed.String() != test.meant {
			t.Errorf("%q: %q, %v", test.written, parsed, err)
		}
		if got := strings.Join(remarks, " "); !strings.Contains(got, test.remark) || (got == "") != (test.remark == "") {
			t.Errorf("%q: remarks %q", test.written, got)
		}
	}
}

func TestDregsyRangesThatAreNone(t *testing.T) {
	for _, written := range []string{"", " ", "||", "1.0.0 ||", "|| 1.0.0", ">", ">=", "1.0", "v1.0.0", ">=v1.0.0", "^1.0.0", "~1.2", "1.2.3.4", "x", "1.2.x-a", "01.0.0", "1.0.0 - 2.0.0", "=>1.0.0", "latest", "1.2.", "99999999999999999999.0.0", "9999999999.x", strings.Repeat("!=1.x ", 10)} {
		if parsed, _, err := parseDregsyRange(written); err == nil {
			t.Errorf("%q is taken for %q", written, parsed)
		}
	}
}

func TestRegsyncRanges(t *testing.T) {
	tests := []struct{ written, meant string }{
		{">=1.2.3 <2.0.0", ">=1.2.3 <=2.0.0 !=2.0.0"},
		{">=3.5.1 <4.0", ">=3.5.1 <=4.0.0 !=4.0.0"},
		{"1.2.3", "=1.2.3"},
		{"=v1", "=1.0.0"},
		{">1", ">1.0.0"},
		{"<=2.1", "<=2.1.0"},
		{"^1.2.3", ">=1.2.3 <=2.0.0 !=2.0.0"},
		{"^0.2.3", ">=0.2.3 <=0.3.0 !=0.3.0"},
		{"^0.0.3", ">=0.0.3 <=0.0.4 !=0.0.4"},
		{"~1.2.3", ">=1.2.3 <=1.3.0 !=1.3.0"},
		{"~1", ">=1.0.0 <=1.1.0 !=1.1.0"},
		{"<1.0.0-rc1", "<1.0.0-rc1"},
	}
	for _, test := range tests {
		if parsed, err := parseRegsyncRange(test.written); err != nil || parsed.String() != test.meant {
			t.Errorf("%q: %q, %v; want %q", test.written, parsed, err, test.meant)
		}
	}
	for _, written := range []string{"", ">=1.2.3.4", "!=1.0.0", "1.x", "1.0.0 || 2.0.0", ">= 1.0.0", ">=", "a", "1.0.0-a..b", "<1.0.0-01"} {
		if parsed, err := parseRegsyncRange(written); err == nil {
			t.Errorf("%q is taken for %q", written, parsed)
		}
	}
}
