package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/prune"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/state"
)

// Pruning is what a run needs to remove tags that nobody wants. With the zero Pruning
// such tags are reported, for the mirrors that ask for it, and stay.
type Pruning struct {
	Limits prune.Limits
	State  *state.State // what earlier runs saw; nil where nothing is remembered
	Now    time.Time

	// LeftOut reports whether a mirror that this run does not follow, though it is
	// described, may write to a repository: what it wants there is not known. Nil means
	// that the run follows all there are.
	LeftOut func(ref.Repository) bool
}

// considered is what selection looked at, for telling why a tag is not wanted. It is
// kept only where a mirror prunes: upstreams have thousands of tags.
type considered struct {
	upstream []string
	listed   bool // whether upstream is upstream's whole list
	dropped  []selection.Dropped
}

// besides lists the target of a mirror that prunes, and upstream where anything is found
// beside what the mirror wants. It returns nil where nothing is. Both lists are whole, or
// it is an error. known is what the target said about what the mirror wants.
func (r *Runner) besides(ctx context.Context, m *discover.Mirror, wanted []plan.Wanted, known map[string]ref.Descriptor, c considered) (*prune.Listing, error) {
	at := plan.Action{Mirror: m, From: ref.Reference{Repository: m.Upstream}, To: ref.Reference{Repository: m.Target}}
	l, err := r.heldAt(ctx, at, wanted, known)
	if err != nil {
		return nil, &registry.Error{Op: "list tags of", Side: registry.SideTarget, Ref: at.To, Err: err}
	}
	unwanted := without(l.Tags, wanted, m.Prune)
	if len(unwanted) == 0 {
		return nil, nil
	}
	if !c.listed {
		if c.upstream, err = tags(ctx, r.Places.Source(at), m.Upstream); err != nil {
			return nil, &registry.Error{Op: "list tags of", Side: registry.SideSource, Ref: at.From, Err: err}
		}
	}
	l.Why, l.Doubt = c.why(unwanted, m), doubt(c.upstream, wanted)
	return &l, nil
}

// heldAt returns the target's whole list of tags, and what those point at that the mirror
// does not want. Where an image goes with its last tag, the target has told everything
// before.
func (r *Runner) heldAt(ctx context.Context, at plan.Action, wanted []plan.Wanted, known map[string]ref.Descriptor) (prune.Listing, error) {
	target, repo := r.Places.Target(at), at.To.Repository
	deletes, err := registry.LastTagDeletes(target, repo)
	if err != nil {
		return prune.Listing{}, err
	}
	if deletes {
		return prune.Listing{Tags: slices.Collect(maps.Keys(known)), Held: digestsOf(known), LastTagDeletes: true}, nil
	}
	held, err := tags(ctx, target, repo)
	if errors.Is(err, registry.ErrNotFound) {
		return prune.Listing{}, nil // it grows with the first push
	}
	if err != nil {
		return prune.Listing{}, err
	}
	points, err := registry.Snapshot(ctx, target, repo, without(held, wanted, at.Mirror.Prune))
	return prune.Listing{Tags: held, Held: digestsOf(points)}, err
}

// without returns the tags that a mirror neither wants nor protects.
func without(held []string, wanted []plan.Wanted, p discover.Prune) []string {
	wants := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		wants[w.Tag] = true
	}
	return slices.DeleteFunc(slices.Clone(held), func(tag string) bool {
		return wants[tag] || p.Protects(tag) || prune.Follows(tag)
	})
}

func digestsOf(points map[string]ref.Descriptor) map[string]ref.Digest {
	digests := make(map[string]ref.Digest, len(points))
	for tag, d := range points {
		digests[tag] = d.Digest
	}
	return digests
}

// why says of each tag why the mirror does not want it, as far as it can be told. Where
// the mirror renames, upstream's names say nothing.
func (c considered) why(unwanted []string, m *discover.Mirror) map[string]string {
	if m.As != "" {
		return nil
	}
	upstream := make(map[string]bool, len(c.upstream))
	for _, tag := range c.upstream {
		upstream[tag] = true
	}
	dropped := make(map[string]string, len(c.dropped))
	for _, d := range c.dropped {
		dropped[d.Tag] = d.Reason
	}
	why := make(map[string]string, len(unwanted))
	for _, tag := range unwanted {
		switch {
		case !upstream[tag]:
			why[tag] = "upstream does not have it"
		case dropped[tag] != "":
			why[tag] = "the rules do not choose it: " + dropped[tag]
		}
	}
	return why
}

