package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// FromFile is the kind of origin of the rules in a file. They are an operator's.
const FromFile discover.OriginKind = "file"

// A Rule is a mirror of one repository to one destination.
type Rule struct {
	Schedule *Schedule // nil where neither the mirror nor the defaults have one
	Mirror   discover.Mirror
}

// A compiler turns the mirrors of a file that is well formed into rules and patterns.
type compiler struct {
	reader *reader
	file   *File
	rules  []Rule
	places []string // of each rule: the key of its destination
	wild   []Pattern
}

func (c *compiler) compile() {
	c.registries()
	c.receivers()
	names := make(map[string]bool)
	for i := range c.file.Mirrors {
		m := &c.file.Mirrors[i]
		path := "mirrors" + label(m.Name, i)
		switch {
		case m.Name != "" && names[m.Name]: // in one file: a later one would have replaced it
			c.reader.fail(path+".name", "a second mirror named "+quoted(m.Name), "names that differ")
		case !c.reader.broken[path]:
			c.mirror(m, path)
		}
		names[m.Name] = true
	}
	c.buckets()
	c.selves()
	c.settings()
	c.clashes()
	c.cycles()
}

// registries notes hosts that are said to be ECR's, and not whose or where.
func (c *compiler) registries() {
	for _, host := range slices.Sorted(maps.Keys(c.file.Registries)) {
		said, path := c.file.Registries[host].ECR, "registries"+label(host, 0)+".ecr"
		if said == nil || said.Public || isPublicECR(host) {
			continue
		}
		named := ecrHost.FindStringSubmatch(host)
		switch {
		case named == nil && (said.Account == "" || said.Region == ""):
			c.reader.fail(path, quoted(host)+" does not say which registry it is", "account and region")
		case named != nil && said.Account != "" && !strings.HasPrefix(host, said.Account+"."):
			c.reader.fail(path+".account", quoted(host)+" is the registry of another account", "no account")
		case named != nil && said.Region != "" && said.Region != named[1]:
			c.reader.fail(path+".region", quoted(host)+" is a registry in another Region", "no region")
		}
	}
}

func (c *compiler) mirror(m *Mirror, path string) {
	before := c.reader.book.count
	common := c.common(m, path)
	routes := c.routes(m, path)
	if c.reader.book.count != before {
		return
	}
	schedule := m.Schedule
	if schedule == nil {
		schedule = c.file.Defaults.Schedule
	}
	if m.From.Repository == "" {
		c.pattern(m, common, routes, schedule, path)
		return
	}
	c.each(m, common, routes, schedule, path)
}

// each adds a rule for each destination of one repository.
func (c *compiler) each(m *Mirror, common discover.Mirror, routes []route, schedule *Schedule, path string) {
	for i, way := range routes {
		to := path + ".to" + label("", i)
		target, err := way.target(common.Upstream)
		if err != nil {
			c.reader.fail(to, err.Error(), "")
			continue
		}
		each := common
		each.Target, each.As, each.Origin.Region = target.Repository, target.Tag, regionOf(target.Repository.Host)
		if each.As != "" && !m.Tags.single() {
			c.reader.fail(to, "the destination has the tag "+quoted(each.As), "a repository, or tags that name a single tag")
			continue
		}
		if c.describes(m) {
			if err := describe(&each); err != nil {
				c.reader.fail(to, err.Error(), "describe: false")
				continue
			}
		}
		c.rules = append(c.rules, Rule{Schedule: schedule, Mirror: each})
		c.places = append(c.places, to)
	}
}

// describes reports whether the destinations of a mirror are to say what they mirror.
func (c *compiler) describes(m *Mirror) bool {
	return orElse(m.Repositories.over(c.file.Defaults.Repositories).Describe, false)
}

// single reports whether the tags are one tag, named.
func (t Tags) single() bool {
	return t.fixed() && len(t.Literals)+len(t.Digests) == 1
}

// common returns what all rules of a mirror share.
func (c *compiler) common(m *Mirror, path string) discover.Mirror {
	defaults := c.file.Defaults
	each := discover.Mirror{
		Name:      m.Name,
		Rules:     m.Tags.rules(defaults),
		Platforms: c.platforms(m, path),
		Options: discover.Options{
			Replace:   orElse(m.Replace, orElse(defaults.Replace, true)),
			Referrers: orElse(m.Referrers, orElse(defaults.Referrers, true)),
		},
		Prune:      c.pruning(m, path),
		Repository: m.Repositories.over(c.file.Defaults.Repositories).rule(),
		Origin:     discover.Origin{Kind: FromFile, Place: c.reader.place(path).line()},
	}
	if _, err := selection.Compile(each.Rules); err != nil {
		c.reader.fail(path+".tags", ruleProblem(err), "")
	}
	if m.From.Repository != "" {
		upstream, _ := ref.ParseUpstream(m.From.Repository) // its grammar was checked
		each.Upstream = upstream.Repository
	}
	return each
}

