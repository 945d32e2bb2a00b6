package discover_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
)

func TestChange(t *testing.T) {
	now := map[string]string{
		"upstream-image": "docker.io/library/nginx", "upstream-tags": "1.+", "upstream-tags-2": "-+-rc+", "upstream-tags-10": "x",
		"upstream-options": "major=1", "team": "web",
	}
	then := map[string]string{"upstream-image": "docker.io/library/nginx", "upstream-tags": "2.+", "upstream-platforms": "linux/amd64"}
	change, err := discover.NewChange(now, then, keys)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]discover.Entry{
		{Key: "upstream-image", Now: "docker.io/library/nginx", Then: "docker.io/library/nginx", Verb: discover.Keep},
		{Key: "upstream-tags", Now: "1.+", Then: "2.+", Verb: discover.Replace},
		{Key: "upstream-tags-2", Now: "-+-rc+", Verb: discover.Remove},
		{Key: "upstream-tags-10", Now: "x", Verb: discover.Remove},
		{Key: "upstream-platforms", Then: "linux/amd64", Verb: discover.Add},
		{Key: "upstream-options", Now: "major=1", Verb: discover.Remove},
	}, change.Entries); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{
		"upstream-tags": "2.+", "upstream-platforms": "linux/amd64", "upstream-tags-2": "", "upstream-tags-10": "", "upstream-options": "",
	}, change.Set()); diff != "" {
		t.Errorf("Set (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"upstream-tags-2", "upstream-tags-10", "upstream-options"}, change.Removed()); diff != "" {
		t.Errorf("Removed (-want +got):\n%s", diff)
	}
	then["team"] = "web"
	if diff := cmp.Diff(then, change.Apply(now)); diff != "" {
		t.Errorf("Apply (-want +got):\n%s", diff)
	}
}

// Where values only go away, one call removes them all, and none is emptied first.
func TestChangeThatOnlyRemovesWritesNothing(t *testing.T) {
	now := with("upstream-options", "major=1", "ignore-tags", "x", "team", "web")
	for _, then := range []map[string]string{nil, with()} {
		change, err := discover.NewChange(now, then, keys)
		if err != nil || change.Empty() || len(change.Set()) > 0 || len(change.Removed()) != len(now)-1-len(then) {
			t.Errorf("to %v: %+v sets %v, error %v", then, change, change.Set(), err)
		}
	}
	if change, err := discover.NewChange(map[string]string{"team": "web"}, nil, keys); err != nil || !change.Empty() || len(change.Entries) > 0 {
		t.Errorf("%+v, error %v", change, err)
	}
}

func TestChangeKnowsHowManyResourceTagsFit(t *testing.T) {
	now := map[string]string{"ignore-tags": "x"}
	for i := range 47 {
		now[fmt.Sprintf("k%d", i)] = ""
	}
	if _, err := discover.NewChange(now, with(), keys); err != nil {
		t.Errorf("50 resource tags: %v", err)
	}
	now["one-more"] = ""
	_, err := discover.NewChange(now, with(), keys)
	if err == nil || !strings.Contains(err.Error(), "51") {
		t.Errorf("51 resource tags: error %v", err)
	}
	if _, err := discover.NewChange(now, nil, keys); err != nil {
		t.Errorf("removing from 49: %v", err)
	}
}

// formatted is a rule as resource tags. Rules that say too much for one are no examples: the
// generator makes one of 257 characters in some thousands.
func formatted(t *rapid.T, spec discover.Spec) map[string]string {
	tags, err := discover.Format(spec, keys)
	if err != nil && strings.Contains(err.Error(), "and a resource tag holds") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tags
}

// Whatever rule a repository has, and whatever rule it gets: who reads its resource tags
// between the two calls finds the new rule, whole, and nothing of the old one.
func TestChangeIsNeverHalfDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := formatted(t, specs().Draw(t, "now"))
		maps.Copy(now, rapid.MapOf(rapid.SampledFrom([]string{"team", "ignore-tags"}), rapid.StringMatching(`[a-z]{1,5}`)).Draw(t, "more"))
		want := specs().Draw(t, "then")
		then := formatted(t, want)
		change, err := discover.NewChange(now, then, keys)
		if err != nil {
			t.Fatal(err)
		}
		between := maps.Clone(now)
		maps.Copy(between, change.Set())
		if len(change.Set()) == 0 {
			between = change.Apply(now) // one call, and all is done
		}
		after := maps.Clone(between)
		for _, key := range change.Removed() {
			delete(after, key)
		}
		if diff := cmp.Diff(change.Apply(now), after); diff != "" {
			t.Fatalf("after both calls (-want +got):\n%s", diff)
		}
		for when, tags := range map[string]map[string]string{"between the calls": between, "after them": after} {
			got, _, err := discover.FromTags(tags, keys)
			if err != nil {
				t.Fatalf("%s: %v\nof %q", when, err, tags)
			}
			if diff := cmp.Diff(want, got, asRead, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s (-want +got):\n%s\nof %q", when, diff, tags)
			}
			if tags["team"] != now["team"] {
				t.Fatalf("%s: team is %q", when, tags["team"])
			}
		}
	})
}
