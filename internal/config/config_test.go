package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// YAML libraries have read the tag 1.10 as the number 1.1, no as false and 012 as 10.
func TestTextsAreWhatTheyLookLike(t *testing.T) {
	for _, tags := range []string{
		"  tags: [1.10, 1.0, no, 012, 1e3, 0x1f, null, true, 2024-01-01, .5_]\n",
		"  tags: {literals: [1.10, 1.0, no, 012, 1e3, 0x1f, null, true, 2024-01-01, .5_]}\n",
	} {
		c, err := load(withTags(strings.Replace(tags, ", .5_", "", 1)))
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"1.10", "1.0", "no", "012", "1e3", "0x1f", "null", "true", "2024-01-01"}
		if diff := cmp.Diff(want, c.File.Mirrors[0].Tags.Literals); diff != "" {
			t.Errorf("tags (-want +got):\n%s", diff)
		}
	}
	c := mustLoad(t, withTags("  tags: 1.10\n"))
	if got := c.Rules[0].Mirror.Rules.Choose[0].Pattern; got != "1.10" {
		t.Errorf("a tag alone is %q", got)
	}
}

// Editors on Windows write byte-order marks and CRLF.
func TestWindows(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(withTags("  tags: [a, b]\n  replace: false\n"), "\n", "\r\n")
	m := mustLoad(t, text).Rules[0].Mirror
	if m.Options.Replace || len(m.Rules.Choose) != 2 {
		t.Errorf("mirror %+v", m)
	}
	_, err := load(text + "  oops: 1\r\n")
	if want := `a.yaml:8:3: mirrors[m]: unknown key "oops"`; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, want %s…", err, want)
	}
}

func TestAnchors(t *testing.T) {
	c := mustLoad(t, head+`
x-common: &common
  tags: &tags [stable, 1.*]
  replace: false
x-more: &more {referrers: false, replace: true}
mirrors:
- {name: a, from: quay.io/a, to: r.example.com/a, <<: *common}
- {name: b, from: quay.io/b, to: r.example.com/b, <<: [*common, *more]}
- {name: c, from: quay.io/c, to: r.example.com/c, tags: *tags, <<: *more}
`)
	var got []string
	for _, rule := range c.Rules {
		o := rule.Mirror.Options
		got = append(got, rule.Mirror.Rules.String()+" "+onOff("replace", o.Replace)+onOff("referrers", o.Referrers))
	}
	want := []string{"stable/1.+ -replace+referrers", "stable/1.+ -replace-referrers", "stable/1.+ +replace-referrers"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mirrors (-want +got):\n%s", diff)
	}
}

func onOff(word string, on bool) string {
	if on {
		return "+" + word
	}
	return "-" + word
}

// A section whose lines are all commented out is none.
func TestEmptySections(t *testing.T) {
	c := mustLoad(t, head+"defaults:\nregistries:\n  quay.io:\ndiscovery:\n  ecr:\nallowedUpstreams:\nmirrors:\n")
	if len(c.Rules) != 0 || c.File.Discovery.On() {
		t.Errorf("config %+v", c)
	}
	if _, ok := c.File.Registries["quay.io"]; !ok {
		t.Error("the registry without keys is lost")
	}
}

