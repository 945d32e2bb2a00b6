// Package daemon runs a mirror for years: it knows when which mirrors are due, reads the
// configuration again when it changes, lets what fails rest, and ends in good order. What
// a run is, it is told.
//
// One run goes on at a time, and everything that is due is planned together: so a tag that
// two rules want is noticed, and a blob that two mirrors need is moved once.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// A Configuration is what one reading of flags and files says, with all that it needs
// opened: connections and tokens live as long as it does. The daemon closes it once it has
// another one, between two runs.
type Configuration interface {
	// Files names the files it was read from.
	Files() []string
	// Schedules are those of its mirrors, each once.
	Schedules() []Schedule
	// Run carries out one run. Once starting has ended, nothing new begins, and once
	// working has, what is under way stops; working never ends before starting.
	Run(starting, working context.Context, t Task) Done
	// Close ends it. No run is under way then.
	Close() error
}

// A Task is what a run is to do.
type Task struct {
	Due   []Schedule             // whose mirrors take part
	Rests func(name string) bool // mirrors to leave out all the same

	// Found is to be told which mirrors there are, before anything is copied: those that
	// rest among them. Whole are the schedules that have no others.
	Found func(mirrors []status.Described, whole []string)
}

// Runs reports whether the mirrors of a schedule take part, by its name.
func (t Task) Runs(schedule string) bool {
	for _, s := range t.Due {
		if s.text == schedule {
			return true
		}
	}
	return false
}

// Done is what came of a run.
type Done struct {
	Report report.Report      // says whether a signal ended the run, also where it says nothing else
	Err    error              // why there was no plan
	Found  []status.Described // what Task.Found was told
	Rested map[string]bool    // those of Found that were left out
	Trace  string             // the id of its trace, "" where nobody traces
}

// Options are what a Daemon works with. Jitter, MaxFailedRuns, Changed, Finished, Random
// and Log may be left out.
type Options struct {
	Load          func(context.Context) (Configuration, error)
	Changed       <-chan struct{} // asks for the configuration to be loaded again
	Jitter        time.Duration   // put on top of every time, a random part of it
	MaxFailedRuns int             // so many failed runs in a row end the program; 0 means none do
	Grace         time.Duration   // what is under way may take after the end was asked for
	Board         *status.Board
	Pulse         *Pulse
	Clock         Clock
	Finished      func(status.Run)                  // told of every run
	Random        func(time.Duration) time.Duration // from 0 to below its argument, which is above 0
	Log           *zap.Logger
}

// A Daemon is one program that goes on. Run may be called once.
type Daemon struct {
	opts   Options
	log    *zap.Logger
	table  *timetable
	rests  *rests
	conf   Configuration
	failed int  // runs in a row
	cut    bool // whether something under way was stopped
}

// New returns a Daemon. It does nothing before Run.
func New(o Options) *Daemon {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Finished == nil {
		o.Finished = func(status.Run) {}
	}
	if o.Random == nil {
		o.Random = rand.N[time.Duration]
	}
	d := &Daemon{opts: o, log: o.Log, rests: newRests(o.Clock)}
	d.table = newTimetable(o.Clock, d.jitter)
	return d
}

func (d *Daemon) jitter() time.Duration {
	if d.opts.Jitter <= 0 {
		return 0
	}
	return d.opts.Random(d.opts.Jitter)
}

// ErrGraceUsedUp says that the end came before what was under way was done. Tags are what
// they were all the same.
var ErrGraceUsedUp = errors.New("the grace is used up, and what was under way was stopped")

// TooManyFailures is the error of a Daemon that ends because run after run has failed.
type TooManyFailures struct {
	Runs int // that failed in a row
	Last status.Run
}

func (e *TooManyFailures) Error() string {
	why := e.Last.Error
	if why == "" {
		why = fmt.Sprintf("%d of %d rows failed in the last one", e.Last.Totals.Failed, e.Last.Totals.Images)
	}
	return fmt.Sprintf("%d failed runs in a row, and --max-failed-runs ends the program: %s", e.Runs, why)
}

// Run goes on until ctx ends, and then for as long as the grace lets what is under way go
// on. It returns nil where everything that had begun was done by then. It is an error
// otherwise, if too many runs failed, and if there was no configuration to begin with.
func (d *Daemon) Run(ctx context.Context) (err error) {
	conf, err := d.opts.Load(ctx)
	if err != nil {
		return err
	}
	d.follow(conf)
	defer func() { err = errors.Join(err, d.conf.Close()) }()
	for ctx.Err() == nil {
		d.opts.Pulse.Beat()
		select {
		case <-d.opts.Changed:
			d.reload(ctx)
		default:
		}
		// Looked at before the timetable: a rest of one interval that began after it would
		// not be over at the next look.
		began := d.opts.Clock.Elapsed()
		if due := d.table.take(); len(due) > 0 {
			if last := d.once(ctx, due, began); d.tooMany() {
				return &TooManyFailures{Runs: d.failed, Last: last}
			}
			continue
		}
		d.publish()
		d.idle(ctx)
	}
	if d.cut {
		return ErrGraceUsedUp
	}
	return nil
}

func (d *Daemon) tooMany() bool {
	return d.opts.MaxFailedRuns > 0 && d.failed >= d.opts.MaxFailedRuns
}

// idle waits until something may have to be done.
func (d *Daemon) idle(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-d.opts.Changed:
		d.reload(ctx)
	case <-d.opts.Clock.After(d.table.wait()):
	}
}

// publish puts on the board when what is due.
func (d *Daemon) publish() {
	d.opts.Board.Schedule(d.table.due())
	d.opts.Board.Rest(d.rests.until())
}

