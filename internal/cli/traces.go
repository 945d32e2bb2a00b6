package cli

import (
	"context"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/tracing"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// trace lets the command's runs be traced where the environment asks for that, and returns
// what ends it. A collector that is named in a way that cannot be followed is a warning: as
// a rule, whoever set the variable meant all programs of a cluster.
func (c *command) trace(ctx context.Context) (end func()) {
	log := c.log
	traces, err := tracing.Open(ctx, version, log)
	if err != nil {
		log.Warn("there are no traces", zap.Error(err))
	}
	c.traces, c.log = traces, traces.Stamp(log)
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushTime)
		defer cancel()
		if err := traces.Close(ctx); err != nil {
			log.Warn("the last traces are lost", zap.Error(err))
		}
	}
}

// traced has a run of a runner traced, and its mirrors and images.
func traced(run *tracing.Run, runner *mirror.Runner) {
	if run == nil {
		return
	}
	runner.Look = run.Look
	runner.Copy.Events = run.Events(runner.Copy.Events)
}

// followsRegistries is who follows requests to registries, nil for nobody.
func followsRegistries(t *tracing.Tracing) transport.Tracer {
	if t == nil {
		return nil
	}
	return t
}

// followsAWS is who follows requests to AWS, nil for nobody.
func followsAWS(t *tracing.Tracing) ecr.Tracer {
	if t == nil {
		return nil
	}
	return t
}
