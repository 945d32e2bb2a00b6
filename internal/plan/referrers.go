package plan

import (
	"fmt"
	"slices"
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
