package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// prunesAtOnce bounds the repositories from which tags are removed at a time. Within one
// they go one after the other, so that the first thing that is wrong is the last.
const prunesAtOnce = 8

// remove carries out what the plan says about removing tags, once everything is copied.
// results are those of the whole plan.
func (r *Runner) remove(ctx context.Context, results []plan.Result) {
	rows := make(map[ref.Repository][]*plan.Result)
	prunes := make(map[ref.Repository]bool)
	for i := range results {
		a := results[i].Action
		rows[a.To.Repository] = append(rows[a.To.Repository], &results[i])
		prunes[a.To.Repository] = prunes[a.To.Repository] || a.Verb == plan.Prune
	}
	enough := r.enough(results)
	var g errgroup.Group
	g.SetLimit(prunesAtOnce)
	for repo := range prunes {
		if !prunes[repo] {
			continue
		}
		g.Go(func() error {
			r.removeFrom(ctx, rows[repo], enough)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
}

// removeFrom removes what is to go of one repository. rows are everything that the plan
// says about it; enough, if anything, is why the run removes nothing any more.
func (r *Runner) removeFrom(ctx context.Context, rows []*plan.Result, enough error) {
	stop := cmp.Or(incomplete(rows), enough)
	for _, row := range rows {
		switch {
		case row.Action.Verb != plan.Prune:
		case ctx.Err() != nil:
			*row = notRemoved(row.Action, context.Cause(ctx))
		case r.Copy.Stopped() != nil:
			*row = notRemoved(row.Action, r.Copy.Stopped())
		case stop != nil:
			*row = notRemoved(row.Action, stop)
		default:
			stop = r.removeOne(ctx, row, rows)
		}
	}
}

// enough says why a run whose errors are limited goes no further, nil where it does.
func (r *Runner) enough(results []plan.Result) error {
	failed := 0
	for _, result := range results {
		if result.Status == plan.HasFailed {
			failed++
		}
	}
	if most := r.Copy.MaxErrors; most > 0 && failed >= most {
		return fmt.Errorf("%d failed, and the run ends at %d", failed, most)
	}
	return nil
}

// incomplete says why nothing may go from a repository after copying to it, nil where
// everything is there that should be.
func incomplete(rows []*plan.Result) error {
	for _, row := range rows {
		if row.Action.Verb != plan.Prune && (row.Err != nil || row.Status == plan.HasFailed || row.Status == plan.Pending) {
			return fmt.Errorf("prune cancelled: %s is %s", row.Action.To, row.Status)
		}
	}
	return nil
}

func notRemoved(a plan.Action, why error) plan.Result {
	return plan.Result{Action: a, Status: plan.Pending, Reason: "not done: " + why.Error(), Err: why}
}

// removeOne removes one tag and writes down what came of it. It returns an error where
// nothing else of the repository should be removed.
func (r *Runner) removeOne(ctx context.Context, row *plan.Result, rows []*plan.Result) error {
	defer r.step()
	a, began := row.Action, time.Now()
	gone, err := r.removeTag(ctx, a)
	if err == nil {
		err = r.bystander(ctx, a, rows)
	}
	meanwhile, changed := errors.AsType[*copy.ChangedMeanwhile](err)
	switch {
	case err == nil:
		*row = plan.Result{Action: a, Status: plan.Pruned, Reason: a.Reason}
		if gone {
			row.Reason = "somebody else removed it meanwhile"
		}
		r.log().Info("removed a tag", zap.Stringer("tag", a.To), zap.String("digest", string(a.Have)), zap.String("reason", row.Reason))
	case ctx.Err() != nil && interrupted(err):
		*row = notRemoved(a, context.Cause(ctx))
	case changed:
		*row = plan.Result{Action: a, Status: plan.StaysBlocked, Reason: meanwhile.Error(), Err: err}
		err = nil // which says nothing about the others
	default:
		*row = plan.Result{Action: a, Status: plan.HasFailed, Reason: err.Error(), Err: err}
		if failure.ForPerson(err) {
			row.Status = plan.StaysBlocked
		}
		err = fmt.Errorf("removing %s did not work", a.To)
	}
	row.Duration = time.Since(began)
	return err
}

// unsettledError says that a tag was being removed and that nobody could say afterwards
// whether it is gone.
type unsettledError struct{ err error }

func (e *unsettledError) Error() string {
	return "it is not known whether the tag is gone: " + e.err.Error()
}
func (e *unsettledError) Unwrap() error { return e.err }

// interrupted reports whether err, of a run that has ended, can be the ending's doing.
func interrupted(err error) bool {
	_, unsettled := errors.AsType[*unsettledError](err)
	return !unsettled && !failure.Final(err)
}

// removeTag removes the tag if it still is what the plan saw, and looks whether it is
// gone. It reports whether it was so before.
func (r *Runner) removeTag(ctx context.Context, a plan.Action) (gone bool, err error) {
	target := r.Places.Target(a)
	now, err := holds(ctx, target, a.To)
	switch {
	case err != nil:
		return false, err
	case now == "":
		return true, nil
	case now != a.Have:
		return false, &copy.ChangedMeanwhile{Tag: a.To, Was: a.Have, IsNow: now}
	}
	// What was begun is brought to its end, also when the run has ended.
	ctx, cancel := copy.Outlast(ctx, copy.LastLook)
	defer cancel()
	refusal := registry.DeleteTag(ctx, target, a.To)
	if refusal != nil {
		refusal = &registry.Error{Op: "remove tag from", Side: registry.SideTarget, Ref: a.To, Err: refusal}
	}
	// As after a write, neither answer is believed: what counts is what is there.
	switch now, err = holds(ctx, target, a.To); {
	case err != nil:
		return false, &unsettledError{errors.Join(refusal, err)}
	case now == "":
		return false, nil
	case refusal != nil:
		return false, refusal
	}
	return false, &registry.Error{Op: "remove tag from", Side: registry.SideTarget, Ref: a.To, Err: errStillThere}
}

var errStillThere = errors.New("the registry said that it did, and the tag is still there")

// holds returns what a tag points at now, "" where there is no such tag.
func holds(ctx context.Context, target registry.Target, tag ref.Reference) (ref.Digest, error) {
	d, err := target.Resolve(ctx, tag)
	if errors.Is(err, registry.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", &registry.Error{Op: "resolve", Side: registry.SideTarget, Ref: tag, Err: err}
	}
	return d.Digest, nil
}

// bystander looks at another tag of the image whose tag was removed. A registry that
// takes "remove this tag" for "remove this manifest" takes all of them, and must not be
// asked again.
func (r *Runner) bystander(ctx context.Context, removed plan.Action, rows []*plan.Result) error {
	for _, row := range rows {
		other := row.Action.To
		if row.Action.Verb == plan.Prune || other.Tag == "" || holding(*row) != removed.Have {
			continue
		}
		d, err := holds(ctx, r.Places.Target(row.Action), other)
		if err == nil && d == "" {
			err = &registry.Error{Op: "look after", Side: registry.SideTarget, Ref: other, Err: fmt.Errorf("it vanished when %s was removed, which meant the same image; do not prune at this registry: %w", removed.To.Tag, failure.ErrUnsupported)}
		}
		return err
	}
	return nil
}

// holding is what a row's tag points at after copying.
func holding(row plan.Result) ref.Digest {
	switch row.Status {
	case plan.Copied, plan.Updated, plan.StaysInSync:
		return row.Action.Want
	default:
		return row.Action.Have
	}
}

func (r *Runner) log() *zap.Logger {
	if r.Log == nil {
		return zap.NewNop()
	}
	return r.Log
}
