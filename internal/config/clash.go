package config

import (
	"fmt"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A Clash is a destination tag that two rules write.
type Clash struct {
	Target         ref.Reference
	Earlier, Later int // indexes of the rules
	places         [2]string
}

// Error names the tag and both places.
func (c Clash) Error() string {
	return fmt.Sprintf("%s is written by two rules: %s and %s", c.Target, c.places[0], c.places[1])
}

// Clashes returns the destination tags that two of the rules write, whatever upstream
// holds: those that both name. Rules from files and from resource tags may be mixed.
// Each pair of rules is reported once, with the first tag.
func Clashes(mirrors []discover.Mirror) []Clash {
	var clashes []Clash
	first := make(map[ref.Reference]int)
	reported := make(map[[2]int]bool)
	for i, m := range mirrors {
		for _, tag := range targetTags(m) {
			target := m.Target.Tagged(tag)
			earlier, taken := first[target]
			switch {
			case !taken:
				first[target] = i
			case earlier != i && !reported[[2]int{earlier, i}]:
				reported[[2]int{earlier, i}] = true
				clashes = append(clashes, Clash{
					Target: target, Earlier: earlier, Later: i,
					places: [2]string{mirrors[earlier].Origin.Place, m.Origin.Place},
				})
			}
		}
	}
	return clashes
}

// targetTags returns the tags at the target that are known without asking upstream.
func targetTags(m discover.Mirror) []string {
	if m.As != "" {
		return []string{m.As}
	}
	return fixedTags(m.Rules)
}

// cycles returns the circles in which rules copy a repository's images back to it, each
// as the indexes of its rules. Not every circle is listed where several share a rule,
// but where there is one, one is.
func cycles(mirrors []discover.Mirror) [][]int {
	g := circles{mirrors: mirrors, from: make(map[ref.Repository][]int), state: make(map[ref.Repository]int)}
	for i, m := range mirrors {
		if m.Upstream != m.Target {
			g.from[m.Upstream] = append(g.from[m.Upstream], i)
		}
	}
	for _, m := range mirrors {
		g.visit(m.Upstream)
	}
	return g.found
}

// circles walks the rules depth first.
type circles struct {
	mirrors []discover.Mirror
	from    map[ref.Repository][]int // rules by their upstream
	state   map[ref.Repository]int   // one of the states below
	way     []int                    // the rules from where the walk began
	found   [][]int
}

const (
	unseen = iota
	onTheWay
	done
)

func (g *circles) visit(at ref.Repository) {
	if g.state[at] != unseen {
		return
	}
	g.state[at] = onTheWay
	for _, i := range g.from[at] {
		g.way = append(g.way, i)
		next := g.mirrors[i].Target
		if g.state[next] == onTheWay {
			g.found = append(g.found, g.circle(next))
		}
		g.visit(next)
		g.way = g.way[:len(g.way)-1]
	}
	g.state[at] = done
}

// circle returns the part of the way that began at a repository.
func (g *circles) circle(start ref.Repository) []int {
	for i := range g.way {
		if g.mirrors[g.way[i]].Upstream == start {
			return append([]int(nil), g.way[i:]...)
		}
	}
	return nil
}
