package mirror

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/verify"
)

// Bounds of verifying: how many repositories are remembered at once, and how many of one's
// images are looked at side by side.
const (
	repositoriesVerified = 8
	imagesVerified       = 8
)

// Verification is how a run verifies. The zero Verification looks whether everything is
// there, with the right size.
type Verification struct {
	Deep   bool // every byte is read and hashed
	Judge  bool // the Runner's Judge decides again about what is mirrored
	Events Events
}

// Events observes a run that verifies. Nil funcs are silence. Calls come from many
// goroutines.
type Events struct {
	Planned  func(images int)
	Started  func(plan.Action)
	Hashed   func(a plan.Action, bytes int)
	Finished func(plan.Result)
}

// Differences compares both sides as Plan does, and decides nothing that only who writes
// has to know: it reads no manifest of an upstream image, and judges none.
func (r *Runner) Differences(ctx context.Context) (plan.Plan, error) {
	d, err := r.differences(ctx)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return d.plan, err
}

// Verify looks at the destinations of a plan that Differences made, and returns what it
// found of each action, in the plan's order. It writes nothing. What it has no time for is
// Pending.
func (r *Runner) Verify(ctx context.Context, p plan.Plan, v Verification) []plan.Result {
	if v.Events.Planned != nil {
		v.Events.Planned(len(p.Actions))
	}
	b := verifier{Runner: r, Verification: v, checker: verify.New(v.Deep), comparer: copy.NewComparer(r.library, readsAtOnce)}
	results := make([]plan.Result, len(p.Actions))
	var g errgroup.Group
	g.SetLimit(repositoriesVerified)
	for begin := 0; begin < len(p.Actions); {
		end := begin + 1 // the plan is sorted by destination
		for end < len(p.Actions) && p.Actions[end].To.Repository == p.Actions[begin].To.Repository {
			end++
		}
		actions, into := p.Actions[begin:end], results[begin:end]
		g.Go(func() error {
			b.repository(ctx, actions, into)
			return nil
		})
		begin = end
	}
	_ = g.Wait() // the functions return none
	return results
}

// verifier is one pass over the destinations of a plan.
type verifier struct {
	*Runner
	Verification
	checker  *verify.Checker
	comparer *copy.Comparer
}

// repository verifies the actions on one repository.
func (v verifier) repository(ctx context.Context, actions []plan.Action, into []plan.Result) {
	var repo *verify.Repository
	var openErr error
	if at := actions[0].To.Repository; at != (ref.Repository{}) {
		repo, openErr = v.checker.Open(ctx, v.Places.Target(actions[0]), at)
	}
	if repo != nil {
		defer repo.Close()
	}
	var g errgroup.Group
	g.SetLimit(imagesVerified)
	for i, a := range actions {
		g.Go(func() error {
			switch {
			case a.To.Tag == "":
				into[i] = plan.Unchanged(a)
			case openErr != nil:
				into[i] = plan.Verdict(a, plan.Inspection{Err: openErr})
			default:
				into[i] = v.image(ctx, repo, a)
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return none
}

// image verifies one action, and tells of it.
func (v verifier) image(ctx context.Context, repo *verify.Repository, a plan.Action) plan.Result {
	if ctx.Err() != nil {
		return unverified(ctx, a)
	}
	if v.Events.Started != nil {
		v.Events.Started(a)
	}
	result := v.look(ctx, repo, a)
	if ctx.Err() != nil && result.Status != plan.Damaged {
		result = unverified(ctx, a)
	}
	if v.Events.Finished != nil {
		v.Events.Finished(result)
	}
	return result
}

// look finds out all there is to know about one image. Its referrers are compared where it
// is whole: the comparison reads it.
func (v verifier) look(ctx context.Context, repo *verify.Repository, a plan.Action) plan.Result {
	found := repo.Check(ctx, verify.Image{
		Tag: a.To.Tag, Digest: a.Have, Referrers: a.Mirror.Options.Referrers,
		Moved: func(n int) {
			if v.Events.Hashed != nil {
				v.Events.Hashed(a, n)
			}
		},
	})
	whole := found.Err == nil && len(found.Damage) == 0
	if whole && v.Recheck && !v.Offline && a.Verb == plan.InSync && a.Mirror.Options.Referrers {
		a = v.compareReferrers(ctx, v.comparer, a)
	}
	if v.Verification.Judge && a.Have != "" {
		found.Refused = v.judgeMirrored(ctx, a)
	}
	return plan.Verdict(a, found)
}

func unverified(ctx context.Context, a plan.Action) plan.Result {
	return plan.Result{Action: a, Status: plan.Pending, Reason: "not verified: " + context.Cause(ctx).Error(), Err: context.Cause(ctx)}
}

// judgeMirrored lets the trust policy decide about what the destination's tag means, by its
// digest upstream: the policy's scopes are upstream's names, and signatures are there.
func (r *Runner) judgeMirrored(ctx context.Context, a plan.Action) error {
	switch {
	case a.Want == a.Have:
	case a.Mirror.Platforms.All():
		a.From.Digest = a.Have
	default:
		return fmt.Errorf("it is not known what upstream image %s was selected from, so no policy can be asked about it", a.Have)
	}
	return r.Judge.Allow(ctx, a.From)
}
