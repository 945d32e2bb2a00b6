// Package notify tells people when a run fails, recovers or finds drift: one message for a
// run and receiver, whatever the number of tags. What there is to tell is decided by values
// alone (History); senders bring it to a webhook, to Slack, or to what shoutrrr knows.
//
// That somebody cannot be told is never a failure of the run.
package notify

import (
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// Event is what happened to a mirror, or to the program.
type Event string

// The events, the worst first. Failed includes what is blocked: it waits for a person.
// Drift is what differs from upstream and stays as it is, and what verify found missing or
// damaged.
const (
	Failed    Event = "failed"
	Drift     Event = "drift"
	Recovered Event = "recovered"
	Test      Event = "test" // somebody wants to see whether messages arrive
)

// Seen is what one run says of the mirrors that took part in it.
type Seen struct {
	Started     time.Time
	Outcome     status.Outcome
	Error       string // why there was no plan, "" where there was one
	Interrupted bool   // a run that a signal ended says nothing
	Mirrors     map[string]Counts

	// Known reports whether a mirror still exists, also where it took no part. Nil means
	// that nobody knows, and that all do.
	Known func(name string) bool
}

// Counts are the rows of one mirror that are not as they should be.
type Counts struct {
	Failed  int    `json:"failed"`
	Blocked int    `json:"blocked"`
	Drifted int    `json:"drifted"`
	Missing int    `json:"missing"`
	Damaged int    `json:"damaged"`
	Reason  string `json:"reason"` // of the first of them, on one line

	notDone int
	known   bool // whether Reason is a failure's
}

// maxReason bounds a reason, in terminal cells. Registries choose what is in it.
const maxReason = 300

// Of sums up a run that made a report. Mirrors that took part and have no rows are named
// by also.
func Of(r report.Report, also ...string) Seen {
	s := Seen{Started: r.Started, Outcome: status.OutcomeOf(r), Interrupted: r.Interrupted, Mirrors: map[string]Counts{}}
	for _, name := range also {
		s.Mirrors[name] = Counts{}
	}
	for _, row := range r.Rows.All() {
		if name := status.NameOf(row.Mirror, row.Destination, row.Origin); name != "" {
			s.Mirrors[name] = s.Mirrors[name].with(row)
		} else if row.Status == report.StatusFailed && s.Error == "" {
			s.Error = short(row.Reason) // such as a Region that could not be searched
		}
	}
	return s
}

// Broken is a run that came to no report.
func Broken(err error, began time.Time) Seen {
	return Seen{Started: began.UTC(), Outcome: status.Failed, Error: short(err.Error())}
}

func (c Counts) with(row report.Row) Counts {
	switch row.Status {
	case report.StatusFailed:
		c.Failed++
	case report.StatusBlocked:
		c.Blocked++
	case report.StatusDrifted:
		c.Drifted++
	case report.StatusMissing:
		c.Missing++
	case report.StatusDamaged:
		c.Damaged++
	case report.StatusNotDone:
		c.notDone++
		return c
	default:
		return c
	}
	fails := row.Status == report.StatusFailed || row.Status == report.StatusBlocked
	if c.Reason == "" || fails && !c.known {
		c.Reason, c.known = reasonOf(row), fails
	}
	return c
}

// reasonOf says why a row is as it is, and which tag it is about.
func reasonOf(row report.Row) string {
	text := row.Reason
	if text == "" && len(row.Damage) > 0 {
		text = row.Damage[0]
	}
	if text == "" {
		text = row.Status.String()
	}
	if row.Tag != "" {
		text = row.Tag + ": " + text
	}
	return short(text)
}

func short(text string) string { return human.Head(human.Line(text), maxReason) }

// event is what the counts amount to, "" where all is well.
func (c Counts) event() Event {
	switch {
	case c.Failed+c.Blocked > 0:
		return Failed
	case c.Drifted+c.Missing+c.Damaged > 0:
		return Drift
	}
	return ""
}
