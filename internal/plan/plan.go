// Package plan compares what a mirror wants with what its target holds, and decides.
// It is pure: everything it needs is in its arguments, and its result depends on
// nothing else. Dry run, tables, JSON and exit codes are all readings of the same Plan.
//
// The value for what came of each decision, Result, lives here too, so that reporting
// need not know the copy engine.
package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Verb is what a plan does about one destination tag.
type Verb string

// The verbs. Blocked waits for a person: the reason says for what. Failed could not be
// planned: trying again may help, or correcting what the reason names. Present was not
// compared: the tag is at the destination, and its rule says that it never changes.
// Drifted differs from upstream, and its rule says to leave it as it is.
// Prune removes a tag that no rule wants; Stale leaves such a tag, and says why.
const (
	Copy    Verb = "copy"
	Update  Verb = "update"
	InSync  Verb = "in-sync"
	Present Verb = "present"
	Drifted Verb = "drifted"
	Prune   Verb = "prune"
	Stale   Verb = "stale"
	Blocked Verb = "blocked"
	Failed  Verb = "failed"
)

// Writes reports whether the verb puts an image and its tag at the destination.
func (v Verb) Writes() bool { return v == Copy || v == Update }

// Changes reports whether the verb changes the destination.
func (v Verb) Changes() bool { return v.Writes() || v == Prune }

// Action is one line of a plan: do Verb, so that To holds Want.
type Action struct {
	Verb   Verb
	From   ref.Reference // upstream repository and tag, with the digest the tag resolved to
	To     ref.Reference // destination repository and tag; no tag where a whole mirror failed
	Want   ref.Digest    // what To is to hold: From's digest, or that of the selection made from it
	Have   ref.Digest    // what To held when the plan was made, "" where nothing
	Size   int64         // bytes of the image at the destination; 0 where it was not read
	Reason string
	Mirror *discover.Mirror // what wants it; one for all its actions, which nobody may change

	Compared *Comparison // of the referrers of an image that is in sync; nil where nobody compared them

	// Mends says that the image is to be brought again although the destination's tag
	// means it: something of it is damaged there.
	Mends bool

	Err error // why it is Blocked or Failed, nil where Reason alone says it

	// Creates says that To's repository is missing, and that the run, or the registry with
	// the first push, makes it. All actions on the repository say so that write.
	Creates bool
}

// Plan is a whole run, decided before its first write. Actions are sorted by
// destination, and no destination tag stands in two of them.
type Plan struct {
	Actions  []Action
	Warnings []string
	Drift    []Drift // of repositories, sorted by destination
}

// Drift is a repository whose settings are not those that its rule asks for.
type Drift struct {
	Mirror      *discover.Mirror
	Differences []provision.Difference
}

// Changes reports whether carrying the plan out changes the setting.
func (d Drift) Changes(one provision.Difference) bool {
	return d.Mirror.Repository.Reconcile == provision.Apply && !one.Fixed()
}

// Remark says of a setting what it is and what was asked for, and what becomes of that.
func (d Drift) Remark(one provision.Difference) string {
	text := fmt.Sprintf("%s: %s", d.Mirror.Target, one)
	switch {
	case one.Fixed():
		return text + "; it cannot be changed, only a new repository can have it"
	case d.Changes(one):
		return text + "; it will be changed"
	}
	return text
}

// SortDrift sorts what was compared in no order.
func (p Plan) SortDrift() {
	slices.SortFunc(p.Drift, func(a, b Drift) int {
		return cmp.Compare(a.Mirror.Target.String(), b.Mirror.Target.String())
	})
}

// Remarks are the warnings of the plan, and what there is to say about drift.
func (p Plan) Remarks() []string {
	remarks := slices.Clone(p.Warnings)
	for _, d := range p.Drift {
		for _, one := range d.Differences {
			remarks = append(remarks, d.Remark(one))
		}
	}
	return remarks
}

// Wanted is one tag that a mirror wants, with what is known about both sides.
type Wanted struct {
	Mirror *discover.Mirror
	Tag    string // at the destination
	Source string // upstream: the same tag, unless the mirror renames it; "" where a digest was asked for
	Term   string // what chose the tag

	Upstream     ref.Digest // what Source means upstream now
	UpstreamType string     // its media type, "" where upstream did not say
	Err          error      // why Upstream is not known

	// Want is what the destination is to hold, where that is not Upstream itself:
	// the smaller index, or the one image, that platform selection makes of it.
	Want     ref.Digest
	Selected bool // the destination holds the selection from Upstream, whatever its digest

	Have      ref.Digest // what the destination's tag points at, "" where it is absent
	TargetErr error      // why the destination is not known
	Creates   bool       // the destination's repository is missing and will be made

	// Uncompared says that upstream was not asked: the destination has the tag, and the
	// mirror's rules declare that it never changes.
	Uncompared bool
}

