package copy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Limits on what the referrers of one image may make a run do. Real ones are some
// dozens, two above one another: an SBOM, and its signature.
const (
	maxReferrers     = 1000 // manifests of them in all
	maxReferrerDepth = 4    // above one another
	referrersAtOnce  = 8    // of one subject
)

// referral is a manifest whose referrers are brought from an upstream repository.
type referral struct {
	from    ref.Repository
	subject content
}

// Referrers lists what refers to the manifest that subject's digest names, sorted by
// digest. The registry is asked once, however many images the answer is for.
// The list is the callers' together, and not to be changed.
func (l *Library) Referrers(ctx context.Context, src registry.Source, subject ref.Reference) ([]ref.Descriptor, error) {
	key := origin{subject.Repository, subject.Digest}
	return l.listing.do(ctx, key, subject.Repository, func(ctx context.Context) (listed []ref.Descriptor, err error) {
		err = limited(ctx, l.reads, func() (err error) {
			if l.mayHave(subject.Repository, registry.ReferrersTag(subject.Digest)) {
				listed, err = src.Referrers(ctx, subject)
			} else {
				listed, err = registry.AskReferrers(ctx, src, subject)
			}
			return err
		})
		if err != nil {
			return nil, &registry.Error{Op: "list referrers of", Side: l.side, Ref: subject, Err: err}
		}
		slices.SortFunc(listed, func(a, b ref.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
		return listed, nil
	})
}

// referrers brings what refers to the manifests of an image, and to that. What cannot be
// brought, today and tomorrow, is no error, unless it has to be: an image is worth having
// without.
func (j *job) referrers(ctx context.Context, root *Node) (plan.Referrers, error) {
	var subjects []*Node
	for n := range root.all() {
		if n.Digest == root.Digest && madeHere(j.action) {
			continue // upstream has never seen it
		}
		subjects = append(subjects, n)
	}
	all, err := together(ctx, 2*len(subjects), func(ctx context.Context, i int) (plan.Referrers, error) {
		if subject := subjects[i/2]; i%2 == 1 {
			return j.cosign(ctx, subject)
		}
		return j.referrersOf(ctx, subjects[i/2], 1)
	})
	if err == nil && j.action.Want != j.action.From.Digest {
		var of plan.Referrers
		of, err = j.leftOut(ctx)
		all = all.And(of)
	}
	if err == nil && j.copier.opts.RequireReferrers {
		err = all.Err()
	}
	return all, err
}

// madeHere reports whether the root of an image is a selection's own index, which is not
// upstream.
func madeHere(a plan.Action) bool {
	return a.Mirror.Platforms.One == nil && a.Want != a.From.Digest
}

// leftOut counts what refers to the index that platforms are selected from. What it says
// about that one holds for no other.
func (j *job) leftOut(ctx context.Context) (plan.Referrers, error) {
	index := j.action.From.Repository.Digested(j.action.From.Digest)
	listed, err := j.copier.library.Referrers(ctx, j.origin, index)
	if err != nil {
		return told(ctx, index.Digest, err)
	}
	tags, err := j.copier.library.CosignTags(ctx, j.origin, index)
	if err != nil {
		return told(ctx, index.Digest, err)
	}
	return plan.Referrers{LeftOut: len(listed) + len(tags)}, nil
}

// outcome is something that outcomes of parts add up to.
type outcome[T any] interface{ And(other T) T }

// together does n things side by side and returns all of what came of them.
func together[T outcome[T]](ctx context.Context, n int, do func(ctx context.Context, i int) (T, error)) (T, error) {
	each := make([]T, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(referrersAtOnce)
	for i := range n {
		g.Go(func() (err error) {
			defer failure.Contain(&err)
			each[i], err = do(ctx, i)
			return err
		})
	}
	err := g.Wait()
	var all T
	for _, one := range each {
		all = all.And(one)
	}
	return all, err
}

// referrersOf brings what refers to one manifest, once in a run however many images
// share it. Its errors are those of bringing the subject, and the end of ctx.
func (j *job) referrersOf(ctx context.Context, subject *Node, depth int) (plan.Referrers, error) {
	key := referral{j.action.From.Repository, j.contentOf(subject)}
	return j.copier.referred.do(ctx, key, key.from, func(ctx context.Context) (plan.Referrers, error) {
		listed, err := j.copier.library.Referrers(ctx, j.origin, key.from.Digested(subject.Digest))
		if err == nil && len(listed) > 0 && depth > maxReferrerDepth {
			err = tooDeep()
		}
		if err != nil {
			return missing(ctx, subject.Digest, err)
		}
		most := grant(&j.read, len(listed))
		all, err := j.bringAll(ctx, subject, listed[:most], depth)
		if err != nil || most == len(listed) {
			return all, err
		}
		rest, err := missing(ctx, subject.Digest, tooMany(len(listed)-most, len(listed)))
		return all.And(rest), err
	})
}

// tooDeep refuses the referrers of a referrer that is far from the image.
func tooDeep() error {
	return fmt.Errorf("it has referrers, and only %d above one another are mirrored: %w", maxReferrerDepth, failure.ErrUnsupported)
}

// tooMany refuses some of a manifest's referrers.
func tooMany(left, of int) error {
	return fmt.Errorf("%d of its %d referrers: no more than %d are mirrored with an image: %w", left, of, maxReferrers, failure.ErrUnsupported)
}

// grant returns how many of n referrers an image may still have, of which so many have
// been read.
func grant(read *atomic.Int64, n int) int {
	over := int(read.Add(int64(n))) - maxReferrers
	return max(0, n-max(0, over))
}

// missing is a referrer, or the list of some, that will not be at the destination. A
// failure that may pass is no such thing: with the tag written, the image would count as
// in sync, and no later run would look again.
func missing(ctx context.Context, d ref.Digest, err error) (plan.Referrers, error) {
	if ctx.Err() == nil && mayPass(err) {
		return plan.Referrers{}, fmt.Errorf("referrers: %w", err)
	}
	return told(ctx, d, err)
}

// told is what is not known of referrers, or not brought, and keeps nothing from being
// done. The end of ctx is no such thing: it is nobody's answer.
func told(ctx context.Context, d ref.Digest, err error) (plan.Referrers, error) {
	if ctx.Err() != nil {
		return plan.Referrers{}, errors.Join(context.Cause(ctx), err)
	}
	return plan.Referrers{Incomplete: []string{fmt.Sprintf("%s: %v", d, err)}}, nil
}

// mayPass reports whether the next run may bring what this one could not. Wrong bytes were
// read again by now, and are upstream's own.
func mayPass(err error) bool { return !failure.Final(err) && !errors.Is(err, failure.ErrCorrupt) }

// bringAll brings the listed referrers of a subject, and sees to it that the destination
// lists them, too.
func (j *job) bringAll(ctx context.Context, subject *Node, listed []ref.Descriptor, depth int) (plan.Referrers, error) {
	unlisted := make([]*Node, len(listed))
	all, err := together(ctx, len(listed), func(ctx context.Context, i int) (above plan.Referrers, err error) {
		unlisted[i], above, err = j.bring(ctx, subject, listed[i], depth)
		return above, err
	})
	if err != nil {
		return all, err
	}
	unlisted = slices.DeleteFunc(unlisted, func(n *Node) bool { return n == nil })
	if err := j.enlist(ctx, subject.Digest, unlisted); err != nil {
		all.Mirrored -= len(unlisted)
		for _, n := range unlisted {
			lost, err := missing(ctx, n.Digest, fmt.Errorf("it is at the destination, where nothing leads to it: %w", err))
			if err != nil {
				return all, err
			}
			all = all.And(lost)
		}
	}
	return all, nil
}

// bring copies one referrer and then what refers to it. It returns the referrer where
// the registry took it and did not say that it lists it. Its error is the subject's, or
// the end of ctx.
func (j *job) bring(ctx context.Context, subject *Node, d ref.Descriptor, depth int) (unlisted *Node, above plan.Referrers, err error) {
	n, lacking := j.readReferrer(ctx, subject, d)
	if lacking == nil {
		lacking, err = j.beside(ctx, subject, n)
	}
	if err != nil {
		return nil, above, err
	}
	listed := false
	if lacking == nil {
		listed, lacking = j.node(ctx, n)
	}
	if lacking != nil {
		above, err = missing(ctx, d.Digest, lacking)
		return nil, above, err
	}
	if !listed {
		unlisted = n
	}
	above, err = j.referrersOf(ctx, n, depth+1)
	above.Mirrored++
	return unlisted, above, err
}

// readTree reads a manifest about subject that came on top of the image, with everything
// below it.
func (j *job) readTree(ctx context.Context, subject *Node, d ref.Digest) (*Node, error) {
	n, err := j.copier.library.Tree(ctx, j.origin, j.action.From.Repository.Digested(d))
	if err != nil {
		return nil, err
	}
	for below := range n.all() {
		if below != n {
			j.read.Add(1) // an index of many counts as many
		}
	}
	j.copier.spool.referrer(origin{j.action.From.Repository, subject.Digest}, n)
	return n, nil
}

// beside brings what a referrer names while its subject is under way, unless that is at
// the destination: the referrer's manifest is to come after it.
func (j *job) beside(ctx context.Context, subject, n *Node) (lacking, err error) {
	if subject.held {
		return j.below(ctx, n), nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer failure.Contain(&lacking)
		lacking = j.below(ctx, n)
		return nil
	})
	g.Go(func() (err error) {
		defer failure.Contain(&err)
		_, err = j.node(ctx, subject)
		return err
	})
	err = g.Wait()
	return lacking, err
}

// readReferrer reads a referrer with everything below it, and holds it to what the list
// claims: that the subject is its subject.
func (j *job) readReferrer(ctx context.Context, subject *Node, d ref.Descriptor) (*Node, error) {
	n, err := j.readTree(ctx, subject, d.Digest)
	if err != nil {
		return nil, err
	}
	return n, n.mustRefer(subject.Digest)
}

// mustRefer is an error unless n's subject is the one that upstream lists n for.
func (n *Node) mustRefer(subject ref.Digest) error {
	if n.Subject == subject {
		return nil
	}
	return fmt.Errorf("upstream lists it as a referrer of %s, and its own subject is %q: %w", subject, n.Subject, failure.ErrCorrupt)
}
