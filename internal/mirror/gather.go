package mirror

import (
	"context"
	"errors"
	"fmt"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/prune"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

// gathered is everything known about one mirror before anything is decided.
type gathered struct {
	mirror   *discover.Mirror
	wanted   []plan.Wanted
	warnings []string
	err      error

	besides *prune.Listing // what the target holds besides, where the mirror prunes
	listErr error          // why that is not known
}

// gather asks both sides of every mirror what they hold: one HEAD upstream for each
// wanted tag, and the target in bulk. The answers are in the order of the mirrors.
func (r *Runner) gather(ctx context.Context, mirrors []*discover.Mirror) []gathered {
	all := make([]gathered, len(mirrors))
	heads := semaphore.NewWeighted(headsAtOnce)
	var g errgroup.Group
	g.SetLimit(mirrorsAtOnce)
	for i, m := range mirrors {
		g.Go(func() error {
			all[i] = r.gatherOne(ctx, m, heads)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	return all
}

func (r *Runner) gatherOne(ctx context.Context, m *discover.Mirror, heads *semaphore.Weighted) (out gathered) {
	out.mirror = m
	defer failure.Contain(&out.err)
	ctx = r.look(ctx, m)
	s := r.selectOne(ctx, m)
	out.warnings, out.err = s.warnings, s.err
	if s.err != nil || len(s.picks) == 0 {
		return out
	}
	var held map[string]ref.Descriptor
	out.wanted, held = r.compare(ctx, m, s.picks, heads)
	r.seekRepository(ctx, m, out.wanted)
	if !m.Platforms.All() {
		out.warnings = append(out.warnings, r.selectPlatforms(ctx, m, out.wanted)...)
	}
	if m.Prune.On {
		out.besides, out.listErr = r.besides(ctx, m, out.wanted, held, s.considered)
	}
	return out
}

// compare asks both sides at once about the picks of one mirror. It returns also what the
// target said, which may be more than it was asked.
func (r *Runner) compare(ctx context.Context, m *discover.Mirror, picks []selection.Pick, heads *semaphore.Weighted) ([]plan.Wanted, map[string]ref.Descriptor) {
	wanted := make([]plan.Wanted, len(picks))
	var held map[string]ref.Descriptor
	var targetErr error
	var g errgroup.Group
	g.SetLimit(headsAtOnce)
	askTarget := func() error {
		defer failure.Contain(&targetErr)
		held, targetErr = r.target(ctx, m, picks)
		return nil
	}
	never := func(selection.Pick) bool { return false }
	if r.Offline {
		_ = askTarget() // keeps its error for the rows
		return recorded(m, picks, held, targetErr), held
	}
	if m.Rules.DeclaresImmutable() && !r.Recheck {
		// What the target has decides here whether upstream is asked at all.
		_ = askTarget() // keeps its error for the rows
		never = func(p selection.Pick) bool {
			return m.Rules.IsImmutable(p.Tag) && held[targetTag(m, p)].Digest != ""
		}
	} else {
		g.Go(askTarget)
	}
	for i, pick := range picks {
		if never(pick) {
			wanted[i] = plan.Wanted{Mirror: m, Tag: targetTag(m, pick), Source: pick.Tag, Term: pick.Reason, Uncompared: true}
			continue
		}
		g.Go(func() error {
			wanted[i] = r.upstream(ctx, m, pick, heads)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	creates := r.creates(m, targetErr)
	if creates {
		targetErr = nil
	}
	for i := range wanted {
		w := &wanted[i]
		w.Have, w.TargetErr, w.Creates = held[w.Tag].Digest, targetErr, creates
	}
	return wanted, held
}

// seekRepository finds out, where upstream has none of the wanted tags, whether it has the
// repository at all: a HEAD is answered alike where a tag is missing and where somebody
// mistyped the name, and the two are mended in different places. That costs a request where
// a person has to look anyway.
func (r *Runner) seekRepository(ctx context.Context, m *discover.Mirror, wanted []plan.Wanted) {
	if len(wanted) == 0 {
		return
	}
	for _, w := range wanted {
		if !errors.Is(w.Err, failure.ErrNotFound) {
			return
		}
	}
	for _, err := range r.Places.Source(plan.Action{Mirror: m, From: ref.Reference{Repository: m.Upstream}}).Tags(ctx, m.Upstream) {
		if !errors.Is(err, failure.ErrNotFound) {
			return
		}
		for i := range wanted {
			wanted[i].Err = plan.ErrNoRepository
		}
		return
	}
}

// recorded is what is known of picks without asking upstream: the digest that a rule names,
// and what the target has. In a repository that is missing, they are missing.
func recorded(m *discover.Mirror, picks []selection.Pick, held map[string]ref.Descriptor, err error) []plan.Wanted {
	if errors.Is(err, failure.ErrNotFound) {
		err = nil
	}
	wanted := make([]plan.Wanted, len(picks))
	for i, pick := range picks {
		tag := targetTag(m, pick)
		w := plan.Wanted{Mirror: m, Tag: tag, Source: pick.Tag, Term: pick.Reason, Have: held[tag].Digest, TargetErr: err}
		if pick.Digest != "" && m.Platforms.One == nil {
			w.Source, w.Upstream = "", pick.Digest
		} else {
			w.Uncompared = true
		}
		wanted[i] = w
	}
	return wanted
}

// creates reports whether the target's answer is that its repository is missing, and the
// mirror has that made.
func (r *Runner) creates(m *discover.Mirror, err error) bool {
	return errors.Is(err, failure.ErrNotFound) && r.makes(m)
}

// makes reports whether the mirror has its repository made where that is missing.
func (r *Runner) makes(m *discover.Mirror) bool {
	if m.Repository.Create == provision.Never {
		return false
	}
	target := r.Places.Target(plan.Action{Mirror: m, To: ref.Reference{Repository: m.Target}})
	return registry.CanCreateRepository(target, m.Target)
}

// upstream resolves one pick. What its digest turns out to be is what will be compared,
// copied and written: the tag is never read again.
func (r *Runner) upstream(ctx context.Context, m *discover.Mirror, pick selection.Pick, heads *semaphore.Weighted) (w plan.Wanted) {
	defer failure.Contain(&w.Err)
	w = plan.Wanted{Mirror: m, Tag: targetTag(m, pick), Source: pick.Tag, Term: pick.Reason}
	from := m.Upstream.Tagged(pick.Tag)
	if pick.Digest != "" {
		// What was asked for by digest has no tag upstream: the name is the
		// destination's, and means nothing to a trust policy.
		w.Source, from = "", m.Upstream.Digested(pick.Digest)
	}
	if err := heads.Acquire(ctx, 1); err != nil {
		w.Err = context.Cause(ctx)
		return w
	}
	defer heads.Release(1)
	defer r.step()
	desc, err := r.Places.Source(plan.Action{Mirror: m, From: from}).Resolve(ctx, from)
	switch {
	case err != nil:
		w.Err = err
	case pick.Digest != "" && desc.Digest != pick.Digest:
		w.Err = &registry.Error{
			Op: "resolve", Side: registry.SideSource, Ref: from,
			Err: fmt.Errorf("it calls itself %s: %w", desc.Digest, failure.ErrCorrupt),
		}
	default:
		w.Upstream, w.UpstreamType = desc.Digest, desc.MediaType
	}
	return w
}

// target asks what the target's tags point at.
func (r *Runner) target(ctx context.Context, m *discover.Mirror, picks []selection.Pick) (map[string]ref.Descriptor, error) {
	tags := make([]string, 0, len(picks))
	for _, p := range picks {
		tags = append(tags, targetTag(m, p))
	}
	return registry.Snapshot(ctx, r.Places.Target(plan.Action{Mirror: m, To: ref.Reference{Repository: m.Target}}), m.Target, tags)
}

// selectPlatforms works out what the target is to hold where that is not upstream's own
// digest. For a smaller index, the annotations of what the target holds tell whether
// it was made from upstream's present digest; only if not is upstream's index read. It
// returns a warning for each tag that lacks some of the platforms.
func (r *Runner) selectPlatforms(ctx context.Context, m *discover.Mirror, wanted []plan.Wanted) []string {
	held, err := r.heldIndexes(ctx, m, wanted)
	missing := make([][]ref.Platform, len(wanted))
	var g errgroup.Group
	g.SetLimit(readsAtOnce)
	for i := range wanted {
		w := &wanted[i]
		switch {
		case w.Err != nil || w.TargetErr != nil || w.Uncompared:
		case err != nil:
			w.TargetErr = err
		case isHeld(held[w.Have], *w):
			w.Selected, missing[i] = true, lacking(held[w.Have], m)
		case isSingleImage(w.UpstreamType) || r.Offline:
			// Nothing to select from, or nobody to ask: it is mirrored as it is.
		default:
			g.Go(func() error {
				defer failure.Contain(&w.Err)
				w.Want, missing[i], w.Err = r.selection(ctx, *w)
				return nil
			})
		}
	}
	_ = g.Wait() // the functions return none
	return missingWarnings(m, wanted, missing)
}

// isHeld reports whether the manifest that the target's tag points at is the selection
// that w asks for. What does not have the tag's digest says nothing about it.
func isHeld(held registry.Manifest, w plan.Wanted) bool {
	keep := w.Mirror.Platforms.Keep
	return len(keep) > 0 && w.Have != "" && w.Have.Algorithm().FromBytes(held.Raw) == w.Have &&
		manifest.SelectedFrom(held.Raw, w.Upstream, keep)
}

// lacking returns the platforms that m asks for and a selection made for it has not.
func lacking(held registry.Manifest, m *discover.Mirror) []ref.Platform {
	index, err := manifest.Parse(held.Raw, held.MediaType)
	if err != nil {
		return nil
	}
	return index.Missing(m.Platforms.Keep)
}

func missingWarnings(m *discover.Mirror, wanted []plan.Wanted, missing [][]ref.Platform) []string {
	var warnings []string
	for i, platforms := range missing {
		if len(platforms) > 0 {
			from := ref.Reference{Repository: m.Upstream, Tag: wanted[i].Source, Digest: wanted[i].Upstream}
			warnings = append(warnings, fmt.Sprintf("%s: %s has no image for %s", named(m), from, ref.FormatPlatforms(platforms)))
		}
	}
	return warnings
}

// heldIndexes reads, in bulk, the manifests that the target's tags point at.
func (r *Runner) heldIndexes(ctx context.Context, m *discover.Mirror, wanted []plan.Wanted) (map[ref.Digest]registry.Manifest, error) {
	if len(m.Platforms.Keep) == 0 {
		return nil, nil
	}
	var digests []ref.Digest
	for _, w := range wanted {
		if w.Have != "" && w.Have != w.Upstream && !w.Uncompared {
			digests = append(digests, w.Have)
		}
	}
	if len(digests) == 0 {
		return nil, nil
	}
	return registry.ReadManifests(ctx, r.Places.Target(plan.Action{Mirror: m, To: ref.Reference{Repository: m.Target}}), m.Target, digests)
}

// selection returns the digest of what platform selection makes of an upstream image,
// and which platforms it does not have.
func (r *Runner) selection(ctx context.Context, w plan.Wanted) (ref.Digest, []ref.Platform, error) {
	platforms := w.Mirror.Platforms
	from := ref.Reference{Repository: w.Mirror.Upstream, Tag: w.Source, Digest: w.Upstream}
	index, err := r.library.Manifest(ctx, r.Places.Source(plan.Action{Mirror: w.Mirror, From: from}), from)
	if err != nil {
		return "", nil, err
	}
	parsed, err := manifest.Parse(index.Raw, index.MediaType)
	switch {
	case err != nil:
		return "", nil, err
	case !parsed.Index:
		return w.Upstream, nil, nil
	case platforms.One != nil:
		child, err := parsed.One(*platforms.One)
		return child.Digest, nil, err
	}
	selected, err := manifest.Select(index.Raw, index.MediaType, platforms.Keep)
	return selected.Digest, selected.Missing, err
}

// isSingleImage reports that a media type is known to be that of one image.
func isSingleImage(mediaType string) bool {
	return mediaType == imgspec.MediaTypeImageManifest || mediaType == manifest.MediaTypeDockerImage
}

// refine reads what the plan is to write, so that its size is known, and so that an
// image which cannot be copied, or which the trust policy refuses, is known before the
// first write of the run.
func (r *Runner) refine(ctx context.Context, p *plan.Plan) {
	var g errgroup.Group
	g.SetLimit(readsAtOnce)
	for i := range p.Actions {
		a := &p.Actions[i]
		if !a.Verb.Writes() {
			continue
		}
		g.Go(func() error {
			*a = r.inspect(r.look(ctx, a.Mirror), *a)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
}

// inspect judges and measures one action.
func (r *Runner) inspect(ctx context.Context, a plan.Action) (judged plan.Action) {
	defer r.step()
	var stumbled error
	defer func() {
		if stumbled != nil {
			judged = a.Stop(stumbled)
		}
	}()
	defer failure.Contain(&stumbled)
	if r.Judge != nil {
		if err := r.Judge.Allow(ctx, a.From); err != nil {
			return a.Stop(err)
		}
	}
	if a.OnlyReferrers() {
		return a // what the image consists of is at the destination
	}
	root, err := copy.Root(ctx, r.library, r.Places.Source(a), a)
	if err != nil {
		return a.Stop(err)
	}
	a.Size = root.Size()
	return a
}
