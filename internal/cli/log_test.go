package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/migrate"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// settleLog settles a command line against a file.
func settleLog(t *testing.T, file config.File, settings migrate.Settings, args ...string) (logging, error) {
	t.Helper()
	var f logFlags
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.register(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f.settle(flags.Changed, followed{Config: &config.Config{File: file}, settings: settings})
}

func logged(l logging, log func(*zap.Logger)) string {
	var b bytes.Buffer
	log(l.logger(&b))
	return b.String()
}

// Flags go over the file, and that over another tool's settings.
func TestWhoSaysHowToLog(t *testing.T) {
	quiet := config.File{Log: config.Log{Level: "error", Format: "json", TimeFormat: "none", Caller: true}}
	say := func(log *zap.Logger) {
		log.Debug("d")
		log.Info("i")
		log.Error("e")
	}
	for _, test := range []struct {
		name     string
		file     config.File
		settings migrate.Settings
		args     []string
		want     string
	}{
		{"nothing said", config.File{}, migrate.Settings{}, []string{"--log-time-format=none"}, "INFO  i\nERROR  e\n"},
		{"debug", config.File{}, migrate.Settings{}, []string{"--log-time-format=none", "--debug"}, "DEBUG  d\nINFO  i\nERROR  e\n"},
		{"debug and its level", config.File{}, migrate.Settings{}, []string{"--log-time-format=none", "--debug", "--log-level=debug"}, "DEBUG  d\nINFO  i\nERROR  e\n"},
		{"level", config.File{}, migrate.Settings{}, []string{"--log-time-format=none", "--log-level=error"}, "ERROR  e\n"},
		{"another tool", config.File{}, migrate.Settings{Debug: true}, []string{"--log-time-format=none"}, "DEBUG  d\nINFO  i\nERROR  e\n"},
		{"another tool and a flag", config.File{}, migrate.Settings{Debug: true}, []string{"--log-time-format=none", "--log-level=info"}, "INFO  i\nERROR  e\n"},
		{"a layout", config.File{}, migrate.Settings{}, []string{"--log-time-format=2006 at 2006", "--log-level=error"}, "YEAR at YEAR  ERROR  e\n"},
		{"the file", quiet, migrate.Settings{}, []string{"--log-caller=false"}, `{"level":"error","msg":"e"}` + "\n"},
		{"flags over the file", quiet, migrate.Settings{}, []string{"--log-caller=false", "--log-format=console", "--log-level=info"}, "INFO  i\nERROR  e\n"},
		{"debug over the file", quiet, migrate.Settings{}, []string{"--log-caller=false", "--log-format=console", "--debug"}, "DEBUG  d\nINFO  i\nERROR  e\n"},
	} {
		l, err := settleLog(t, test.file, test.settings, test.args...)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got := logged(l, say)
		if strings.Contains(test.want, "YEAR") {
			got = strings.ReplaceAll(got, got[:4], "YEAR")
		}
		if got != test.want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
	}
	l, err := settleLog(t, quiet, migrate.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if got := logged(l, say); !strings.Contains(got, `"caller":"cli/log_test.go:`) {
		t.Errorf("the caller is missing in %s", got)
	}
}

func TestMistakesInLogging(t *testing.T) {
	for _, args := range [][]string{
		{"--log-level=loud"},
		{"--log-level=fatal"},
		{"--log-format=xml"},
		{"--log-color=blue"},
		{"--log-time-format=noon"},
		{"--debug", "--log-level=warn"},
	} {
		if _, err := settleLog(t, config.File{}, migrate.Settings{}, args...); codeOf(err) != exitUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
	l, err := settleLog(t, config.File{}, migrate.Settings{}, "--log-file="+filepath.Join(t.TempDir(), "no", "dir"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.open(&bytes.Buffer{}); codeOf(err) != exitUsage {
		t.Errorf("a file that cannot be: %v", err)
	}
}

// A mirror's own level holds for its lines, whoever says which mirror it is, and for no
// others.
func TestLevelsOfMirrors(t *testing.T) {
	file := config.File{Mirrors: []config.Mirror{{Name: "loud", LogLevel: "debug"}, {Name: "quiet", LogLevel: "error"}, {Name: "usual"}}}
	l, err := settleLog(t, file, migrate.Settings{}, "--log-time-format=none")
	if err != nil {
		t.Fatal(err)
	}
	got := logged(l, func(log *zap.Logger) {
		for _, name := range []string{"loud", "quiet", "usual", "unknown"} {
			log.Debug("d", zap.String("mirror", name))
			log.Info("i", zap.Int("n", 1), zap.String("mirror", name))
			log.With(zap.String("mirror", name)).Debug("w")
		}
		log.Debug("of none")
		log.Info("of none")
	})
	want := `DEBUG  d  {"mirror": "loud"}
INFO  i  {"n": 1, "mirror": "loud"}
DEBUG  w  {"mirror": "loud"}
INFO  i  {"n": 1, "mirror": "usual"}
INFO  i  {"n": 1, "mirror": "unknown"}
INFO  of none
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// Nothing that a registry says can move a cursor, begin a line or break the JSON.
func TestLogLinesControlNothing(t *testing.T) {
	const nasty = "a\x1b[2Jb\nINFO  forged\r\u009b1m\u202e\U000e0001\xff é 😀"
	for _, format := range []string{"console", "json"} {
		l, err := settleLog(t, config.File{}, migrate.Settings{}, "--log-time-format=none", "--log-format="+format)
		if err != nil {
			t.Fatal(err)
		}
		l.color = format == "console"
		got := logged(l, func(log *zap.Logger) { log.Warn(nasty, zap.String("said", nasty)) })
		body := strings.TrimSuffix(got, "\n")
		body = strings.Replace(strings.Replace(body, "\x1b[33m", "", 1), "\x1b[0m", "", 1)
		if strings.ContainsFunc(body, unprintable) || !strings.Contains(body, "é 😀") {
			t.Errorf("%s: %q", format, got)
		}
		var line struct{ Msg, Said string }
		if format == "json" {
			if err := json.Unmarshal([]byte(got), &line); err != nil || line.Said != line.Msg || !strings.HasPrefix(line.Msg, "a\x1b[2Jb\nINFO") || !strings.Contains(line.Msg, "\U000e0001") {
				t.Errorf("%s is read as %q, %v", got, line, err)
			}
		}
	}
	faults.Covers(t, "F99")
}

func TestColours(t *testing.T) {
	l, err := settleLog(t, config.File{}, migrate.Settings{}, "--log-time-format=15:04")
	if err != nil {
		t.Fatal(err)
	}
	l.color = true
	got := logged(l, func(log *zap.Logger) { log.Warn("text  ERROR  text") })
	if !strings.HasSuffix(got, "  \x1b[33mWARN\x1b[0m  text  ERROR  text\n") {
		t.Errorf("%q", got)
	}
}

func TestLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for range 2 {
		l, err := settleLog(t, config.File{Log: config.Log{File: path, TimeFormat: "none"}}, migrate.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		log, err := l.open(&stderr)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("line")
		if stderr.Len() > 0 {
			t.Errorf("on stderr: %s", &stderr)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "INFO  line\nINFO  line\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// What the image library logs is part of the log, once, at the log's own level.
func TestLogrusIsFolded(t *testing.T) {
	for _, debug := range []string{"--debug=false", "--debug"} {
		l, err := settleLog(t, config.File{}, migrate.Settings{}, "--log-time-format=none", debug)
		if err != nil {
			t.Fatal(err)
		}
		got := logged(l, func(log *zap.Logger) {
			foldLogrus(log)
			foldLogrus(log) // as a second run of the process does
			logrus.Debug("small")
			logrus.Info("also small")
			logrus.Warn("odd")
			logrus.Error("bad")
		})
		want := "WARN  image  odd\nWARN  image  bad\n"
		if debug == "--debug" {
			want = "DEBUG  image  small\nDEBUG  image  also small\n" + want
		}
		if got != want {
			t.Errorf("%s: got %q", debug, got)
		}
	}
}
