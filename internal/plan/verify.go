package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Damage is something of an image that its destination lacks, or that is not what its
// digest says.
type Damage struct {
	Digest  ref.Digest
	What    string // "tag", "manifest", "blob", or "referrers" for the list of a manifest's
	Problem string
}

func (d Damage) String() string {
	if d.Digest == "" {
		return d.What + ": " + d.Problem
	}
	return fmt.Sprintf("%s %s: %s", d.What, d.Digest, d.Problem)
}

// Inspection is what was found of one image at its destination.
type Inspection struct {
	Damage  []Damage // each once
	Deep    bool     // whether all bytes were hashed; without it only those of manifests were
	Hashed  int64    // bytes of blobs that were read for this image, and for no image before it
	Err     error    // why it could not be looked at to the end
	Refused error    // why the trust policy does not let the image be mirrored
}

// And returns i and other together.
func (i Inspection) And(other Inspection) Inspection {
	for _, d := range other.Damage {
		if !slices.ContainsFunc(i.Damage, func(known Damage) bool { return known == d }) {
			i.Damage = append(slices.Clip(i.Damage), d)
		}
	}
	i.Hashed += other.Hashed
	i.Err = cmp.Or(i.Err, other.Err)
	i.Refused = cmp.Or(i.Refused, other.Refused)
	return i
}

// complete words that nothing is wrong.
func (i Inspection) complete() string {
	if i.Deep {
		return "complete, every byte hashed"
	}
	return "complete"
}

// damaged words what is wrong.
func (i Inspection) damaged() string {
	text := i.Damage[0].String()
	if more := len(i.Damage) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

// Verdict is the row of an action that was looked at and not carried out. The worst of
// what was found decides: damage, then what could not be looked at or is refused, then a
// difference from upstream. A row that could not be planned says so.
func Verdict(a Action, found Inspection) Result {
	r := Unchanged(a)
	if a.To.Tag == "" {
		return r
	}
	status, reason := compared(a, r)
	r.Inspected = &found
	switch {
	case len(found.Damage) > 0:
		r.Status, r.Reason, r.Err = Damaged, found.damaged(), nil
		if status != Verified {
			r.Reason += "; " + reason
		}
	case found.Err != nil:
		r.Status, r.Reason, r.Err = HasFailed, fmt.Sprintf("not verified: %v", found.Err), found.Err
	case found.Refused != nil:
		stopped := Unchanged(a.Stop(found.Refused))
		r.Status, r.Reason, r.Err = stopped.Status, stopped.Reason, stopped.Err
	default:
		r.Status, r.Reason = status, reason
		if status == Verified {
			r.Reason = found.complete() + "; " + reason
		}
	}
	return r
}

// compared is what the comparison with upstream means to who verifies.
func compared(a Action, r Result) (Status, string) {
	switch a.Verb {
	case InSync:
		if a.Compared != nil && a.Compared.Err() != nil {
			return StaysDrifted, r.Reason
		}
		return Verified, r.Reason
	case Present:
		if a.Have == "" {
			return Missing, "missing at destination"
		}
		return Verified, "not compared with upstream"
	case Copy:
		return Missing, "missing at destination"
	case Update, Drifted:
		return StaysDrifted, r.Reason
	case Blocked:
		return differs(a, r)
	default:
		return r.Status, r.Reason
	}
}

// differs sorts what no run could mend into what waits for a person and what is a
// difference all the same: an immutable tag, or a repository that is not there.
func differs(a Action, r Result) (Status, string) {
	switch {
	case a.Err == nil && a.Have != "":
		return StaysDrifted, r.Reason
	case a.From.Digest != "" && errors.Is(a.Err, failure.ErrNotFound):
		return Missing, r.Reason
	}
	return r.Status, r.Reason
}

// Mend returns what brings an image again whose row is Damaged: the one that upstream's
// tag means, or where the rule does not let the tag follow, the one that the destination's
// tag means. Ok is false where that is not known to be upstream.
func (a Action) Mend() (mended Action, ok bool) {
	switch {
	case a.Have != "" && a.Want == a.Have && (a.Verb == InSync || a.OnlyReferrers()):
	case a.Verb == Copy || a.Verb == Update:
		return a, true // what is written is read back whole
	case a.Have != "" && a.Mirror.Platforms.All() && (a.Verb == Drifted || a.Verb == Blocked):
		a.From.Digest, a.Want = a.Have, a.Have
	default:
		return a, false
	}
	a.Verb, a.Mends, a.Compared, a.Err = Update, true, nil, nil
	return a, true
}
