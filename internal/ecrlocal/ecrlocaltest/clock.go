package ecrlocaltest

import (
	"sync"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
)

// Clock is a clock that stands until it is moved. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows some time of day.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

// WithClock makes the server go by c.
func WithClock(c *Clock) Option {
	return func(o *ecrlocal.Options) { o.Clock = c.Now }
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
