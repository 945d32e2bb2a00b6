package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/scrape"
)

// asDaemon makes the test's own binary the program, where no other one is named.
const asDaemon = "ECR_MIRROR_SYNC_SOAK_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Exit(m.Run())
}

// process is one life of the daemon.
type process struct {
	cmd     *exec.Cmd
	log     *tail
	address string
	client  *http.Client
	exited  chan struct{}
}

// tail is what a program wrote last, and where it said that it answers.
type tail struct {
	mu      sync.Mutex
	text    []byte
	address string
}

const keptLog = 16 << 10

var answering = regexp.MustCompile(`answering requests.*"address": "([0-9.:]+)"`)

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if said := answering.FindSubmatch(l.text); said != nil && l.address == "" {
		l.address = string(said[1])
	}
	if len(l.text) > 2*keptLog {
		l.text = append([]byte(nil), l.text[len(l.text)-keptLog:]...)
	}
	return len(p), nil
}

func (l *tail) said() (text, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text), l.address
}

// begin starts the program, and waits until it answers.
func begin(ctx context.Context, program, dir string, env []string, args ...string) (*process, error) {
	p := &process{log: &tail{}, exited: make(chan struct{}), client: &http.Client{Transport: &http.Transport{}}}
	if program == "" {
		own, err := os.Executable()
		if err != nil {
			return nil, err
		}
		program, env = own, append(env, asDaemon+"=1")
	}
	p.cmd = exec.Command(program, append([]string{"daemon", "--listen", "127.0.0.1:0"}, args...)...) //nolint:noctx // it is ended by its signals
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, env, p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // its exit code is looked at by ended
		close(p.exited)
	}()
	return p, p.wait(ctx, "it answers", func() (bool, error) {
		_, p.address = p.log.said()
		return p.address != "", nil
	})
}

// wait waits for something to hold, for as long as the program lives.
func (p *process) wait(ctx context.Context, what string, holds func() (bool, error)) error {
	for {
		ok, err := holds()
		if ok {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s: the daemon has ended with %s", what, p.cmd.ProcessState)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: %w", what, context.Cause(ctx)), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// shows waits until the status is as it should be.
func (p *process) shows(ctx context.Context, what string, holds func(status.Snapshot) bool) error {
	return p.wait(ctx, what, func() (bool, error) {
		s, err := scrape.Status(ctx, p.client, p.address)
		return err == nil && holds(s), err
	})
}

// kill ends the program at once, if it has not ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
	p.client.CloseIdleConnections()
}

// ended waits for the end and insists on its code.
func (p *process) ended(ctx context.Context, code int) error {
	select {
	case <-p.exited:
	case <-ctx.Done():
		return fmt.Errorf("the daemon does not end: %w", context.Cause(ctx))
	}
	p.client.CloseIdleConnections()
	if have := p.cmd.ProcessState.ExitCode(); have != code {
		return fmt.Errorf("the daemon ended with %d, and %d was expected", have, code)
	}
	return nil
}

// usage is what the program holds.
type usage struct {
	peakKiB     float64 // the most memory that was ever resident
	heapKiB     float64 // what is allocated: the least of many looks is what is in use
	goroutines  float64
	descriptors float64
}

// usage asks the kernel and the program.
func (p *process) usage(m scrape.Metrics) (usage, error) {
	u := usage{heapKiB: m["go_memstats_alloc_bytes"] / 1024, goroutines: m["go_goroutines"], descriptors: m["process_open_fds"]}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(text)) {
		if peak, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			u.peakKiB, err = strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(peak), "kB")), 64)
		}
	}
	if err == nil && (u.peakKiB == 0 || u.heapKiB == 0 || u.goroutines == 0 || u.descriptors == 0) {
		return u, fmt.Errorf("what the daemon holds is not known: %+v", u)
	}
	return u, err
}

// goroutines says what the program's goroutines do.
func (p *process) goroutines(ctx context.Context) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		return err.Error()
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return fmt.Sprint(string(text), errors.Join(err))
}
