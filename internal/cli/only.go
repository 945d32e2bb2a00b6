package cli

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/shard"
)

// subsetFlags choose which mirrors run.
type subsetFlags struct {
	only  string
	shard shardFlags
}

func (f *subsetFlags) register(flags *pflag.FlagSet) {
	f.shard.register(flags)
	flags.StringVar(&f.only, "only", "", "only mirrors whose whole name matches `REGEX`; with a leading ! only the others (a name is that in the file, or the tagged repository's)")
}

func (f *subsetFlags) parse() (subset, error) {
	named, err := parseOnly(f.only)
	if err != nil {
		return subset{}, err
	}
	own, err := f.shard.parse()
	return subset{only: named, shard: own}, err
}

// choose is parse, and makes the command share its limits with the other shards.
func (c *command) choose(f *subsetFlags) (subset, error) {
	some, err := f.parse()
	c.shard = some.shard
	return some, err
}

// subset is which mirrors run: those that --only names, as far as their destinations are
// the shard's.
type subset struct {
	only
	shard shard.Shard
}

// has reports whether a mirror of that name, with a destination that is known, runs.
func (s subset) has(m discover.Mirror) bool { return s.runs(m.Name) && s.shard.Has(m.Target) }

// concerns reports whether something of a rule may run. Where its destination is not known
// before somebody has looked, every shard has to.
func (s subset) concerns(rule discover.Mirror) bool {
	return s.runs(rule.Name) && (rule.Target == (ref.Repository{}) || s.shard.Has(rule.Target))
}

// only is --only: which mirrors run, by their names.
type only struct {
	text   string
	expr   *regexp.Regexp // nil for all
	invert bool
}

// parseOnly reads an expression that a whole name has to match, or with a leading "!"
// must not.
func parseOnly(text string) (only, error) {
	if text == "" {
		return only{}, nil
	}
	written, invert := strings.CutPrefix(text, "!")
	expr, err := regexp.Compile(`^(?:` + written + `)$`)
	if err != nil {
		return only{}, usageErrorf("--only %q: %w", text, err)
	}
	return only{text: text, expr: expr, invert: invert}, nil
}

func (o only) runs(name string) bool { return o.expr == nil || o.expr.MatchString(name) != o.invert }

// part is a Finder that finds what another one does, as far as it is of the subset.
type part struct {
	of   mirror.Finder
	some subset
	file *config.Config
	out  []discover.Mirror // what --only has left out

	evenNone bool // that nothing is left is no error: another time something may be
}

func (p *part) Find(ctx context.Context) ([]discover.Finding, error) {
	found, err := p.of.Find(ctx)
	if err == nil && p.some.expr != nil {
		found, err = p.named(found)
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, p.elsewhere), nil
}

// elsewhere reports whether a finding is another shard's. What failed before it was known
// where it writes is every shard's: each searched by itself, and none can tell what it
// missed.
func (p *part) elsewhere(f discover.Finding) bool {
	return f.Mirror.Target != (ref.Repository{}) && !p.some.shard.Has(f.Mirror.Target)
}

// named returns the findings that --only lets run. That nothing is left is an error: it is
// what a mistyped name looks like.
func (p *part) named(found []discover.Finding) ([]discover.Finding, error) {
	// What could not be searched has no name, and may have held what was asked for.
	var left []discover.Finding
	for _, f := range found {
		if f.Mirror.Name != "" && !p.some.runs(f.Mirror.Name) {
			p.out = append(p.out, f.Mirror)
			continue
		}
		left = append(left, f)
	}
	if len(left) == 0 && !p.evenNone {
		return nil, usageErrorf("--only %s leaves none of %s", p.some.text, human.Count(len(found), "mirror"))
	}
	return left, nil
}

// leavesOut reports whether a mirror that --only has left out may write to a repository.
// Other shards' mirrors never do: all mirrors of a repository are of one shard.
func (p *part) leavesOut(repo ref.Repository) bool {
	return slices.ContainsFunc(p.out, func(m discover.Mirror) bool {
		return m.Target == repo || m.Target == (ref.Repository{}) && p.file.MayWriteTo(m.Name, repo)
	})
}
