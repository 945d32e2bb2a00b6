package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/daemon"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/metrics"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/progress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// generation is one configuration of a daemon, and its runs.
type generation struct {
	*opened
	command  *command
	some     subset
	board    *status.Board
	metrics  *metrics.Metrics
	notices  *notices
	teller   *teller
	print    bool
	interval time.Duration

	search    daemon.Schedule            // of resource tags
	schedules map[string]daemon.Schedule // of the rules of the file, by where they are written
	searched  bool                       // whether the last search saw everything
	tagged    map[ref.Repository]bool    // what it saw
}

var _ daemon.Configuration = (*generation)(nil)

// timetable reads the schedules.
func (g *generation) timetable() error {
	usual := daemon.Every(g.interval)
	var errs []error
	read := func(s *config.Schedule, place string) daemon.Schedule {
		if s == nil {
			return usual
		}
		parsed, err := daemon.ParseSchedule(*s)
		if err != nil {
			errs = append(errs, usageErrorf("%s: %w", place, err))
		}
		return parsed
	}
	file := g.command.settled.file
	g.search = read(file.File.Defaults.Schedule, "defaults")
	g.schedules = map[string]daemon.Schedule{}
	for _, rule := range file.Rules {
		g.schedules[rule.Mirror.Origin.Place] = read(rule.Schedule, rule.Mirror.Origin.Place)
	}
	for _, p := range file.Patterns {
		g.schedules[p.Place()] = read(p.Schedule, p.Place())
	}
	if len(errs) > 0 {
		return usageError{mistakes(errs)}
	}
	return nil
}

// Files names the configuration files.
func (g *generation) Files() []string { return g.command.run.file.paths }

// Schedules are those of the search for resource tags and of the file's rules that run here:
// nobody is to be woken for what is another shard's.
func (g *generation) Schedules() []daemon.Schedule {
	var all []daemon.Schedule
	known := map[string]bool{}
	add := func(s daemon.Schedule) {
		if !known[s.String()] {
			known[s.String()] = true
			all = append(all, s)
		}
	}
	if len(g.command.scopes()) > 0 {
		add(g.search)
	}
	file := g.command.settled.file
	for _, rule := range file.Rules {
		if g.some.concerns(rule.Mirror) {
			add(g.schedules[rule.Mirror.Origin.Place])
		}
	}
	for _, p := range file.Patterns {
		if g.some.runs(p.Name) {
			add(g.schedules[p.Place()])
		}
	}
	return all
}

// Run carries out one run of what is due.
func (g *generation) Run(starting, working context.Context, t daemon.Task) daemon.Done {
	c := *g.command
	c.began = time.Now()
	starting, cancelStarting := c.run.withBudget(starting)
	defer cancelStarting()
	working, cancelWorking := c.run.withBudget(working)
	defer cancelWorking()
	if err := g.again(); err != nil {
		c.log.Warn("closing what the last run had open", zap.Error(err))
	}
	due := g.due(&c, t)
	r, err := c.carryOut(starting, working, g.opened, due)
	g.measure(starting, c.began, r, err)
	if err != nil {
		_, r.Interrupted = errors.AsType[*interrupt](context.Cause(starting))
	} else if g.print {
		if err := c.print(r); err != nil {
			c.log.Warn("the report was not written", zap.Error(err))
		}
	}
	g.teller.tell(g.notices, due.seen(r, err, c.began))
	return daemon.Done{Report: r, Err: err, Trace: c.traces.Last(), Found: due.found, Rested: due.rested}
}

// measure counts a run that began then.
func (g *generation) measure(starting context.Context, began time.Time, r report.Report, err error) {
	if err != nil {
		g.metrics.Broken(wasInterrupted(starting), began, time.Now())
	} else {
		g.metrics.Observe(r, began, time.Now())
	}
}

