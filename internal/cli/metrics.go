package cli

import (
	"context"
	"errors"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/metrics"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/shard"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// metricsFlags say where a run leaves its numbers when it ends.
type metricsFlags struct {
	pushgateway string
	job         string
	group       []string
	textfile    string
	emf         bool
	print       bool
}

func (f *metricsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.pushgateway, "metrics-pushgateway", "", "when the run ends, push its metrics to the Prometheus Pushgateway at `URL`; one with a password rather in $ECR_MIRROR_SYNC_METRICS_PUSHGATEWAY, which no process list shows")
	flags.StringVar(&f.job, "metrics-job", "ecr-mirror-sync", "with --metrics-pushgateway, the `NAME` that the label job has there")
	flags.StringSliceVar(&f.group, "metrics-group", nil, "with --metrics-pushgateway, a further label `NAME=VALUE` that tells runs apart, such as shard=0 or instance=eu; repeatable")
	flags.StringVar(&f.textfile, "metrics-textfile", "", "when the run ends, write its metrics to `FILE`, whole or not at all; named *.prom, for the textfile collector of Prometheus's node exporter")
	flags.BoolVar(&f.emf, "metrics-emf", false, "when the run ends, write its metrics to stderr in CloudWatch's embedded metric format, an object on each line")
	flags.BoolVar(&f.print, "metrics-print", false, "when the run ends, write its metrics to stderr in Prometheus's text format")
}

// wanted reports whether the metrics go anywhere.
func (f *metricsFlags) wanted() bool {
	return f.pushgateway != "" || f.textfile != "" || f.emf || f.print
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// gateway returns the Pushgateway that the flags name, nil where they name none. Shards
// have a group each, or the last to push would replace the numbers of the others.
func (f *metricsFlags) gateway(own shard.Shard) (*metrics.Pushgateway, error) {
	grouping := make(map[string]string)
	if !own.Whole() {
		grouping["shard"] = strconv.Itoa(own.Index())
	}
	for _, pair := range f.group {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" || !labelName.MatchString(name) || name == "job" || name == "mirror" {
			return nil, usageErrorf("--metrics-group %q: expected NAME=VALUE, such as shard=0, and neither job nor mirror", pair)
		}
		grouping[name] = value
	}
	if f.pushgateway == "" {
		return nil, nil
	}
	if f.job == "" {
		return nil, usageErrorf("--metrics-job: expected a name")
	}
	gateway, err := metrics.NewPushgateway(f.pushgateway, f.job, grouping)
	if err != nil {
		return nil, usageErrorf("--metrics-pushgateway: %w", err)
	}
	return gateway, nil
}

// newMetrics returns the metrics of this program.
func newMetrics(o metrics.Options) *metrics.Metrics {
	o.Version, o.Commit, o.GoVersion = version, commit, runtime.Version()
	return metrics.New(o)
}

// hearsRegistries is who hears of requests to registries, nil for nobody.
func hearsRegistries(m *metrics.Metrics) transport.Observer {
	if m == nil {
		return nil
	}
	return m
}

// hearsAWS is who hears of requests to AWS, nil for nobody.
func hearsAWS(m *metrics.Metrics) ecr.Observer {
	if m == nil {
		return nil
	}
	return m
}

// meter leaves metrics where the flags say. A nil meter leaves nothing.
type meter struct {
	flags   *metricsFlags
	metrics *metrics.Metrics
	gateway *metrics.Pushgateway
	command *command
}

// meter returns nil where nobody wants metrics, and for a dry run, whose numbers would
// replace those of the last run.
func (f *metricsFlags) meter(c *command) (*meter, error) {
	gateway, err := f.gateway(c.shard)
	if err != nil || !f.wanted() || c.run.dryRun {
		return nil, err
	}
	return &meter{flags: f, metrics: newMetrics(metrics.Options{}), gateway: gateway, command: c}, nil
}

// pushTime bounds what is done with metrics. It has to fit into what is left between
// SIGTERM and SIGKILL.
const pushTime = 10 * time.Second

// leave leaves the numbers as they are now, also where ctx has ended. That this is not
// possible is no failure of the run.
func (m *meter) leave(ctx context.Context) {
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushTime)
	defer cancel()
	if m.gateway != nil {
		m.warn(m.gateway.Push(ctx, m.metrics))
	}
	if m.flags.textfile != "" {
		m.warn(m.metrics.WriteTextfile(m.flags.textfile))
	}
	m.command.progress.Close() // what is drawn there would spoil the lines
	if m.flags.emf {
		m.warn(m.metrics.WriteEMF(m.command.streams.Err, time.Now()))
	}
	if m.flags.print {
		m.warn(m.metrics.WriteText(m.command.streams.Err))
	}
}

func (m *meter) warn(err error) {
	if err != nil {
		m.command.log.Warn("the metrics of this run are lost", zap.Error(err))
	}
}

// measured is the only run of a process.
type measured struct {
	*meter
	partial bool // the run looks at some of the mirrors alone
	told    bool // of a report
	began   time.Time
}

// observe takes in what the run did.
func (m *measured) observe(ctx context.Context, r report.Report) {
	if m.meter == nil {
		return
	}
	m.recall(ctx)
	m.metrics.Observe(r, m.began, time.Now())
	m.told = true
}

// end leaves the numbers of the run, also of one that came to no report or was
// interrupted.
func (m *measured) end(ctx context.Context) {
	if m.meter == nil {
		return
	}
	if !m.told {
		m.partial = true // it looked at no mirror at all
		m.recall(ctx)
		m.metrics.Broken(wasInterrupted(ctx), m.began, time.Now())
	}
	m.leave(ctx)
}

// recall reads what the last run left, so that a mirror that fails now keeps the time of
// its last success.
func (m *measured) recall(ctx context.Context) {
	memory := m.metrics.Memory()
	memory.Loaded(m.began)
	if m.flags.textfile != "" {
		m.remember(metrics.EarlierText(m.flags.textfile))
	}
	if m.gateway != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushTime)
		defer cancel()
		m.remember(m.gateway.Earlier(ctx))
	}
	if m.partial {
		memory.Keep()
	}
}

func (m *measured) remember(earlier []metrics.Mirror, err error) {
	if err != nil {
		m.command.log.Warn("the metrics lack what is known of earlier runs", zap.Error(err))
	}
	m.metrics.Memory().Remember(earlier)
}

// wasInterrupted reports whether a signal ended ctx.
func wasInterrupted(ctx context.Context) bool {
	_, interrupted := errors.AsType[*interrupt](context.Cause(ctx))
	return interrupted
}

// boardState is the board of a daemon as metrics read it.
type boardState struct{ board *status.Board }

// Mirrors implements metrics.State.
func (s boardState) Mirrors() []metrics.Mirror {
	var all []metrics.Mirror
	for _, m := range s.board.Snapshot(time.Now()).Mirrors {
		all = append(all, metrics.Mirror{
			Name: m.Name, LastRun: value(m.LastRun), LastSuccess: value(m.LastSuccess), BehindSince: value(m.BehindSince),
			FailedRuns: m.FailedRunsInARow, Tags: m.Tags,
		})
	}
	return all
}

// Config implements metrics.State.
func (s boardState) Config() metrics.Config {
	config := s.board.Snapshot(time.Now()).Config
	return metrics.Config{Loaded: config.Loaded, Rejected: config.Error != ""}
}

func value(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