// reload follows the configuration as it is now, or, where that is broken, goes on with
// the one it has.
func (d *Daemon) reload(ctx context.Context) {
	conf, err := d.opts.Load(ctx)
	if err != nil {
		d.opts.Board.Rejected(err, d.opts.Clock.Now())
		d.log.Error("the new configuration is broken; the last good one stays in force", zap.Error(err))
		return
	}
	if err := d.conf.Close(); err != nil {
		d.log.Warn("closing what the last configuration had open", zap.Error(err))
	}
	d.follow(conf)
	d.log.Info("a new configuration is in force", zap.Strings("files", conf.Files()))
}

func (d *Daemon) follow(conf Configuration) {
	d.conf = conf
	d.table.follow(conf.Schedules())
	d.opts.Board.Loaded(conf.Files(), d.opts.Clock.Now())
	d.publish()
}

// once carries out one run of what is due, which begins at a time, by Elapsed.
func (d *Daemon) once(ctx context.Context, due []tick, began time.Duration) status.Run {
	task := Task{Rests: d.rests.rests, Found: d.found}
	for _, one := range due {
		task.Due = append(task.Due, one.schedule)
	}
	d.publish()
	started := d.opts.Clock.Now()
	d.opts.Board.Enter(status.Planning, started)
	working, ended := d.withGrace(ctx)
	done := d.conf.Run(ctx, working, task)
	d.cut = working.Err() != nil
	ended()

	took := tookPart(done)
	run := d.opts.Board.Finished(runOf(task, done, started, d.opts.Clock.Elapsed()-began), done.Report, func(name string) bool { return took[name] })
	if done.Err == nil && run.Outcome != status.Interrupted {
		d.judge(done, took, due, began)
	}
	d.opts.Board.Enter(status.Waiting, d.opts.Clock.Now())
	d.publish()
	d.count(run)
	d.tell(run, done.Trace)
	d.opts.Finished(run)
	return run
}

// withGrace returns a context that goes on for the grace after ctx has ended.
func (d *Daemon) withGrace(ctx context.Context) (context.Context, func()) {
	working, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		d.opts.Board.Enter(status.Draining, d.opts.Clock.Now())
		d.log.Info("nothing new begins; what is under way gets the grace", zap.Error(context.Cause(ctx)), zap.Duration("grace", d.opts.Grace))
		select {
		case <-d.opts.Clock.After(d.opts.Grace):
			cut(context.Cause(ctx))
		case <-working.Done():
		}
	})
	return working, func() {
		stop()
		cut(context.Canceled)
	}
}

// tookPart are the mirrors that were not left out.
func tookPart(done Done) map[string]bool {
	took := make(map[string]bool, len(done.Found))
	for _, m := range done.Found {
		took[m.Name] = !done.Rested[m.Name]
	}
	return took
}

// found puts the mirrors of a run on the board.
func (d *Daemon) found(mirrors []status.Described, whole []string) {
	d.opts.Board.Describe(mirrors, whole, d.known)
}

// known reports whether the configuration has a schedule.
func (d *Daemon) known(schedule string) bool {
	for _, l := range d.table.lines {
		if l.schedule.text == schedule {
			return true
		}
	}
	return false
}

// judge decides which mirrors are to rest: those of which nothing but failures came. One
// with a single bad tag goes on for the sake of its others.
func (d *Daemon) judge(done Done, took map[string]bool, due []tick, began time.Duration) {
	gaps := map[string]time.Duration{}
	for _, one := range due {
		gaps[one.schedule.text] = one.gap
	}
	counted := status.Count(done.Report)
	for _, m := range done.Found {
		if took[m.Name] {
			took[m.Name] = false // a mirror with several destinations is judged once
			c := counted[m.Name]
			d.rests.note(m.Name, c != nil && c.AllFailed(), began, gaps[m.Schedule])
		}
	}
}

// runOf is the record of a run.
func runOf(t Task, done Done, started time.Time, took time.Duration) status.Run {
	run := status.Run{
		Started: started, DurationMs: took.Milliseconds(), Outcome: status.OutcomeOf(done.Report),
		Mirrors: len(tookPart(done)) - len(done.Rested), Resting: len(done.Rested), Totals: done.Report.Totals,
	}
	for _, s := range t.Due {
		run.Schedules = append(run.Schedules, s.text)
	}
	if done.Err != nil {
		run.Outcome, run.Error = status.Failed, done.Err.Error()
	}
	if done.Report.Interrupted {
		run.Outcome = status.Interrupted
	}
	return run
}

// count counts failed runs in a row. One that was interrupted says nothing.
func (d *Daemon) count(run status.Run) {
	switch {
	case run.Outcome == status.Interrupted:
	case run.HasFailed():
		d.failed++
	default:
		d.failed = 0
	}
}

// tell sums a run up in one line, with the id of its trace where it has one.
func (d *Daemon) tell(run status.Run, trace string) {
	t := run.Totals
	fields := []zap.Field{
		zap.Int64("run", run.Number), zap.String("outcome", string(run.Outcome)),
		zap.Int("mirrors", run.Mirrors), zap.Int("resting", run.Resting), zap.Int("behind", run.Behind),
		zap.Int("images", t.Images), zap.Int("copied", t.Copied+t.Updated), zap.Int("blocked", t.Blocked), zap.Int("failed", t.Failed), zap.Int("notDone", t.Pending),
		zap.Int64("bytes", t.Bytes), zap.Duration("duration", time.Duration(run.DurationMs)*time.Millisecond),
	}
	if trace != "" {
		fields = append(fields, zap.String("traceId", trace))
	}
	if run.Error != "" {
		fields = append(fields, zap.String("error", run.Error))
	}
	if run.HasFailed() {
		d.log.Warn("the run is over", fields...)
		return
	}
	d.log.Info("the run is over", fields...)
}
