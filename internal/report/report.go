// Package report turns a plan, what came of it, or a listing into what a person or a
// program reads: a table, JSON, YAML or Markdown, written to an io.Writer.
//
// It is pure: it decides nothing, asks nobody and has no clock; when a run began and
// how long it took are told to it. docs/output.md describes every field for users.
package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// APIVersion names the schema of JSON and YAML reports. A field is never renamed and
// never changes its meaning within a version; new fields may appear.
const APIVersion = "ecr-mirror-sync.io/v1alpha1"

// Kind says what a report is about.
type Kind string

// The kinds of reports.
const (
	KindSync Kind = "SyncReport" // what a run did
	KindPlan Kind = "PlanReport" // what a run would do
	KindList Kind = "ListReport" // what is described as to be mirrored

	KindVerify Kind = "VerifyReport" // what was found of what is mirrored
)

// Report is one run, ready to be written. Its JSON form is the tool's documented
// output; nil slices are written as empty ones.
type Report struct {
	APIVersion   string    `json:"apiVersion"`
	Kind         Kind      `json:"kind"`
	Started      time.Time `json:"started"` // RFC 3339, UTC
	DryRun       bool      `json:"dryRun"`
	Interrupted  bool      `json:"interrupted"`
	BudgetUsedUp bool      `json:"budgetUsedUp"`
	Shard        string    `json:"shard"` // "i/N", "" where the run was not shared
	Totals       Totals    `json:"totals"`
	Rows         Rows      `json:"rows"`
	Warnings     []string  `json:"warnings"`
}

// Row is one destination tag, or a whole repository where none of its tags could be
// told. Digests are whole, and "" where they are not known or nothing is there.
type Row struct {
	Mirror         string     `json:"mirror"`         // its name, as --only knows it; "" where it has none
	Source         string     `json:"source"`         // upstream repository
	SourceTag      string     `json:"sourceTag"`      // differs from Tag only where a copy renames
	Destination    string     `json:"destination"`    // destination repository
	Tag            string     `json:"tag"`            // destination tag, "" for a whole repository
	Status         Status     `json:"status"`         // what came of it
	Verb           plan.Verb  `json:"verb"`           // what was decided, "" in a listing
	Digest         ref.Digest `json:"digest"`         // what Tag holds now, or would after a dry run's plan
	Previous       ref.Digest `json:"previousDigest"` // what Tag held when the plan was made
	UpstreamDigest ref.Digest `json:"upstreamDigest"` // what upstream's tag meant when the plan was made
	Platforms      string     `json:"platforms"`      // "all", or os/architecture[/variant] joined with commas
	Size           int64      `json:"size"`           // bytes of the image at the destination, 0 where not read
	Bytes          int64      `json:"bytes"`          // blob bytes written to the destination for this row
	Referrers      Referrers  `json:"referrers"`
	Damage         []string   `json:"damage"`      // what verify found missing or wrong at the destination
	BytesHashed    int64      `json:"bytesHashed"` // blob bytes that verify read for this row
	Reason         string     `json:"reason"`
	Creates        bool       `json:"createsRepository"` // Destination is missing, and made with this row
	Origin         string     `json:"origin"`            // where the rule was written: a repository's ARN, "command line"
	Region         string     `json:"region"`            // AWS Region of the destination, "" where there is none
	StartedMs      int64      `json:"startedMs"`         // after the report's Started, 0 where nothing was begun
	DurationMs     int64      `json:"durationMs"`
}

// Referrers is what came of an image's signatures, SBOMs and attestations where the run
// copied the image or was told to compare them; for other rows nobody looked.
type Referrers struct {
	Compared   bool     `json:"compared"`   // whether anybody looked
	Mirrored   int      `json:"mirrored"`   // at the destination, and listed there
	LeftOut    int      `json:"leftOut"`    // about the index that platforms were selected from
	Incomplete []string `json:"incomplete"` // what could not be mirrored, each with the reason
}

