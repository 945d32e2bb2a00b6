package copy

import (
	"context"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
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

// completed is the result of an action that brought nothing but referrers. Where the
// destination took none of them, it is what it was.
func completed(a plan.Action, all plan.Referrers) plan.Result {
	status := plan.Updated
	if all.Mirrored == a.Compared.Mirrored {
		status = plan.StaysInSync
	}
	return plan.Result{Action: a, Status: status, Reason: all.Because(a.Reason), Referrers: all}
}