func TestMirror(t *testing.T) {
	c := mustLoad(t, mirror(`  from: nginx
  to:
  - 111122223333.dkr.ecr.eu-central-1.amazonaws.com/external/nginx
  - registry: quay.io
    prefix: mirror
  tags: 1.27.3
  platforms: [linux/amd64, linux/aarch64, linux/arm64/v8]
  referrers: false
  schedule: {cron: 0 3 * * MON-FRI, timeZone: Europe/Berlin}
`))
	want := discover.Mirror{
		Name:      "m",
		Upstream:  ref.Repository{Host: "docker.io", Path: "library/nginx"},
		Target:    ref.Repository{Host: "111122223333.dkr.ecr.eu-central-1.amazonaws.com", Path: "external/nginx"},
		Rules:     discover.Rules{Choose: []discover.Term{{Kind: discover.Literal, Text: "1.27.3", Pattern: "1.27.3", Key: "tags", Position: 1}}},
		Platforms: discover.Platforms{Keep: []ref.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}},
		Options:   discover.Options{Replace: true},
		Origin:    discover.Origin{Kind: config.FromFile, Place: "a.yaml:3", Region: "eu-central-1"},
	}
	second := want
	second.Target = ref.Repository{Host: "quay.io", Path: "mirror/library/nginx"}
	second.Origin.Region = ""
	if diff := cmp.Diff([]discover.Mirror{want, second}, c.Mirrors()); diff != "" {
		t.Errorf("mirrors (-want +got):\n%s", diff)
	}
	schedule := &config.Schedule{Cron: "0 3 * * MON-FRI", TimeZone: "Europe/Berlin"}
	if diff := cmp.Diff(schedule, c.Rules[1].Schedule); diff != "" {
		t.Errorf("%s, schedule (-want +got):\n%s", c.Rules[1].Mirror.Name, diff)
	}
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, head+`
defaults:
  platform: linux/arm64
  referrers: false
  replace: false
  immutableTags: v*
  minTags: 2
  schedule: 6h
mirrors:
- {name: a, from: quay.io/a, to: r.example.com/a, tags: "*"}
- name: b
  from: quay.io/b
  to: r.example.com/b
  tags: {globs: "*", immutable: [1.*], minTags: 0}
  platforms: all
  referrers: true
  replace: true
  schedule: "@hourly"
`)
	a, b := c.Rules[0], c.Rules[1]
	if m := a.Mirror; m.Platforms.One.String() != "linux/arm64" || m.Options != (discover.Options{}) ||
		m.Rules.MinTags != 2 || !m.Rules.IsImmutable("v1") || a.Schedule.Every() != 6*time.Hour {
		t.Errorf("with the defaults: %+v %+v", m, a.Schedule)
	}
	if m := b.Mirror; !m.Platforms.All() || m.Options != discover.DefaultOptions() ||
		m.Rules.MinTags != 0 || m.Rules.IsImmutable("v1") || !m.Rules.IsImmutable("1.0") || b.Schedule.Cron != "@hourly" {
		t.Errorf("with its own: %+v %+v", m, b.Schedule)
	}
}

// One tag can get another name at the destination.
func TestRename(t *testing.T) {
	for _, tags := range []string{"1.27", "1.27@sha256:" + strings.Repeat("a", 64)} {
		m := mustLoad(t, mirror("  from: nginx\n  to: r.example.com/web:stable\n  tags: "+tags+"\n")).Mirrors()[0]
		if m.As != "stable" || m.Target.String() != "r.example.com/web" {
			t.Errorf("%s: as %q at %s", tags, m.As, m.Target)
		}
	}
}

func TestRegistries(t *testing.T) {
	c := mustLoad(t, head+`
registries:
  docker.io: {credentials: {username: "${HUB_USER}", password: "${HUB_PASSWORD}"}}
  quay.io: {credentials: {token: file:secret.txt}, tls: {ca: certs/ca.pem, certDir: /etc/certs}}
  ghcr.io: {credentials: {identityToken: 0123}}
  localhost:5000: {credentials: none, tls: {plainHTTP: true}, limits: {requests: 4, blobStreams: 2, manifestWritesPerSecond: 0.5}}
  r.example.com: {credentials: {authFile: auth.json}, tls: {insecure: true}}
`)
	for host, want := range map[string]auth.Credential{
		"docker.io":      {Username: "jane", Password: "canary-1"},
		"quay.io":        {RegistryToken: "canary-2"},
		"ghcr.io":        {IdentityToken: "0123"},
		"localhost:5000": {},
		"r.example.com":  {},
	} {
		if got := c.File.Registries[host].Credentials.Credential(); got != want {
			t.Errorf("%s: credential differs", host)
		}
	}
	clouds := mustLoad(t, head+`
registries:
  gcr.io: {credentials: {google: default}}
  europe-docker.pkg.dev: {credentials: {google: {key: file:secret.txt}}}
  us-docker.pkg.dev: {credentials: {google: {accessToken: "${HUB_PASSWORD}"}}}
  one.azurecr.io: {credentials: {azure: default}}
  two.azurecr.io: {credentials: {azure: {tenant: contoso.example, clientId: 0123, clientSecret: file:secret.txt}}}
  three.azurecr.io: {credentials: {azure: {clientId: app}}}
`).File.Registries
	if g := clouds["gcr.io"].Credentials.Google; !g.Default || g.Key.Value() != "" {
		t.Errorf("gcr.io: %+v", g)
	}
	if clouds["europe-docker.pkg.dev"].Credentials.Google.Key.Value() != "canary-2" || clouds["us-docker.pkg.dev"].Credentials.Google.AccessToken.Value() != "canary-1" {
		t.Error("Google's secrets differ")
	}
	two, three := clouds["two.azurecr.io"].Credentials.Azure, clouds["three.azurecr.io"].Credentials.Azure
	if two.Tenant != "contoso.example" || two.ClientID != "0123" || two.ClientSecret.Value() != "canary-2" || two.Default || three.ClientID != "app" {
		t.Errorf("azurecr.io: %+v, %+v", two, three)
	}
	if !clouds["one.azurecr.io"].Credentials.Azure.Default {
		t.Error("one.azurecr.io is not the default")
	}
	local, example := c.File.Registries["localhost:5000"], c.File.Registries["r.example.com"]
	if !local.Credentials.None || !local.TLS.PlainHTTP || local.Limits != (config.Limits{Requests: 4, BlobStreams: 2, ManifestWritesPerSecond: 0.5}) {
		t.Errorf("localhost:5000: %+v", local)
	}
	if example.Credentials.AuthFile != "auth.json" || !example.TLS.Insecure {
		t.Errorf("r.example.com: %+v", example)
	}
	if tls := c.File.Registries["quay.io"].TLS; tls != (config.TLS{CA: "certs/ca.pem", CertDir: "/etc/certs"}) {
		t.Errorf("quay.io: %+v", tls)
	}
}

