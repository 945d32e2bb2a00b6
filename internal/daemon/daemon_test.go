package daemon

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a Configuration whose runs the test plays.
type script struct {
	name      string
	schedules []Schedule
	run       func(starting, working context.Context, t Task) Done
	closed    bool
}

func (s *script) Files() []string       { return []string{s.name} }
func (s *script) Schedules() []Schedule { return s.schedules }
func (s *script) Close() error          { s.closed = true; return nil }
func (s *script) Run(starting, working context.Context, t Task) Done {
	return s.run(starting, working, t)
}

// reportOf is a report in which each mirror has one tag with that status.
func reportOf(started time.Time, rows map[string]plan.Status) report.Report {
	var p plan.Plan
	var results []plan.Result
	for name, s := range rows {
		repo := ref.Repository{Host: "example.com", Path: name}
		a := plan.Action{
			Mirror: &discover.Mirror{Name: name, Target: repo, Origin: discover.Origin{Kind: "file", Place: "mirrors.yaml"}},
			Verb:   plan.Update, To: repo.Tagged("1"), Reason: "upstream moved",
		}
		a.From.Digest = "sha256:new"
		p.Actions = append(p.Actions, a)
		results = append(results, plan.Result{Action: a, Status: s, Reason: string(s)})
	}
	return report.FromResults(report.Run{Started: started}, p, results)
}

func described(schedule string, names ...string) []status.Described {
	var all []status.Described
	for _, name := range names {
		all = append(all, status.Described{Name: name, Origin: "mirrors.yaml", Upstream: "upstream/" + name, Destination: "example.com/" + name, Schedule: schedule})
	}
	return all
}

// stage is a daemon under test.
type stage struct {
	*fakeClock
	board   *status.Board
	pulse   *Pulse
	changed chan struct{}
	cancel  context.CancelCauseFunc
	ended   chan error

	mu   sync.Mutex
	runs []status.Run
}

// play starts a daemon and waits until it idles.
func play(t *testing.T, o Options) *stage {
	t.Helper()
	s := &stage{fakeClock: newFakeClock(), changed: make(chan struct{}, 1), ended: make(chan error, 1)}
	s.board, s.pulse = status.NewBoard(s.Now()), NewPulse(s)
	o.Board, o.Pulse, o.Clock, o.Changed = s.board, s.pulse, s.fakeClock, s.changed
	o.Finished = func(r status.Run) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.runs = append(s.runs, r)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	s.cancel = cancel
	t.Cleanup(func() { cancel(nil) })
	go func() { s.ended <- New(o).Run(ctx) }()
	return s
}

// walk lets much time pass, as fast as the daemon sleeps.
func (s *stage) walk(d time.Duration) {
	for end := s.Elapsed() + d; s.Elapsed() < end; {
		s.pass(<-s.asked)
	}
}

// end asks for the end and returns what came of it.
func (s *stage) end() error {
	s.cancel(errors.New("enough"))
	return <-s.ended
}

func (s *stage) finished() []status.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]status.Run{}, s.runs...)
}

func TestRunsOnSchedule(t *testing.T) {
	conf := &script{name: "mirrors.yaml", schedules: []Schedule{Every(5 * time.Minute), Every(15 * time.Minute)}}
	var due []string
	conf.run = func(_, _ context.Context, task Task) Done {
		var names []string
		for _, one := range task.Due {
			names = append(names, one.String())
		}
		due = append(due, strings.Join(names, "+"))
		return Done{}
	}
	s := play(t, Options{Load: func(context.Context) (Configuration, error) { return conf, nil }})
	s.walk(31 * time.Minute)
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	// What is due at the same time is one run.
	if want := "5m+15m 5m 5m 5m+15m 5m 5m 5m+15m"; strings.Join(due, " ") != want {
		t.Errorf("runs of %q, want %q", due, want)
	}
	if !conf.closed {
		t.Error("the configuration was not closed")
	}
}

// F79: however long a run takes, there is one at a time, and then one.
func TestLongRunsDoNotOverlap(t *testing.T) {
	var s *stage
	var mu sync.Mutex
	under, most, count := 0, 0, 0
	conf := &script{schedules: []Schedule{Every(time.Minute), cronAt(t, "* * * * *")}}
	conf.run = func(_, _ context.Context, task Task) Done {
		mu.Lock()
		under++
		most, count = max(most, under), count+1
		mu.Unlock()
		if len(task.Due) != 2 && count > 1 {
			t.Errorf("after a long run %d schedules are due, want both in one run", len(task.Due))
		}
		s.pass(10 * time.Minute)
		if s.Elapsed() >= 100*time.Minute {
			s.cancel(errors.New("enough"))
		}
		mu.Lock()
		under--
		mu.Unlock()
		return Done{}
	}
	ready := make(chan struct{})
	// The end is asked for from within the last run. Without a grace it would be stopped
	// there and then, unless it returned first.
	s = play(t, Options{Grace: time.Minute, Load: func(context.Context) (Configuration, error) { <-ready; return conf, nil }})
	close(ready)
	if err := <-s.ended; err != nil {
		t.Fatal(err)
	}
	if most != 1 || count != 10 {
		t.Errorf("%d runs at once, %d in %s of runs of 10m", most, count, s.Elapsed())
	}
	faults.Covers(t, "F79")
}

