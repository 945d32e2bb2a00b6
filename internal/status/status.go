// Package status keeps what a program that goes on knows about itself: its mirrors, its
// runs, its configuration. A Board is told what happens; a Snapshot is all of it as one
// value, of which the JSON of /api/v1/status, the metrics and the status page are readings.
//
// The package does no I/O and has no clock: when something happened is told to it.
package status

import (
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// APIVersion names the schema of a Snapshot's JSON, and Kind what it is. A field is never
// renamed and never changes its meaning within a version; new fields may appear.
const (
	APIVersion = report.APIVersion
	Kind       = "DaemonStatus"
)

// Snapshot is everything a Board knew at one moment. It shares nothing with the Board. Its
// JSON form is documented output (docs/daemon.md): lists are sorted and never null, times
// are in UTC, and what has not happened yet is null.
type Snapshot struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Time       time.Time  `json:"time"`
	Started    time.Time  `json:"started"` // when the program began
	Phase      Phase      `json:"phase"`
	PhaseSince time.Time  `json:"phaseSince"`
	NextRun    *time.Time `json:"nextRun"` // nil where nothing is scheduled
	Config     Config     `json:"config"`
	Totals     Totals     `json:"totals"`
	Mirrors    []Mirror   `json:"mirrors"` // by their names
	Runs       []Run      `json:"runs"`    // the last KeptRuns, the latest first
}

// Phase is what the program is doing.
type Phase string

// The phases. Draining begins nothing new any more.
const (
	Waiting  Phase = "waiting"
	Planning Phase = "planning"
	Copying  Phase = "copying"
	Draining Phase = "draining"
)

// Config is the state of the configuration.
type Config struct {
	Files   []string   `json:"files"`   // as they were named; empty where flags say everything
	Loaded  time.Time  `json:"loaded"`  // when the one in force was read
	Error   string     `json:"error"`   // why a newer one is not in force, "" where there is none
	ErrorAt *time.Time `json:"errorAt"` // when that was noticed
}

// Totals sum up the mirrors as they are, and the runs since the program began.
type Totals struct {
	Mirrors          int   `json:"mirrors"`
	Behind           int   `json:"behind"`           // mirrors of which a difference is known
	Failing          int   `json:"failing"`          // mirrors whose last run failed
	Runs             Runs  `json:"runs"`             // by their outcomes
	Copied           int64 `json:"copied"`           // tags written, updates among them
	Bytes            int64 `json:"bytes"`            // blob bytes written to destinations
	FailedRunsInARow int   `json:"failedRunsInARow"` // of the whole program, see Outcome.Failed
}

// Runs counts runs by their outcomes.
type Runs struct {
	OK          int64 `json:"ok"`
	Partial     int64 `json:"partial"`
	Failed      int64 `json:"failed"`
	Interrupted int64 `json:"interrupted"`
}

// Outcome is what came of a run.
type Outcome string

// The outcomes, as the exit codes of sync tell them apart: everything is in sync; some of it
// is not; nothing could be done; a signal ended it.
const (
	OK          Outcome = "ok"
	Partial     Outcome = "partial"
	Failed      Outcome = "failed"
	Interrupted Outcome = "interrupted"
)

// Run is one run that is over.
type Run struct {
	Number     int64         `json:"number"` // from 1
	Started    time.Time     `json:"started"`
	DurationMs int64         `json:"durationMs"`
	Outcome    Outcome       `json:"outcome"`
	Error      string        `json:"error"`     // why there was no plan, "" where there was one
	Schedules  []string      `json:"schedules"` // those that were due
	Mirrors    int           `json:"mirrors"`   // that took part
	Resting    int           `json:"resting"`   // that were left out after failures
	Behind     int           `json:"behind"`    // mirrors that are not in sync after it
	Totals     report.Totals `json:"totals"`
}

// Mirror is a rule of the file, by its name, or a repository with resource tags, by its
// destination.
type Mirror struct {
	Name         string   `json:"name"`
	Origin       string   `json:"origin"`       // where the rule is written
	Upstreams    []string `json:"upstreams"`    // KeptPlaces at most
	Destinations []string `json:"destinations"` // KeptPlaces at most
	Schedule     string   `json:"schedule"`     // an interval, or a cron expression and its time zone

	LastRun     *time.Time `json:"lastRun"`     // when the last run began that it took part in
	LastSuccess *time.Time `json:"lastSuccess"` // when the last one began that left everything in sync
	BehindSince *time.Time `json:"behindSince"` // when a difference to upstream was first seen, nil where none is known
	NextRun     *time.Time `json:"nextRun"`
	WaitsFor    string     `json:"waitsFor"` // in words; "" where it only waits for its schedule

	Tags             Tags    `json:"tags"` // after the last run
	Bytes            int64   `json:"bytes"`
	FailedRunsInARow int     `json:"failedRunsInARow"`
	Errors           []Error `json:"errors"` // of the last run, KeptErrors at most
}

// Tags counts the tags of a mirror. What is copied is in sync, too; what was pruned or is
// stale is not wanted.
type Tags struct {
	Wanted  int `json:"wanted"`
	InSync  int `json:"inSync"` // once the run was over; those declared immutable and present are among them
	Copied  int `json:"copied"` // by the run, updates among them
	Blocked int `json:"blocked"`
	Failed  int `json:"failed"` // a mirror that could not be followed at all counts as one
	NotDone int `json:"notDone"`
	Drifted int `json:"drifted"` // differ, and the rule says to leave them
	Pruned  int `json:"pruned"`
	Stale   int `json:"stale"`
}

// Error is why one row is not in sync.
type Error struct {
	Time        time.Time     `json:"time"` // when its run began
	Destination string        `json:"destination"`
	Status      report.Status `json:"status"` // blocked, failed or not-done
	Reason      string        `json:"reason"`
}

// How much a Board keeps.
const (
	KeptRuns   = 50
	KeptErrors = 5  // for each mirror
	KeptPlaces = 16 // for each mirror and side
	keptCells  = 500
)
