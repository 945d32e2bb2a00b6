package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/daemon"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/metrics"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/page"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/progress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// daemonFlags say how a program that goes on does so.
type daemonFlags struct {
	interval      time.Duration
	jitter        time.Duration
	maxFailedRuns int
	listen        string
	grace         time.Duration
	pprof         bool
	printReports  bool
}

func (f *daemonFlags) register(flags *pflag.FlagSet, interval time.Duration) {
	usage := "look at mirrors without a schedule of their own every `DURATION`, from one start to the next"
	if interval == 0 {
		usage = "go on, and " + usage + ", as daemon does (0: one run)"
	}
	flags.DurationVar(&f.interval, "interval", interval, usage)
	flags.DurationVar(&f.jitter, "jitter", 0, "as a daemon: begin up to this `DURATION` later each time, at random, so that many daemons do not ask at once")
	flags.IntVar(&f.maxFailedRuns, "max-failed-runs", 0, "as a daemon: end the program once `N` runs in a row have failed (0: go on)")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "as a daemon: answer /api/v1/status, /metrics, /healthz and /readyz at this `ADDRESS`; an empty one is for nobody")
	flags.DurationVar(&f.grace, "grace", 20*time.Second, "as a daemon: after SIGTERM, what is under way may take this `DURATION`")
	flags.BoolVar(&f.pprof, "pprof", false, "as a daemon: answer /debug/pprof/, too")
	flags.BoolVar(&f.printReports, "print-reports", false, "as a daemon: write the report of every run to stdout, one after the other")
}

// check refuses what no daemon can mean.
func (f *daemonFlags) check(run *runFlags) error {
	switch {
	case f.interval < shortestInterval:
		return usageErrorf("--interval %s: expected %s or more", f.interval, shortestInterval)
	case f.jitter < 0:
		return usageErrorf("--jitter %s: expected 0 or more", f.jitter)
	case f.maxFailedRuns < 0:
		return usageErrorf("--max-failed-runs %d: expected 0 or more", f.maxFailedRuns)
	case f.grace < 0:
		return usageErrorf("--grace %s: expected 0 or more", f.grace)
	case run.dryRun:
		return usageErrorf("a daemon writes: for a look at what it would do, use sync --dry-run")
	case slices.Contains(run.file.paths, "-"):
		return usageErrorf("--config -: a daemon reads its files again; standard input can be read once")
	}
	return nil
}

// shortestInterval is lower than that of files, which many share: whoever types it watches.
const shortestInterval = time.Second

func newDaemon(streams Streams, code *int) *cobra.Command {
	var flags syncFlags
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Sync for years: on schedules, with health checks and a status",
		Long: `Each mirror is looked at on its schedule: an interval or a cron expression of the file, or
--interval. What is due at the same time is one run, runs never overlap, and what was missed
meanwhile is not made up for. A mirror of which nothing but failures comes rests longer each
time, an hour at most.

The configuration is read again when its files change, and at SIGHUP; a broken one is
reported, and the last good one stays in force. At SIGTERM nothing new begins, what is under
way gets --grace, and the exit code is 0 if that was enough. A second signal ends it at once.`,
		Example: `  ecr-mirror-sync daemon --policy policy.json
  ecr-mirror-sync daemon --config mirrors.yaml --interval 10m --jitter 1m --insecure-policy
  ecr-mirror-sync daemon --insecure-policy --listen :8080 --log-format json
  ecr-mirror-sync daemon --insecure-policy --print-reports -o json
  curl -s http://127.0.0.1:8080/api/v1/status`,
		Args: noArgs,
	}
	flags.register(cmd.Flags())
	flags.daemon.register(cmd.Flags(), 5*time.Minute)
	hide(cmd.Flags(), "dry-run", "exit-code", // they, and metrics that are pushed, are for runs that end
		"metrics-pushgateway", "metrics-job", "metrics-group", "metrics-textfile", "metrics-emf", "metrics-print")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return serve(cmd, streams, &flags, code) }
	return cmd
}