// Status is what came of a row, as programs read it.
type Status string

// The statuses. Only an unfinished run has StatusNotDone, only a dry run
// StatusWouldCopy, StatusWouldUpdate and StatusWouldPrune, only a listing StatusListed and
// StatusLeftOut, and only a verification the last four.
const (
	StatusCopied      Status = "copied"
	StatusUpdated     Status = "updated"
	StatusInSync      Status = "in-sync"
	StatusPresent     Status = "present"
	StatusDrifted     Status = "drifted"
	StatusPruned      Status = "pruned"
	StatusStale       Status = "stale"
	StatusBlocked     Status = "blocked"
	StatusFailed      Status = "failed"
	StatusNotDone     Status = "not-done"
	StatusWouldCopy   Status = "would-copy"
	StatusWouldUpdate Status = "would-update"
	StatusWouldPrune  Status = "would-prune"
	StatusListed      Status = "listed"
	StatusLeftOut     Status = "left-out"
	StatusVerified    Status = "verified"
	StatusRepaired    Status = "repaired"
	StatusMissing     Status = "missing"
	StatusDamaged     Status = "damaged"
)

// String writes the status in words.
func (s Status) String() string {
	switch s {
	case StatusInSync:
		return "in sync"
	case StatusLeftOut:
		return "left out"
	case StatusNotDone:
		return "not done"
	case StatusWouldCopy:
		return "would copy"
	case StatusWouldUpdate:
		return "would update"
	case StatusWouldPrune:
		return "would prune"
	default:
		return string(s)
	}
}

// Run is what only the caller knows about a run.
type Run struct {
	Started      time.Time
	Elapsed      time.Duration
	Interrupted  bool // a signal ended it
	BudgetUsedUp bool // --max-duration ended it

	Shard string // which of several processes this was, such as "0/4"; "" for the only one

	// ManifestsRead counts the manifests that were read upstream, each of which a
	// registry may count as a pull. HEADs are not among them.
	ManifestsRead int
}

// FromResults reports what a run did: results[i] is what came of p.Actions[i].
// Actions beyond the last result are reported as not done. Neither may be changed until
// the report is written.
func FromResults(run Run, p plan.Plan, results []plan.Result) Report {
	rows := Rows{count: max(len(results), len(p.Actions)), row: func(i int) Row {
		if i < len(results) {
			return begunRow(results[i], run.Started)
		}
		return resultRow(unreached(p.Actions[i]))
	}}
	r := assemble(KindSync, run, rows, p.Remarks())
	for _, result := range results {
		r.Totals.goesByDigest(result.Status == plan.StaysInSync, result.Action)
	}
	for _, a := range p.Actions[min(len(results), len(p.Actions)):] {
		r.Totals.goesByDigest(a.Verb == plan.InSync, a)
	}
	return r
}

// goesByDigest counts an image that is in sync, and whose referrers are wanted, where
// its digest is all that was compared.
func (t *Totals) goesByDigest(inSync bool, a plan.Action) {
	if inSync && a.Compared == nil && a.Mirror.Options.Referrers {
		t.ReferrersNotCompared++
	}
}

// FromPlan reports what carrying p out would do. The plan may not be changed until the
// report is written.
func FromPlan(run Run, p plan.Plan) Report {
	rows := Rows{count: len(p.Actions), row: func(i int) Row { return resultRow(plan.Unchanged(p.Actions[i])) }}
	r := assemble(KindPlan, run, rows, p.Remarks())
	for _, a := range p.Actions {
		r.Totals.goesByDigest(a.Verb == plan.InSync, a)
	}
	r.Totals.WouldSet = p.SettingsChanged()
	return r
}

// FromVerification reports what was found of a plan's actions at their destinations, and
// what came of repairing it: results[i] is that of p.Actions[i]. Neither may be changed
// until the report is written.
func FromVerification(run Run, p plan.Plan, results []plan.Result) Report {
	rows := Rows{count: len(results), row: func(i int) Row { return verifiedRow(results[i]) }}
	return assemble(KindVerify, run, rows, p.Warnings)
}

