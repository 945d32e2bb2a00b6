package discover_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
)

func TestMutability(t *testing.T) {
	mutable := discover.Mutability{}
	immutable := discover.Mutability{Immutable: true}
	mutableExcept := discover.Mutability{Exceptions: []string{"v*", "*-prod"}}
	immutableExcept := discover.Mutability{Immutable: true, Exceptions: []string{"latest", "dev-*"}}
	for _, test := range []struct {
		name string
		m    discover.Mutability
		tag  string
		want bool
	}{
		{"MUTABLE", mutable, "latest", true},
		{"IMMUTABLE", immutable, "latest", false},
		{"MUTABLE_WITH_EXCLUSION, another tag", mutableExcept, "latest", true},
		{"MUTABLE_WITH_EXCLUSION, first filter", mutableExcept, "v1.2.3", false},
		{"MUTABLE_WITH_EXCLUSION, second filter", mutableExcept, "eu-prod", false},
		{"MUTABLE_WITH_EXCLUSION, filter inside the tag only", mutableExcept, "dev1", true},
		{"IMMUTABLE_WITH_EXCLUSION, another tag", immutableExcept, "1.2.3", false},
		{"IMMUTABLE_WITH_EXCLUSION, exact filter", immutableExcept, "latest", true},
		{"IMMUTABLE_WITH_EXCLUSION, wildcard", immutableExcept, "dev-7", true},
		{"IMMUTABLE_WITH_EXCLUSION, exact filter is no prefix", immutableExcept, "latest-2", false},
	} {
		if got := test.m.Allows(test.tag); got != test.want {
			t.Errorf("%s: Allows(%q) = %t, want %t", test.name, test.tag, got, test.want)
		}
	}
}

func TestMatchGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"1.27.*", "1.27.3", true},
		{"1.27.*", "1.27.", true},
		{"1.27.*", "1.27", false},
		{"1.27.*", "1x27.3", false},
		{"*", "", true},
		{"*", "latest", true},
		{"*-rc*", "1.0-rc.1", true},
		{"*-rc*", "1.0", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"*ab", "aab", true},
		{"", "", true},
		{"", "a", false},
		{"latest", "Latest", false},
	} {
		if got := discover.MatchGlob(test.pattern, test.s); got != test.want {
			t.Errorf("MatchGlob(%q, %q) = %t, want %t", test.pattern, test.s, got, test.want)
		}
	}
}

// A glob means what the expression with ".*" for each "*" means.
func TestMatchGlobIsItsExpression(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*]{0,8}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab]{0,10}`).Draw(t, "s")
		expression := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$")
		if got, want := discover.MatchGlob(pattern, s), expression.MatchString(s); got != want {
			t.Fatalf("MatchGlob(%q, %q) = %t, want %t", pattern, s, got, want)
		}
	})
}
