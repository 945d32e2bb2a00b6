package status

import (
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// NameOf is how a Board calls the mirror of a row: by its name in the file, and where
// resource tags describe it, or nothing names it, by its destination.
func NameOf(mirror, destination, origin string) string {
	if mirror == "" || strings.HasPrefix(origin, "arn:") {
		return destination
	}
	return mirror
}

// Counted is what one run says of one mirror.
type Counted struct {
	Tags   Tags
	Bytes  int64
	Errors []Error

	differs bool // a difference to upstream is known, and stays
	unknown bool // a tag could not be compared
}

// InSync reports whether everything that the mirror wants is at its destination.
func (c Counted) InSync() bool { return c.Tags.Blocked+c.Tags.Failed+c.Tags.NotDone == 0 }

// AllFailed reports whether the run got nowhere with the mirror.
func (c Counted) AllFailed() bool { return c.Tags.Failed > 0 && c.Tags.InSync == 0 }

// Behind is since when the mirror is behind after the run, which began then, where before it
// was so since a time; zero stands for not at all. Where a tag could not be compared, what
// was known of a difference stays known.
func (c Counted) Behind(before, began time.Time) time.Time {
	switch {
	case c.differs && before.IsZero():
		return began
	case !c.differs && !c.unknown:
		return time.Time{}
	}
	return before
}

// FailedRuns is how many runs in a row have failed of the mirror, the run among them. One
// that did not get to all of it, and failed nowhere, says nothing. What is blocked waits for
// a person, and is no failure.
func (c Counted) FailedRuns(before int) int {
	switch {
	case c.Tags.Failed > 0:
		return before + 1
	case c.Tags.NotDone > 0:
		return before
	}
	return 0
}

// Count sums up a report by mirror. Rows that belong to none, such as that of a discovery
// which failed, are not counted.
func Count(r report.Report) map[string]*Counted {
	by := make(map[string]*Counted)
	for _, row := range r.Rows.All() {
		name := NameOf(row.Mirror, row.Destination, row.Origin)
		if name == "" {
			continue
		}
		if by[name] == nil {
			by[name] = &Counted{Errors: []Error{}}
		}
		by[name].add(row, r.Started)
	}
	return by
}

func (c *Counted) add(row report.Row, at time.Time) {
	c.Bytes += row.Bytes
	t := &c.Tags
	switch row.Status {
	case report.StatusPruned, report.StatusWouldPrune:
		t.Pruned++
		return
	case report.StatusStale:
		t.Stale++
		return
	default:
	}
	if row.Tag != "" {
		t.Wanted++
	}
	switch row.Status {
	case report.StatusCopied, report.StatusUpdated:
		t.Copied++
		t.InSync++
	case report.StatusInSync, report.StatusPresent:
		t.InSync++
	case report.StatusDrifted:
		t.Drifted++
	case report.StatusBlocked:
		t.Blocked++
		c.stays(row, at)
	case report.StatusNotDone:
		t.NotDone++
		c.stays(row, at)
	case report.StatusWouldCopy, report.StatusWouldUpdate:
		c.stays(row, at)
	default:
		t.Failed++
		c.stays(row, at)
	}
}

// stays notes a row that is not in sync. That it differs is known where the plan decided to
// write, or not to write what upstream has.
func (c *Counted) stays(row report.Row, at time.Time) {
	if row.Verb.Writes() || row.Verb == plan.Blocked && row.UpstreamDigest != "" {
		c.differs = true
	} else {
		c.unknown = true
	}
	if row.Reason == "" || len(c.Errors) == KeptErrors {
		return
	}
	where := row.Destination
	if row.Tag != "" {
		where += ":" + row.Tag
	}
	c.Errors = append(c.Errors, Error{Time: at.UTC(), Destination: where, Status: row.Status, Reason: shortened(row.Reason)})
}

// shortened keeps a message on one line of bounded width, harmless to terminals.
func shortened(text string) string {
	return human.Head(human.Line(text), keptCells)
}

// OutcomeOf says what came of a run that made a report.
func OutcomeOf(r report.Report) Outcome {
	o := r.Outcome()
	switch {
	case o.Interrupted:
		return Interrupted
	case o.AllFailed:
		return Failed
	case o.AnyFailed || o.AnyBlocked || o.Pending:
		return Partial
	}
	return OK
}
