package metrics

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// State says how mirrors stand. It is asked whenever metrics are collected, possibly from
// several goroutines at once.
type State interface {
	Mirrors() []Mirror
	Config() Config
}

// Config says which configuration is followed.
type Config struct {
	Loaded   time.Time // when it was read; zero: nobody says
	Rejected bool      // a newer one could not be read
}

// Mirror is how one mirror stands.
type Mirror struct {
	Name        string      // see NameOf
	LastRun     time.Time   // when the last run began that looked at it; zero: none did
	LastSuccess time.Time   // when the last one began that left nothing undone; zero: none is known
	BehindSince time.Time   // since when a difference from upstream is known; zero: there is none
	FailedRuns  int         // in a row, the last one among them
	Tags        status.Tags // as the last run left them
}

// Memory is a State made of the reports of runs. The zero Memory knows nothing; it is
// safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	mirrors map[string]Mirror
	earlier map[string]Mirror // of which no run has told yet
	config  Config
}

// Loaded says when the configuration was read.
func (k *Memory) Loaded(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.config = Config{Loaded: at}
}

// Config is which configuration is followed.
func (k *Memory) Config() Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.config
}

// Observe takes in what a run did that began then. Mirrors that were no part of it stay
// as they were.
func (k *Memory) Observe(r report.Report, began time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mirrors == nil {
		k.mirrors = make(map[string]Mirror)
	}
	for name, counted := range status.Count(r) {
		m, known := k.mirrors[name]
		if !known {
			m = k.earlier[name]
		}
		m.Name = name
		m.after(counted, began)
		k.mirrors[name] = m
	}
}

// after is the mirror once a run that began then has left its tags so.
func (m *Mirror) after(c *status.Counted, began time.Time) {
	m.Tags, m.LastRun = c.Tags, began
	m.BehindSince, m.FailedRuns = c.Behind(m.BehindSince, began), c.FailedRuns(m.FailedRuns)
	if c.InSync() {
		m.LastSuccess = began
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
