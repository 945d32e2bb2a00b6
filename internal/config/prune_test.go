package config_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

func TestPrune(t *testing.T) {
	const hours = time.Hour
	tests := []struct {
		name, defaults, own string
		want                discover.Prune
	}{
		{"nowhere", "", "", discover.Prune{}},
		{"switched on", "", "  prune: true\n", discover.Prune{On: true}},
		{"a map", "", "  prune: {protect: [stable, keep-*], keepAtLeast: 3, grace: 36h}\n", discover.Prune{On: true, Protect: []string{"stable", "keep-*"}, KeepAtLeast: 3, Grace: 36 * hours}},
		{"an empty map", "", "  prune: {}\n", discover.Prune{On: true}},
		{"by default", "defaults: {prune: true}\n", "", discover.Prune{On: true}},
		{"by default, and not here", "defaults: {prune: {grace: 1h}}\n", "  prune: false\n", discover.Prune{Grace: hours}},
		{"the defaults' keys", "defaults: {prune: {enabled: false, grace: 1h, protect: a, keepAtLeast: 2}}\n", "  prune: true\n", discover.Prune{On: true, Protect: []string{"a"}, KeepAtLeast: 2, Grace: hours}},
		{"some of the defaults' keys", "defaults: {prune: {grace: 1h, protect: a, keepAtLeast: 2}}\n", "  prune: {protect: b, keepAtLeast: 0}\n", discover.Prune{On: true, Protect: []string{"b"}, Grace: hours}},
		{"keys kept for others", "defaults: {prune: {enabled: false, grace: 1h}}\n", "", discover.Prune{Grace: hours}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := mustLoad(t, head+test.defaults+"mirrors:\n- name: m\n  from: quay.io/a\n  to: r.example.com/a\n  tags: 1.*\n"+test.own)
			if diff := cmp.Diff(test.want, c.Rules[0].Mirror.Prune); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Mirrors of a registry's repositories are pruned like others.
func TestPruneOfPatterns(t *testing.T) {
	c := mustLoad(t, head+"mirrors:\n- {name: m, from: {registry: quay.io, repositories: 'a/*'}, to: {registry: r.example.com}, tags: 1.*, prune: true}\n")
	mirrors, err := c.Patterns[0].Expand([]string{"a/b"})
	if err != nil || len(mirrors) != 1 || !mirrors[0].Prune.On {
		t.Errorf("%+v, %v", mirrors, err)
	}
}

func TestPruneLimits(t *testing.T) {
	c := mustLoad(t, head+"prune: {max: 20, maxShare: 10%, state: s3://bucket/state.json}\n", "prune: {maxShare: 5%}\n"+head)
	want := config.Pruning{Max: 20, MaxShare: "5%", State: "s3://bucket/state.json"}
	if diff := cmp.Diff(want, c.File.Prune); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMayWriteTo(t *testing.T) {
	c := mustLoad(t, head+"mirrors:\n- {name: m, from: {registry: quay.io, repositories: 'a/*'}, to: [{registry: r.example.com}, {registry: s.example.com, prefix: x}], tags: 1.*}\n- {name: one, from: quay.io/a, to: t.example.com/a, tags: 1}\n")
	for host, want := range map[string]bool{"r.example.com": true, "s.example.com": true, "t.example.com": false, "quay.io": false} {
		if got := c.MayWriteTo("m", ref.Repository{Host: host, Path: "b"}); got != want {
			t.Errorf("%s: %t", host, got)
		}
	}
	if c.MayWriteTo("other", ref.Repository{Host: "r.example.com", Path: "b"}) {
		t.Error("a mirror that there is not writes somewhere")
	}
}

// What docs/prune.md shows is a file that loads, and prunes.
func TestPruneInDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/prune.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```yaml\n")
	sample, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("the page shows no file")
	}
	c := mustLoad(t, sample)
	want := discover.Prune{On: true, Protect: []string{"keep-*"}, KeepAtLeast: 3, Grace: 336 * time.Hour}
	if diff := cmp.Diff(want, c.Rules[0].Mirror.Prune); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, rest, _ = strings.Cut(string(page), "upstream-options = ")
	options, _, _ := strings.Cut(rest, "\n")
	spec, _, err := discover.FromTags(map[string]string{"upstream-image": "nginx", "upstream-tags": "newest:5", "upstream-options": options}, discover.NewKeys("", ""))
	if diff := cmp.Diff(want, spec.Prune); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