// Build decides about each wanted tag; wanted has one slice for each mirror. Two mirrors that want the same destination tag
// are both Failed: which of them were last would be chance.
func Build(wanted [][]Wanted, failed []Action, warnings []string) Plan {
	all := len(failed)
	for _, of := range wanted {
		all += len(of)
	}
	actions := append(make([]Action, 0, all), failed...)
	for _, of := range wanted {
		for _, w := range of {
			actions = append(actions, decide(w))
		}
	}
	slices.SortStableFunc(actions, byDestination)
	refuseClashes(actions)
	return Plan{Actions: actions, Warnings: warnings}
}

func byDestination(a, b Action) int {
	if c := a.To.Repository.Compare(b.To.Repository); c != 0 {
		return c
	}
	if c := cmp.Compare(a.To.Tag, b.To.Tag); c != 0 {
		return c
	}
	return a.From.Compare(b.From)
}

// decide is the whole of the comparison, in the order in which a person would ask.
func decide(w Wanted) Action {
	a := Action{
		From:   ref.Reference{Repository: w.Mirror.Upstream, Tag: w.Source, Digest: w.Upstream},
		To:     w.Mirror.Target.Tagged(w.Tag),
		Want:   cmp.Or(w.Want, w.Upstream),
		Have:   w.Have,
		Mirror: w.Mirror,
	}
	switch {
	case w.TargetErr != nil:
		return a.because(w.TargetErr, "destination")
	case w.Uncompared:
		a.Verb, a.Want, a.Reason = Present, w.Have, "present, not compared: declared immutable"
	case w.Err != nil:
		return a.because(w.Err, "upstream")
	case a.Want == "":
		// An absent tag and a digest nobody told would compare as equal.
		return a.because(errNoDigest, "upstream")
	case w.Selected:
		a.Verb, a.Want, a.Reason = InSync, w.Have, "same platforms of the same upstream digest"
	case w.Have == a.Want:
		a.Verb, a.Reason = InSync, "same digest"
	case w.Have == "" && w.Creates:
		a.Verb, a.Reason, a.Creates = Copy, Creation(w.Mirror.Repository.Create), true
	case w.Have == "":
		a.Verb, a.Reason = Copy, "missing at destination"
	case !w.Mirror.Options.Replace:
		// Before immutability, which only matters to who wants to write.
		a.Verb, a.Reason = Drifted, "upstream moved; replace is off"
	case !w.Mirror.Tags.Allows(w.Tag):
		a.Verb, a.Reason = Blocked, "tag is immutable at destination and upstream moved"
	default:
		a.Verb, a.Reason = Update, "upstream moved"
	}
	return a
}

// Creation words what an image goes to that has no repository yet.
func Creation(how provision.Create) string {
	if how == provision.OnPush {
		return "missing at destination; the push creates the repository, from a creation template"
	}
	return "missing at destination; creates the repository"
}

var errNoDigest = errors.New("it is not known what the tag means")

// ErrNoRepository is why a tag is not known whose upstream has no repository of that name,
// or none that these credentials may see: registries answer both alike.
var ErrNoRepository = fmt.Errorf("upstream repository missing, or hidden from these credentials: %w", failure.ErrNotFound)

// because turns an error into a verdict: absence and refusal wait for a person, and
// everything else is a failure of this run.
func (a Action) because(err error, side string) Action {
	a = a.Stop(err)
	switch {
	case errors.Is(err, ErrNoRepository):
		a.Reason = "upstream repository missing, or hidden from these credentials"
	case errors.Is(err, failure.ErrNotFound) && side == "upstream":
		a.Reason = "upstream tag missing"
	case errors.Is(err, failure.ErrNotFound):
		a.Reason = "destination repository missing: create it, or let --create-repositories do so"
	case errors.Is(err, failure.ErrDenied):
		a.Reason = fmt.Sprintf("%s denied: %v", side, err)
	case a.Verb == Failed:
		a.Reason = fmt.Sprintf("%s: %v", side, err)
	}
	return a
}