// serve is a daemon from its flags to its end.
func serve(cmd *cobra.Command, streams Streams, flags *syncFlags, code *int) error {
	flags.run.goesOn = true
	var files readFiles
	flags.run.file.read = files.readFile
	c, err := begin(cmd.Flags(), streams, &flags.run)
	if err != nil {
		return err
	}
	if err := flags.daemon.check(&flags.run); err != nil {
		return err
	}
	if flags.copying.metrics.wanted() {
		return usageErrorf("--metrics-pushgateway, --metrics-textfile, --metrics-emf and --metrics-print are for runs that end: a daemon has /metrics at --listen")
	}
	upstream, err := flags.source.asking(streams, "docker.io")
	if err != nil {
		return err
	}
	some, err := c.choose(&flags.subset)
	if err != nil {
		return err
	}
	c.name = "daemon"
	defer c.trace(cmd.Context())()
	clock := daemon.SystemClock()
	board, pulse := status.NewBoard(clock.Now()), daemon.NewPulse(clock)
	gauges := newMetrics(metrics.Options{State: boardState{board}, Runtime: true})
	ctx := cmd.Context()
	if flags.daemon.listen != "" {
		pages, err := page.New()
		if err != nil {
			return err
		}
		server, err := listen(ctx, flags.daemon, daemon.ServerOptions{
			Board: board, Pulse: pulse, Clock: clock, Pprof: flags.daemon.pprof, Log: c.log,
			Handlers: map[string]http.Handler{
				"/":            page.Handler(pages, func() status.Snapshot { return board.Snapshot(clock.Now()) }),
				"GET /metrics": gauges.Handler(),
			},
		})
		if err != nil {
			return err
		}
		defer server.Close()
	}
	watcher, stop := watch(ctx, c.log)
	defer stop()
	tells := newTeller(c.log)
	defer tells.close()
	l := &loader{
		command: c, flags: flags, upstream: upstream, some: some, first: true,
		files: &files, watcher: watcher, board: board, pulse: pulse, metrics: gauges, teller: tells,
	}
	err = daemon.New(daemon.Options{
		Load:          l.load,
		Changed:       watcher.Changed(),
		Jitter:        flags.daemon.jitter,
		MaxFailedRuns: flags.daemon.maxFailedRuns,
		Grace:         flags.daemon.grace,
		Board:         board,
		Pulse:         pulse,
		Clock:         clock,
		Log:           c.log,
	}).Run(ctx)
	if err == nil {
		*code = exitDrained
	}
	return err
}

// listen answers requests. An address that cannot be had is a mistake of whoever named it.
func listen(ctx context.Context, flags daemonFlags, o daemon.ServerOptions) (*daemon.Server, error) {
	server := daemon.NewServer(o)
	address, err := server.Listen(ctx, flags.listen)
	if err != nil {
		return nil, usageErrorf("--listen %s: %w", flags.listen, err)
	}
	o.Log.Info("answering requests", zap.Stringer("address", address))
	return server, nil
}

// watch watches files, which the loader names, and SIGHUP.
func watch(ctx context.Context, log *zap.Logger) (*daemon.Watcher, func()) {
	ctx, cancel := context.WithCancel(ctx)
	watcher := daemon.NewWatcher(log)
	go watcher.Watch(ctx)
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-again:
				watcher.Ask()
			case <-ctx.Done():
				return
			}
		}
	}()
	return watcher, func() {
		signal.Stop(again)
		cancel()
	}
}

// readFiles remembers which files a configuration was read from, those that it refers to
// among them, and what they were.
type readFiles struct {
	paths []string
	seen  daemon.Digest
}

func (f *readFiles) readFile(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if !slices.Contains(f.paths, path) {
		f.paths = append(f.paths, path)
	}
	f.seen.Note(path, content, err)
	return content, err
}

// logOnly shows nothing of a run but its log lines: those of a daemon are read by other
// programs, or later.
type logOnly struct {
	progress.Nop
	io.Writer
}

// loader makes a generation of every reading of the configuration.
type loader struct {
	command  *command
	flags    *syncFlags
	upstream asking
	some     subset
	first    bool // nothing was loaded yet: begin has read the files
	files    *readFiles
	watcher  *daemon.Watcher
	board    *status.Board
	pulse    *daemon.Pulse
	metrics  *metrics.Metrics
	teller   *teller
}

// load reads the files again and opens what they need.
func (l *loader) load(ctx context.Context) (daemon.Configuration, error) {
	c := *l.command
	if !l.first {
		*l.files = readFiles{}
		settled, err := l.flags.run.settle(c.streams)
		l.follow()
		if err != nil {
			return nil, err
		}
		c.settled = settled
	} else {
		l.follow()
	}
	l.first = false
	c.progress = observed{pulse: l.pulse, board: l.board, Writer: c.progress}
	c.beat = l.pulse.Beat
	c.planned = l.board.Planned
	g := &generation{command: &c, some: l.some, metrics: l.metrics, teller: l.teller, board: l.board, print: l.flags.daemon.printReports, interval: l.interval(&c)}
	if err := g.timetable(); err != nil {
		return nil, err
	}
	var err error
	if g.notices, err = l.flags.copying.notify.notices(&c, "sync"); err != nil {
		return nil, err
	}
	reach := c.reach(l.upstream, l.flags.source.certDir)
	reach.metrics = l.metrics
	g.opened, err = c.open(ctx, l.flags.copying, reach)
	if err != nil {
		return nil, err
	}
	g.notices.reach(g.wiring)
	if _, err := l.flags.copying.judge(g.wiring); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// follow has the files watched that were read, and those that should have been.
func (l *loader) follow() {
	files := slices.Clone(l.files.paths)
	for _, path := range l.flags.run.file.paths {
		if !slices.Contains(files, path) {
			files = append(files, path)
		}
	}
	l.watcher.Follow(files, l.files.seen)
}

// interval is that of the flag, or else of another tool's file.
func (l *loader) interval(c *command) time.Duration {
	if said := c.settled.file.settings.Interval; said >= shortestInterval && !l.flags.run.changed("interval") {
		return said
	}
	return l.flags.daemon.interval
}
