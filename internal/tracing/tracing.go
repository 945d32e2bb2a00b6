// Package tracing tells an OpenTelemetry collector where the time of a run goes: the run,
// its mirrors, their images, what is brought for each image, and every request.
//
// It is off unless the environment names a collector. Nothing of it is global, and nothing
// of it reaches a registry: no request gets a header.
package tracing

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// Scope is the name of the instrumentation scope of every span.
const Scope = "github.com/ecr-mirror-sync/ecr-mirror-sync"

// Tracing sends spans to a collector. A nil Tracing sends nothing. It is safe for concurrent
// use; Close ends it.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	current  atomic.Pointer[string] // the id of the trace of the run that is under way
	last     atomic.Pointer[string] // of the one that began last
}

// Open returns what the standard environment variables (OTEL_…) ask for, nil where they name
// no collector, or switch traces off. It contacts nobody. What cannot be sent later is
// logged, and lost.
func Open(ctx context.Context, version string, log *zap.Logger) (*Tracing, error) {
	if wanted, err := wanted(); !wanted || err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("OpenTelemetry traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", "ecr-mirror-sync"), attribute.String("service.version", version)),
		resource.WithFromEnv(), // last, so that it wins
	)
	if err != nil {
		return nil, fmt.Errorf("OpenTelemetry traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(&patient{SpanExporter: exporter, log: log}), sdktrace.WithResource(about))
	return &Tracing{provider: provider, tracer: provider.Tracer(Scope, trace.WithInstrumentationVersion(version))}, nil
}

// wanted reports whether the environment asks for traces, and is an error where it asks for
// what there is not.
func wanted() (bool, error) {
	named, endpoint := either("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	if endpoint == "" || strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "", "otlp":
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER %q: expected otlp or none", exporter)
	}
	if by, protocol := either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return false, fmt.Errorf("%s %q: expected http/protobuf, which collectors take at port 4318", by, protocol)
	}
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return false, fmt.Errorf("%s is no URL: expected one such as http://collector:4318", named) // and may hold a password
	}
	return true, nil
}

// either is the first of two environment variables that is set, and its value.
func either(first, second string) (name, value string) {
	if v := os.Getenv(first); v != "" {
		return first, v
	}
	return second, os.Getenv(second)
}

// Last is the id of the trace of the run that began last, "" where there was none.
func (t *Tracing) Last() string {
	if t == nil {
		return ""
	}
	id := t.last.Load()
	if id == nil {
		return ""
	}
	return *id
}

// Close sends what is left, for as long as ctx allows.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// patient is an exporter of whose troubles the log tells once, and then no more until it
// works again. OpenTelemetry would tell whoever is registered for the whole process.
type patient struct {
	sdktrace.SpanExporter
	log    *zap.Logger
	silent atomic.Bool
}

// ExportSpans never fails.
func (p *patient) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	began := time.Now()
	err := p.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err == nil:
		if p.silent.Swap(false) {
			p.log.Info("traces are taken again")
		}
	case !p.silent.Swap(true):
		p.log.Warn("traces are lost: the collector does not take them", zap.Int("spans", len(spans)), zap.Duration("after", time.Since(began)), zap.Error(err))
	}
	return nil
}
