package tracing

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// Names of attributes that OpenTelemetry has none for.
const (
	attrCommand     = attribute.Key("ecr_mirror_sync.command")
	attrMirror      = attribute.Key("ecr_mirror_sync.mirror")
	attrUpstream    = attribute.Key("ecr_mirror_sync.upstream")
	attrDestination = attribute.Key("ecr_mirror_sync.destination")
	attrVerb        = attribute.Key("ecr_mirror_sync.verb")
	attrStatus      = attribute.Key("ecr_mirror_sync.status")
	attrDigest      = attribute.Key("ecr_mirror_sync.digest")
	attrBytes       = attribute.Key("ecr_mirror_sync.bytes")
	attrRetries     = attribute.Key("ecr_mirror_sync.retries")
	attrPause       = attribute.Key("ecr_mirror_sync.pause_ms")
	attrError       = attribute.Key("ecr_mirror_sync.error")
	attrImages      = attribute.Key("ecr_mirror_sync.images")
	attrWritten     = attribute.Key("ecr_mirror_sync.written")
	attrFailed      = attribute.Key("ecr_mirror_sync.failed")
	attrBlocked     = attribute.Key("ecr_mirror_sync.blocked")
)

// Run is one run, a trace of its own. A nil Run tells nobody. Its methods are safe for
// concurrent use, but for End, which is the last.
type Run struct {
	of   *Tracing
	span trace.Span

	mu      sync.Mutex
	mirrors map[*discover.Mirror]*mirror
}

// mirror is the span of a mirror: from the first look at it to the end of its last image.
type mirror struct {
	span   trace.Span
	images int // that are to be carried out
}

// Begin begins a run of a command. The context is one for all that is done in the run.
func (t *Tracing) Begin(ctx context.Context, command string) (context.Context, *Run) {
	if t == nil {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, "run", trace.WithNewRoot(), trace.WithAttributes(attrCommand.String(command)))
	id := span.SpanContext().TraceID().String()
	t.current.Store(&id)
	t.last.Store(&id)
	return ctx, &Run{of: t, span: span, mirrors: map[*discover.Mirror]*mirror{}}
}

// Join makes another context one for what is done in the run.
func (r *Run) Join(ctx context.Context) context.Context {
	if r == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, r.span)
}

// End ends the run with its report, or with the error for which there is none.
func (r *Run) End(result report.Report, err error) {
	if r == nil {
		return
	}
	r.mu.Lock()
	for _, m := range r.mirrors {
		m.span.End()
	}
	r.mu.Unlock()
	t := result.Totals
	r.span.SetAttributes(attrImages.Int(t.Images), attrWritten.Int(t.Copied+t.Updated), attrFailed.Int(t.Failed), attrBlocked.Int(t.Blocked), attrBytes.Int64(t.Bytes))
	switch {
	case err != nil:
		failed(r.span, err)
	case t.Failed > 0:
		r.span.SetStatus(codes.Error, "images have failed")
	}
	r.span.End()
	r.of.current.Store(nil)
}

// Look returns the context for what is done for a mirror.
func (r *Run) Look(ctx context.Context, m *discover.Mirror) context.Context {
	return trace.ContextWithSpan(ctx, r.mirror(ctx, m).span)
}

func (r *Run) mirror(ctx context.Context, m *discover.Mirror) *mirror {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.mirrors[m]
	if !ok {
		_, span := r.of.tracer.Start(trace.ContextWithSpan(ctx, r.span), "mirror", trace.WithAttributes(
			attrMirror.String(status.NameOf(m.Name, m.Target.String(), m.Origin.Place)), attrUpstream.String(m.Upstream.String()), attrDestination.String(m.Target.String())))
		known = &mirror{span: span}
		r.mirrors[m] = known
	}
	return known
}

// Planned ends the mirrors of which nothing is to be carried out.
func (r *Run) Planned(p plan.Plan) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range p.Actions {
		if m, ok := r.mirrors[a.Mirror]; ok && a.Verb.Writes() {
			m.images++
		}
	}
	for _, m := range r.mirrors {
		if m.images == 0 {
			m.span.End()
		}
	}
}

// Events adds the run to what hears of its copies.
func (r *Run) Events(e copy.Events) copy.Events {
	if r != nil {
		e.Image, e.Piece, e.Repeated = r.image, r.piece, r.of.Repeated
	}
	return e
}

// image is a span from the beginning of an action to its result.
func (r *Run) image(ctx context.Context, a plan.Action) (context.Context, func(plan.Result)) {
	m := r.mirror(ctx, a.Mirror)
	ctx, span := r.of.tracer.Start(trace.ContextWithSpan(ctx, m.span), "image", trace.WithAttributes(
		attrUpstream.String(a.From.String()), attrDestination.String(a.To.String()), attrVerb.String(string(a.Verb)), attrDigest.String(string(a.Want))))
	ctx, counted := counting(ctx)
	return ctx, func(result plan.Result) {
		span.SetAttributes(attrStatus.String(string(result.Status)), attrBytes.Int64(result.Bytes), attrRetries.Int64(counted.repeated.Load()))
		if result.Err != nil {
			failed(span, result.Err)
		}
		span.End()
		r.mu.Lock()
		defer r.mu.Unlock()
		if m.images--; m.images == 0 {
			m.span.End()
		}
	}
}

// piece is a span of what is brought for an image.
func (r *Run) piece(ctx context.Context, p copy.Piece) (context.Context, func(error)) {
	ctx, span := r.of.tracer.Start(ctx, string(p.Kind), trace.WithAttributes(
		attrDestination.String(p.To.String()), attrDigest.String(string(p.Digest)), attrBytes.Int64(p.Size)))
	ctx, counted := counting(ctx)
	return ctx, func(err error) {
		span.SetAttributes(attrRetries.Int64(counted.repeated.Load()))
		if err != nil {
			failed(span, err)
		}
		span.End()
	}
}

// count is how often something was tried again, and what it is a part of.
type count struct {
	repeated atomic.Int64
	of       *count
}

type countKey struct{}

func counting(ctx context.Context) (context.Context, *count) {
	of, _ := ctx.Value(countKey{}).(*count) // the outermost is part of nothing
	c := &count{of: of}
	return context.WithValue(ctx, countKey{}, c), c
}

// Repeated notes that what ctx is for is tried again: with the piece, and with its image.
func (t *Tracing) Repeated(ctx context.Context, err error, pause time.Duration) {
	trace.SpanFromContext(ctx).AddEvent("retry", trace.WithAttributes(attrError.String(worded(err)), attrPause.Int64(pause.Milliseconds())))
	c, _ := ctx.Value(countKey{}).(*count) // none outside of images
	for ; c != nil; c = c.of {
		c.repeated.Add(1)
	}
}
