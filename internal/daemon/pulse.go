package daemon

import (
	"sync/atomic"
	"time"
)

// stuckAfter is how long nothing at all may get done before the program counts as stuck.
// It is longer than every wait that is meant: requests and streams have limits of their own
// far below.
const stuckAfter = 15 * time.Minute

// A Pulse beats whenever something gets done: bytes, answers, a look at the clock. It is safe
// for concurrent use.
type Pulse struct {
	clock Clock
	last  atomic.Int64 // Elapsed; 0 before the first beat
}

// NewPulse returns a Pulse that has not beaten.
func NewPulse(clock Clock) *Pulse { return &Pulse{clock: clock} }

// Beat says that something got done.
func (p *Pulse) Beat() { p.last.Store(max(1, int64(p.clock.Elapsed()))) }

// Began reports whether it has ever beaten.
func (p *Pulse) Began() bool { return p.last.Load() > 0 }

// Since is how long nothing has got done.
func (p *Pulse) Since() time.Duration { return p.clock.Elapsed() - time.Duration(p.last.Load()) }

// Stuck reports whether that is too long.
func (p *Pulse) Stuck() bool { return p.Began() && p.Since() > stuckAfter }
