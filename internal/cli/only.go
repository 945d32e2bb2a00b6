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
)

// subsetFlags choose which mirrors run.
type subsetFlags struct{ only string }

func (f *subsetFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.only, "only", "", "only mirrors whose whole name matches `REGEX`; with a leading ! only the others (a name is that in the file, or the tagged repository's)")
}

func (f *subsetFlags) parse() (only, error) { return parseOnly(f.only) }

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

// part is a Finder that finds what another one does, as far as --only lets it run. That
// nothing is left is an error: it is what a mistyped name looks like.
type part struct {
	of   mirror.Finder
	only only
	file *config.Config
	out  []discover.Mirror // what Find has left out

	evenNone bool // that nothing is left is no error: another time something may be
}

func (p *part) Find(ctx context.Context) ([]discover.Finding, error) {
	found, err := p.of.Find(ctx)
	if err != nil || p.only.expr == nil {
		return found, err
	}
	// What could not be searched has no name, and may have held what was asked for.
	var left []discover.Finding
	for _, f := range found {
		if f.Mirror.Name != "" && !p.only.runs(f.Mirror.Name) {
			p.out = append(p.out, f.Mirror)
			continue
		}
		left = append(left, f)
	}
	if len(left) == 0 && !p.evenNone {
		return nil, usageErrorf("--only %s leaves none of the %d mirrors", p.only.text, len(found))
	}
	return left, nil
}

// leavesOut reports whether a mirror that Find has left out may write to a repository.
func (p *part) leavesOut(repo ref.Repository) bool {
	return slices.ContainsFunc(p.out, func(m discover.Mirror) bool {
		return m.Target == repo || m.Target == (ref.Repository{}) && p.file.MayWriteTo(m.Name, repo)
	})
}
