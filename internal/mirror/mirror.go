// Package mirror chains the stages of a run: discover, select, plan, copy. It is the
// only package that knows their order; list, copy and sync all call it.
//
// The whole run is planned before its first write. What runs side by side while
// planning is reading: listings, HEADs, manifests.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/prune"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// Finder says what should be mirrored.
type Finder interface {
	Find(ctx context.Context) ([]discover.Finding, error)
}

// Judge decides by the trust policy whether an image may be mirrored. Its refusals
// unwrap to plan.ErrForbidden.
type Judge interface {
	Allow(ctx context.Context, r ref.Reference) error
}

// Runner carries out one run. All fields but Platforms, Create, Gate, Judge, Pruning, Beat and Log are
// required; Judge only for planning.
type Runner struct {
	Finder Finder
	Places copy.Places
	Gate   Gate
	Judge  Judge
	Copy   copy.Options

	// Platforms, where it is not all, holds for every mirror whose own rule says
	// nothing about platforms.
	Platforms discover.Platforms

	// Create, where it is given, holds for every mirror: how repositories are made that are
	// missing.
	Create *provision.Create

	// Explain lists also the tags that were considered and left out, with the reason.
	Explain bool

	// Recheck compares also the tags that rules declare immutable, and the referrers of
	// images whose digest is the same on both sides.
	Recheck bool

	// Offline leaves upstream alone: rules choose among the tags that the target has, and
	// nothing is compared but digests that rules name. It is for verifying.
	Offline bool

	Pruning Pruning

	// Look, where it is given, is told that a mirror is looked at, and returns the context
	// under which that is done: the one it is given, or one of it that knows more.
	Look func(context.Context, *discover.Mirror) context.Context

	// Beat, where it is given, is called whenever planning or removing has got a step
	// further, from many goroutines. What copying does, Copy.Events tells.
	Beat func()

	Log *zap.Logger

	library  *copy.Library
	seen     copy.Seen           // by the plan
	observed []prune.Observation // by the plan
}

// Concurrency of planning. The transports limit the requests at one host; these bound
// the goroutines and what they hold.
const (
	mirrorsAtOnce = 64
	readsAtOnce   = 128
	headsAtOnce   = 128
)

// selected is one mirror with the tags its rules chose, or why they could not be
// applied.
type selected struct {
	mirror   *discover.Mirror
	picks    []selection.Pick
	dropped  []selection.Dropped // only where they are asked for: upstreams have thousands of tags
	warnings []string
	err      error

	considered considered // only where the mirror prunes
}

