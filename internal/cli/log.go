package cli

import (
	"cmp"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

// logFlags say what is logged, how and where. What they leave open the file says.
type logFlags struct {
	debug      bool
	level      string
	format     string
	color      string
	file       string
	caller     bool
	timeFormat string
}

func (f *logFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.debug, "debug", false, "log debug messages: the same as --log-level debug")
	flags.StringVar(&f.level, "log-level", "info", "log what is of this `LEVEL` and above: debug, info, warn or error")
	flags.StringVar(&f.format, "log-format", "console", "`FORMAT` of log lines: console or json")
	flags.StringVar(&f.color, "log-color", "auto", "`WHEN` to colour levels in console lines: auto (on a terminal, unless $NO_COLOR is set), always or never")
	flags.StringVar(&f.file, "log-file", "", "append log lines to `FILE` instead of writing them to stderr")
	flags.BoolVar(&f.caller, "log-caller", false, "say of each log line where in the program it is from")
	flags.StringVar(&f.timeFormat, "log-time-format", "rfc3339", "`FORMAT` of the time of log lines: rfc3339, rfc3339nano, epoch, none, or a Go layout such as 15:04:05")
}

// logging is how a run logs.
type logging struct {
	level   zapcore.Level
	mirrors map[string]zapcore.Level // of mirrors that have one of their own, by name
	json    bool
	file    string
	caller  bool
	time    zapcore.TimeEncoder // nil for none
	when    string              // auto, always or never: whether levels are coloured
	color   bool
}

// settle puts flags over the file, and that over the program's own. Its errors are usage
// errors.
func (f *logFlags) settle(changed func(flag string) bool, file followed) (logging, error) {
	said := file.File.Log
	choose := func(flag, given, written string) string {
		if changed(flag) {
			return given
		}
		return cmp.Or(written, given)
	}
	level := choose("log-level", f.level, said.Level)
	switch {
	case f.debug && changed("log-level") && f.level != "debug":
		return logging{}, usageErrorf("--debug means --log-level debug, and --log-level says %s", f.level)
	case f.debug, file.settings.Debug && !changed("log-level"):
		level = "debug"
	}
	l := logging{file: choose("log-file", f.file, said.File), caller: f.caller || said.Caller && !changed("log-caller")}
	var err error
	if l.level, err = parseLevel(level); err != nil {
		return logging{}, err
	}
	switch format := choose("log-format", f.format, said.Format); format {
	case "console":
	case "json":
		l.json = true
	default:
		return logging{}, usageErrorf("--log-format %q: expected console or json", format)
	}
	l.when = choose("log-color", f.color, said.Color)
	if !slices.Contains([]string{"auto", "always", "never"}, l.when) {
		return logging{}, usageErrorf("--log-color %q: expected auto, always or never", l.when)
	}
	if l.time, err = parseTimeFormat(choose("log-time-format", f.timeFormat, said.TimeFormat)); err != nil {
		return logging{}, err
	}
	l.mirrors, err = levelsOf(file.File.Mirrors)
	return l, err
}

// open returns the logger of a command that reads no file.
func (f *logFlags) open(flags *pflag.FlagSet, streams Streams) (*zap.Logger, error) {
	l, err := f.settle(flags.Changed, followed{Config: &config.Config{}})
	if err != nil {
		return nil, err
	}
	return l.on(streams.Err).open(streams.Err)
}

// on decides about colours for lines that go to a stream, or to the file that was named,
// which is no terminal.
func (l logging) on(stream *os.File) logging {
	l.color = !l.json && (l.when == "always" || l.when != "never" && l.file == "" && coloured(stream))
	return l
}

// levelsOf returns the levels of mirrors that have one of their own.
func levelsOf(mirrors []config.Mirror) (map[string]zapcore.Level, error) {
	levels := make(map[string]zapcore.Level)
	for _, m := range mirrors {
		if m.LogLevel == "" {
			continue
		}
		level, err := parseLevel(m.LogLevel)
		if err != nil {
			return nil, err
		}
		levels[m.Name] = level
	}
	return levels, nil
}

func parseLevel(s string) (zapcore.Level, error) {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, s) {
		return 0, usageErrorf("--log-level %q: expected debug, info, warn or error", s)
	}
	return zapcore.ParseLevel(s)
}

func parseTimeFormat(s string) (zapcore.TimeEncoder, error) {
	switch s {
	case "rfc3339":
		return zapcore.RFC3339TimeEncoder, nil
	case "rfc3339nano":
		return zapcore.RFC3339NanoTimeEncoder, nil
	case "epoch":
		return zapcore.EpochTimeEncoder, nil
	case "none":
		return nil, nil
	}
	if strings.ContainsAny(s, "\r\n") || time.Unix(0, 0).Format(s) == s {
		return nil, usageErrorf("--log-time-format %q: expected rfc3339, rfc3339nano, epoch, none, or a Go layout such as 15:04:05", s)
	}
	return zapcore.TimeEncoderOfLayout(s), nil
}

// coloured reports whether levels may be coloured on a stream, by the rule that holds for
// results too.
func coloured(stream *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(stream.Fd()))
}

// open returns a logger that writes to w, or to the file that was named. The file is the
// process's own until that ends: every line is in it once it is logged.
func (l logging) open(w io.Writer) (*zap.Logger, error) {
	if l.file != "" {
		file, err := os.OpenFile(l.file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640) //nolint:gosec // whoever reads logs is of the file's group
		if err != nil {
			return nil, usageErrorf("--log-file: %w", err)
		}
		w = file
	}
	return l.logger(w), nil
}

func (l logging) logger(w io.Writer) *zap.Logger {
	to := escaping{zapcore.AddSync(w), l.color}
	core := withLevels(zapcore.NewCore(l.encoder(), zapcore.Lock(to), zapcore.DebugLevel), l.level, l.mirrors)
	return zap.New(core, zap.WithCaller(l.caller))
}

func (l logging) encoder() zapcore.Encoder {
	c := zap.NewProductionEncoderConfig()
	c.TimeKey = "time"
	if c.EncodeTime = l.time; l.time == nil {
		c.TimeKey = ""
	}
	c.EncodeDuration = zapcore.StringDurationEncoder
	if l.json {
		return zapcore.NewJSONEncoder(c)
	}
	c.EncodeLevel = zapcore.CapitalLevelEncoder
	c.ConsoleSeparator = "  "
	return zapcore.NewConsoleEncoder(c)
}

// foldLogrus sends what the image library logs, through a logger of its own, into log:
// two formats mixed on stderr would be none.
func foldLogrus(log *zap.Logger) {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.WarnLevel)
	if log.Core().Enabled(zapcore.DebugLevel) {
		logrus.SetLevel(logrus.DebugLevel)
	}
	logrus.StandardLogger().ReplaceHooks(make(logrus.LevelHooks)) // those of a run before
	logrus.AddHook(foldedLogrus{log.Named("image").WithOptions(zap.WithCaller(false))})
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
