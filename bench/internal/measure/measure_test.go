package measure_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/measure"
)

// TestMain makes this test program its own launcher.
func TestMain(m *testing.M) {
	if os.Getenv("LAUNCH") != "" {
		if err := measure.Launch(context.Background(), os.Args[1:]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func run(t *testing.T, limit time.Duration, script string) (measure.Usage, error) {
	t.Helper()
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh here")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAUNCH", "1")
	return measure.Run(t.Context(), self, t.TempDir(), measure.Program{Name: "script", Path: shell, Args: []string{"-c", script}}, limit)
}

// What a program's children use is the program's, and waiting costs no CPU.
func TestRun(t *testing.T) {
	usage, err := run(t, time.Minute, `sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; sleep 0.2`)
	if err != nil {
		t.Fatal(err)
	}
	if usage.Wall < 200*time.Millisecond || usage.CPU < 10*time.Millisecond || usage.RSS < 1<<20 {
		t.Errorf("it cost %+v", usage)
	}
}

func TestFailures(t *testing.T) {
	_, err := run(t, time.Minute, "echo the reason >&2; exit 3")
	failed, ok := errors.AsType[*measure.FailedError](err)
	if !ok || failed.Exit != 3 || failed.Said != "the reason" {
		t.Errorf("a program that ends with 3: %v", err)
	}
}

// A program that takes too long is cut off, with what it has started: the test would
// wait for the sleep, which holds stderr.
func TestLimit(t *testing.T) {
	began := time.Now()
	_, err := run(t, 200*time.Millisecond, "sleep 60 & wait")
	failed, ok := errors.AsType[*measure.FailedError](err)
	if !ok || failed.Exit >= 0 {
		t.Errorf("a program that takes too long: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}
