package selection_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

var update = flag.Bool("update", false, "write the golden files anew; review what changed by eye")

// projects are the rules whose choices were reviewed by eye, by tag list. Each asks
// what a user of that project would.
var projects = []struct {
	name  string
	rules []rule
}{
	{"nginx", []rule{
		{tags: "newest:3/stable/latest"},
		{tags: "newest:2", options: "variant=alpine"},
		{tags: "newest:1", options: "variant=alpine+"},
		{tags: "1.27.+/newest:2"},
		{tags: "1.+-alpine/newest:2"},
		{tags: "semver:1.26.x"},
		{tags: "semver:ge1.26 lt1.27", options: "variant=alpine3.19-slim"},
		{tags: "1.27/1.27-alpine"},
		{tags: "1.27.+-alpine+/-+perl/-+otel"},
		{tags: "mode:higher", target: []string{"1.26.2", "1.26.2-alpine"}},
		{tags: "mode:higher"},
		{tags: "semver:1.27", options: "floating=true"},
		{tags: "semver:ge1.26/newest:2", options: "keep=+-alpine3.+ keep=not:+perl keep=not:+otel"},
		{tags: "not:1+/-+-+"},
	}},
	{"postgres", []rule{
		{tags: "newest:2", options: "keep=+-bookworm"},
		{tags: "newest:3", options: "keep=not:semver:ge16"},
		{tags: "newest:4"},
		{tags: "newest:2", options: "major=15"},
		{tags: "newest:2", options: "prerelease=true"},
		{tags: "17+", options: "variant=alpine"},
		{tags: "semver:ge13 lt15", options: "variant=bookworm"},
		{tags: "semver:9.x"},
		{tags: "mode:highest"},
	}},
	{"python", []rule{
		{tags: "newest:3"},
		{tags: "newest:2", options: "variant=slim"},
		{tags: "semver:3.12.x", options: "variant=slim-bookworm"},
		{tags: "newest:2", options: "prerelease=true minor=13"},
		{tags: "semver:ge3.13.0rc1", options: ""},
		{tags: "semver:ge3.12 lt3.13", options: "prerelease=true"},
		{tags: "3.13-rc+"},
	}},
	{"keda", []rule{
		{tags: "newest:3/main"},
		{tags: "2.1+.+/-2.10.+"},
		{tags: "+"},
		{tags: "semver:2.0.0 - 2.8.1", options: "prerelease=true"},
	}},
	{"kube-state-metrics", []rule{
		{tags: "newest:3"},
		{tags: "semver:lt2.1"},
		{tags: "semver:2.0.0-alpha - 2.0.0"},
		{tags: "mode:highest", options: "major=1"},
	}},
	{"alpine", []rule{
		{tags: "newest:3"},
		{tags: "semver:3.x"},
		{tags: "20+/newest:2", options: "newest-by=name"},
		{tags: "mode:highest", options: "major=2"},
	}},
	{"ubuntu", []rule{
		{tags: "newest:2"},
		{tags: "semver:ge22.04", options: "minor=4"},
		{tags: "noble-+/newest:2", options: "newest-by=name"},
		{tags: "noble-+/newest:2"},
		{tags: "semver:14.x"},
	}},
	{"redis", []rule{
		{tags: "newest:3"},
		{tags: "newest:3", options: "prerelease=true variant=alpine"},
		{tags: "semver:7.2", options: "variant=bookworm"},
		{tags: "mode:highest", options: "major=6 variant=alpine"},
	}},
	{"grafana", []rule{
		{tags: "newest:4"},
		{tags: "newest:2", options: "prerelease=true"},
		{tags: "semver:ge10.4.7 lt11", options: "variant=ubuntu"},
		{tags: "11.1.+/-+ubuntu"},
	}},
	{"cert-manager", []rule{
		{tags: "newest:3"},
		{tags: "newest:3", options: "prerelease=true"},
		{tags: "semver:ge1.14 lt1.16", options: "prerelease=true"},
		{tags: "mode:all/-v1.1+"},
	}},
	{"eclipse-temurin", []rule{
		{tags: "newest:2"},
		{tags: "newest:3", options: "variant=jre"},
		{tags: "semver:8", options: "variant=jdk"},
		{tags: "17+-jdk-alpine/newest:1"},
	}},
	{"bitnami-postgresql", []rule{
		{tags: "newest:2", options: "variant=debian-12"},
		{tags: "newest:2"},
	}},
	{"k3s", []rule{
		{tags: "newest:2"},
		{tags: "newest:3", options: "variant=k3s1"},
		{tags: "semver:1.30", options: "variant=k3s+"},
		{tags: "newest:2", options: "variant=k3s1 prerelease=true"},
		{tags: "newest:2", options: "strict=true prerelease=true"},
	}},
	{"home-assistant", []rule{
		{tags: "newest:2/stable"},
		{tags: "newest:2", options: "prerelease=true"},
		{tags: "semver:lt1000"},
	}},
}

// A rule is what one resource-tagged repository says.
type rule struct {
	tags, options string
	target        []string
}

// TestGoldenChoices keeps what the rules choose from lists as real as can be had. The
// head of each list says where it comes from.
func TestGoldenChoices(t *testing.T) {
	for _, project := range projects {
		t.Run(project.name, func(t *testing.T) {
			upstream := readList(t, filepath.Join("testdata", project.name+".txt"))
			var got bytes.Buffer
			for _, rule := range project.rules {
				result := compile(t, rule.tags, rule.options).Select(selection.Input{
					Upstream: upstream, UpstreamListed: true, Target: rule.target,
				})
				writeResult(&got, rule, result)
			}
			compareGolden(t, filepath.Join("testdata", project.name+".golden"), got.Bytes())
		})
	}
}

func writeResult(w *bytes.Buffer, rule rule, result selection.Result) {
	fmt.Fprintf(w, "== upstream-tags: %s\n", rule.tags)
	if rule.options != "" {
		fmt.Fprintf(w, "== upstream-options: %s\n", rule.options)
	}
	if rule.target != nil {
		fmt.Fprintf(w, "== target: %s\n", strings.Join(rule.target, " "))
	}
	for _, pick := range result.Picks {
		fmt.Fprintf(w, "%-34s %s\n", pick.Tag, pick.Reason)
	}
	for _, warning := range result.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	if result.Err != nil {
		fmt.Fprintf(w, "error: %v\n", result.Err)
	}
	fmt.Fprintf(w, "dropped: %d\n\n", len(result.Dropped))
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("choices (-want +got):\n%s", diff)
	}
}

// readList reads a list of tags, one in a line; lines that begin with "#" are remarks.
func readList(tb testing.TB, path string) []string {
	tb.Helper()
	file, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	var tags []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
			tags = append(tags, line)
		}
	}
	return tags
}
