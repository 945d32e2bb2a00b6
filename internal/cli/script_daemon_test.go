package cli_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/shard"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/scrape"
)

// background is a daemon that a script has started.
type background struct {
	cmd     *exec.Cmd
	out     bytes.Buffer
	err     lines
	exited  chan struct{}
	copying chan struct{} // closed once upstream is asked for a blob
	address string
}

// lines is what a program has written so far.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// patience is how long a script waits for what is to come. It is for machines that are
// slow, not for the program.
const patience = time.Minute

var answering = regexp.MustCompile(`answering requests.*"address": "([0-9.:]+)"`)

// start PROGRAM [ARG…] starts a daemon with --listen 127.0.0.1:0, and waits until it answers.
// Its address is put into $ADDRESS.
func (s *stage) start(ts *testscript.TestScript, _ bool, args []string) {
	program, err := exec.LookPath(args[0])
	ts.Check(err)
	d := &background{exited: make(chan struct{}), copying: make(chan struct{})}
	s.upstream.onBlob(func() { close(d.copying) })
	d.cmd = exec.Command(program, append(args[1:], "--listen", "127.0.0.1:0")...) //nolint:noctx // it is ended by its signals
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = ts.MkAbs("."), &d.out, &d.err
	d.cmd.Env = append(os.Environ(), environment(ts)...)
	ts.Check(d.cmd.Start())
	s.daemon = d
	go func() {
		_ = d.cmd.Wait() // its code is asked for by ended
		close(d.exited)
	}()
	ts.Defer(func() {
		_ = d.cmd.Process.Kill() // it may have ended
		<-d.exited
	})
	s.until(ts, "it answers", func() bool {
		if said := answering.FindStringSubmatch(d.err.String()); said != nil {
			d.address = said[1]
		}
		return d.address != ""
	})
	ts.Setenv("ADDRESS", d.address)
}

// environment is what setup has given a script.
func environment(ts *testscript.TestScript) []string {
	var all []string
	for _, name := range []string{
		"HOME", "XDG_RUNTIME_DIR", "TMPDIR", "GORACE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "OTEL_EXPORTER_OTLP_ENDPOINT",
		"HOOK", "ECR_MIRROR_SYNC_NOTIFY", "ECR_MIRROR_SYNC_NOTIFY_STATE", "ECR_MIRROR_SYNC_RETRY_TIMES",
	} {
		if value := ts.Getenv(name); value != "" {
			all = append(all, name+"="+value)
		}
	}
	return all
}

// until waits for something to become true.
func (s *stage) until(ts *testscript.TestScript, what string, holds func() bool) {
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("%s: not within %s; the daemon says:\n%s", what, patience, s.daemon.err.String())
		}
	}
}

// shows [!] PATH REGEX waits until the daemon shows something at a path.
func (s *stage) shows(ts *testscript.TestScript, neg bool, args []string) {
	expr := regexp.MustCompile(args[1])
	var last string
	s.until(ts, strings.Join(args, " "), func() bool {
		resp, err := http.Get("http://" + s.daemon.address + args[0]) //nolint:noctx // it is bounded by the program's own limits
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		last = strconv.Itoa(resp.StatusCode) + " " + string(text)
		return err == nil && expr.MatchString(last) != neg
	})
}

// logs REGEX waits until the daemon has logged something.
func (s *stage) logs(ts *testscript.TestScript, _ bool, args []string) {
	expr := regexp.MustCompile(args[0])
	s.until(ts, "logs "+args[0], func() bool { return expr.MatchString(s.daemon.err.String()) })
}

// signal TERM|INT|HUP sends the daemon a signal.
func (s *stage) signal(ts *testscript.TestScript, _ bool, args []string) {
	signal := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP}[args[0]]
	ts.Check(s.daemon.cmd.Process.Signal(signal))
}

// ended CODE waits for the end of the daemon and insists on its exit code; -1 is that of a
// signal. What it wrote is in the files daemon.out and daemon.err.
func (s *stage) ended(ts *testscript.TestScript, _ bool, args []string) {
	s.until(ts, "it ends", func() bool {
		select {
		case <-s.daemon.exited:
			return true
		default:
			return false
		}
	})
	ts.Check(os.WriteFile(ts.MkAbs("daemon.out"), s.daemon.out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("daemon.err"), []byte(s.daemon.err.String()), 0o600))
	if have := strconv.Itoa(s.daemon.cmd.ProcessState.ExitCode()); have != args[0] {
		ts.Fatalf("exit code %s, and %s was expected; it said:\n%s", have, args[0], s.daemon.err.String())
	}
}

// copying waits until upstream has been asked for a blob since the daemon was started.
func (s *stage) copying(ts *testscript.TestScript, _ bool, _ []string) {
	s.until(ts, "upstream is asked for a blob", func() bool {
		select {
		case <-s.daemon.copying:
			return true
		default:
			return false
		}
	})
}

// agrees waits for a quiet moment and holds /metrics against /api/v1/status.
func (s *stage) agrees(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	said, metrics, err := scrape.Quiet(ctx, http.DefaultClient, s.daemon.address, func() {})
	ts.Check(err)
	if wrong := metrics.Disagreements(said); len(wrong) > 0 {
		ts.Fatalf("/metrics and /api/v1/status:\n%s", strings.Join(wrong, "\n"))
	}
}

// of-shard NAME i/N PREFIX puts into the variable NAME a repository that falls to a shard.
func (s *stage) ofShard(ts *testscript.TestScript, _ bool, args []string) {
	part, err := shard.Parse(args[1])
	ts.Check(err)
	for i := 0; ; i++ {
		path := args[2] + "-" + strconv.Itoa(i)
		if part.Has(ref.Repository{Host: s.ecr.Host, Path: path}) {
			ts.Setenv(args[0], path)
			return
		}
	}
}