// verifiedRow is a row whose destination was looked at: what its tag holds is known.
func verifiedRow(result plan.Result) Row {
	row := resultRow(result)
	if result.Status != plan.Repaired {
		row.Digest = result.Action.Have
	}
	if found := result.Inspected; found != nil {
		row.BytesHashed = found.Hashed
		for _, d := range found.Damage {
			row.Damage = append(row.Damage, d.String())
		}
	}
	return row
}

// Listed is one tag that a rule names, or the repository whose rule cannot be
// followed, with Err saying why.
type Listed struct {
	Mirror      string // its name
	Source      ref.Reference
	Destination ref.Reference
	Term        string // what chose the tag, or why it was left out
	Left        bool   // the tag was considered and left out
	Creation    string // how the destination's repository, which is missing, is made; "" where it is not
	Platforms   discover.Platforms
	Origin      discover.Origin
	Err         error
}

// FromListing reports what is described as to be mirrored, in the order given. listed
// may not be changed until the report is written.
func FromListing(run Run, listed []Listed, warnings []string) Report {
	rows := Rows{count: len(listed), row: func(i int) Row { return listingRow(listed[i]) }}
	return assemble(KindList, run, rows, warnings)
}

func assemble(kind Kind, run Run, rows Rows, warnings []string) Report {
	return Report{
		APIVersion:   APIVersion,
		Kind:         kind,
		Started:      run.Started.UTC().Truncate(time.Millisecond),
		DryRun:       kind == KindPlan,
		Interrupted:  run.Interrupted,
		BudgetUsedUp: run.BudgetUsedUp,
		Shard:        run.Shard,
		Totals:       total(rows, run),
		Rows:         rows,
		Warnings:     append([]string{}, warnings...),
	}
}

// unreached is the result of an action that the run never came to.
func unreached(a plan.Action) plan.Result {
	if !a.Verb.Changes() {
		return plan.Unchanged(a)
	}
	return plan.Result{Action: a, Status: plan.Pending, Reason: "the run ended before its turn"}
}

func resultRow(result plan.Result) Row {
	a := result.Action
	row := Row{
		Mirror:         a.Mirror.Name,
		Source:         a.From.Repository.String(),
		SourceTag:      a.From.Tag,
		Destination:    a.To.Repository.String(),
		Tag:            a.To.Tag,
		Status:         statusOf(result),
		Verb:           a.Verb,
		Previous:       a.Have,
		UpstreamDigest: a.From.Digest,
		Platforms:      platforms(a.Mirror.Platforms),
		Size:           a.Size,
		Bytes:          result.Bytes,
		Referrers:      referrers(result),
		Damage:         []string{},
		Reason:         cmp.Or(result.Reason, a.Reason),
		Creates:        a.Creates,
		Origin:         a.Mirror.Origin.Place,
		Region:         a.Mirror.Origin.Region,
		DurationMs:     result.Duration.Milliseconds(),
	}
	row.Digest = held(row.Status, a)
	return row
}

// begunRow is a row that says when, in the run, it was begun.
func begunRow(result plan.Result, started time.Time) Row {
	row := resultRow(result)
	if !result.Began.IsZero() {
		row.StartedMs = max(0, result.Began.Sub(started).Milliseconds())
	}
	return row
}

// referrers is what came of an image's referrers, as far as anybody looked.
func referrers(result plan.Result) Referrers {
	wanted, found := result.Action.Mirror.Options.Referrers, result.Referrers
	written := result.Status == plan.Copied || result.Status == plan.Updated
	return Referrers{
		Compared:   result.Action.Compared != nil || wanted && written,
		Mirrored:   found.Mirrored,
		LeftOut:    found.LeftOut,
		Incomplete: append([]string{}, found.Incomplete...),
	}
}