// ErrForbidden is the kind of everything that policy, not a registry, forbids.
var ErrForbidden = failure.ErrForbidden

// Stop returns, in place of what was decided, the verdict that err means: Blocked where
// it waits for a person, else Failed.
func (a Action) Stop(err error) Action {
	a.Verb, a.Reason, a.Err, a.Creates = Failed, err.Error(), err, false
	if failure.ForPerson(err) {
		a.Verb = Blocked
	}
	return a
}

// MirrorStopped is the row of a mirror none of whose tags could be planned, Blocked or
// Failed as Stop says.
func MirrorStopped(m *discover.Mirror, err error) Action {
	return Action{From: ref.Reference{Repository: m.Upstream}, To: ref.Reference{Repository: m.Target}, Mirror: m}.Stop(err)
}

// Clash is the error of a destination tag that two rules want. It names both places.
func Clash(a, b *discover.Mirror) error {
	return fmt.Errorf("two rules want this tag: %s from %s, and %s from %s", a.Origin.Place, a.Upstream, b.Origin.Place, b.Upstream)
}

// refuseClashes fails every action on a destination tag that more than one wants.
func refuseClashes(sorted []Action) {
	for i := 1; i < len(sorted); i++ {
		a, b := &sorted[i-1], &sorted[i]
		if a.To != b.To || a.To.Tag == "" {
			continue
		}
		err := Clash(a.Mirror, b.Mirror)
		*a, *b = a.Stop(err), b.Stop(err)
	}
}

// Add returns the plan with more actions in their places.
func (p Plan) Add(more []Action) Plan {
	if len(more) == 0 {
		return p
	}
	p.Actions = slices.Concat(p.Actions, more)
	slices.SortStableFunc(p.Actions, byDestination)
	return p
}

// Count returns how many actions have the verb.
func (p Plan) Count(v Verb) int {
	n := 0
	for _, a := range p.Actions {
		if a.Verb == v {
			n++
		}
	}
	return n
}

// Changes reports whether carrying the plan out would change anything.
func (p Plan) Changes() bool {
	return slices.ContainsFunc(p.Actions, func(a Action) bool { return a.Verb.Changes() }) || p.SettingsChanged() > 0
}

// SettingsChanged is how many settings of repositories carrying the plan out changes.
func (p Plan) SettingsChanged() int {
	n := 0
	for _, d := range p.Drift {
		for _, one := range d.Differences {
			if d.Changes(one) {
				n++
			}
		}
	}
	return n
}

// Status is what came of an action.
type Status string

// The statuses. Planned stands for an action of a dry run; Pending for one that the
// run had no time for, its destination unchanged. The last four are those of verifying.
const (
	Copied       Status = "copied"
	Updated      Status = "updated"
	StaysInSync  Status = "in-sync"
	StaysPresent Status = "present"
	StaysDrifted Status = "drifted"
	Pruned       Status = "pruned"
	StaysStale   Status = "stale"
	StaysBlocked Status = "blocked"
	HasFailed    Status = "failed"
	Planned      Status = "planned"
	Pending      Status = "pending"

	Verified Status = "verified"
	Damaged  Status = "damaged"
	Missing  Status = "missing"
	Repaired Status = "repaired"
)

// Result is an action and what came of it.
type Result struct {
	Action    Action
	Status    Status
	Reason    string // the action's, unless something happened that it did not foresee
	Bytes     int64  // blob bytes written to the destination for this action
	Referrers Referrers
	Inspected *Inspection // where the image was verified
	Began     time.Time   // when work on the action began, zero where there was none
	Duration  time.Duration
	Err       error
}

// Unchanged is the result of an action that changes nothing, or of any in a dry run.
func Unchanged(a Action) Result {
	status := map[Verb]Status{
		InSync: StaysInSync, Present: StaysPresent, Drifted: StaysDrifted, Stale: StaysStale, Blocked: StaysBlocked, Failed: HasFailed,
		Copy: Planned, Update: Planned, Prune: Planned,
	}[a.Verb]
	r := Result{Action: a, Status: status, Reason: a.Reason, Err: a.Err}
	if a.Compared != nil && a.Err == nil {
		r.Referrers = a.Compared.Referrers
		r.Reason = a.Compared.because(a)
	}
	return r
}
