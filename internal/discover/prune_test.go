package discover_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
)

func TestPruneOptions(t *testing.T) {
	spec, warnings, err := discover.FromTags(with("upstream-options", "prune=true protect=stable protect=keep-+ keep-at-least=3 grace=36h"), keys)
	if err != nil || warnings != nil {
		t.Fatalf("warnings %q, error %v", warnings, err)
	}
	want := discover.Prune{On: true, Protect: []string{"stable", "keep-*"}, KeepAtLeast: 3, Grace: 36 * time.Hour}
	if diff := cmp.Diff(want, spec.Prune); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !spec.Prune.Protects("keep-me") || spec.Prune.Protects("1.0") {
		t.Error("the globs protect something else")
	}
	if spec.Prune.Wait() != 36*time.Hour || (discover.Prune{On: true}).Wait() != discover.DefaultGrace {
		t.Error("the grace is another")
	}
}

func TestPruneIsOffUnlessAsked(t *testing.T) {
	for options, remarks := range map[string]int{"": 0, "prune=false": 0, "protect=a keep-at-least=2": 2} {
		spec, warnings, err := discover.FromTags(with("upstream-options", options), keys)
		if err != nil || spec.Prune.On || len(warnings) != remarks {
			t.Errorf("%q: %+v, warnings %q, error %v", options, spec.Prune, warnings, err)
		}
	}
}

func TestPruneOptionsThatAreWrong(t *testing.T) {
	tests := []struct {
		tags, options string
		position      int
		problem       string
	}{
		{"1.0", "prune=yes", 7, `"yes" is no value for prune`},
		{"1.0", "prune=true prune=true", 12, `a second "prune"`},
		{"1.0", "protect=", 9, `"" is no value for protect`},
		{"1.0", "keep-at-least=few", 15, "is no value for keep-at-least"},
		{"1.0", "grace=0s", 7, `"0s" is no value for grace`},
		{"1.0", "grace=7d", 7, `"7d" is no value for grace`},
		{"1.0", "grace=-1h", 7, "is no value for grace"},
		{"1.0", "grace=9999999h", 7, "is no value for grace"},
		{"mode:higher", "prune=true", 1, "prune=true with mode:higher"},
	}
	for _, test := range tests {
		_, _, err := discover.FromTags(with("upstream-tags", test.tags, "upstream-options", test.options), keys)
		syntax, ok := errors.AsType[*discover.SyntaxError](err)
		if !ok || syntax.Position != test.position || !strings.Contains(syntax.Problem, test.problem) {
			t.Errorf("%s with %s: %v", test.tags, test.options, err)
		}
	}
	// What it chose before is not dropped where nothing is pruned.
	if _, _, err := discover.FromTags(with("upstream-tags", "mode:higher", "upstream-options", "prune=false"), keys); err != nil {
		t.Error(err)
	}
}
