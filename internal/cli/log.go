package cli

import (
	"io"

	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger writes to w in one of the two log formats.
func newLogger(w io.Writer, format string, debug bool) *zap.Logger {
	level := zapcore.InfoLevel
	if debug {
		level = zapcore.DebugLevel
	}
	encoder := zapcore.NewConsoleEncoder(consoleEncoding())
	if format == "json" {
		encoder = zapcore.NewJSONEncoder(jsonEncoding())
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))
}

func consoleEncoding() zapcore.EncoderConfig {
	c := jsonEncoding()
	c.EncodeLevel = zapcore.CapitalLevelEncoder
	c.ConsoleSeparator = "  "
	return c
}

func jsonEncoding() zapcore.EncoderConfig {
	c := zap.NewProductionEncoderConfig()
	c.TimeKey = "time"
	c.EncodeTime = zapcore.RFC3339TimeEncoder
	c.EncodeDuration = zapcore.StringDurationEncoder
	return c
}

// foldLogrus sends what the image library logs, through a logger of its own, into log:
// two formats mixed on stderr would be none.
func foldLogrus(log *zap.Logger, debug bool) {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.WarnLevel)
	if debug {
		logrus.SetLevel(logrus.DebugLevel)
	}
	logrus.AddHook(foldedLogrus{log.Named("image")})
}

type foldedLogrus struct{ log *zap.Logger }

func (foldedLogrus) Levels() []logrus.Level { return logrus.AllLevels }

func (f foldedLogrus) Fire(e *logrus.Entry) error {
	level := zapcore.DebugLevel
	if e.Level <= logrus.WarnLevel {
		level = zapcore.WarnLevel
	}
	f.log.Log(level, e.Message)
	return nil
}