// Relative paths are meant from the file they are written in.
func TestPathsAreRelativeToTheirFile(t *testing.T) {
	f := files{
		"etc/mirror/a.yaml":      head + "registries: {quay.io: {tls: {ca: certs/ca.pem, cert: jane.pem, key: /keys/jane.pem, minVersion: 1.3}, credentials: {token: file:../token}}}\n",
		"etc/token":              "canary-3\r\n",
		"run/b.yaml":             "registries: {quay.io: {tls: {certDir: certs}}, ghcr.io: {credentials: {token: file:/abs/token}}}\n",
		"/abs/token":             "canary-4",
		"etc/mirror/ignored.txt": "",
	}
	c, err := config.Load([]string{"etc/mirror/a.yaml", "run/b.yaml"}, environment, f.read)
	if err != nil {
		t.Fatal(err)
	}
	quay := c.File.Registries["quay.io"]
	if quay.TLS != (config.TLS{CA: "etc/mirror/certs/ca.pem", Cert: "etc/mirror/jane.pem", Key: "/keys/jane.pem", CertDir: "run/certs", MinVersion: "1.3"}) {
		t.Errorf("TLS %+v", quay.TLS)
	}
	if quay.Credentials.Token.Value() != "canary-3" || c.File.Registries["ghcr.io"].Credentials.Token.Value() != "canary-4" {
		t.Error("tokens differ")
	}
}

func TestDiscovery(t *testing.T) {
	for _, test := range []struct {
		text string
		on   bool
	}{
		{"", false},
		{"discovery: {enabled: true}\n", true},
		{"discovery: {ecr: [{}]}\n", true},
		{"discovery: {enabled: false, ecr: [{}]}\n", false},
	} {
		if got := mustLoad(t, head+test.text).File.Discovery.On(); got != test.on {
			t.Errorf("%s: on %t", test.text, got)
		}
	}
	c := mustLoad(t, head+`discovery:
  ecr:
  - account: 011122223333
    regions: eu-central-1
    role: arn:aws-cn:iam::111122223333:role/path/mirror
    prefixes: [external, team/a]
    imageKey: acme-image
`)
	scope := c.File.Discovery.ECR[0]
	want := config.Scope{
		Account: "011122223333", Regions: []string{"eu-central-1"}, Role: "arn:aws-cn:iam::111122223333:role/path/mirror",
		Prefixes: []string{"external", "team/a"}, ImageKey: "acme-image",
	}
	if diff := cmp.Diff(want, scope); diff != "" {
		t.Errorf("scope (-want +got):\n%s", diff)
	}
	if keys := scope.Keys(); keys.Options != "acme-options" || keys.Tags != "upstream-tags" {
		t.Errorf("keys %+v", keys)
	}
}

