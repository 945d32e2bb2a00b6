package daemon

import "time"

// A Clock tells the time in two ways: that of the wall, which people set and cron
// expressions mean, and how much has passed, which never goes back and stands still while
// the machine sleeps.
type Clock interface {
	Now() time.Time
	Elapsed() time.Duration // since some moment that stays the same
	After(d time.Duration) <-chan time.Time
}

// SystemClock is the machine's.
func SystemClock() Clock { return systemClock{began: time.Now()} }

type systemClock struct{ began time.Time }

func (systemClock) Now() time.Time                         { return time.Now() }
func (c systemClock) Elapsed() time.Duration               { return time.Since(c.began) }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
