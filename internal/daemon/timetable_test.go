package daemon

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

func cronAt(t *testing.T, expression string) Schedule {
	t.Helper()
	s, err := ParseSchedule(config.Schedule{Cron: expression})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func none() time.Duration { return 0 }

// taken says which schedules are due now.
func taken(table *timetable) []string {
	names := []string{}
	for _, one := range table.take() {
		names = append(names, one.schedule.String())
	}
	return names
}

// walk goes on for a time in steps of a minute, and returns when something was due, in
// minutes since the start.
func walk(clock *fakeClock, table *timetable, minutes int) []string {
	var seen []string
	for range minutes {
		for _, name := range taken(table) {
			seen = append(seen, fmt.Sprintf("%d:%s", int(clock.Elapsed().Minutes()), name))
		}
		clock.pass(time.Minute)
	}
	return seen
}

func TestTimetable(t *testing.T) {
	clock := newFakeClock()
	table := newTimetable(clock, none)
	table.follow([]Schedule{Every(5 * time.Minute), cronAt(t, "10 12 * * *")})
	if seen, want := walk(clock, table, 16), []string{"0:5m", "5:5m", "10:5m", "10:10 12 * * * UTC", "15:5m"}; !slices.Equal(seen, want) {
		t.Errorf("due: %q, want %q", seen, want)
	}
	if next := table.due()["5m"].Sub(clock.Now()); next != 4*time.Minute {
		t.Errorf("the interval is due in %s", next)
	}
	if next := table.due()["10 12 * * * UTC"]; next != time.Date(2026, 3, 2, 12, 10, 0, 0, time.UTC) {
		t.Errorf("the expression is due at %s", next)
	}
}

// F79: a cycle longer than the interval, a clock that is set, a machine that sleeps.
func TestTimetableNeverBursts(t *testing.T) {
	interval, daily := Every(5*time.Minute), cronAt(t, "10 12 * * *")
	t.Run("a cycle longer than the interval", func(t *testing.T) {
		clock := newFakeClock()
		table := newTimetable(clock, none)
		table.follow([]Schedule{interval, cronAt(t, "* * * * *")})
		taken(table)
		clock.pass(33 * time.Minute) // a run
		if due := taken(table); len(due) != 2 {
			t.Fatalf("after a long run %q is due, want each schedule once", due)
		}
		if due := taken(table); len(due) != 0 {
			t.Fatalf("and right after it %q: what was missed is made up for", due)
		}
		faults.Covers(t, "F79")
	})
	t.Run("a machine that sleeps", func(t *testing.T) {
		clock := newFakeClock()
		table := newTimetable(clock, none)
		table.follow([]Schedule{interval, daily})
		taken(table)
		clock.set(72 * time.Hour) // nothing passes meanwhile but the time on the wall
		if due := taken(table); !slices.Equal(due, []string{"10 12 * * * UTC"}) {
			t.Fatalf("after three days of sleep %q is due, want the expression once", due)
		}
		if seen, want := walk(clock, table, 6), []string{"5:5m"}; !slices.Equal(seen, want) {
			t.Fatalf("then %q, want %q", seen, want)
		}
		faults.Covers(t, "F79")
	})
	t.Run("a clock that is set back", func(t *testing.T) {
		clock := newFakeClock()
		table := newTimetable(clock, none)
		table.follow([]Schedule{interval, daily})
		if seen := walk(clock, table, 11); len(seen) != 4 {
			t.Fatalf("before: %q", seen)
		}
		clock.set(-24 * time.Hour)
		seen := walk(clock, table, 24*60)
		days := 0
		for _, one := range seen {
			if one[len(one)-3:] == "UTC" {
				days++
			}
		}
		// The interval does not notice, and the expression comes once in a day of the wall.
		if days != 1 || len(seen) != 24*60/5+days {
			t.Fatalf("in the day after the clock was set back a day: %d times the expression, %d in all", days, len(seen))
		}
		faults.Covers(t, "F79")
	})
	t.Run("a clock that is corrected a little", func(t *testing.T) {
		clock := newFakeClock()
		table := newTimetable(clock, none)
		table.follow([]Schedule{daily})
		clock.pass(10*time.Minute + time.Second)
		if due := taken(table); len(due) != 1 {
			t.Fatalf("%q is due", due)
		}
		clock.set(-2 * time.Second) // before its time again
		clock.pass(time.Minute)
		if due := taken(table); len(due) != 0 {
			t.Fatalf("%q is due a second time", due)
		}
	})
}

func TestTimetableJitter(t *testing.T) {
	clock := newFakeClock()
	table := newTimetable(clock, func() time.Duration { return 90 * time.Second })
	table.follow([]Schedule{Every(5 * time.Minute), cronAt(t, "3 12 * * *")})
	if seen, want := walk(clock, table, 14), []string{"0:5m", "5:3 12 * * * UTC", "7:5m", "14:5m"}; !slices.Equal(seen, want[:3]) {
		t.Errorf("due: %q, want %q", seen, want[:3])
	}
}

func TestTimetableFollowsAnother(t *testing.T) {
	clock := newFakeClock()
	table := newTimetable(clock, none)
	cron := cronAt(t, "10 12 * * *")
	table.follow([]Schedule{Every(time.Hour), cron})
	taken(table)
	clock.pass(5 * time.Minute)
	table.follow([]Schedule{Every(time.Hour), cron, cronAt(t, "7 12 * * *")})
	if seen, want := walk(clock, table, 10), []string{"5:1h", "7:7 12 * * * UTC", "10:10 12 * * * UTC"}; !slices.Equal(seen, want) {
		t.Errorf("due: %q, want %q", seen, want)
	}
}

// What is a nap away is never overslept, and no nap is so long that a clock which was set
// goes unnoticed.
func TestTimetableWait(t *testing.T) {
	clock := newFakeClock()
	table := newTimetable(clock, none)
	if wait := table.wait(); wait != longestNap {
		t.Errorf("with nothing to wait for: %s", wait)
	}
	table.follow([]Schedule{Every(10 * time.Second)})
	taken(table)
	if wait := table.wait(); wait != 10*time.Second {
		t.Errorf("10 s before it is due: %s", wait)
	}
	clock.pass(time.Hour)
	if wait := table.wait(); wait != 0 {
		t.Errorf("long after: %s", wait)
	}
}

func TestRests(t *testing.T) {
	clock := newFakeClock()
	r := newRests(clock)
	var ran []int
	for minute := range 300 {
		if minute%5 == 0 && !r.rests("bad") {
			ran = append(ran, minute)
			r.note("bad", true, clock.Elapsed(), 5*time.Minute)
			r.note("good", false, clock.Elapsed(), 5*time.Minute)
		}
		if r.rests("good") {
			t.Fatal("what does not fail rests")
		}
		clock.pass(time.Minute)
	}
	if want := []int{0, 5, 15, 35, 75, 135, 195, 255}; !slices.Equal(ran, want) {
		t.Errorf("it was looked at in minutes %v, want %v", ran, want)
	}
	if len(r.until()) != 1 {
		t.Errorf("resting: %v", r.until())
	}
	r.note("bad", false, clock.Elapsed(), 5*time.Minute)
	r.note("bad", true, clock.Elapsed(), 24*time.Hour)
	clock.pass(longestRest)
	if r.rests("bad") {
		t.Error("it rests for longer than the longest rest")
	}
}
