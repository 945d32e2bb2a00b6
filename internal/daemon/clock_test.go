package daemon

import (
	"sync"
	"time"
)

// fakeClock is a Clock that moves when it is told to. Its two times can be parted, as they
// are when somebody sets the clock, or the machine sleeps.
type fakeClock struct {
	mu      sync.Mutex
	now     time.Time
	elapsed time.Duration
	waiting []wait
	asked   chan time.Duration // gets every After, once it waits
}

type wait struct {
	until time.Duration
	fire  chan time.Time
}

func newFakeClock() *fakeClock {
	return &fakeClock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), asked: make(chan time.Duration, 1000)}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	fire := make(chan time.Time, 1)
	if d <= 0 {
		fire <- c.now
	} else {
		c.waiting = append(c.waiting, wait{c.elapsed + d, fire})
	}
	c.asked <- d
	return fire
}

// pass lets time pass.
func (c *fakeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.elapsed = c.now.Add(d), c.elapsed+d
	var left []wait
	for _, w := range c.waiting {
		if w.until <= c.elapsed {
			w.fire <- c.now
		} else {
			left = append(left, w)
		}
	}
	c.waiting = left
}

// set moves the clock of the wall alone.
func (c *fakeClock) set(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}
