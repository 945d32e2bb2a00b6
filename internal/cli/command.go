package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/shard"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/tracing"
)

// command is one invocation of list, copy or sync: its checked flags, its logger, and
// when it began.
type command struct {
	run      *runFlags
	settled  settled
	streams  Streams
	began    time.Time
	log      *zap.Logger
	progress display
	shard    shard.Shard // the whole, unless a subset says otherwise
	page     pageFlags   // where the run is shown as a page
	home     string      // the Region that is searched where nobody names one
	empty    string      // said where there is nothing to do; "" blames resource tags
	name     string      // in traces
	traces   *tracing.Tracing

	// What a daemon wants to know of its runs; nil where nobody does.
	beat    func()              // something got done, from many goroutines
	planned func(report.Report) // what is about to be done
}

// begin checks the shared flags and opens the log. Nothing has been contacted yet.
func begin(flags *pflag.FlagSet, streams Streams, run *runFlags) (*command, error) {
	if err := fromEnvironment(flags); err != nil {
		return nil, err
	}
	s, err := run.settle(streams)
	if err != nil {
		return nil, err
	}
	c := &command{run: run, settled: s, streams: streams, began: time.Now()}
	c.progress = newDisplay(streams.Err)
	if run.goesOn {
		c.progress = logOnly{Writer: streams.Err}
	}
	s.log = s.log.on(streams.Err)
	if c.log, err = s.log.open(c.progress); err != nil {
		return nil, err
	}
	foldLogrus(c.log)
	return c, nil
}

// errBudget is the cause of a run that --max-duration ended.
var errBudget = errors.New("--max-duration is used up")

// withBudget bounds a run by --max-duration.
func (f *runFlags) withBudget(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.maxDuration == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, f.maxDuration, errBudget)
}

// ended names why ctx ended in place of what came of it.
func ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}

// facts are what the report has to be told about the run.
func (c *command) facts(ctx context.Context, manifestsRead int) report.Run {
	_, interrupted := errors.AsType[*interrupt](context.Cause(ctx))
	return report.Run{
		Started:      c.began,
		Elapsed:      time.Since(c.began),
		Interrupted:  interrupted,
		BudgetUsedUp: errors.Is(context.Cause(ctx), errBudget),

		Shard: c.shard.String(),

		ManifestsRead: manifestsRead,
	}
}

// print writes the result to stdout.
func (c *command) print(r report.Report) error {
	r.Warnings = append(c.remarks(), r.Warnings...)
	o := fitted(c.streams.Out)
	o.Empty = cmp.Or(c.empty, c.searched())
	return unread(c.streams.Out, report.Write(c.streams.Out, r, c.settled.format, o))
}

// remarks are what another tool's files ask for and is not done: every run says so.
func (c *command) remarks() []string {
	var said []string
	for _, note := range c.settled.file.notes {
		if note.Severity == migrate.Lost {
			said = append(said, note.String())
		}
	}
	return said
}

// closing closes what a command opened and keeps the first error.
func closing(closer interface{ Close() error }, err *error) {
	if closeErr := closer.Close(); *err == nil {
		*err = closeErr
	}
}
