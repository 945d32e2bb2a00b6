package migrate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// mixedTags are tags of every kind that repositories have.
var mixedTags = []string{
	"latest", "stable", "mainline-alpine", "edge", "20230101", "2023-01-01", "8f3b2c1",
	"sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.sig",
	"0", "0.9", "0.9.1", "0.9.1-alpine", "1", "1.27", "1.27.3", "1.27.2", "v1.27.1", "1-alpine", "1.27-alpine", "1.27.3-alpine", "1.27.3-alpine3.20",
	"1.27.3-debian-12", "2", "2.0", "v2.0.0", "2.0.0-rc.1", "2.0.0-rc.1-alpine", "2.1.0-beta1", "1.28.0-rc.1", "1.28.0-alpine", "1.28.0_1",
	"1.27.3-1", "1.27.4-1", "1.27.3.1", "2024.8.1", "1024.0.0",
}

// replicantDiffers are the tags that count as versions here and not for replicant, as
// the import notes.
var replicantDiffers = []string{"1.27.3-1", "1.27.4-1", "1.27.3.1", "2024.8.1", "1.28.0_1"}

// replicantVersions is what replicant takes for versions: the lenient reading of the
// library that it uses, the exact suffix, and the major.
func replicantVersions(tags []string, compatibility, major string) []*semver.Version {
	var versions []*semver.Version
	for _, tag := range tags {
		v, err := semver.NewVersion(tag)
		if err != nil || v.Major() > 1024 || v.Prerelease() != compatibility || major != "" && fmt.Sprint(v.Major()) != major {
			continue
		}
		versions = append(versions, v)
	}
	return versions
}

// replicantPicks is what replicant mirrors, equal versions all together.
func replicantPicks(mode, compatibility, major string, upstream, target []string) []string {
	if mode == "all" {
		return slices.Clone(upstream)
	}
	versions := replicantVersions(upstream, compatibility, major)
	floor := slices.MaxFunc(append(replicantVersions(target, compatibility, major), semver.MustParse("0.0.0-0")), (*semver.Version).Compare)
	var picks []string
	for _, v := range versions {
		switch mode {
		case "highest":
			if !v.Equal(slices.MaxFunc(versions, (*semver.Version).Compare)) {
				continue
			}
		case "higher":
			if !v.GreaterThan(floor) {
				continue
			}
		}
		picks = append(picks, v.Original())
	}
	return picks
}

// TestReplicantChoosesTheSame compares what is chosen with a model of replicant, for
// every combination of its keys.
func TestReplicantChoosesTheSame(t *testing.T) {
	upstream := slices.DeleteFunc(slices.Clone(mixedTags), func(tag string) bool { return slices.Contains(replicantDiffers, tag) })
	target := []string{"1.27.2", "1.27-alpine", "1.27.1-rc.1", "1.0.0-rc.1-alpine", "0.9"}
	for _, mode := range []string{"highest", "higher", "semver", "all"} {
		for _, compatibility := range []string{"", "alpine", "rc.1", "rc.1-alpine", "debian-12"} {
			for _, major := range []string{"", "0", "1"} {
				if mode == "higher" && len(replicantVersions(target, compatibility, major)) == 0 {
					continue // where replicant copied nothing: see TestReplicantBootstraps
				}
				image := fmt.Sprintf("mode: %s, compatibility: %q, pinned-major: %q", mode, compatibility, major)
				want := replicantPicks(mode, compatibility, major, upstream, target)
				want = slices.DeleteFunc(want, func(tag string) bool { return strings.HasPrefix(tag, "sha256-") }) // they follow their image
				if got := replicantTags(t, image, upstream, target); !equalSets(got, want) {
					t.Errorf("%s: %v, want %v", image, got, want)
				}
			}
		}
	}
}

func TestReplicantBootstraps(t *testing.T) {
	if got := replicantTags(t, "mode: higher", []string{"1.0.0", "1.1.0"}, nil); !equalSets(got, []string{"1.1.0"}) {
		t.Errorf("an empty destination gets %v", got)
	}
}

// The differences that the import notes are there.
func TestReplicantDiffers(t *testing.T) {
	got := replicantTags(t, "mode: semver", mixedTags, nil)
	for _, tag := range replicantDiffers {
		if !slices.Contains(got, tag) {
			t.Errorf("%s does not count as a version", tag)
		}
	}
}

// The exclusions that docs/migrating/replicant.md names leave just those tags out.
func TestReplicantExclusions(t *testing.T) {
	imported, err := importText(migrate.Replicant, "images: {x: {source: docker.io/library/x, destination: registry.example.com/x, mode: semver}}")
	if err != nil {
		t.Fatal(err)
	}
	imported.YAML = append(imported.YAML, []byte(`      exclude:
        semver: ">=1025"
        regex: ['[0-9]+(\.[0-9]+){3}.*', '.*[-_][0-9]+']
`)...)
	if got, want := chosen(t, imported, mixedTags, nil), replicantPicks("semver", "", "", mixedTags, nil); !equalSets(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	page := string(readFile(t, "../../docs/migrating/replicant.md"))
	for _, exclusion := range []string{`exclude: {semver: ">=1025"}`, `exclude: {regex: '[0-9]+(\.[0-9]+){3}.*'}`, `exclude: {regex: '.*[-_][0-9]+'}`} {
		if !strings.Contains(page, exclusion) {
			t.Errorf("the page does not name %s", exclusion)
		}
	}
}

// replicantTags returns what the import of an image with these keys chooses.
func replicantTags(t *testing.T, image string, upstream, target []string) []string {
	t.Helper()
	old := "images: {x: {source: docker.io/library/x, destination: registry.example.com/x, " + image + "}}"
	imported, err := migrate.Import(migrate.Replicant, []migrate.Input{{Name: "replicant.yaml", Data: []byte(old)}}, migrate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return chosen(t, imported, upstream, target)
}

// chosen returns the tags that the only rule of an import chooses.
func chosen(t *testing.T, imported *migrate.Imported, upstream, target []string) []string {
	t.Helper()
	loaded, err := config.Load([]string{"x"}, imported.Env(lookUp(nil)), func(string) ([]byte, error) { return imported.YAML, nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Rules) != 1 {
		t.Fatalf("%d rules", len(loaded.Rules))
	}
	selector, err := selection.Compile(loaded.Rules[0].Mirror.Rules)
	if err != nil {
		t.Fatal(err)
	}
	result := selector.Select(selection.Input{Upstream: upstream, UpstreamListed: true, Target: target})
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	var tags []string
	for _, pick := range result.Picks {
		tags = append(tags, pick.Tag)
	}
	return tags
}

func equalSets(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