func TestMerge(t *testing.T) {
	base := head + `
defaults: {minTags: 1, replace: false, platforms: [linux/amd64, linux/arm64], schedule: {cron: "@daily", timeZone: UTC}}
registries:
  quay.io: {tls: {ca: ca.pem}, limits: {requests: 3}}
allowedUpstreams: [quay.io, ghcr.io]
mirrors:
- {name: a, from: quay.io/a, to: r.example.com/a, tags: x, replace: true}
- {name: b, from: quay.io/b, to: r.example.com/b, tags: x}
`
	over := `
defaults: {minTags: 2, platforms: linux/s390x, schedule: 1h}
registries:
  quay.io: {credentials: {token: t}, limits: {requests: 5}}
  ghcr.io: {credentials: none}
allowedUpstreams: [quay.io]
mirrors:
- {name: c, from: quay.io/c, to: r.example.com/c, tags: x}
- {name: a, from: quay.io/a, to: r.example.com/z, tags: y}
`
	c := mustLoad(t, base, over, "registries:\nmirrors: []\n")
	want := config.Defaults{
		Platforms: []string{"linux/s390x"}, Referrers: new(true), Replace: new(false), MinTags: new(2),
		Schedule: &config.Schedule{Interval: "1h"},
	}
	if diff := cmp.Diff(want, c.File.Defaults); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	quay := c.File.Registries["quay.io"]
	if quay.TLS.CA != "ca.pem" || quay.Limits.Requests != 5 || quay.Credentials.Token.Value() != "t" || !c.File.Registries["ghcr.io"].Credentials.None {
		t.Errorf("registries %+v", c.File.Registries)
	}
	if diff := cmp.Diff([]string{"quay.io"}, c.File.AllowedUpstreams); diff != "" {
		t.Errorf("allowed upstreams (-want +got):\n%s", diff)
	}
	var got []string
	for _, rule := range c.Rules {
		got = append(got, rule.Mirror.Name+" "+rule.Mirror.Target.Path+" "+rule.Mirror.Origin.Place+" "+onOff("replace", rule.Mirror.Options.Replace))
	}
	if diff := cmp.Diff([]string{"a z b.yaml:9 -replace", "b b a.yaml:9 -replace", "c c b.yaml:8 -replace"}, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// What one file gets wrong is said of that file, also where another replaces it, and
// what only the merge gets wrong is said of the place that decides.
func TestMergeNamesBothFiles(t *testing.T) {
	one := head + "mirrors:\n- {name: a, from: quay.io/a, to: r.example.com/x, tags: 1.0}\n- {name: gone, from: nginx:1, to: r.example.com/x, tags: 1.0}\n"
	two := "registries: {quay.io: {credentials: {token: \"${UNSET}\"}}}\nmirrors:\n- {name: gone, from: quay.io/b, to: r.example.com/x, tags: [1.0]}\n"
	_, err := load(one, two)
	want := []string{
		`a.yaml:4:22: mirrors[gone].from: "nginx:1" has the tag "1", which belongs under tags: expected a repository such as docker.io/library/nginx`,
		`b.yaml:1:45: registries[quay.io].credentials.token: the environment variable UNSET is not set`,
		`b.yaml:3:37: mirrors[gone].to[0]: r.example.com/x:1.0 is written by the mirror "a" too, at a.yaml:3: expected one rule for a destination tag`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// Keys of one map that do not go together may come from two files.
func TestMergeOfWhatDoesNotGoTogether(t *testing.T) {
	_, err := load(
		head+"defaults: {platforms: all}\nregistries:\n  quay.io:\n    credentials: {token: t}\n    tls: {ca: a.pem}\n",
		"defaults:\n  platform: linux/amd64\nregistries:\n  quay.io:\n    credentials: {username: u, password: p}\n    tls: {plainHTTP: true}\n",
	)
	want := []string{
		`b.yaml:2:13: defaults.platform: platform (b.yaml:2) and platforms (a.yaml:2) are given: expected platform for one image, or platforms for an index`,
		`b.yaml:5:18: registries[quay.io].credentials: token (a.yaml:5) and username (b.yaml:5) are given: expected one kind of credentials`,
		`b.yaml:6:10: registries[quay.io].tls: ca (a.yaml:6) and plainHTTP (b.yaml:6) are given, and plain HTTP has no certificates: expected plainHTTP alone`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// A reference that a later file replaces is not followed.
func TestReplacedReferencesAreNotFollowed(t *testing.T) {
	c := mustLoad(t, head+"registries: {quay.io: {credentials: {token: \"${UNSET}\"}}}\n", "registries: {quay.io: {credentials: {token: t}}}\n")
	if c.File.Registries["quay.io"].Credentials.Token.Value() != "t" {
		t.Error("token differs")
	}
}

// equalFiles compares Files, with their secrets.
var equalFiles = cmp.Options{cmp.AllowUnexported(config.Secret{}), cmpopts.EquateEmpty()}