// statusOf says what came of an action. A status that is not known counts as failed:
// no doubt may read as success.
func statusOf(result plan.Result) Status {
	switch result.Status {
	case plan.Copied:
		return StatusCopied
	case plan.Updated:
		return StatusUpdated
	case plan.StaysInSync:
		return StatusInSync
	case plan.StaysPresent:
		return StatusPresent
	case plan.StaysDrifted:
		return StatusDrifted
	case plan.Pruned:
		return StatusPruned
	case plan.StaysStale:
		return StatusStale
	case plan.StaysBlocked:
		return StatusBlocked
	case plan.Pending:
		return StatusNotDone
	case plan.Planned:
		return planned(result.Action.Verb)
	case plan.Verified:
		return StatusVerified
	case plan.Repaired:
		return StatusRepaired
	case plan.Missing:
		return StatusMissing
	case plan.Damaged:
		return StatusDamaged
	case plan.HasFailed:
		return StatusFailed
	default:
		return StatusFailed
	}
}

func planned(v plan.Verb) Status {
	switch v {
	case plan.Update:
		return StatusWouldUpdate
	case plan.Prune:
		return StatusWouldPrune
	default:
		return StatusWouldCopy
	}
}

// held is what the destination's tag holds after the row, or would. Where a write was
// begun and did not end well, the tag may be what it was, what was planned, or what
// somebody else made of it meanwhile: that is not known.
func held(s Status, a plan.Action) ref.Digest {
	switch s {
	case StatusCopied, StatusUpdated, StatusInSync, StatusPresent, StatusWouldCopy, StatusWouldUpdate, StatusPruned, StatusWouldPrune, StatusRepaired:
		return a.Want // nothing, where the tag is pruned
	case StatusFailed, StatusBlocked:
		if a.Verb.Changes() {
			return ""
		}
		return a.Have
	default:
		return a.Have
	}
}

func platforms(p discover.Platforms) string {
	switch {
	case p.One != nil:
		return p.One.String()
	case p.All():
		return "all"
	}
	return ref.FormatPlatforms(p.Keep)
}

func listingRow(l Listed) Row {
	row := Row{
		Mirror:         l.Mirror,
		Source:         l.Source.Repository.String(),
		SourceTag:      l.Source.Tag,
		Destination:    l.Destination.Repository.String(),
		Tag:            l.Destination.Tag,
		Status:         StatusListed,
		Referrers:      Referrers{Incomplete: []string{}},
		Damage:         []string{},
		UpstreamDigest: l.Source.Digest,
		Platforms:      platforms(l.Platforms),
		Origin:         l.Origin.Place,
		Region:         l.Origin.Region,
	}
	switch {
	case l.Left:
		row.Status, row.Reason = StatusLeftOut, l.Term
	case l.Term != "":
		row.Reason = fmt.Sprintf("chosen by %q", l.Term)
	}
	if l.Creation != "" {
		row.Creates = true
		row.Reason = strings.TrimPrefix(row.Reason+"; "+l.Creation, "; ")
	}
	if l.Err != nil {
		row.Status, row.Reason, row.Creates = StatusFailed, l.Err.Error(), false
	}
	if waits(l.Err) {
		row.Status = StatusBlocked
	}
	return row
}

// waits reports whether err waits for a person, by the measure of package plan.
func waits(err error) bool {
	return failure.ForPerson(err)
}

