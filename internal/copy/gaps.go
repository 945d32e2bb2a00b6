package copy

import (
	"context"
	"errors"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// complete brings the referrers that the plan found missing to an image that is in sync.
// Its tag is looked at, and not touched: what is to be completed must be what it means.
func (j *job) complete(ctx context.Context) (plan.Referrers, error) {
	if err := j.connect(ctx); err != nil {
		return plan.Referrers{}, err
	}
	if _, err := j.needsTag(ctx); err != nil {
		return plan.Referrers{}, err
	}
	j.begun()
	gaps := j.action.Compared.Gaps
	brought, err := together(ctx, len(gaps), func(ctx context.Context, i int) (plan.Referrers, error) { return j.fill(ctx, gaps[i]) })
	all := j.action.Compared.Referrers.And(brought)
	if err == nil && j.copier.opts.RequireReferrers {
		err = all.Err()
	}
	return all, err
}

// fill brings what one manifest lacks, once in a run however many images share it.
func (j *job) fill(ctx context.Context, gap plan.Gap) (plan.Referrers, error) {
	subject := &Node{Digest: gap.Subject, held: true}
	key := referral{j.action.From.Repository, j.contentOf(subject)}
	return j.copier.filled.do(ctx, key, key.from, func(ctx context.Context) (plan.Referrers, error) {
		listed, err := j.bringAll(ctx, subject, gap.Referrers, gap.Depth)
		if err != nil {
			return listed, err
		}
		tagged, err := j.bringTags(ctx, subject, gap.Tags)
		return listed.And(tagged), err
	})
}

// damaged reports whether the destination is known to have content with wrong bytes.
func (j *job) damaged(d ref.Digest) bool {
	to := j.action.To.Repository
	return j.copier.opts.Damaged[to][d]
}

// mend ends bringing an image again whose tag is right: with its root, where that is
// damaged itself. A tag that may not be written a second time is left, and the root
// written by its digest alone. That the tag serves it is read back in any case.
func (j *job) mend(ctx context.Context, root *Node) error {
	now, err := j.target.Resolve(ctx, ref.Reference{Repository: j.action.To.Repository, Tag: j.action.To.Tag})
	if err == nil && now.Digest != j.action.Want {
		err = &ChangedMeanwhile{Tag: j.action.To, Was: j.action.Want, IsNow: now.Digest}
	}
	if err != nil {
		return j.tagError("resolve", err)
	}
	if j.damaged(root.Digest) {
		if _, err := j.write(ctx, root); err != nil {
			return err
		}
		err := registry.WriteManifest(ctx, j.dst, j.action.To.Tag, root.Manifest)
		if err != nil && !errors.Is(err, failure.ErrImmutable) {
			return j.tagError("write tag to", err)
		}
	}
	return j.settle(ctx, nil)
}

// completed is the result of an action that brought nothing but referrers. Where the
// destination took none of them, it is what it was.
func completed(a plan.Action, all plan.Referrers) plan.Result {
	status := plan.Updated
	if all.Mirrored == a.Compared.Mirrored {
		status = plan.StaysInSync
	}
	return plan.Result{Action: a, Status: status, Reason: all.Because(a.Reason), Referrers: all}
}