// doubt says why upstream's list of tags may not be whole: a registry that loses its
// database, and one whose paging is broken, answer without any error.
func doubt(upstream []string, wanted []plan.Wanted) string {
	if len(upstream) == 0 {
		return "upstream lists no tags"
	}
	listed := make(map[string]bool, len(upstream))
	for _, tag := range upstream {
		listed[tag] = true
	}
	for _, w := range wanted {
		if w.Source != "" && w.Err == nil && !w.Uncompared && !listed[w.Source] {
			return fmt.Sprintf("upstream's list lacks %s, which it has", w.Source)
		}
	}
	return ""
}

// view is what pruning has to know of a mirror.
func (g gathered) view() prune.View {
	v := prune.View{Mirror: g.mirror, Err: cmp.Or(g.err, g.listErr), Listing: g.besides, Wanted: make([]string, 0, len(g.wanted))}
	for _, w := range g.wanted {
		v.Wanted = append(v.Wanted, w.Tag)
	}
	return v
}

// decidePrune adds to the plan what becomes of the tags that nobody wants.
func (r *Runner) decidePrune(ctx context.Context, p plan.Plan, all []gathered, stopped []plan.Action) plan.Plan {
	var views []prune.View
	var rows []plan.Action
	for _, g := range all {
		views = append(views, g.view())
		if g.listErr != nil {
			row := plan.MirrorStopped(g.mirror, g.listErr)
			row.Reason = "prune: " + row.Reason
			rows = append(rows, row)
		}
	}
	for _, a := range stopped {
		views = append(views, prune.View{Mirror: a.Mirror, Err: a.Err})
	}
	decided, observed := prune.Decide(views, prune.Run{
		Planned: p.Actions,
		Limits:  r.Pruning.Limits,
		Now:     r.Pruning.Now,
		Since:   r.Pruning.since(),
		Veto:    r.Pruning.veto(stopped),
	})
	r.spare(ctx, decided, views)
	r.observed = observed
	return p.Add(slices.Concat(rows, prune.Actions(decided)))
}

func (p Pruning) since() func(ref.Reference, ref.Digest) time.Time {
	if p.State == nil {
		return nil
	}
	return func(tag ref.Reference, d ref.Digest) time.Time { return p.State.Since(tag, d, p.Now) }
}

// veto keeps everything where it is not known what a mirror wants: one that was left out
// of the run, or one that failed before it could say where it writes.
func (p Pruning) veto(stopped []plan.Action) func(ref.Repository) string {
	for _, a := range stopped {
		if a.To.Repository == (ref.Repository{}) {
			return func(ref.Repository) string {
				return "a mirror failed before it was known where it writes: " + cmp.Or(a.Mirror.Name, a.Mirror.Origin.Place, a.From.String())
			}
		}
	}
	return func(repo ref.Repository) string {
		if p.LeftOut != nil && p.LeftOut(repo) {
			return "a mirror that this run leaves out may write here too"
		}
		return ""
	}
}

// Observed is what the run saw, for the next one to remember: what its plan found
// unwanted, without what was removed.
func (r *Runner) Observed(results []plan.Result) []state.Observation {
	removed := make(map[ref.Reference]bool)
	for _, result := range results {
		if result.Status == plan.Pruned {
			removed[result.Action.To] = true
		}
	}
	observations := make([]state.Observation, 0, len(r.observed))
	for _, o := range r.observed {
		unwanted := maps.Clone(o.Unwanted)
		maps.DeleteFunc(unwanted, func(tag string, _ ref.Digest) bool { return removed[o.Target.Tagged(tag)] })
		observations = append(observations, state.Observation{Repository: o.Target, Unwanted: unwanted, Wanted: o.Wanted, Certain: o.Certain})
	}
	return observations
}
