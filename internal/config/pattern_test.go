package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// pattern is a mirror of what quay.io lists.
func pattern(t *testing.T, from, to string) config.Pattern {
	t.Helper()
	c := mustLoad(t, mirror("  from: {registry: quay.io, "+from+"}\n  to: "+to+"\n  tags: latest\n"))
	if len(c.Patterns) != 1 || len(c.Rules) != 0 {
		t.Fatalf("%d patterns, %d rules", len(c.Patterns), len(c.Rules))
	}
	return c.Patterns[0]
}

func TestPatternMatches(t *testing.T) {
	const listed = "team/a team/b-c team/sub/d other team"
	for _, test := range []struct{ repositories, want string }{
		{"team/*", "team/a team/b-c"},
		{"team/**", "team/a team/b-c team/sub/d"},
		{"'**'", "team/a team/b-c team/sub/d other team"},
		{"'*'", "other team"},
		{"'*/a'", "team/a"},
		{"team/*-*", "team/b-c"},
		{"team", "team"},
		{"'regex: team/.'", "team/a"},
		{"'regex: o.*|team'", "other team"},
		{"[other, team/a]", "team/a other"},
		{"team/.", ""},
	} {
		p := pattern(t, "repositories: "+test.repositories, "{registry: r.example.com}")
		var got []string
		for path := range strings.FieldsSeq(listed) {
			if p.Matches(path) {
				got = append(got, path)
			}
		}
		if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.repositories, diff)
		}
	}
}

// routes writes what a mirror copies where.
func routes(mirrors []discover.Mirror) []string {
	var lines []string
	for _, m := range mirrors {
		lines = append(lines, m.Upstream.String()+" > "+m.Target.String())
	}
	return lines
}

