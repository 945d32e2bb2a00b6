package status

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// Board is told what happens, and keeps what of it matters now. It is safe for concurrent
// use.
type Board struct {
	mu      sync.Mutex
	started time.Time
	phase   Phase
	since   time.Time
	config  Config
	mirrors map[string]*entry
	due     map[string]time.Time // next runs by schedule
	runs    []Run                // the latest last
	totals  Totals
}

// entry is a mirror on the Board.
type entry struct {
	Mirror
	resting *time.Time // left out of its schedule until then
}

// NewBoard returns a Board of a program that began at a time.
func NewBoard(started time.Time) *Board {
	return &Board{
		started: started.UTC(), phase: Waiting, since: started.UTC(),
		config: Config{Files: []string{}, Loaded: started.UTC()}, mirrors: map[string]*entry{}, due: map[string]time.Time{},
	}
}

// Loaded says that a configuration is in force from now on.
func (b *Board) Loaded(files []string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.config = Config{Files: append([]string{}, files...), Loaded: at.UTC()}
}

// Rejected says that a new configuration is broken: the one before stays in force.
func (b *Board) Rejected(err error, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.config.Error, b.config.ErrorAt = shortened(err.Error()), utc(at)
}

// Enter says what the program begins to do. Nothing follows Draining.
func (b *Board) Enter(p Phase, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase != Draining {
		b.phase, b.since = p, at.UTC()
	}
}

// Schedule says when each schedule is due next. What is not among them has no next run.
func (b *Board) Schedule(due map[string]time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = maps.Clone(due)
}

// Rest says until when mirrors are left out of their schedules, instead of what was said
// before.
func (b *Board) Rest(until map[string]time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, e := range b.mirrors {
		e.resting = nil
		if at, ok := until[name]; ok {
			e.resting = utc(at)
		}
	}
}

// Described is one rule of a mirror: a mirror may have several destinations, and one that
// stands for what a registry lists has several upstreams, too.
type Described struct {
	Name        string // see NameOf
	Origin      string
	Upstream    string // "" where it is not known
	Destination string
	Schedule    string
}

// Describe says which mirrors a run has found. A mirror that is not among them is there no
// more if its schedule is one of whole, all of whose mirrors were found, or is not known
// any more.
func (b *Board) Describe(mirrors []Described, whole []string, known func(schedule string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	named := make(map[string]bool, len(mirrors))
	for _, d := range mirrors {
		b.describe(d, !named[d.Name])
		named[d.Name] = true
	}
	maps.DeleteFunc(b.mirrors, func(name string, e *entry) bool {
		return !named[name] && (slices.Contains(whole, e.Schedule) || !known(e.Schedule))
	})
}

// describe adds a rule to its mirror, whose first it may be.
func (b *Board) describe(d Described, first bool) {
	e := b.mirrors[d.Name]
	if e == nil {
		e = &entry{Mirror: Mirror{Name: d.Name, Errors: []Error{}}}
		b.mirrors[d.Name] = e
	}
	if first {
		e.Origin, e.Schedule, e.Upstreams, e.Destinations = d.Origin, d.Schedule, []string{}, []string{}
	}
	e.Upstreams = with(e.Upstreams, d.Upstream)
	e.Destinations = with(e.Destinations, d.Destination)
}

// with adds a place to a sorted list that stays short.
func with(places []string, place string) []string {
	at, found := slices.BinarySearch(places, place)
	if found || place == "" || len(places) == KeptPlaces {
		return places
	}
	return slices.Insert(places, at, place)
}

// Planned takes what a run is about to do: since when mirrors are behind is when that was
// first seen, however long the copying takes.
func (b *Board) Planned(r report.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, c := range Count(r) {
		if e := b.mirrors[name]; e != nil && c.differs && e.BehindSince == nil {
			e.BehindSince = utc(r.Started)
		}
	}
}

// Finished takes what came of a run. Took part says of every mirror on the Board whether
// it did. The run's number, and how many mirrors are behind, are the Board's to tell.
func (b *Board) Finished(run Run, r report.Report, tookPart func(name string) bool) Run {
	b.mu.Lock()
	defer b.mu.Unlock()
	if run.Error == "" {
		b.settle(r, tookPart)
	}
	run.Number = b.totals.Runs.all() + 1
	run.Started, run.Error, run.Schedules = run.Started.UTC(), shortened(run.Error), append([]string{}, run.Schedules...)
	run.Behind = b.behind()
	b.count(run)
	b.runs = append(b.runs, run)
	if len(b.runs) > KeptRuns {
		b.runs = slices.Delete(b.runs, 0, len(b.runs)-KeptRuns)
	}
	return run
}

// settle brings the mirrors that took part up to date. One without rows wants nothing, and
// has it.
func (b *Board) settle(r report.Report, tookPart func(name string) bool) {
	counted := Count(r)
	for name, e := range b.mirrors {
		if !tookPart(name) {
			continue
		}
		c := counted[name]
		if c == nil {
			c = &Counted{Errors: []Error{}}
		}
		e.take(*c, r.Started)
	}
}

// take is what a run says of the mirror.
func (e *entry) take(c Counted, started time.Time) {
	e.LastRun = utc(started)
	e.Tags, e.Bytes, e.Errors = c.Tags, c.Bytes, c.Errors
	e.FailedRunsInARow = c.FailedRuns(e.FailedRunsInARow)
	var before time.Time
	if e.BehindSince != nil {
		before = *e.BehindSince
	}
	e.BehindSince = nil
	if since := c.Behind(before, started); !since.IsZero() {
		e.BehindSince = utc(since)
	}
	if c.InSync() {
		e.LastSuccess = utc(started)
	}
}

func (b *Board) count(run Run) {
	b.totals.Copied += int64(run.Totals.Copied + run.Totals.Updated)
	b.totals.Bytes += run.Totals.Bytes
	switch run.Outcome {
	case Partial:
		b.totals.Runs.Partial++
	case Failed:
		b.totals.Runs.Failed++
	case Interrupted:
		b.totals.Runs.Interrupted++
		return // says nothing about what would have come of it
	default:
		b.totals.Runs.OK++
	}
	if run.HasFailed() {
		b.totals.FailedRunsInARow++
		return
	}
	b.totals.FailedRunsInARow = 0
}

// HasFailed reports whether a run counts as failed: nothing could be done, or something
// failed. What is blocked waits for a person, and is no failure.
func (r Run) HasFailed() bool { return r.Outcome == Failed || r.Totals.Failed > 0 }

func (r Runs) all() int64 { return r.OK + r.Partial + r.Failed + r.Interrupted }

func (b *Board) behind() int {
	n := 0
	for _, e := range b.mirrors {
		if e.BehindSince != nil {
			n++
		}
	}
	return n
}

func utc(t time.Time) *time.Time {
	t = t.Round(0).UTC()
	return &t
}
