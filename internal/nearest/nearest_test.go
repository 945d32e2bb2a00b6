package nearest_test

import (
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/nearest"
)

func TestWord(t *testing.T) {
	words := []string{"upstream-image", "upstream-tags", "ignore-tags", "newestBy", "minor", "major", "tls", "x"}
	for _, test := range []struct{ written, want string }{
		{"upstream-imag", "upstream-image"},
		{"upstream-tag", "upstream-tags"},
		{"upsteram-tags", "upstream-tags"}, // two neighbours swapped
		{"Upstream_Tags", "upstream-tags"},
		{"upstreamtags", "upstream-tags"},
		{"newest-by", "newestBy"},
		{"ignored-tag", "ignore-tags"},
		{"minr", "minor"},
		{"mijor", "minor"}, // as near to major: the first
		{"miner", "minor"},
		{"mnier", ""}, // two edits in a short word make another
		{"tl", ""},
		{"y", ""},
		{"TLS", "tls"},
		{"Name", ""},
		{"", ""},
		{strings.Repeat("upstream-tags", 1000), ""},
	} {
		got, ok := nearest.Word(test.written, words)
		if got != test.want || ok != (test.want != "") {
			t.Errorf("%q: %q, %t, want %q", test.written, got, ok, test.want)
		}
	}
}

func TestSame(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"newest-by", "newestBy", true}, {"Upstream Tags", "upstream_tags", true}, {"minor", "miner", false}, {"", "-", true},
	} {
		if got := nearest.Same(test.a, test.b); got != test.want {
			t.Errorf("Same(%q, %q) = %t", test.a, test.b, got)
		}
	}
}