// due finds the mirrors whose schedules are due. Those of the file that are not are left
// out from the start.
func (g *generation) due(c *command, t daemon.Task) *due {
	whole := c.settled.file.Config
	now := *whole
	now.Rules, now.Patterns = nil, nil
	d := &due{generation: g, task: t, rested: map[string]bool{}}
	for _, rule := range whole.Rules {
		if t.Runs(g.schedules[rule.Mirror.Origin.Place].String()) {
			now.Rules = append(now.Rules, rule)
		} else {
			d.out = append(d.out, rule.Mirror)
		}
	}
	for _, p := range whole.Patterns {
		if t.Runs(g.schedules[p.Place()].String()) {
			now.Patterns = append(now.Patterns, p)
		} else {
			d.out = append(d.out, discover.Mirror{Name: p.Name})
		}
	}
	scopes := c.scopes()
	d.searches = len(scopes) > 0 && t.Runs(g.search.String())
	d.unsearched = len(scopes) > 0 && !d.searches
	if !d.searches {
		scopes = nil
	}
	d.of = &part{of: c.finders(g.wiring, g.some, scopes, &now), some: g.some, file: whole, evenNone: true}
	return d
}

// due is a Finder of what a run is to mirror.
type due struct {
	*generation
	task       daemon.Task
	of         *part
	searches   bool // for resource tags
	unsearched bool // though there may be some

	out    []discover.Mirror // left out
	found  []status.Described
	rested map[string]bool
	broken bool // whether something could not be looked at
}

// Find returns the mirrors that take part.
func (d *due) Find(ctx context.Context) ([]discover.Finding, error) {
	found, err := d.of.Find(ctx)
	if err != nil {
		return nil, err
	}
	var left []discover.Finding
	for _, f := range found {
		d.broken = d.broken || f.Err != nil && f.Mirror.Target == (ref.Repository{})
		name := nameOf(f.Mirror)
		if name != "" && d.task.Rests(name) {
			d.rested[name] = true
			d.out = append(d.out, f.Mirror)
			continue
		}
		left = append(left, f)
	}
	if d.searches {
		d.remember(found)
	}
	d.found = d.described(found)
	d.task.Found(d.found, d.whole())
	return left, nil
}

// remember keeps which repositories resource tags describe, for runs that do not search.
func (d *due) remember(found []discover.Finding) {
	d.searched, d.tagged = !d.broken, map[ref.Repository]bool{}
	for _, f := range found {
		if f.Mirror.Origin.Kind == discover.FromResourceTags {
			d.tagged[f.Mirror.Target] = true
		}
	}
}

// leavesOut reports whether a mirror that does not take part may write to a repository.
func (d *due) leavesOut(repo ref.Repository) bool {
	left := part{out: d.out, file: d.of.file}
	return d.of.leavesOut(repo) || left.leavesOut(repo) || d.unsearched && (!d.searched || d.tagged[repo])
}

// whole names the schedules of which every mirror was found.
func (d *due) whole() []string {
	if d.broken {
		return nil
	}
	var names []string
	for _, s := range d.task.Due {
		names = append(names, s.String())
	}
	return names
}

// nameOf is how the board calls a mirror.
func nameOf(m discover.Mirror) string {
	return status.NameOf(m.Name, m.Target.String(), m.Origin.Place)
}

// described puts findings as the board wants them. Those that name no place are no mirrors.
func (g *generation) described(found []discover.Finding) []status.Described {
	var all []status.Described
	for _, f := range found {
		m := f.Mirror
		name := nameOf(m)
		if name == "" {
			continue
		}
		schedule, ok := g.schedules[m.Origin.Place]
		if !ok {
			schedule = g.search
		}
		all = append(all, status.Described{
			Name: name, Origin: m.Origin.Place, Upstream: m.Upstream.String(), Destination: m.Target.String(), Schedule: schedule.String(),
		})
	}
	return all
}

// observed is the display of a daemon: what happens goes to the pulse and the board.
type observed struct {
	progress.Nop
	io.Writer
	pulse *daemon.Pulse
	board *status.Board
}

// Phase tells the board.
func (o observed) Phase(text string) {
	o.pulse.Beat()
	phase := status.Planning
	if text == "copying" {
		phase = status.Copying
	}
	o.board.Enter(phase, time.Now())
}

// Started beats.
func (o observed) Started(string, string, int64) { o.pulse.Beat() }

// Moved beats.
func (o observed) Moved(string, int) { o.pulse.Beat() }

// Finished beats.
func (o observed) Finished(string, string) { o.pulse.Beat() }

var (
	_ mirror.Finder = (*due)(nil)
	_ leaver        = (*due)(nil)
	_ leaver        = (*part)(nil)
)