// F91: a broken configuration changes nothing, and says so.
func TestBrokenConfigurationKeepsTheLastGoodOne(t *testing.T) {
	ran := map[string]int{}
	make1 := func(name string) *script {
		conf := &script{name: name, schedules: []Schedule{Every(time.Hour)}}
		conf.run = func(context.Context, context.Context, Task) Done { ran[name]++; return Done{} }
		return conf
	}
	first, second := make1("first"), make1("second")
	answers := []any{first, errors.New("mirrors.yaml:3: no such key"), second}
	s := play(t, Options{Load: func(context.Context) (Configuration, error) {
		answer := answers[0]
		answers = answers[1:]
		if err, broken := answer.(error); broken {
			return nil, err
		}
		return answer.(*script), nil
	}})
	<-s.asked
	s.changed <- struct{}{}
	<-s.asked // it waits again
	config := s.board.Snapshot(s.Now()).Config
	if config.Error != "mirrors.yaml:3: no such key" || config.ErrorAt == nil || config.Files[0] != "first" {
		t.Errorf("the board says %+v", config)
	}
	if first.closed || ran["first"] != 1 {
		t.Errorf("the last good one is closed: %t, and ran %d times", first.closed, ran["first"])
	}
	s.pass(time.Hour)
	<-s.asked
	if ran["first"] != 2 {
		t.Errorf("the last good one ran %d times, want 2", ran["first"])
	}
	s.changed <- struct{}{}
	<-s.asked
	config = s.board.Snapshot(s.Now()).Config
	if config.Error != "" || config.ErrorAt != nil || config.Files[0] != "second" {
		t.Errorf("after it was mended the board says %+v", config)
	}
	if !first.closed || ran["second"] != 1 {
		t.Errorf("the first is closed: %t, and the second ran %d times: a new one is followed at once", first.closed, ran["second"])
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	faults.Covers(t, "F91")
}

func TestNoConfigurationToBeginWith(t *testing.T) {
	broken := errors.New("broken")
	s := play(t, Options{Load: func(context.Context) (Configuration, error) { return nil, broken }})
	if err := <-s.ended; !errors.Is(err, broken) {
		t.Errorf("it ends with %v", err)
	}
}

func TestFailingMirrorRests(t *testing.T) {
	conf := &script{schedules: []Schedule{Every(5 * time.Minute)}}
	took := map[string][]time.Duration{}
	var s *stage
	conf.run = func(_, _ context.Context, task Task) Done {
		done := Done{Found: described("5m", "bad", "good"), Rested: map[string]bool{}}
		task.Found(done.Found, []string{"5m"})
		rows := map[string]plan.Status{"good": plan.Updated}
		if task.Rests("bad") {
			done.Rested["bad"] = true
		} else {
			rows["bad"] = plan.HasFailed
			took["bad"] = append(took["bad"], s.Elapsed())
		}
		took["good"] = append(took["good"], s.Elapsed())
		done.Report = reportOf(s.Now(), rows)
		return done
	}
	ready := make(chan struct{})
	s = play(t, Options{Load: func(context.Context) (Configuration, error) { <-ready; return conf, nil }})
	close(ready)
	s.walk(36 * time.Minute)
	<-s.asked
	snapshot := s.board.Snapshot(s.Now())
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	if len(took["good"]) != 8 || len(took["bad"]) != 4 || took["bad"][3] != 35*time.Minute {
		t.Errorf("in 36 minutes the good one took part %d times, and the bad one at %v", len(took["good"]), took["bad"])
	}
	bad := snapshot.Mirrors[0]
	if bad.Name != "bad" || bad.FailedRunsInARow != 4 || bad.WaitsFor != "rests after 4 failed runs in a row" {
		t.Errorf("the board says of it: %+v", bad)
	}
	if wait := bad.NextRun.Sub(*bad.LastRun); wait != 40*time.Minute {
		t.Errorf("it rests for %s", wait)
	}
	if runs := snapshot.Runs; runs[0].Number != 8 || runs[0].Outcome != status.Partial || runs[0].Mirrors != 2 || runs[1].Resting != 1 || runs[1].Outcome != status.OK {
		t.Errorf("the runs: %+v", runs[:2])
	}
}

// The first failure costs nothing, also where time passes between the look at the timetable
// and the run: a mirror once rested for a second interval, for want of a millisecond.
func TestTheFirstFailureCostsNothing(t *testing.T) {
	conf := &script{schedules: []Schedule{Every(5 * time.Minute)}}
	rested := 0
	var s *stage
	conf.run = func(_, _ context.Context, task Task) Done {
		if task.Rests("bad") {
			rested++
		}
		return Done{Found: described("5m", "bad"), Report: reportOf(s.Now(), map[string]plan.Status{"bad": plan.HasFailed})}
	}
	slow := sync.OnceFunc(func() { s.pass(time.Millisecond) })
	random := func(time.Duration) time.Duration { slow(); return 0 }
	ready := make(chan struct{})
	s = play(t, Options{Load: func(context.Context) (Configuration, error) { <-ready; return conf, nil }, Jitter: 1, Random: random})
	close(ready)
	s.walk(6 * time.Minute)
	<-s.asked
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	if runs := s.finished(); len(runs) != 2 || rested != 0 {
		t.Errorf("of %d runs it rested in %d", len(runs), rested)
	}
}

// The end that somebody asked for is not blamed on what failed on the way.
func TestAnInterruptedRunIsNoFailure(t *testing.T) {
	began := make(chan struct{})
	conf := &script{schedules: []Schedule{Every(time.Minute)}}
	conf.run = func(starting, _ context.Context, _ Task) Done {
		close(began)
		<-starting.Done()
		r := reportOf(time.Time{}, map[string]plan.Status{"web": plan.HasFailed, "db": plan.Pending})
		r.Interrupted = true
		return Done{Report: r}
	}
	s := play(t, Options{MaxFailedRuns: 1, Grace: time.Hour, Load: func(context.Context) (Configuration, error) { return conf, nil }})
	<-began
	if err := s.end(); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	if runs := s.finished(); len(runs) != 1 || runs[0].Outcome != status.Interrupted {
		t.Errorf("runs: %+v", runs)
	}
}

func TestTooManyFailedRuns(t *testing.T) {
	conf := &script{schedules: []Schedule{Every(time.Minute)}}
	outcomes := []error{errors.New("denied"), nil, errors.New("denied"), errors.New("denied")}
	conf.run = func(context.Context, context.Context, Task) Done {
		err := outcomes[0]
		outcomes = outcomes[1:]
		return Done{Err: err}
	}
	s := play(t, Options{MaxFailedRuns: 2, Load: func(context.Context) (Configuration, error) { return conf, nil }})
	go s.walk(3 * time.Minute)
	many, ok := errors.AsType[*TooManyFailures](<-s.ended)
	if !ok || many.Runs != 2 || many.Last.Number != 4 || !strings.Contains(many.Error(), "2 failed runs in a row, and --max-failed-runs ends the program: denied") {
		t.Errorf("it ends with %v", many)
	}
	s.pass(time.Hour)
}

func TestEndLetsFinishWhatIsUnderWay(t *testing.T) {
	for _, test := range []struct {
		name    string
		takes   time.Duration // after the end was asked for
		want    error
		outcome status.Outcome
	}{
		{"within the grace", 19 * time.Second, nil, status.Interrupted},
		{"longer than the grace", 21 * time.Second, ErrGraceUsedUp, status.Interrupted},
	} {
		t.Run(test.name, func(t *testing.T) {
			conf := &script{schedules: []Schedule{Every(time.Minute)}}
			began := make(chan struct{})
			var s *stage
			conf.run = func(starting, working context.Context, _ Task) Done {
				close(began)
				<-starting.Done()
				if working.Err() != nil {
					t.Error("what is under way is stopped at once")
				}
				<-s.asked // the grace has begun
				if phase := s.board.Snapshot(s.Now()).Phase; phase != status.Draining {
					t.Errorf("the phase is %s", phase)
				}
				s.pass(test.takes)
				if test.want != nil {
					<-working.Done()
				}
				r := reportOf(s.Now(), nil)
				r.Interrupted = true
				return Done{Report: r}
			}
			ready := make(chan struct{})
			s = play(t, Options{Grace: 20 * time.Second, Load: func(context.Context) (Configuration, error) { <-ready; return conf, nil }})
			close(ready)
			<-began
			if err := s.end(); !errors.Is(err, test.want) {
				t.Errorf("it ends with %v, want %v", err, test.want)
			}
			if runs := s.finished(); len(runs) != 1 || runs[0].Outcome != test.outcome {
				t.Errorf("the runs: %+v", runs)
			}
		})
	}
}