// ruleProblem says which term cannot be compiled.
func ruleProblem(err error) string {
	if term, ok := errors.AsType[*selection.TermError](err); ok {
		return quoted(term.Term.Text) + ": " + oneLine(term.Err.Error())
	}
	return oneLine(err.Error())
}

// platforms returns the mirror's own platforms, or those of the defaults.
func (c *compiler) platforms(m *Mirror, path string) discover.Platforms {
	if len(m.Platforms) == 0 && m.Platform == "" {
		m = &Mirror{Platforms: c.file.Defaults.Platforms, Platform: c.file.Defaults.Platform}
		path = "defaults"
	}
	var platforms discover.Platforms
	switch {
	case m.Platform != "" && len(m.Platforms) > 0:
		c.reader.fail(path+".platform", c.reader.among(path, []string{"platform", "platforms"})+" are given", "platform for one image, or platforms for an index")
	case m.Platform != "":
		one := c.platform(m.Platform, path+".platform")
		platforms.One = &one
	case len(m.Platforms) > 1 && slices.Contains(m.Platforms, "all"):
		c.reader.fail(path+".platforms", `"all" stands beside other platforms`, "all alone, or platforms")
	case !slices.Contains(m.Platforms, "all"):
		for i, s := range m.Platforms {
			if p := c.platform(s, path+".platforms"+label("", i)); !slices.Contains(platforms.Keep, p) {
				platforms.Keep = append(platforms.Keep, p)
			}
		}
	}
	return platforms
}

func (c *compiler) platform(s, path string) ref.Platform {
	p, err := ref.ParsePlatform(s)
	if err != nil {
		c.reader.fail(path, isNot(s, "a platform"), grammarOf("platform").expected)
	}
	return p
}

// routes compiles the destinations.
func (c *compiler) routes(m *Mirror, path string) []route {
	var routes []route
	for i, d := range m.To {
		way, err := compileRoute(d)
		to := path + ".to" + label("", i)
		switch {
		case err != nil:
			c.reader.fail(to, oneLine(err.Error()), "")
		case d.Repository != "" && m.From.Repository == "":
			c.reader.fail(to, "every repository of the pattern would go to "+quoted(d.Repository), "registry, with prefix, regex or template where the path is to change")
		}
		routes = append(routes, way)
	}
	return routes
}

func (c *compiler) pattern(m *Mirror, common discover.Mirror, routes []route, schedule *Schedule, path string) {
	p := Pattern{
		Name: m.Name, Schedule: schedule,
		Registry: m.From.Registry, Lister: m.From.lister(), Namespace: m.From.Namespace, Search: m.From.Search,
		MaxItems: m.From.maxItems(), CacheDuration: m.From.cacheFor(),
		routes: routes, rule: common, describes: c.describes(m),
	}
	for i, written := range m.From.Repositories {
		compiled, err := compileRepositories(written)
		if err != nil {
			c.reader.fail(path+".from.repositories"+label("", i), oneLine(err.Error()), "")
			continue
		}
		p.match = append(p.match, compiled)
	}
	c.wild = append(c.wild, p)
}

// selves notes mirrors of a repository onto itself.
func (c *compiler) selves() {
	for i, rule := range c.rules {
		if rule.Mirror.Upstream == rule.Mirror.Target {
			c.reader.fail(c.places[i], quoted(rule.Mirror.Target.String())+" is its own upstream", "another repository")
		}
	}
}

// clashes notes destination tags that two rules write.
func (c *compiler) clashes() {
	for _, clash := range Clashes(mirrorsOf(c.rules)) {
		c.reader.fail(c.places[clash.Later],
			clash.Target.String()+" is written by the mirror "+quoted(c.rules[clash.Earlier].Mirror.Name)+" too, at "+c.rules[clash.Earlier].Mirror.Origin.Place,
			"one rule for a destination tag")
	}
}

// cycles notes mirrors that go round in a circle.
func (c *compiler) cycles() {
	for _, cycle := range cycles(mirrorsOf(c.rules)) {
		var way []string
		for _, i := range cycle {
			way = append(way, c.rules[i].Mirror.Upstream.String()+" ("+c.rules[i].Mirror.Origin.Place+")")
		}
		last := cycle[len(cycle)-1]
		way = append(way, c.rules[last].Mirror.Target.String())
		c.reader.fail(c.places[last], "mirrors go round in a circle: "+strings.Join(way, " → "), "")
	}
}
