package daemon

import (
	"maps"
	"time"
)

// longestRest is how long a mirror is left out at most after failures.
const longestRest = time.Hour

// forgotten is how long after its rest a mirror that nobody looks at any more is remembered.
const forgotten = 24 * time.Hour

// rests are the mirrors that are left out of their schedules after failures, so that what
// is broken does not take a share of every run. The first failure costs nothing; each
// further one in a row doubles the time, from the interval to longestRest. Where looks are
// farther apart than that, nothing is left out.
type rests struct {
	clock Clock
	of    map[string]rest
}

type rest struct {
	failures int
	until    time.Duration // by Elapsed
}

func newRests(clock Clock) *rests { return &rests{clock: clock, of: map[string]rest{}} }

// note takes what came of a mirror in a run that began at a time, by Elapsed.
func (r *rests) note(name string, failed bool, began, interval time.Duration) {
	maps.DeleteFunc(r.of, func(_ string, old rest) bool { return old.until < began-forgotten })
	if !failed {
		delete(r.of, name)
		return
	}
	this := r.of[name]
	this.failures++
	pause := interval
	for range this.failures - 1 {
		pause = min(2*pause, longestRest)
	}
	this.until = began + min(pause, longestRest)
	r.of[name] = this
}

// rests reports whether a mirror is to be left out now.
func (r *rests) rests(name string) bool {
	this, ok := r.of[name]
	return ok && r.clock.Elapsed() < this.until
}

// until says until when mirrors rest, by the wall.
func (r *rests) until() map[string]time.Time {
	times := map[string]time.Time{}
	for name, this := range r.of {
		if r.rests(name) {
			times[name] = r.clock.Now().Round(0).Add(this.until - r.clock.Elapsed())
		}
	}
	return times
}
