package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// Snapshot returns what is known now.
func (b *Board) Snapshot(now time.Time) Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Snapshot{
		APIVersion: APIVersion,
		Kind:       Kind,
		Time:       now.UTC(),
		Started:    b.started,
		Phase:      b.phase,
		PhaseSince: b.since,
		NextRun:    b.next(),
		Config:     b.config.clone(),
		Totals:     b.totals,
		Mirrors:    make([]Mirror, 0, len(b.mirrors)),
		Runs:       make([]Run, 0, len(b.runs)),
	}
	for _, name := range slices.Sorted(maps.Keys(b.mirrors)) {
		m := b.mirror(b.mirrors[name], now)
		if m.FailedRunsInARow > 0 {
			s.Totals.Failing++
		}
		s.Mirrors = append(s.Mirrors, m)
	}
	s.Totals.Mirrors, s.Totals.Behind = len(s.Mirrors), b.behind()
	for _, run := range slices.Backward(b.runs) {
		run.Schedules = slices.Clone(run.Schedules)
		s.Runs = append(s.Runs, run)
	}
	return s
}

// next is when the first schedule is due.
func (b *Board) next() *time.Time {
	var next *time.Time
	for _, at := range b.due {
		if next == nil || at.Before(*next) {
			next = utc(at)
		}
	}
	return next
}

// mirror returns a mirror that shares nothing with the Board.
func (b *Board) mirror(e *entry, now time.Time) Mirror {
	m := e.Mirror
	m.Upstreams, m.Destinations, m.Errors = slices.Clone(m.Upstreams), slices.Clone(m.Destinations), slices.Clone(m.Errors)
	m.LastRun, m.LastSuccess, m.BehindSince = clone(m.LastRun), clone(m.LastSuccess), clone(m.BehindSince)
	if at, ok := b.due[m.Schedule]; ok {
		m.NextRun = utc(at)
	}
	var waits []string
	if e.resting != nil && e.resting.After(now) {
		waits = append(waits, fmt.Sprintf("rests after %s in a row", human.Count(m.FailedRunsInARow, "failed run")))
		if m.NextRun != nil && m.NextRun.Before(*e.resting) {
			m.NextRun = clone(e.resting)
		}
	}
	if n := m.Tags.Blocked; n > 0 {
		waits = append(waits, human.Count(n, "blocked row")+" for a person")
	}
	if b.phase == Draining {
		m.NextRun = nil
	}
	m.WaitsFor = strings.Join(waits, ", ")
	return m
}

func (c Config) clone() Config {
	c.Files, c.ErrorAt = append([]string{}, c.Files...), clone(c.ErrorAt)
	return c
}

func clone(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return utc(*t)
}
