package config

import (
	"errors"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/prune"
)

// A Prune says what becomes of tags at the destination that no rule wants. true or false
// may be written alone; a map turns it on.
type Prune struct {
	Enabled     *bool    `yaml:"enabled" doc:"Whether tags are pruned at all. true or false may be written alone: prune: true. In a map, false keeps the other keys for mirrors that say true." default:"true in a map"`
	Protect     []string `yaml:"protect" is:"glob" doc:"Tags that stay, whatever the rules say."`
	KeepAtLeast *int     `yaml:"keepAtLeast" min:"0" max:"1000000" doc:"The destination keeps at least this many tags." default:"0"`
	Grace       string   `yaml:"grace" is:"grace" doc:"How long a tag has to be unwanted before it goes." default:"168h"`
}

func (p *Prune) read(r *reader, n *node, path string) {
	const expected = "true or false, without quotes, or a map"
	switch {
	case n.kind == mapping:
		r.structureOf(p, n, path)
	case n.kind != scalar:
		r.wrongKind(n, path, expected)
	case n.tag != "!!bool" || n.value != "true" && n.value != "false":
		r.fail(path, isNot(n.value, "a switch"), expected)
	default:
		p.Enabled = new(n.value == "true")
	}
}

func (p Prune) show() *yaml.Node {
	if p.Protect == nil && p.KeepAtLeast == nil && p.Grace == "" && p.Enabled != nil {
		return alwaysNode(reflect.ValueOf(*p.Enabled))
	}
	return structureNode(p)
}

func (*Prune) schema(g *generator) schema {
	return schema{"anyOf": []schema{{"type": "boolean"}, g.reference(reflect.TypeFor[Prune]())}}
}

// pruneOf returns what holds for a mirror: its own keys, and those of the defaults where
// it has none. A mirror that says nothing is pruned if the defaults say so.
func pruneOf(own, defaults *Prune) discover.Prune {
	if own == nil && defaults == nil {
		return discover.Prune{}
	}
	p, d := orElse(own, orElse(defaults, Prune{})), orElse(defaults, Prune{})
	if len(p.Protect) == 0 {
		p.Protect = d.Protect
	}
	if p.Grace == "" {
		p.Grace = d.Grace
	}
	grace, _ := time.ParseDuration(p.Grace) // its grammar was checked; where there is none, 0 is the program's own
	return discover.Prune{
		On:          orElse(p.Enabled, true),
		Protect:     p.Protect,
		KeepAtLeast: orElse(p.KeepAtLeast, orElse(d.KeepAtLeast, 0)),
		Grace:       grace,
	}
}

// pruning returns what holds for a mirror, and notes a mode that says nothing about what
// is unwanted.
func (c *compiler) pruning(m *Mirror, path string) discover.Prune {
	p := pruneOf(m.Prune, c.file.Defaults.Prune)
	if p.On && m.Tags.Mode == string(discover.ModeHigher) {
		c.reader.fail(path+".prune", "mode: higher wants only what is new, so that all the rest would be pruned", "prune: false, or mode: highest, mode: semver or newest")
	}
	return p
}

// Pruning is what all mirrors of a run share that prune. Flags go before it.
type Pruning struct {
	Max      int    `yaml:"max" min:"0" max:"1000000" doc:"Remove at most this many tags in a run. If it would be more, none goes." default:"0, which only reports"`
	MaxShare string `yaml:"maxShare" is:"share" doc:"Remove at most this share of a repository's tags. If it would be more, none of them goes." default:"0%, which only reports"`
	State    string `yaml:"state" is:"state" doc:"A file, or s3://BUCKET/KEY, that remembers since when tags are unwanted." default:"none, which only reports"`
}

// checkGrace takes a duration that gives at least one run the time to show a tag.
func checkGrace(s string) error {
	if d, err := time.ParseDuration(s); err != nil || d <= 0 {
		return errors.New(isNot(s, "a time to wait"))
	}
	return nil
}

// inBucket reports whether a state is kept in a bucket, and not in a file.
func inBucket(location string) bool { return strings.HasPrefix(location, "s3:") }

var bucketPattern = pattern(`^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^?#]*[^/?#]$`)

func checkState(s string) error {
	if inBucket(s) && !bucketPattern.MatchString(s) {
		return errors.New(isNot(s, "an object in a bucket"))
	}
	return nil
}

func checkShare(s string) error {
	if _, err := prune.ParseShare(s); err != nil {
		return errors.New(isNot(s, "a share"))
	}
	return nil
}