// mirrors discovers, and sorts findings into mirrors to follow and those whose rows say
// why not.
func (r *Runner) mirrors(ctx context.Context) (follow []*discover.Mirror, stopped []plan.Action, warnings []string, err error) {
	findings, err := r.Finder.Find(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, f := range findings {
		m := f.Mirror
		for _, w := range f.Warnings {
			warnings = append(warnings, fmt.Sprintf("%s: %s", named(&m), w))
		}
		switch {
		case f.Err != nil:
			stopped = append(stopped, plan.MirrorStopped(&m, f.Err))
		default:
			if err := r.Gate.Check(m); err != nil {
				stopped = append(stopped, plan.MirrorStopped(&m, err))
				continue
			}
			if m.Platforms.All() {
				m.Platforms = r.Platforms
			}
			if r.Create != nil {
				m.Repository.Create = *r.Create
			}
			follow = append(follow, &m)
		}
	}
	return follow, stopped, warnings, nil
}

// named is how messages call a mirror: by its target, or by where its rule stands.
func named(m *discover.Mirror) string {
	if m.Target != (ref.Repository{}) {
		return m.Target.String()
	}
	return m.Origin.Place
}

// selectTags applies each mirror's rules. Upstream and target are asked for their tags
// only where a rule needs them.
func (r *Runner) selectTags(ctx context.Context, mirrors []*discover.Mirror) []selected {
	chosen := make([]selected, len(mirrors))
	var g errgroup.Group
	g.SetLimit(mirrorsAtOnce)
	for i, m := range mirrors {
		g.Go(func() error {
			chosen[i] = r.selectOne(ctx, m)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	return chosen
}

func (r *Runner) selectOne(ctx context.Context, m *discover.Mirror) selected {
	defer r.step()
	s := selected{mirror: m}
	selector, err := selection.Compile(m.Rules)
	if err != nil {
		s.err = err
		return s
	}
	input, err := r.input(ctx, m, selector)
	if err != nil {
		s.err = err
		return s
	}
	result := selector.Select(input)
	s.picks, s.err = result.Picks, result.Err
	if r.Explain {
		s.dropped = result.Dropped
	}
	if m.Prune.On {
		s.considered = considered{upstream: input.Upstream, listed: input.UpstreamListed, dropped: result.Dropped}
	}
	for _, w := range result.Warnings {
		s.warnings = append(s.warnings, fmt.Sprintf("%s: %s of %s", named(m), w, m.Upstream))
	}
	return s
}

// input gathers what a selector asks for.
func (r *Runner) input(ctx context.Context, m *discover.Mirror, selector *selection.Selector) (selection.Input, error) {
	var in selection.Input
	at := plan.Action{Mirror: m, From: ref.Reference{Repository: m.Upstream}, To: ref.Reference{Repository: m.Target}}
	var err error
	switch {
	case !selector.NeedsTagList():
	case r.Offline:
		if in.Upstream, err = r.held(ctx, at); err != nil {
			return in, err
		}
		in.UpstreamListed = true
	default:
		if in.Upstream, err = tags(ctx, r.Places.Source(at), m.Upstream); err != nil {
			return in, &registry.Error{Op: "list tags of", Side: registry.SideSource, Ref: at.From, Err: err}
		}
		in.UpstreamListed = true
		r.library.Listed(m.Upstream, in.Upstream)
	}
	if selector.NeedsTargetTags() {
		if in.Target, err = r.held(ctx, at); err != nil {
			return in, err
		}
	}
	if selector.NeedsCreated() {
		if in.Created, err = r.dater(m).created(ctx, selector.Candidates(in)); err != nil {
			return in, err
		}
	}
	return in, nil
}

// held returns the tags that the target has. A repository that is missing has none; whether
// it may be, the plan says.
func (r *Runner) held(ctx context.Context, at plan.Action) ([]string, error) {
	all, err := tags(ctx, r.Places.Target(at), at.To.Repository)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return nil, &registry.Error{Op: "list tags of", Side: registry.SideTarget, Ref: at.To, Err: err}
	}
	return all, nil
}

// tags returns a repository's whole list of tags.
func tags(ctx context.Context, s registry.Source, repo ref.Repository) ([]string, error) {
	var all []string
	for tag, err := range s.Tags(ctx, repo) {
		if err != nil {
			return nil, err
		}
		all = append(all, tag)
	}
	return all, nil
}

// Listed is one line of a listing: a tag that is to be mirrored, or why a mirror
// cannot be followed.
type Listed struct {
	Mirror  *discover.Mirror
	Tag     string
	Term    string // what chose the tag, or why it was left out
	Left    bool   // the tag was considered and left out; only where Runner.Explain is set
	Creates bool   // the target's repository is missing, and a run makes it
	Err     error
}

// List returns what would be mirrored, without comparing anything. Upstream is
// contacted only for rules that need its list of tags.
func (r *Runner) List(ctx context.Context) ([]Listed, []string, error) {
	follow, stopped, warnings, err := r.mirrors(ctx)
	if err != nil {
		return nil, nil, err
	}
	r.library = copy.NewLibrary(readsAtOnce)
	var lines []Listed
	for _, a := range stopped {
		lines = append(lines, Listed{Mirror: a.Mirror, Err: a.Err})
	}
	for _, s := range r.selectTags(ctx, follow) {
		warnings = append(warnings, s.warnings...)
		if s.err != nil {
			lines = append(lines, Listed{Mirror: s.mirror, Err: s.err})
		}
		creates := s.mirror.Missing && r.makes(s.mirror)
		for _, p := range s.picks {
			lines = append(lines, Listed{Mirror: s.mirror, Tag: targetTag(s.mirror, p), Term: p.Reason, Creates: creates})
		}
		for _, d := range s.dropped {
			lines = append(lines, Listed{Mirror: s.mirror, Tag: d.Tag, Term: d.Reason, Left: true})
		}
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	refuseClashes(lines)
	return lines, warnings, nil
}

// refuseClashes gives every line an error whose destination tag another line has, too,
// as plan.Build does.
func refuseClashes(lines []Listed) {
	first := make(map[ref.Reference]int)
	for i := range lines {
		l := &lines[i]
		if l.Tag == "" || l.Left {
			continue
		}
		earlier, taken := first[l.Mirror.Target.Tagged(l.Tag)]
		if !taken {
			first[l.Mirror.Target.Tagged(l.Tag)] = i
			continue
		}
		err := plan.Clash(lines[earlier].Mirror, l.Mirror)
		lines[earlier].Err, l.Err = err, err
	}
}

// targetTag is the tag at the destination: upstream's, unless the mirror renames it.
func targetTag(m *discover.Mirror, p selection.Pick) string {
	if m.As != "" {
		return m.As
	}
	return p.Tag
}

// Plan decides about the whole run. It writes nothing. Its errors leave no plan at all:
// one that was interrupted would list as failed what was only not looked at, and as
// writes what nobody judged.
func (r *Runner) Plan(ctx context.Context) (plan.Plan, error) {
	d, err := r.differences(ctx)
	if err != nil {
		return plan.Plan{}, err
	}
	p := d.plan
	if r.Recheck {
		r.recheck(ctx, &p)
	}
	r.refine(ctx, &p)
	p = r.decidePrune(ctx, p, d.gathered, d.stopped)
	p = r.compareSettings(ctx, p, d.follow)
	if ctx.Err() != nil {
		return plan.Plan{}, context.Cause(ctx)
	}
	return p, nil
}

// compared is a plan as far as comparing both sides decides it, and what it was made of.
type compared struct {
	plan     plan.Plan
	follow   []*discover.Mirror
	gathered []gathered
	stopped  []plan.Action
}

// differences compares both sides of what is to be mirrored.
func (r *Runner) differences(ctx context.Context) (compared, error) {
	follow, stopped, warnings, err := r.mirrors(ctx)
	if err != nil {
		return compared{}, err
	}
	r.library, r.seen = copy.NewLibrary(readsAtOnce), copy.Seen{At: time.Now()}
	all := r.gather(ctx, follow)
	wanted := make([][]plan.Wanted, 0, len(all))
	for _, g := range all {
		warnings = append(warnings, g.warnings...)
		if g.err != nil {
			stopped = append(stopped, plan.MirrorStopped(g.mirror, g.err))
		}
		wanted = append(wanted, g.wanted)
	}
	return compared{plan: plan.Build(wanted, stopped, warnings), follow: follow, gathered: all, stopped: stopped}, nil
}

// Sync carries out a plan that Plan made, and returns one result for each action, in
// the plan's order. Tags are removed once everything is copied, and then what no tag leads
// to any more is freed. Its error is that of closing what was opened; what became of the
// actions is in the results.
func (r *Runner) Sync(ctx context.Context, p plan.Plan) ([]plan.Result, error) {
	if r.library == nil {
		r.library = copy.NewLibrary(readsAtOnce)
	}
	opts := r.Copy
	opts.Seen = r.seen
	copier := copy.New(r.Places, r.library, opts)
	results := copier.Run(ctx, p)
	err := copier.Close()
	r.remove(ctx, results)
	r.free(ctx, results)
	return results, err
}

// look tells that a mirror is looked at.
func (r *Runner) look(ctx context.Context, m *discover.Mirror) context.Context {
	if r.Look == nil {
		return ctx
	}
	return r.Look(ctx, m)
}

// step tells whoever watches that something got done.
func (r *Runner) step() {
	if r.Beat != nil {
		r.Beat()
	}
}

// ManifestsRead is how many manifests the run has read from upstream: zero where
// everything was in sync, unless a single platform was asked for, or a rule goes by
// creation times.
func (r *Runner) ManifestsRead() int {
	if r.library == nil {
		return 0
	}
	return r.library.Read()
}
