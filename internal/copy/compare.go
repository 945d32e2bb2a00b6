package copy

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Comparer compares the referrers that upstream has of images with those that their
// destinations have. It is safe for concurrent use.
type Comparer struct {
	upstream, held *Library
	compared       flights[pair, plan.Comparison]
}

// pair is a manifest that is in an upstream repository and at a destination. Its depth
// belongs to it: lists are claims, and may lead in a circle.
type pair struct {
	from, to ref.Repository
	digest   ref.Digest
	depth    int
}

// NewComparer returns a Comparer that reads upstream through upstream, and has at most
// atOnce requests under way at destinations.
func NewComparer(upstream *Library, atOnce int) *Comparer {
	held := newLibrary(atOnce, maxKept)
	held.side = registry.SideTarget
	return &Comparer{upstream: upstream, held: held}
}

// Compare compares the referrers of the image that a is about, which both sides have:
// those of its manifest, of its children and of referrers. It writes nothing.
//
// What the image consists of is read at the destination, where no registry counts pulls.
// Upstream is asked as it is for an image that is copied; the destination only about
// manifests that upstream has referrers of. Its error is that the image could not be read
// at the destination, or the end of ctx. All else that went wrong is in the Comparison:
// what cannot be known to be at the destination is Incomplete.
func (c *Comparer) Compare(ctx context.Context, places Places, a plan.Action) (plan.Comparison, error) {
	k := comparing{Comparer: c, src: places.Source(a), dst: places.Target(a), from: a.From.Repository, to: a.To.Repository}
	root, err := c.held.Tree(ctx, k.dst, k.to.Digested(a.Want))
	if err != nil {
		return plan.Comparison{}, err
	}
	var subjects []ref.Digest
	for n := range root.all() {
		if n != root || !madeHere(a) {
			subjects = append(subjects, n.Digest)
		}
	}
	return together(ctx, len(subjects), func(ctx context.Context, i int) (plan.Comparison, error) {
		return k.about(ctx, subjects[i], 1, true)
	})
}

// comparing is the comparison of one image.
type comparing struct {
	*Comparer
	src      registry.Source
	dst      registry.Target
	from, to ref.Repository
	read     atomic.Int64 // referrers
}

// about compares what refers to a manifest and to that in turn, once however many images
// share it. Where the destination has not got the manifest, that only counts.
func (k *comparing) about(ctx context.Context, subject ref.Digest, depth int, there bool) (plan.Comparison, error) {
	return k.compared.do(ctx, pair{k.from, k.to, subject, depth}, k.from, func(ctx context.Context) (plan.Comparison, error) {
		gap := plan.Gap{Subject: subject, Depth: depth}
		all, err := k.listed(ctx, &gap, there)
		if err == nil && depth == 1 {
			var tagged plan.Comparison
			tagged, err = k.tagged(ctx, &gap)
			all = all.And(tagged)
		}
		if there && len(gap.Referrers)+len(gap.Tags) > 0 {
			all.Gaps = append(all.Gaps, gap)
		}
		return all, err
	})
}

// unknown is what cannot be brought, or of which it is not known whether it is there.
func unknown(ctx context.Context, d ref.Digest, err error) (plan.Comparison, error) {
	r, err := told(ctx, d, err)
	return plan.Comparison{Referrers: r}, err
}

// listed compares the two lists of a manifest's referrers, and notes the gap between them.
func (k *comparing) listed(ctx context.Context, gap *plan.Gap, there bool) (plan.Comparison, error) {
	listed, err := k.upstream.Referrers(ctx, k.src, k.from.Digested(gap.Subject))
	if err == nil && len(listed) > 0 && gap.Depth > maxReferrerDepth {
		err = tooDeep()
	}
	var held []ref.Descriptor
	if err == nil && len(listed) > 0 && there {
		held, err = k.held.Referrers(ctx, k.dst, k.to.Digested(gap.Subject))
	}
	if err != nil {
		return unknown(ctx, gap.Subject, err)
	}
	most := grant(&k.read, len(listed))
	lacking := make([]bool, most)
	all, err := together(ctx, most, func(ctx context.Context, i int) (found plan.Comparison, err error) {
		atDestination := slices.ContainsFunc(held, func(h ref.Descriptor) bool { return h.Digest == listed[i].Digest })
		found, lacking[i], err = k.referrer(ctx, gap, listed[i].Digest, atDestination)
		return found, err
	})
	for i, d := range listed[:most] {
		if lacking[i] {
			gap.Referrers = append(gap.Referrers, d)
		}
	}
	if err != nil || most == len(listed) {
		return all, err
	}
	rest, err := unknown(ctx, gap.Subject, tooMany(len(listed)-most, len(listed)))
	return all.And(rest), err
}

// referrer compares one referrer and what refers to it. The destination has it where its
// list names it and it is there. What it lacks has to be something that upstream really
// has: a list is a claim.
func (k *comparing) referrer(ctx context.Context, of *plan.Gap, d ref.Digest, listed bool) (found plan.Comparison, lacking bool, err error) {
	if listed {
		held, err := k.held.resolve(ctx, k.dst, k.to.Digested(d))
		if err != nil {
			found, err = unknown(ctx, d, err)
			return found, false, err
		}
		listed = held.Digest == d
	}
	if !listed {
		n, err := k.upstream.Tree(ctx, k.src, k.from.Digested(d))
		if err == nil {
			err = n.mustRefer(of.Subject)
		}
		if err != nil {
			found, err = unknown(ctx, d, err)
			return found, false, err
		}
	}
	found, err = k.about(ctx, d, of.Depth+1, listed)
	if listed {
		found.Mirrored++
	} else {
		found.Missing++
	}
	return found, !listed, err
}

// tagged compares what both sides keep about a manifest under cosign's tags, and notes
// the gap between them.
func (k *comparing) tagged(ctx context.Context, gap *plan.Gap) (plan.Comparison, error) {
	tags, err := k.upstream.CosignTags(ctx, k.src, k.from.Digested(gap.Subject))
	if err != nil {
		return unknown(ctx, gap.Subject, err)
	}
	var all plan.Comparison
	for _, tag := range tags {
		there, err := k.tag(ctx, tag)
		switch {
		case err != nil:
			lost, err := unknown(ctx, tag.Digest, err)
			if all = all.And(lost); err != nil {
				return all, err
			}
		case there:
			all.Mirrored++
		default:
			all.Missing++
			gap.Tags = append(gap.Tags, tag)
		}
	}
	return all, nil
}

// tag reports whether the destination has all that upstream keeps under one of cosign's
// tags. It is an error where it has not and cannot get it.
func (k *comparing) tag(ctx context.Context, tag ref.Reference) (there bool, err error) {
	held, err := k.held.resolve(ctx, k.dst, k.to.Tagged(tag.Tag))
	if err != nil || held.Digest == tag.Digest {
		return err == nil, err
	}
	upstream, err := k.upstream.Tree(ctx, k.src, tag)
	if err != nil || held.Digest == "" {
		return false, err
	}
	has, err := k.held.Manifest(ctx, k.dst, held)
	switch {
	case err != nil:
		return false, err
	case includes(has, upstream.Manifest):
		return true, nil
	case !includes(upstream.Manifest, has):
		return false, fmt.Errorf("%s: %w", tag.Tag, errOthers)
	}
	return false, nil
}
