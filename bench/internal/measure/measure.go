// Package measure runs programs and tells what they cost. It imports next to nothing:
// the program launch, which is made of it, has to be small.
package measure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Program is a command line.
type Program struct {
	Name string
	Path string
	Args []string
	Env  []string // beside the environment
}

// Usage is what a run cost, with all processes that the program started.
type Usage struct {
	Wall time.Duration
	CPU  time.Duration // user and system
	RSS  int64         // the largest process's peak, in bytes
	Exit int           // -1 where a signal or the limit ended it
}

// Run runs p and tells what it cost; it is killed after limit. Launcher is the path of
// the program launch. Dir is for its result.
//
// That program in between is needed for the memory: a process begins with the peak of
// its parent, and a benchmark that serves registries is large. Less than launch itself,
// some megabytes, is never measured.
func Run(ctx context.Context, launcher, dir string, p Program, limit time.Duration) (Usage, error) {
	var usage Usage
	result := filepath.Join(dir, "usage.json")
	cmd := exec.CommandContext(ctx, launcher, append([]string{result, limit.String(), p.Path}, p.Args...)...) //nolint:gosec // the benchmark's own command lines
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // launch ends what it started
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return usage, fmt.Errorf("measuring %s: %w: %s", p.Name, err, last(said.String()))
	}
	raw, err := os.ReadFile(result)
	if err != nil {
		return usage, err
	}
	if err := json.Unmarshal(raw, &usage); err != nil {
		return usage, err
	}
	if usage.Exit != 0 {
		return usage, &FailedError{Program: p.Name, Exit: usage.Exit, Said: last(said.String())}
	}
	return usage, nil
}

// FailedError says that a program did not end well.
type FailedError struct {
	Program string
	Exit    int
	Said    string // the end of what it wrote to stderr
}

func (e *FailedError) Error() string {
	if e.Exit < 0 {
		return e.Program + " was cut off"
	}
	return fmt.Sprintf("%s ended with %d: %s", e.Program, e.Exit, e.Said)
}

// last is the end of what a program said.
func last(text string) string {
	const most = 400
	text = strings.TrimSpace(text)
	return text[max(0, len(text)-most):]
}

// Launch is what the program launch does with its arguments: a file for the usage, the
// limit, and the command line.
func Launch(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return errors.New("usage: launch FILE LIMIT PROGRAM [ARGUMENT...]")
	}
	limit, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[2], args[3:]...) //nolint:gosec // the benchmark's own command lines
	cmd.Stderr = os.Stderr
	ownGroup(cmd)
	began := time.Now()
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return err
	}
	usage := Usage{Wall: time.Since(began), Exit: cmd.ProcessState.ExitCode()}
	usage.CPU, usage.RSS = cost(cmd.ProcessState)
	raw, err := json.Marshal(usage)
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], raw, 0o600)
}
