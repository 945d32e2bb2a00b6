package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// State says how mirrors stand. It is asked whenever metrics are collected, possibly from
// several goroutines at once.
type State interface {
	Mirrors() []Mirror
}

// Mirror is how one mirror stands.
type Mirror struct {
	Name        string    // see NameOf
	LastRun     time.Time // when the last run began that looked at it; zero: none did
	LastSuccess time.Time // when the last one began that left nothing undone; zero: none is known
	BehindSince time.Time // since when a difference from upstream is known; zero: there is none
	FailedRuns  int       // in a row, the last one among them
	Tags        Tags      // as the last run left them
}

// Tags counts a mirror's destination tags.
type Tags struct {
	Wanted  int // by the mirror's rules
	InSync  int // what the last run copied among them
	Copied  int // by the last run
	Blocked int // a mirror whose tags could not be told counts as one
	Failed  int // likewise
	NotDone int // the last run ended before their turn
}

// Done reports whether nothing is left to do.
func (t Tags) Done() bool { return t.Blocked+t.Failed+t.NotDone == 0 }

// NameOf is what metrics call the mirror of a row: its name, or, where resource tags
// describe it, its destination repository.
func NameOf(row report.Row) string { return cmp.Or(row.Mirror, row.Destination, row.Origin) }

// TagsOf counts the tags of a report's mirrors, by their names.
func TagsOf(r report.Report) map[string]Tags {
	counted := make(map[string]Tags)
	for _, row := range r.Rows.All() {
		name := NameOf(row)
		tags := counted[name]
		tags.add(row)
		counted[name] = tags
	}
	return counted
}

func (t *Tags) add(row report.Row) {
	wanted := row.Tag != "" && row.Verb != plan.Prune
	switch row.Status {
	case report.StatusInSync, report.StatusPresent:
		t.InSync++
	case report.StatusCopied, report.StatusUpdated:
		t.InSync++
		t.Copied++
	case report.StatusBlocked:
		t.Blocked++
	case report.StatusFailed:
		t.Failed++
	case report.StatusNotDone:
		t.NotDone++
	case report.StatusStale:
		wanted = false
	default: // drifted, which the rule says to leave alone; pruned; the others are not of a run
	}
	if wanted {
		t.Wanted++
	}
}

// Memory is a State made of the reports of runs. The zero Memory knows nothing; it is
// safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	mirrors map[string]Mirror
	earlier map[string]Mirror // of which no run has told yet
}

// Observe takes in what a run did that began then. Mirrors that were no part of it stay
// as they were.
func (k *Memory) Observe(r report.Report, began time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mirrors == nil {
		k.mirrors = make(map[string]Mirror)
	}
	for name, tags := range TagsOf(r) {
		m, known := k.mirrors[name]
		if !known {
			m = k.earlier[name]
		}
		m.Name = name
		m.after(tags, began)
		k.mirrors[name] = m
	}
}

// after is the mirror once a run has left its tags so.
func (m *Mirror) after(tags Tags, began time.Time) {
	m.Tags, m.LastRun = tags, began
	switch {
	case tags.Done():
		m.LastSuccess, m.BehindSince, m.FailedRuns = began, time.Time{}, 0
		return
	case tags.Failed+tags.Blocked > 0:
		m.FailedRuns++
	}
	if m.BehindSince.IsZero() {
		m.BehindSince = began
	}
}

// Remember tells how mirrors stood before. They count as known once a run has looked at
// them, so that a mirror which is no more is forgotten, or once Keep is called.
func (k *Memory) Remember(earlier []Mirror) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.earlier == nil {
		k.earlier = make(map[string]Mirror)
	}
	for _, m := range earlier {
		k.earlier[m.Name] = m
	}
}

// Keep makes mirrors known as they were before, where no run has looked at them.
func (k *Memory) Keep() {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := make(map[string]Mirror)
	maps.Copy(kept, k.earlier)
	maps.Copy(kept, k.mirrors)
	k.mirrors = kept
}

// Mirrors returns all that is known, by name.
func (k *Memory) Mirrors() []Mirror {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.SortedFunc(maps.Values(k.mirrors), byName)
}

func byName(a, b Mirror) int { return strings.Compare(a.Name, b.Name) }
