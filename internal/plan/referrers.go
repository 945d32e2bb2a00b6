package plan

import (
	"fmt"
	"slices"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Referrers is what came of an image's referrers: the signatures, SBOMs and attestations
// that upstream has of it and of its children. The zero Referrers is that there are
// none, or that nobody looked.
type Referrers struct {
	Mirrored   int      // at the destination, and found from their subject there
	Incomplete []string // what of them is not, each with the reason
	LeftOut    int      // about upstream's index, of which the destination holds a selection
}

// And returns r and other together.
func (r Referrers) And(other Referrers) Referrers {
	return Referrers{
		Mirrored:   r.Mirrored + other.Mirrored,
		Incomplete: slices.Concat(r.Incomplete, other.Incomplete),
		LeftOut:    r.LeftOut + other.LeftOut,
	}
}

// Err says that referrers are missing, and is nil where none are.
func (r Referrers) Err() error {
	switch more := len(r.Incomplete) - 1; {
	case more < 0:
		return nil
	case more == 0:
		return incompleteError("incomplete: " + r.Incomplete[0])
	default:
		return incompleteError(fmt.Sprintf("incomplete: %s, and %d more", r.Incomplete[0], more))
	}
}

type incompleteError string

func (e incompleteError) Error() string { return string(e) }

// Because adds what is to be known about referrers to the reason of a row.
func (r Referrers) Because(reason string) string {
	if r.Mirrored > 0 {
		reason += fmt.Sprintf("; with %s", counted(r.Mirrored))
	}
	if r.LeftOut > 0 {
		reason += fmt.Sprintf("; without %s of upstream's index, which the platforms are selected from", counted(r.LeftOut))
	}
	if err := r.Err(); err != nil {
		reason += "; " + err.Error()
	}
	return reason
}

func counted(referrers int) string {
	if referrers == 1 {
		return "1 referrer"
	}
	return fmt.Sprintf("%d referrers", referrers)
}

// Comparison is what was found where the referrers of an image were compared although
// its digest is the same on both sides. Its Referrers are what the destination has of
// those that upstream has, and why some cannot be brought there.
type Comparison struct {
	Referrers
	Missing int   // that upstream has and the destination lacks
	Gaps    []Gap // where they are to be brought
}

// Gap is a manifest that is at the destination without all of its referrers. What refers
// to those in turn comes along with them.
type Gap struct {
	Subject   ref.Digest
	Depth     int              // 1 for a manifest of the image, 2 for a referrer of one, and so on
	Referrers []ref.Descriptor // as upstream lists them
	Tags      []ref.Reference  // upstream's, as cosign names them, each with its digest
}

// And returns c and other together.
func (c Comparison) And(other Comparison) Comparison {
	return Comparison{
		Referrers: c.Referrers.And(other.Referrers),
		Missing:   c.Missing + other.Missing,
		Gaps:      slices.Concat(c.Gaps, other.Gaps),
	}
}

// Complete returns an action on an image that is in sync in the light of its referrers:
// an Update that leaves the tag alone, where some are missing.
func (a Action) Complete(c Comparison) Action {
	a.Compared = &c
	if c.Missing > 0 {
		a.Verb = Update
		a.Reason += fmt.Sprintf("; %d of %s missing at destination", c.Missing, counted(c.Missing+c.Mirrored))
	}
	return a
}

// OnlyReferrers reports whether a brings referrers to an image that is in sync: its tag
// stays what it is.
func (a Action) OnlyReferrers() bool { return a.Verb == Update && a.Have == a.Want && !a.Mends }

// because is the reason of an action that has not been carried out.
func (c Comparison) because(a Action) string {
	found := c.Referrers
	if a.OnlyReferrers() {
		found.Mirrored = 0 // its reason says it already
	}
	return found.Because(a.Reason)
}
