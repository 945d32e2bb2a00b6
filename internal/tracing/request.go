package tracing

import (
	"context"
	"net"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// The part of OpenTelemetry's conventions for HTTP that is used. Nothing that may hold a
// secret is told: no query, no header, no user.
const (
	attrMethod = attribute.Key("http.request.method")
	attrCode   = attribute.Key("http.response.status_code")
	attrServer = attribute.Key("server.address")
	attrPort   = attribute.Key("server.port")
	attrPath   = attribute.Key("url.path")
	attrScheme = attribute.Key("url.scheme")

	attrRegistry = attribute.Key("ecr_mirror_sync.registry") // for which the request is made
)

// Request follows one request. One that is made outside of every run is none of ours.
func (t *Tracing) Request(ctx context.Context, r *http.Request, host, operation string) (ended func(status int, bytes int64, err error)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return func(int, int64, error) {}
	}
	about := []attribute.KeyValue{
		attrMethod.String(r.Method), attrServer.String(r.URL.Hostname()), attrScheme.String(r.URL.Scheme),
		attrPath.String(redact.Line(r.URL.Path, redact.MaxLine)), attrRegistry.String(host),
	}
	if _, port, err := net.SplitHostPort(r.URL.Host); err == nil {
		if n, err := strconv.Atoi(port); err == nil {
			about = append(about, attrPort.Int(n))
		}
	}
	_, span := t.tracer.Start(ctx, operation, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(about...))
	return func(status int, bytes int64, err error) {
		span.SetAttributes(attrBytes.Int64(bytes))
		if status != 0 {
			span.SetAttributes(attrCode.Int(status))
		}
		switch {
		case err != nil:
			failed(span, err)
		case status == http.StatusNotFound, status == http.StatusUnauthorized: // what was asked for is not there, or a token is needed first
		case status >= http.StatusBadRequest:
			span.SetStatus(codes.Error, http.StatusText(status))
		}
		span.End()
	}
}

// failed marks a span.
func failed(span trace.Span, err error) { span.SetStatus(codes.Error, worded(err)) }

// worded is an error in one line, in which no URL has a query.
func worded(err error) string { return redact.Line(redact.Text(err.Error()), redact.MaxLine) }
