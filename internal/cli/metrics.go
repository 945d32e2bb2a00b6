package cli

import (
	"context"
	"errors"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/metrics"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
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

// gateway returns the Pushgateway that the flags name, nil where they name none.
func (f *metricsFlags) gateway() (*metrics.Pushgateway, error) {
	grouping := make(map[string]string)
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

// meter measures one run and leaves its numbers where the flags say. A nil meter measures
// nothing.
type meter struct {
	flags   *metricsFlags
	metrics *metrics.Metrics
	gateway *metrics.Pushgateway
	partial bool // the run looks at some of the mirrors alone
	told    bool // of a report
	began   time.Time
	log     *zap.Logger
}

// meter returns nil where nobody wants metrics, and for a dry run, whose numbers would
// replace those of the last run.
func (f *metricsFlags) meter(c *command, partial bool) (*meter, error) {
	gateway, err := f.gateway()
	if err != nil || !f.wanted() || c.run.dryRun {
		return nil, err
	}
	m := &meter{flags: f, metrics: newMetrics(metrics.Options{}), gateway: gateway, partial: partial, began: c.began, log: c.log}
	m.metrics.Loaded(c.began)
	return m, nil
}

// hearsRegistries is who hears of requests to registries, nil for nobody.
func (m *meter) hearsRegistries() transport.Observer {
	if m == nil {
		return nil
	}
	return m.metrics
}

// hearsAWS is who hears of requests to AWS, nil for nobody.
func (m *meter) hearsAWS() ecr.Observer {
	if m == nil {
		return nil
	}
	return m.metrics
}

// observe takes in what the run did.
func (m *meter) observe(ctx context.Context, r report.Report) {
	if m == nil {
		return
	}
	m.recall(ctx)
	m.metrics.Observe(r, m.began, time.Now())
	m.told = true
}

// recall reads what the last run left, so that a mirror that fails now keeps the time of
// its last success.
func (m *meter) recall(ctx context.Context) {
	if m.flags.textfile != "" {
		m.remember(metrics.EarlierText(m.flags.textfile))
	}
	if m.gateway != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushTime)
		defer cancel()
		m.remember(m.gateway.Earlier(ctx))
	}
	if m.partial {
		m.metrics.Memory().Keep()
	}
}

func (m *meter) remember(earlier []metrics.Mirror, err error) {
	if err != nil {
		m.log.Warn("the metrics lack what is known of earlier runs", zap.Error(err))
	}
	m.metrics.Memory().Remember(earlier)
}

// pushTime bounds what is done with metrics. It has to fit into what is left between
// SIGTERM and SIGKILL.
const pushTime = 10 * time.Second

// end leaves the numbers of the run, also of one that came to no report or was
// interrupted. That this is not possible is no failure of the run.
func (m *meter) end(ctx context.Context, c *command) {
	if m == nil {
		return
	}
	if !m.told {
		_, interrupted := errors.AsType[*interrupt](context.Cause(ctx))
		m.partial = true // it looked at no mirror at all
		m.recall(ctx)
		m.metrics.Broken(interrupted, m.began, time.Now())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushTime)
	defer cancel()
	if m.gateway != nil {
		m.warn(m.gateway.Push(ctx, m.metrics))
	}
	if m.flags.textfile != "" {
		m.warn(m.metrics.WriteTextfile(m.flags.textfile))
	}
	c.progress.Close() // what is drawn there would spoil the lines
	if m.flags.emf {
		m.warn(m.metrics.WriteEMF(c.streams.Err, time.Now()))
	}
	if m.flags.print {
		m.warn(m.metrics.WriteText(c.streams.Err))
	}
}

func (m *meter) warn(err error) {
	if err != nil {
		m.log.Warn("the metrics of this run are lost", zap.Error(err))
	}
}
