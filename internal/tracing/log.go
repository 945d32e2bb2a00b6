package tracing

import (
	"slices"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// LogField is the field of log lines that holds the id of their run's trace.
const LogField = "traceId"

// Stamp returns a logger whose lines say of which trace they are, while a run is under way.
func (t *Tracing) Stamp(log *zap.Logger) *zap.Logger {
	if t == nil {
		return log
	}
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return stamped{c, &t.current} }))
}

// stamped is a core that adds the id of the trace to lines.
type stamped struct {
	zapcore.Core
	current *atomic.Pointer[string]
}

// With implements zapcore.Core.
func (s stamped) With(fields []zapcore.Field) zapcore.Core {
	return stamped{s.Core.With(fields), s.current}
}

// Check implements zapcore.Core.
func (s stamped) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if s.Enabled(e.Level) {
		return checked.AddCore(e, s)
	}
	return checked
}

// Write implements zapcore.Core.
func (s stamped) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if id := s.current.Load(); id != nil {
		fields = append(slices.Clip(fields), zap.String(LogField, *id))
	}
	return s.Core.Write(e, fields)
}