// Totals counts rows by status; Images is their sum.
type Totals struct {
	Images      int   `json:"images"`
	Copied      int   `json:"copied"`
	Updated     int   `json:"updated"`
	InSync      int   `json:"inSync"`
	Present     int   `json:"present"`
	Drifted     int   `json:"drifted"`
	Pruned      int   `json:"pruned"`
	Stale       int   `json:"stale"`
	Blocked     int   `json:"blocked"`
	Failed      int   `json:"failed"`
	Pending     int   `json:"notDone"`
	WouldCopy   int   `json:"wouldCopy"`
	WouldUpdate int   `json:"wouldUpdate"`
	WouldPrune  int   `json:"wouldPrune"`
	WouldSet    int   `json:"wouldSet"` // settings of destination repositories; not among the images
	Listed      int   `json:"listed"`
	LeftOut     int   `json:"leftOut"`
	Verified    int   `json:"verified"`
	Repaired    int   `json:"repaired"`
	Missing     int   `json:"missing"`
	Damaged     int   `json:"damaged"`
	Incomplete  int   `json:"incomplete"`  // rows with referrers that could not be mirrored
	Bytes       int64 `json:"bytes"`       // blob bytes written to destinations
	BytesHashed int64 `json:"bytesHashed"` // blob bytes that verify read at destinations
	ElapsedMs   int64 `json:"elapsedMs"`   // of the whole run

	ManifestsRead int `json:"manifestsRead"` // upstream, beside HEADs

	// ReferrersNotCompared counts rows that are in sync by their digest, and of which
	// nobody looked whether what refers to it is at the destination, too.
	ReferrersNotCompared int `json:"referrersNotCompared"`
}

func total(rows Rows, run Run) Totals {
	t := Totals{ElapsedMs: run.Elapsed.Milliseconds(), ManifestsRead: run.ManifestsRead}
	for _, row := range rows.All() {
		t.add(row)
	}
	return t
}

// add counts a row.
func (t *Totals) add(row Row) {
	t.Images++
	*t.count(row.Status)++
	t.Bytes += row.Bytes
	t.BytesHashed += row.BytesHashed
	if len(row.Referrers.Incomplete) > 0 {
		t.Incomplete++
	}
}

// count is where rows of a status are counted.
func (t *Totals) count(s Status) *int {
	switch s {
	case StatusCopied:
		return &t.Copied
	case StatusUpdated:
		return &t.Updated
	case StatusInSync:
		return &t.InSync
	case StatusPresent:
		return &t.Present
	case StatusDrifted:
		return &t.Drifted
	case StatusPruned:
		return &t.Pruned
	case StatusStale:
		return &t.Stale
	case StatusBlocked:
		return &t.Blocked
	case StatusNotDone:
		return &t.Pending
	case StatusWouldCopy:
		return &t.WouldCopy
	case StatusWouldUpdate:
		return &t.WouldUpdate
	case StatusWouldPrune:
		return &t.WouldPrune
	case StatusLeftOut:
		return &t.LeftOut
	case StatusListed:
		return &t.Listed
	case StatusVerified:
		return &t.Verified
	case StatusRepaired:
		return &t.Repaired
	case StatusMissing:
		return &t.Missing
	case StatusDamaged:
		return &t.Damaged
	case StatusFailed:
		return &t.Failed
	default:
		return &t.Failed
	}
}

// Outcome is what an exit code depends on.
type Outcome struct {
	AnyFailed      bool
	AllFailed      bool // there are rows, and every one failed
	AnyBlocked     bool
	ChangesPlanned bool // a dry run of what would change something
	Pending        bool // rows that the run had no time for
	AnyDamaged     bool // of what was verified
	AnyDrift       bool // of what was verified: missing, or not what upstream has
	Interrupted    bool
	BudgetUsedUp   bool
}

// Outcome sums the report up.
func (r Report) Outcome() Outcome {
	t := r.Totals
	return Outcome{
		AnyFailed:      t.Failed > 0,
		AllFailed:      t.Failed > 0 && t.Failed == t.Images,
		AnyBlocked:     t.Blocked > 0,
		ChangesPlanned: t.WouldCopy+t.WouldUpdate+t.WouldPrune+t.WouldSet > 0,
		Pending:        t.Pending > 0,
		AnyDamaged:     t.Damaged > 0,
		AnyDrift:       r.Kind == KindVerify && t.Missing+t.Drifted > 0,
		Interrupted:    r.Interrupted,
		BudgetUsedUp:   r.BudgetUsedUp,
	}
}
