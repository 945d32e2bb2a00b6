package daemon

import "time"

// A timetable knows when each schedule is due. However long one has been due, it is due
// once: what was missed while a run went on, or the machine slept, is not made up for.
//
// Intervals go by the time that passes, so that setting the clock neither hurries nor holds
// them up. Cron expressions go by the clock of the wall.
type timetable struct {
	clock  Clock
	jitter func() time.Duration // put on top of every time but the first of an interval
	lines  []line               // in the order of their schedules
	wall   time.Time            // the latest that was seen
}

type line struct {
	schedule Schedule
	passed   time.Duration // of an interval: when it is due, by Elapsed
	at       time.Time     // of a cron expression
}

func newTimetable(clock Clock, jitter func() time.Duration) *timetable {
	return &timetable{clock: clock, jitter: jitter, wall: clock.Now().Round(0)}
}

// follow replaces the schedules. Those with an interval are due at once: what they lead to
// may have changed. A cron expression that stays keeps its next time.
func (t *timetable) follow(schedules []Schedule) {
	before := t.lines
	t.lines = nil
	for _, s := range schedules {
		l := line{schedule: s, passed: t.clock.Elapsed()}
		if s.cron != nil {
			l.at = t.after(s, t.clock.Now())
			for _, b := range before {
				if b.schedule.text == s.text {
					l.at = b.at
				}
			}
		}
		t.lines = append(t.lines, l)
	}
}

// after is the next time of a cron expression, with jitter.
func (t *timetable) after(s Schedule, now time.Time) time.Time {
	return s.cron.Next(now.Round(0)).Add(t.jitter())
}

// A tick is a schedule that is due, and how long it is until it is due again.
type tick struct {
	schedule Schedule
	gap      time.Duration
}

// take returns the schedules that are due, and moves them on to their next time.
func (t *timetable) take() []tick {
	now, passed := t.clock.Now().Round(0), t.clock.Elapsed()
	setBack := now.Before(t.wall.Add(-tolerance))
	t.wall = now
	var due []tick
	for i := range t.lines {
		l := &t.lines[i]
		switch {
		case l.schedule.cron == nil && l.passed <= passed:
			due = append(due, tick{l.schedule, l.schedule.every})
			l.passed = passed + l.schedule.every + t.jitter()
		case l.schedule.cron != nil && setBack:
			l.at = t.after(l.schedule, now) // what it knew was of another time
		case l.schedule.cron != nil && !l.at.After(now):
			l.at = t.after(l.schedule, now)
			due = append(due, tick{l.schedule, l.at.Sub(now)})
		}
	}
	return due
}

// tolerance is how far a clock may be set back before schedules look at it anew: time
// services correct by less all the time.
const tolerance = time.Minute

// wait is how long it takes until something is due, longestNap at most.
func (t *timetable) wait() time.Duration {
	shortest := longestNap
	for _, l := range t.lines {
		shortest = min(shortest, max(0, t.until(l)))
	}
	return shortest
}

// longestNap bounds the time between two looks at the clock: it may have been set, and a
// machine that slept does not wake anybody.
const longestNap = 30 * time.Second

func (t *timetable) until(l line) time.Duration {
	if l.schedule.cron != nil {
		return l.at.Sub(t.clock.Now().Round(0))
	}
	return l.passed - t.clock.Elapsed()
}

// due says when each schedule is due next, by the wall.
func (t *timetable) due() map[string]time.Time {
	times := make(map[string]time.Time, len(t.lines))
	for _, l := range t.lines {
		times[l.schedule.text] = t.clock.Now().Round(0).Add(t.until(l))
	}
	return times
}
