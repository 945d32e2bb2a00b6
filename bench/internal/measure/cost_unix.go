//go:build unix

package measure

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// ownGroup makes what ends cmd end the processes that it started as well.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// cost returns what a process and those it waited for have used.
func cost(state *os.ProcessState) (cpu time.Duration, rss int64) {
	cpu = state.UserTime() + state.SystemTime()
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		rss = int64(usage.Maxrss) //nolint:unconvert // narrower on some machines
		if runtime.GOOS != "darwin" {
			rss *= 1024 // macOS alone counts in bytes
		}
	}
	return cpu, rss
}
