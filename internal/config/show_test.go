package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

func TestShow(t *testing.T) {
	c := mustLoad(t, head+`
registries:
  docker.io: {credentials: {username: "${HUB_USER}", password: canary}}
  quay.io: {credentials: {token: file:secret.txt}}
  ghcr.io: {credentials: none}
  r.example.com:
mirrors:
- {name: m, from: nginx, to: quay.io/n, tags: [1.10, "semver: >=2"], schedule: 30m, replace: false}
`)
	shown, err := config.Show(*c)
	if err != nil {
		t.Fatal(err)
	}
	want := `apiVersion: ecr-mirror-sync.io/v1alpha1
defaults:
  platforms:
    - all
  referrers: true
  replace: true
  minTags: 0
registries:
  docker.io:
    credentials:
      username: ${HUB_USER}
      password: '[redacted]'
  ghcr.io:
    credentials: none
  quay.io:
    credentials:
      token: file:secret.txt
  r.example.com: {}
mirrors:
  - name: m
    from: nginx
    to:
      - quay.io/n
    tags:
      literals:
        - "1.10"
      semver:
        - '>=2'
    replace: false
    schedule: 30m
`
	if diff := cmp.Diff(want, string(shown)); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
}

// Nothing prints a secret, whichever way a configuration is printed.
func TestSecretsDoNotPrint(t *testing.T) {
	c := mustLoad(t, head+"registries: {quay.io: {credentials: {token: canary}}, ghcr.io: {credentials: {token: \"${HUB_PASSWORD}\"}}, docker.io: {credentials: {username: u, password: file:secret.txt}}}\n")
	for _, registry := range c.File.Registries {
		for _, verb := range []string{"%v", "%+v", "%s", "%q", "%x", "%d"} {
			if printed := fmt.Sprintf(verb, registry.Credentials.Credential()) + fmt.Sprintf(verb, registry.Credentials.Token); strings.Contains(printed, "canary") || strings.Contains(printed, "63616e617279") {
				t.Errorf("%s prints %s", verb, printed)
			}
		}
	}
}

// What Show writes, Load reads back to the same.
func TestShowRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first, err := load(fileText(t))
		if err != nil {
			t.Fatal(err)
		}
		checkRoundTrip(t, first)
	})
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func checkRoundTrip(t failer, first *config.Config) {
	t.Helper()
	shown, err := config.Show(*first)
	if err != nil {
		t.Fatalf("%v", err)
	}
	second, err := load(string(shown))
	if err != nil {
		t.Fatalf("%v\nof\n%s", err, shown)
	}
	if diff := cmp.Diff(first.File, second.File, equalFiles); diff != "" {
		t.Fatalf("file (-first +second):\n%s\nof\n%s", diff, shown)
	}
	again, err := config.Show(*second)
	if err != nil || string(again) != string(shown) {
		t.Fatalf("shown again as\n%s\n%v", again, err)
	}
}

// fileText draws a file that is right, in the forms that people write.
func fileText(t *rapid.T) string {
	var b strings.Builder
	b.WriteString(head)
	maybe := func(line string, values ...string) {
		if rapid.Bool().Draw(t, "maybe") {
			fmt.Fprintf(&b, line, rapid.SampledFrom(values).Draw(t, "value"))
		}
	}
	b.WriteString("defaults:\n")
	maybe("  platforms: %s\n", "all", "linux/amd64", "[linux/amd64, linux/arm64]")
	maybe("  referrers: %s\n", "true", "false")
	maybe("  replace: %s\n", "true", "false")
	maybe("  immutableTags: %s\n", "'*'", "[v*, 1.10]")
	maybe("  minTags: %s\n", "0", "3")
	maybe("  schedule: %s\n", schedules...)
	maybe("  prune: %s\n", pruneForms...)
	b.WriteString("registries:\n")
	maybe("  quay.io: %s\n", "{}", "{credentials: none}", "{tls: {insecure: true}}", "{credentials: {token: '${HUB_USER}'}}", "{credentials: {authFile: a.json}, limits: {manifestWritesPerSecond: 0.5}}")
	b.WriteString("discovery:\n")
	maybe("  enabled: %s\n", "true", "false")
	maybe("  ecr: %s\n", "[{}]", "[{account: 012345678901, regions: eu-west-1}, {prefixes: [a/b]}]")
	maybe("allowedUpstreams: %s\n", "quay.io", "[quay.io, '*.gcr.io/a-*']")
	maybe("prune: %s\n", "{max: 5}", "{max: 20, maxShare: 12.5%, state: s3://bucket/a/state.json}", "{state: state.json}")
	b.WriteString("mirrors:\n")
	for i := range rapid.IntRange(0, 4).Draw(t, "mirrors") {
		fmt.Fprintf(&b, "- name: m%d\n", i)
		if rapid.Bool().Draw(t, "pattern") {
			b.WriteString("  from: {registry: quay.io, repositories: [a/*, 'regex: b|c']}\n")
			maybe("  platform: %s\n", "linux/arm64")
			fmt.Fprintf(&b, "  to: {registry: r%d.example.com, %s}\n", i, rapid.SampledFrom(mappings).Draw(t, "mapping"))
		} else {
			fmt.Fprintf(&b, "  from: quay.io/a%d\n  to: [r%d.example.com/x, r%d.example.com/y]\n", i, i, i)
		}
		tags := rapid.SampledFrom(tagForms).Draw(t, "tags")
		fmt.Fprintf(&b, "  tags: %s\n", tags)
		if strings.Contains(tags, "higher") {
			b.WriteString("  prune: false\n")
		} else {
			maybe("  prune: %s\n", pruneForms...)
		}
		maybe("  replace: %s\n", "true", "false")
		maybe("  schedule: %s\n", schedules...)
	}
	return b.String()
}

var (
	schedules  = []string{"5m", "'@daily'", "0 3 * * *", "{interval: 1h}", "{cron: '@weekly', timeZone: Europe/Berlin}"}
	mappings   = []string{"prefix: a/b", "regex: '^a', replacement: ''", "regex: '(.)', replacement: '${1}x'", "template: '{{.Name}}'"}
	pruneForms = []string{"true", "false", "{}", "{enabled: false, grace: 36h}", "{protect: [keep-*, 1.10], keepAtLeast: 0}", "{keepAtLeast: 3, grace: 1h}"}
	tagForms   = []string{
		"1.10", "[no, 012, 'a*', 'semver: ^1 || 2', 'regex: \\d+']", "{newest: 3, newestBy: created, exclude: 1.*}",
		"{globs: '*', major: 0, minor: 0, minTags: 0, prerelease: true, floating: true, strict: true}",
		"{globs: '*', not: [a, 'semver: ^1'], keep: ['!*-rc*', 'regex: a b', 1.10]}", "['!1.*', '!regex: x', y]",
		"{mode: higher, variant: alpine*, mutable: latest, exclude: {semver: <1, literals: null}}",
	}
)
