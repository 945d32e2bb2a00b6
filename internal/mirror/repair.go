package mirror

import (
	"context"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Repair brings again what Verify found missing, drifted or damaged, through the same
// engine as any run, and verifies it anew. It returns all results, with those that it
// worked on replaced: each is Repaired, or says what is still wrong and why. Its error is
// that of closing what was opened.
func (r *Runner) Repair(ctx context.Context, results []plan.Result, v Verification) ([]plan.Result, error) {
	var which []int
	var p plan.Plan
	bad := copy.Damaged{}
	for i, result := range results {
		noteDamage(bad, result)
		if a, ok := mending(result); ok {
			which, p.Actions = append(which, i), append(p.Actions, a)
		}
	}
	r.refine(ctx, &p)
	opts := r.Copy
	opts.Damaged = bad
	copier := copy.New(r.Places, r.library, opts)
	brought := copier.Run(ctx, p)
	err := copier.Close()
	again := r.Verify(ctx, r.afterwards(ctx, brought), v)
	repaired := append([]plan.Result{}, results...)
	for i, at := range which {
		repaired[at] = outcome(results[at], brought[i], again[i])
	}
	return repaired, err
}

// mending returns the action that may mend what is wrong with a row.
func mending(found plan.Result) (plan.Action, bool) {
	a := found.Action
	switch found.Status {
	case plan.Damaged:
		return a.Mend()
	case plan.Missing, plan.StaysDrifted:
		return a, a.Verb.Writes() // what a rule says to leave alone stays
	default:
		return a, false
	}
}

// noteDamage notes content that the engine must not believe to be there.
func noteDamage(bad copy.Damaged, found plan.Result) {
	if found.Inspected == nil {
		return
	}
	for _, d := range found.Inspected.Damage {
		if d.Digest != "" {
			bad.Add(found.Action.To.Repository, d.Digest)
		}
	}
}

// afterwards is the plan to verify by what was brought: the destination's tags are asked
// for anew.
func (r *Runner) afterwards(ctx context.Context, brought []plan.Result) plan.Plan {
	var p plan.Plan
	for _, b := range brought {
		a := b.Action
		a.Verb, a.Mends, a.Compared, a.Err, a.Have, a.Reason = plan.Copy, false, nil, nil, "", ""
		held, err := registry.Snapshot(ctx, r.Places.Target(a), a.To.Repository, []string{a.To.Tag})
		switch d := held[a.To.Tag].Digest; {
		case err != nil:
			a = a.Stop(err)
		case d == a.Want:
			a.Verb, a.Have, a.Reason = plan.InSync, d, "same digest"
		case d != "":
			a.Verb, a.Have, a.Reason = plan.Update, d, "upstream moved"
		}
		p.Actions = append(p.Actions, a)
	}
	return p
}

// outcome is the row of what was wrong, was worked on, and was verified again.
func outcome(before, brought, again plan.Result) plan.Result {
	row := again
	row.Action, row.Bytes, row.Duration = before.Action, brought.Bytes, brought.Duration
	row.Action.Compared = again.Action.Compared
	was := string(before.Status) + ": " + before.Reason
	switch {
	case again.Status == plan.Verified && before.Status == plan.Damaged && before.Action.Want != brought.Action.Want:
		// It is whole again, and what differed from upstream still does.
		row.Status = plan.StaysDrifted
		row.Reason = "its damage is repaired; " + before.Action.Reason
	case again.Status == plan.Verified:
		row.Status, row.Reason, row.Action.Want = plan.Repaired, "was "+was, brought.Action.Want
	case brought.Err != nil:
		row.Reason = again.Reason + "; not repaired: " + brought.Reason
	case again.Status == plan.Damaged:
		row.Reason = again.Reason + "; still so after it was uploaded again: the registry keeps the bytes that it has. Delete the image there, let the registry collect its garbage, and repair again"
	case again.Status == plan.Pending:
	default:
		row.Reason = again.Reason + "; after a repair; before it was " + was
	}
	return row
}