func TestExpand(t *testing.T) {
	p := pattern(t, "repositories: team/**, maxItems: 3, cacheDuration: 0s", "[{registry: r.example.com}, {registry: 111122223333.dkr.ecr.eu-west-1.amazonaws.com, prefix: m}]")
	if p.Name != "m" || p.Registry != "quay.io" || p.Lister != config.ListCatalog || p.MaxItems != 3 || p.CacheDuration != 0 || p.Place() != "a.yaml:3" {
		t.Errorf("pattern %+v", p)
	}
	mirrors, err := p.Expand([]string{"team/b", "x", "/team/a", "team/b"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"quay.io/team/a > r.example.com/team/a",
		"quay.io/team/a > 111122223333.dkr.ecr.eu-west-1.amazonaws.com/m/team/a",
		"quay.io/team/b > r.example.com/team/b",
		"quay.io/team/b > 111122223333.dkr.ecr.eu-west-1.amazonaws.com/m/team/b",
	}
	if diff := cmp.Diff(want, routes(mirrors)); diff != "" {
		t.Errorf("mirrors (-want +got):\n%s", diff)
	}
	origin := discover.Origin{Kind: config.FromFile, Place: "a.yaml:3", Region: "eu-west-1"}
	if mirrors[1].Origin != origin || mirrors[1].Rules.String() != "latest" {
		t.Errorf("mirror %+v", mirrors[1])
	}
	if mirrors, err := p.Expand(nil); len(mirrors) != 0 || err != nil {
		t.Errorf("of nothing: %v, %v", mirrors, err)
	}
}

func TestExpandProblems(t *testing.T) {
	for _, test := range []struct {
		name, to string
		listed   string
		want     []string
		problem  string
	}{
		{
			"too many", "{registry: r.example.com}", "a b c d", nil,
			"a.yaml:3: more repositories of quay.io match than maxItems allows, 3: narrow the pattern, or allow more",
		},
		{
			"no repository's name", "{registry: r.example.com}", "a B a@b",
			[]string{"quay.io/a > r.example.com/a"},
			"a.yaml:3: quay.io lists \"B\", which is not a repository\na.yaml:3: quay.io lists \"a@b\", which is not a repository",
		},
		{
			"one destination for two", "{registry: r.example.com, regex: '^[ab]$', replacement: x}", "a b c",
			[]string{"quay.io/a > r.example.com/x", "quay.io/c > r.example.com/c"},
			"a.yaml:3: quay.io/a and quay.io/b would both be mirrored to r.example.com/x",
		},
		{
			"onto itself", "{registry: quay.io, regex: ^b$, replacement: z}", "a b",
			[]string{"quay.io/b > quay.io/z"},
			"a.yaml:3: quay.io/a would be mirrored onto itself",
		},
		{
			"no path", "{registry: r.example.com, regex: ^a$, replacement: ''}", "a b",
			[]string{"quay.io/b > r.example.com/b"},
			`a.yaml:3: quay.io/a becomes the path "", which no repository can have`,
		},
	} {
		p := pattern(t, "repositories: 'regex: .*', maxItems: 3", test.to)
		mirrors, err := p.Expand(strings.Fields(test.listed))
		if diff := cmp.Diff(test.want, routes(mirrors)); diff != "" {
			t.Errorf("%s: mirrors (-want +got):\n%s", test.name, diff)
		}
		if diff := cmp.Diff(test.problem, fmt.Sprint(err)); diff != "" {
			t.Errorf("%s: error (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestListers(t *testing.T) {
	for _, test := range []struct {
		from string
		want config.Pattern
	}{
		{"registry: quay.io", config.Pattern{Lister: config.ListCatalog, MaxItems: 1000, CacheDuration: time.Hour}},
		{"registry: 111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com, maxItems: 0", config.Pattern{Lister: config.ListECR, CacheDuration: time.Hour}},
		{"registry: public.ecr.aws, cacheDuration: 10m", config.Pattern{Lister: config.ListECRPublic, MaxItems: 1000, CacheDuration: 10 * time.Minute}},
		{"registry: docker.io, lister: docker-hub, namespace: grafana", config.Pattern{Lister: config.ListDockerHub, Namespace: "grafana", MaxItems: 1000, CacheDuration: time.Hour}},
		{"registry: docker.io, lister: docker-hub-search, search: jenkins", config.Pattern{Lister: config.ListDockerHubSearch, Search: "jenkins", MaxItems: 1000, CacheDuration: time.Hour}},
	} {
		c := mustLoad(t, mirror("  from: {"+test.from+", repositories: a}\n  to: {registry: r.example.com}\n  tags: latest\n"))
		p := c.Patterns[0]
		got := config.Pattern{Lister: p.Lister, Namespace: p.Namespace, Search: p.Search, MaxItems: p.MaxItems, CacheDuration: p.CacheDuration}
		if fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s: %+v, want %+v", test.from, got, test.want)
		}
	}
}

// A search has as many results as it is asked for, and the first of them are meant.
func TestSearchIsCut(t *testing.T) {
	c := mustLoad(t, mirror("  from: {registry: docker.io, repositories: '**', lister: docker-hub-search, search: a, maxItems: 2}\n  to: {registry: r.example.com}\n  tags: latest\n"))
	mirrors, err := c.Patterns[0].Expand([]string{"z/most-wanted", "b/second", "a/third"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"docker.io/b/second > r.example.com/b/second", "docker.io/z/most-wanted > r.example.com/z/most-wanted"}, routes(mirrors)); diff != "" {
		t.Errorf("mirrors (-want +got):\n%s", diff)
	}
}

func TestPaths(t *testing.T) {
	for _, test := range []struct{ upstream, to, want string }{
		{"quay.io/org/app", "{registry: r.example.com}", "r.example.com/org/app"},
		{"nginx", "{registry: r.example.com}", "r.example.com/library/nginx"},
		{"quay.io/org/app", "{registry: r.example.com, prefix: mirror/quay}", "r.example.com/mirror/quay/org/app"},
		{"quay.io/org/app", "{registry: r.example.com, regex: '^org/(.*)$', replacement: 'team/${1}-copy'}", "r.example.com/team/app-copy"},
		{"quay.io/org/app", "{registry: r.example.com, regex: '^(?P<team>[^/]+)/', replacement: 'x/$team/'}", "r.example.com/x/org/app"},
		{"quay.io/org/app", "{registry: r.example.com, regex: 'org/', replacement: ''}", "r.example.com/app"},
		{"quay.io/a/a/b", "{registry: r.example.com, regex: a, replacement: z}", "r.example.com/z/z/b"},
		{"quay.io/org/app", "{registry: r.example.com, regex: other, replacement: z}", "r.example.com/org/app"},
		{"quay.io/org/app", "{registry: r.example.com, template: '{{.Namespace}}-{{.Name}}'}", "r.example.com/org-app"},
		{"quay.io/org/app", "{registry: r.example.com, template: '{{.Registry}}/{{.Path | replace \"/\" \"-\"}}'}", "r.example.com/quay.io/org-app"},
		{"quay.io/app", "{registry: r.example.com, template: '{{with .Namespace}}{{.}}/{{else}}none/{{end}}{{.Name}}'}", "r.example.com/none/app"},
		{"quay.io/org/app", "{registry: r.example.com, template: '{{if eq .Namespace \"org\"}}o{{else}}x{{end}}/{{trimPrefix \"a\" .Name}}{{trimSuffix \"p\" .Name}}{{lower \"X\"}}'}", "r.example.com/o/ppapx"},
		{"quay.io/org/app", "{registry: docker.io, prefix: me}", "docker.io/me/org/app"},
		{"quay.io/org/app", "{registry: 'localhost:5000'}", "localhost:5000/org/app"},
	} {
		got := mustLoad(t, mirror("  from: "+test.upstream+"\n  to: "+test.to+"\n  tags: latest\n")).Mirrors()[0].Target.String()
		if got != test.want {
			t.Errorf("%s to %s: %s, want %s", test.upstream, test.to, got, test.want)
		}
	}
}

// Rules from other places join those of the file when clashes are looked for.
func TestClashes(t *testing.T) {
	faults.Covers(t, "F88")
	mirrors := mustLoad(t, head+`mirrors:
- {name: a, from: quay.io/a, to: r.example.com/x, tags: [1.0, 2.*]}
- {name: b, from: quay.io/b, to: r.example.com/x, tags: [2.0, 3.0]}
- {name: c, from: quay.io/c, to: r.example.com/x, tags: {literals: [1.0, 4.0], exclude: 1.*}}
- {name: d, from: quay.io/d, to: "r.example.com/x:5.0", tags: 1.0}
`).Mirrors()
	if clashes := config.Clashes(mirrors); len(clashes) != 0 {
		t.Errorf("clashes %v", clashes)
	}
	tagged := mirrors[1]
	tagged.Upstream.Path = "e"
	tagged.Origin = discover.Origin{Kind: discover.FromResourceTags, Place: "arn:aws:ecr:…"}
	clashes := config.Clashes(append(mirrors, tagged))
	if want := "[r.example.com/x:2.0 is written by two rules: a.yaml:4 and arn:aws:ecr:…]"; fmt.Sprint(clashes) != want {
		t.Errorf("clashes %v, want %s", clashes, want)
	}
}

// Mirrors may follow each other, and meet, as long as nothing comes back.
func TestChainsAreNoCircles(t *testing.T) {
	mustLoad(t, head+`mirrors:
- {name: a, from: quay.io/a, to: [quay.io/b, quay.io/c], tags: x}
- {name: b, from: quay.io/b, to: quay.io/d, tags: x}
- {name: c, from: quay.io/c, to: quay.io/d, tags: y}
`)
}
