package config_test

import (
	"fmt"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

// problemCases are texts that Load refuses, each for one reason or a few.
func problemCases() []struct{ name, text string } {
	m, tags := mirror, withTags
	const nginx = "  from: docker.io/library/nginx\n"
	const to = "  to: registry.example.com/nginx\n"
	const latest = "  tags: latest\n"
	return []struct{ name, text string }{
		// The file as a whole.
		{"empty", ""},
		{"only comments", "# nothing\n---\n"},
		{"two documents", head + "---\n" + head},
		{"a list", "- a\n"},
		{"a word", "hello"},
		{"binary", "\xff\xfe\x00"},
		{"too large", strings.Repeat("#", config.MaxFile+1)},
		{"too many values", "a: [" + strings.Repeat("b,", 200_000) + "]"},
		{"nested too deeply", head + "x-a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40)},
		{"nested far too deeply", "a: " + strings.Repeat("[", 20_000)},
		{"alias bomb", head + "x-a: &a [x,x,x,x,x,x,x,x,x,x]\n" + bomb()},
		{"alias to itself", head + "x-a: &a [*a]\n"},
		{"tab", head + "mirrors:\n\t- name: a\n"},
		{"unclosed", head + "mirrors: [a\nregistries: {}\n"},
		{"apiVersion", "apiVersion: v1\n"},
		{"no apiVersion", "mirrors: []\n"},

		// Keys.
		{"unknown key", head + "mirors: []\n"},
		{"unknown key like none", head + "colour: red\n"},
		{"own keys", head + "x-mine: &a [1, {b: c}]\ny-mine: 1\n"},
		{"another tool's key", m("  source: nginx\n" + to + latest)},
		{"another tool's key, folded", m(nginx + to + "  tags: {pinnedMajor: 1}\n")},
		{"key in another case", m(nginx + to + latest + "  Replace: true\n")},
		{"key twice", m(nginx + to + latest + nginx)},
		{"key that is a list", head + "[a]: b\n"},
		{"merge of a word", head + "<<: b\n"},
		{"no value", m(nginx + "  to:\n" + latest)},
		{"no single value", m(nginx + to + latest + "  platform:\n")},
		{"nothing in a mirror", head + "mirrors: [{}]\n"},
		{"several at once", head + "mirrors:\n- name: a b\n  from: a:b:c\n  to: x\n  tags: [+, {}]\n  replace: yes\n"},

		// Kinds of values.
		{"map for list", head + "mirrors: {a: b}\n"},
		{"list for map", head + "registries: []\n"},
		{"list for text", m("  from: [a]\n" + to + latest)},
		{"text for map", head + "defaults: all\n"},
		{"switch in quotes", head + "defaults: {replace: \"true\"}\n"},
		{"switch of YAML 1.1", head + "defaults: {replace: yes}\n"},
		{"number in quotes", head + "defaults: {minTags: \"3\"}\n"},
		{"number below", head + "defaults: {minTags: -1}\n"},
		{"number with a zero", head + "defaults: {minTags: 010}\n"},
		{"number with a fraction", head + "defaults: {minTags: 1.5}\n"},
		{"rate of nothing", head + "registries: {quay.io: {limits: {manifestWritesPerSecond: 0}}}\n"},
		{"YAML tag", tags("  tags: !regex a\n")},
		{"empty list", tags("  tags: []\n")},
		{"empty platforms", tags("  tags: a\n  platforms: []\n")},
		{"key with control characters", head + "\"a\\e\\nb\": c\n"},
		{"control characters", tags("  tags: \"a\\e[31m\\nb\"\n")},
		{"long text", tags("  tags: " + strings.Repeat("a", 200) + "\n")},

		// Pruning.
		{"prune as a word", tags("  tags: 1.*\n  prune: yes\n")},
		{"prune as a list", tags("  tags: 1.*\n  prune: [true]\n")},
		{"docker-sync's name", tags("  tags: 1.*\n  purge: true\n")},
		{"no grace", tags("  tags: 1.*\n  prune: {grace: 0s}\n")},
		{"grace in days", tags("  tags: 1.*\n  prune: {grace: 7d}\n")},
		{"prune with mode: higher", tags("  tags: {mode: higher}\n  prune: true\n")},
		{"prune by default with mode: higher", head + "defaults: {prune: true}\nmirrors:\n- {name: m, from: quay.io/a, to: quay.io/b, tags: {mode: higher}}\n"},
		{"no share", head + "prune: {maxShare: a tenth}\n"},
		{"more than all", head + "prune: {maxShare: 110%}\n"},
		{"no object", head + "prune: {state: s3://bucket/}\n"},
		{"brakes in a mirror", tags("  tags: 1.*\n  prune: {max: 5}\n")},

		// References to the environment.
		{"reference where none is read", m("  from: docker.io/${REPO}\n" + to + latest)},
		{"reference in a tag", tags("  tags: \"${TAG}\"\n")},

		{"reference without quotes in a flow", head + "registries: {quay.io: {credentials: {token: ${TOKEN}}}}\n"},

		// Tags.
		{"anchor for a glob", tags("  tags: [*-alpine]\n")},
		{"star alone", tags("  tags: *\n")},
		{"plus for a wildcard", tags("  tags: 1.27.+\n")},
		{"excluding word", tags("  tags: [1.*, \"-*rc*\"]\n")},
		{"keep in a list", tags("  tags: [\"keep: latest 5\"]\n")},
		{"keep a number", tags("  tags: {globs: a*, keep: 5}\n")},
		{"keep so many of the newest", tags("  tags: {globs: a*, keep: [b*, latest 5]}\n")},
		{"keep a digest", tags("  tags: {globs: a*, keep: a@sha256:" + strings.Repeat("a", 64) + "}\n")},
		{"keep nothing", tags("  tags: {globs: a*, keep: []}\n")},
		{"keep literals", tags("  tags: {globs: a*, keep: {literals: a}}\n")},
		{"only keep", tags("  tags: {keep: a*}\n")},
		{"keep beside single tags", tags("  tags: {literals: a, keep: a*}\n")},
		{"inverted twice", tags("  tags: [\"!!a\"]\n")},
		{"inverted without quotes", tags("  tags: [a, !regex: b]\n")},
		{"inverted digest", tags("  tags: \"!a@sha256:" + strings.Repeat("a", 64) + "\"\n")},
		{"inverted expression that is none", tags("  tags: [\"!regex: (\"]\n")},
		{"inverted exclusion", tags("  tags: {globs: a*, exclude: \"!b*\"}\n")},
		{"narrowing word", tags("  tags: [\"newest:3\"]\n")},
		{"word of the tag language", tags("  tags: [\"re:YQ\"]\n")},
		{"digest without a name", tags("  tags: sha256:" + strings.Repeat("a", 64) + "\n")},
		{"short digest", tags("  tags: a@sha256:" + strings.Repeat("a", 63) + "\n")},
		{"no range", tags("  tags: \"semver: latest\"\n")},
		{"no expression", tags("  tags: \"regex: (\"\n")},
		{"expression that escapes its group", tags("  tags: {regex: a)(b}\n")},
		{"long expression", tags("  tags: {regex: " + strings.Repeat("a", 1001) + "}\n")},
		{"expression that grows", tags("  tags: {regex: '" + strings.Repeat(".{1000}", 6) + "'}\n")},
		{"path expression that grows", m(nginx + "  to: {registry: quay.io, regex: '" + strings.Repeat("a{1000}", 6) + "', replacement: b}\n" + latest)},
		{"variant in a range", tags("  tags: \"semver: >=1.2-alpine\"\n")},
		{"nothing chooses", tags("  tags: {variant: alpine}\n")},
		{"only excluding", tags("  tags: {exclude: a}\n")},
		{"empty map", tags("  tags: {}\n")},
		{"idle switches", tags("  tags: {literals: a, variant: alpine, major: 1}\n")},
		{"newestBy alone", tags("  tags: {globs: a*, newestBy: created}\n")},
		{"mode", tags("  tags: {mode: newest}\n")},
		{"newest none", tags("  tags: {newest: 0}\n")},
		{"immutable and mutable", tags("  tags: {globs: a*, immutable: a, mutable: b}\n")},
		{"a tag under two digests", tags("  tags: [a, a@sha256:" + strings.Repeat("b", 64) + "]\n")},
		{"map for an excluding term", tags("  tags: {globs: a*, exclude: {newest: 3}}\n")},

		// From.
		{"upstream with a tag", m("  from: nginx:1.27\n" + to + latest)},
		{"upstream with a digest", m("  from: nginx@sha256:" + strings.Repeat("a", 64) + "\n" + to + latest)},
		{"upstream with a scheme", m("  from: https://quay.io/a/b\n" + to + latest)},
		{"upstream in capitals", m("  from: docker.io/Library/nginx\n" + to + latest)},
		{"registry without repositories", m("  from: {registry: quay.io}\n" + to + latest)},
		{"repository and registry", m("  from: {registry: quay.io, repository: quay.io/a, repositories: a}\n" + to + latest)},
		{"lister of a repository", m("  from: {repository: quay.io/a, lister: catalog}\n" + to + latest)},
		{"catalogue of Docker Hub", m("  from: {registry: docker.io, repositories: library/*}\n  to: {registry: quay.io}\n" + latest)},
		{"Docker Hub elsewhere", m("  from: {registry: quay.io, repositories: a, lister: docker-hub, namespace: a}\n  to: {registry: quay.io}\n" + latest)},
		{"namespace missing", m("  from: {registry: docker.io, repositories: a, lister: docker-hub}\n  to: {registry: quay.io}\n" + latest)},
		{"search missing", m("  from: {registry: docker.io, repositories: a, lister: docker-hub-search}\n  to: {registry: quay.io}\n" + latest)},
		{"lister", m("  from: {registry: quay.io, repositories: a, lister: guess}\n  to: {registry: quay.io}\n" + latest)},
		{"pattern", m("  from: {registry: quay.io, repositories: [\"a?\", \"regex: (\"]}\n  to: {registry: quay.io}\n" + latest)},
		{"cache duration without a unit", m("  from: {registry: quay.io, repositories: a, cacheDuration: 60}\n  to: {registry: quay.io}\n" + latest)},

		// To.
		{"docker-sync's bucket", m(nginx + "  to: s3:us-east-1:bucket:image\n" + latest)},
		{"bucket alone", m(nginx + "  to: s3://bucket\n" + latest)},
		{"bucket as upstream", m("  from: s3://bucket/nginx\n  to: registry.example.com/nginx\n" + latest)},
		{"bucket with a digest", m(nginx + "  to: r2://account/bucket/nginx@sha256:" + strings.Repeat("0", 64) + "\n" + latest)},
		{"bucket with a path for a registry", head + "registries: {'s3://bucket/nginx': {}}\n"},
		{"bucket settings of a registry", head + "registries: {docker.io: {s3: {region: eu-west-1}}}\n"},
		{"R2 elsewhere", head + "registries: {'r2://account/bucket': {s3: {endpoint: 'https://s3.example.com', bucket: other}}}\n"},
		{"bucket endpoint", head + "registries: {'s3://bucket': {s3: {endpoint: 's3.example.com'}}}\n"},
		{"bucket endpoint with a path", head + "registries: {'s3://bucket': {s3: {endpoint: 'https://s3.example.com/x'}}}\n"},
		{"bucket with a token", head + "registries: {'s3://bucket': {credentials: {token: x}}}\n"},
		{"bucket of nobody", head + "registries: {'s3://bucket': {credentials: none}}\n"},
		{"bucket with TLS of its own", head + "registries: {'s3://bucket': {tls: {insecure: true}}}\n"},
		{"bucket of two identities", head + "registries: {'s3://bucket': {credentials: {username: a, password: b}, s3: {profile: p}}}\n"},
		{"bucket with words of no meaning", head + "registries: {'s3://bucket': {s3: {acl: everyone, storageClass: cold stone, tagsMaxAge: -1s, folder: /x}}}\n"},
		{"destination with a digest", m(nginx + "  to: quay.io/a@sha256:" + strings.Repeat("a", 64) + "\n" + latest)},
		{"destination with a tag, several tags", m(nginx + "  to: quay.io/a:b\n  tags: [a, b]\n")},
		{"destination with a tag, glob", m(nginx + "  to: quay.io/a:b\n  tags: [a, b*]\n")},
		{"neither repository nor registry", m(nginx + "  to: {prefix: a}\n" + latest)},
		{"mapping of a repository", m(nginx + "  to: {repository: quay.io/a, prefix: a}\n" + latest)},
		{"two mappings", m(nginx + "  to: {registry: quay.io, prefix: a, template: b}\n" + latest)},
		{"regex without replacement", m(nginx + "  to: {registry: quay.io, regex: a}\n" + latest)},
		{"no regex", m(nginx + "  to: {registry: quay.io, regex: (, replacement: a}\n" + latest)},
		{"prefix with a slash", m(nginx + "  to: {registry: quay.io, prefix: /a/}\n" + latest)},
		{"template that is none", m(nginx + "  to: {registry: quay.io, template: \"{{\"}\n" + latest)},
		{"template with an unknown field", m(nginx + "  to: {registry: quay.io, template: \"{{.Tag}}\"}\n" + latest)},
		{"template with a loop", m(nginx + "  to: {registry: quay.io, template: \"{{range 1000000000}}a{{end}}\"}\n" + latest)},
		{"template with printf", m(nginx + "  to: {registry: quay.io, template: \"{{printf `%1000000000d` 1}}\"}\n" + latest)},
		{"template in a template", m(nginx + "  to: {registry: quay.io, template: \"{{define `a`}}{{template `a`}}{{end}}\"}\n" + latest)},
		{"template that grows", m(nginx + "  to: {registry: quay.io, template: '" + "{{.Name" + strings.Repeat(` | replace "a" "aaaaaaaa"`, 20) + "}}'}\n" + latest)},
		{"mapping to no path", m(nginx + "  to: {registry: quay.io, regex: .*, replacement: \"\"}\n" + latest)},
		{"mapping to capitals", m(nginx + "  to: {registry: quay.io, template: \"A{{.Path}}\"}\n" + latest)},
		{"pattern to one repository", m("  from: {registry: quay.io, repositories: a/*}\n  to: r.example.com/a\n" + latest)},

		// Other keys of mirrors and defaults.
		{"name", head + "mirrors:\n- name: a b\n" + nginx + to + latest},
		{"same name", head + "mirrors:\n- name: a\n" + nginx + to + latest + "- name: a\n" + nginx + "  to: quay.io/b\n" + latest},
		{"platform", tags("  tags: a\n  platforms: [linux, linux/amd64]\n")},
		{"all and more", tags("  tags: a\n  platforms: [all, linux/amd64]\n")},
		{"platform and platforms", tags("  tags: a\n  platforms: all\n  platform: linux/amd64\n")},
		{"platform and platforms in defaults", head + "defaults: {platforms: all, platform: linux/amd64}\n"},
		{"short interval", tags("  tags: a\n  schedule: 10s\n")},
		{"interval without a unit", tags("  tags: a\n  schedule: 60\n")},
		{"cron of four", tags("  tags: a\n  schedule: 0 3 * *\n")},
		{"cron out of range", tags("  tags: a\n  schedule: 0 24 * * *\n")},
		{"cron backwards", tags("  tags: a\n  schedule: 0 0 * * FRI-MON\n")},
		{"cron step of none", tags("  tags: a\n  schedule: \"*/0 * * * *\"\n")},
		{"both kinds of schedule", tags("  tags: a\n  schedule: {interval: 1h, cron: \"@daily\"}\n")},
		{"time zone of an interval", tags("  tags: a\n  schedule: {interval: 1h, timeZone: UTC}\n")},
		{"time zone", tags("  tags: a\n  schedule: {cron: \"@daily\", timeZone: Europe/../etc}\n")},
		{"schedule of neither", tags("  tags: a\n  schedule: {}\n")},

		// Registries, discovery, allowed upstreams.
		{"host with a path", head + "registries: {quay.io/org: {}}\n"},
		{"host without a dot", head + "registries: {registry: {}}\n"},
		{"Docker Hub's other name", head + "registries: {index.docker.io: {}}\n"},
		{"host with a scheme", head + "registries: {\"https://quay.io\": {}}\n"},
		{"plain HTTP with a certificate", head + "registries: {quay.io: {tls: {plainHTTP: true, ca: a.pem}}}\n"},
		{"a client certificate without its key", head + "registries: {quay.io: {tls: {cert: a.pem}}}\n"},
		{"a key without its client certificate", head + "registries: {quay.io: {tls: {key: a.pem}}}\n"},
		{"plain HTTP with a client certificate", head + "registries: {quay.io: {tls: {plainHTTP: true, cert: a.pem, key: b.pem}}}\n"},
		{"plain HTTP with a version of TLS", head + "registries: {quay.io: {tls: {plainHTTP: true, minVersion: 1.3}}}\n"},
		{"a version of TLS that nobody should speak", head + "registries: {quay.io: {tls: {minVersion: 1.1}}}\n"},
		{"insecure with a certificate", head + "registries: {quay.io: {tls: {insecure: true, ca: a.pem}}}\n"},
		{"account", head + "discovery: {ecr: [{account: 1234}]}\n"},
		{"region", head + "discovery: {ecr: [{regions: [eu-central-1, Frankfurt]}]}\n"},
		{"role", head + "discovery: {ecr: [{role: mirror}]}\n"},
		{"one key for both", head + "discovery: {ecr: [{imageKey: a, tagKey: a}]}\n"},
		{"default key for both", head + "discovery: {ecr: [{tagKey: upstream-image}]}\n"},
		{"upstream pattern", head + "allowedUpstreams: [library/nginx, \"quay.io/a:b\", \"quay.io/[\", quay.io]\n"},

		// What mirrors do together.
		{"onto itself", m("  from: nginx\n  to: docker.io/library/nginx\n" + latest)},
		{"onto itself by mapping", m("  from: quay.io/a/b\n  to: {registry: quay.io}\n" + latest)},
		{"circle of two", head + "mirrors:\n- name: a\n  from: quay.io/a\n  to: quay.io/b\n  tags: x\n- name: b\n  from: quay.io/b\n  to: quay.io/a\n  tags: y\n"},
		{"circle of three", head + "mirrors:\n- name: a\n  from: quay.io/a\n  to: quay.io/b\n  tags: x\n- name: b\n  from: quay.io/b\n  to: [quay.io/d, quay.io/c]\n  tags: y\n- name: c\n  from: quay.io/c\n  to: quay.io/a\n  tags: y\n"},
		{"one destination tag twice", head + "mirrors:\n- name: a\n  from: quay.io/a\n  to: quay.io/z\n  tags: [x, 1.*]\n- name: b\n  from: quay.io/b\n  to: [quay.io/y, quay.io/z]\n  tags: [w, x, y]\n"},
		{"one destination twice", m("  from: quay.io/a\n  to: [quay.io/z, quay.io/z]\n  tags: [x, y]\n")},
		{"renamed to a tag that is taken", head + "mirrors:\n- name: a\n  from: quay.io/a\n  to: quay.io/z:x\n  tags: [q]\n- name: b\n  from: quay.io/b\n  to: quay.io/z\n  tags: [x]\n"},
	}
}

// bomb is nine levels of ten aliases each.
func bomb() string {
	var b strings.Builder
	for level := byte('b'); level < 'j'; level++ {
		fmt.Fprintf(&b, "x-%c: &%c [%s]\n", level, level, strings.TrimSuffix(strings.Repeat("*"+string(level-1)+",", 10), ","))
	}
	return b.String()
}

// credentials is a file with credentials; they begin in line 5.
func credentials(keys string) string {
	return head + "registries:\n  quay.io:\n    credentials:\n" + keys
}

// credentialCases are refused too, and no problem shows a secret: each holds "canary".
func credentialCases() []struct{ name, text string } {
	return []struct{ name, text string }{
		{"a word", head + "registries: {quay.io: {credentials: canary}}\n"},
		{"a list", head + "registries: {quay.io: {credentials: [canary]}}\n"},
		{"a list for a secret", credentials("      token: [canary]\n")},
		{"a map for a secret", credentials("      token: {a: canary}\n")},
		{"an alias for a secret", credentials("      token: *canary\n")},
		{"an unclosed quote", credentials("      token: \"canary\n")},
		{"an unknown key", credentials("      passwort: canary\n")},
		{"a tag", credentials("      token: !!binary canary\n")},
		{"an exclamation mark", credentials("      token: !canary\n")},
		{"nothing", credentials("      {}\n")},
		{"user alone", credentials("      username: canary\n")},
		{"password alone", credentials("      password: canary\n      username:\n")},
		{"two kinds", credentials("      token: canary\n      authFile: auth.json\n")},
		{"unset variable", credentials("      token: ${CANARY_UNSET}\n")},
		{"empty variable", credentials("      token: ${EMPTY}\n")},
		{"variable inside", credentials("      token: canary${HUB_USER}\n")},
		{"no variable's name", credentials("      token: ${canary-1}\n")},
		{"missing file", credentials("      token: file:missing.txt\n")},
		{"empty file", credentials("      token: file:empty.txt\n")},
		{"no file", credentials("      token: 'file:'\n")},
		{"variable for an auth file", credentials("      authFile: ${HUB_USER}\n")},
		{"shown", credentials("      token: '[redacted]'\n")},
		{"google and a token", credentials("      google: default\n      token: canary\n")},
		{"google with another word", credentials("      google: canary\n")},
		{"google with a list", credentials("      google: [canary]\n")},
		{"google with nothing", credentials("      google: {}\n")},
		{"google left empty", credentials("      google:\n")},
		{"google with two kinds", credentials("      google: {key: canary, accessToken: canary}\n")},
		{"google with an unknown key", credentials("      google: {keyFile: canary}\n")},
		{"azure with another word", credentials("      azure: canary\n")},
		{"azure without an ID", credentials("      azure: {tenant: contoso, clientSecret: canary}\n")},
		{"azure without a tenant", credentials("      azure: {clientId: app, clientSecret: canary}\n")},
		{"azure in another case", credentials("      azure: {clientID: app}\n")},
		{"azure and google", credentials("      azure: default\n      google: default\n")},
	}
}
