package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/measure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/verdict"
)

// options are the flags.
type options struct {
	command    string
	scale      float64
	rounds     int
	only       []string
	delays     []string
	peers      []string
	peerRounds int
	limit      time.Duration
	binary     string
	args       []string
	json       string
	profiles   string
	small      int
	streams    int
}

// run measures every workload, prints each as soon as it is done, and writes the whole.
func (o options) run(ctx context.Context, out, log io.Writer) error {
	chosen, err := o.chosen()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, o.binary, "version").Output() //nolint:gosec // the program under test
	if err != nil {
		return fmt.Errorf("%s: %w; make build builds it", o.binary, err)
	}
	report := verdict.Report{
		Command: o.command, Began: time.Now(), Scale: o.scale, Machine: machine(), Load: load(),
		Version: strings.TrimPrefix(strings.TrimSpace(string(version)), verdict.Ours+" "),
	}
	if err := report.Write(out); err != nil {
		return err
	}
	b := &bench{options: o, self: self, launcher: filepath.Join(filepath.Dir(self), "launch"), log: log}
	for _, w := range chosen {
		measured, err := b.workload(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		for _, m := range measured {
			if err := m.Write(out); err != nil {
				return err
			}
		}
		report.Workloads = append(report.Workloads, measured...)
		if err := o.save(report); err != nil { // what is done is not lost when the rest fails
			return err
		}
	}
	return nil
}

// chosen are the workloads that the flags leave, with the delays that they leave.
func (o options) chosen() ([]workload, error) {
	var left []workload
	for _, w := range workloads() {
		if len(o.only) > 0 && !slices.Contains(o.only, w.name) {
			continue
		}
		w.delays = slices.DeleteFunc(w.delays, func(d time.Duration) bool {
			return len(o.delays) > 0 && !slices.Contains(o.delays, d.String())
		})
		if len(w.delays) > 0 {
			left = append(left, w)
		}
	}
	if len(left) == 0 {
		return nil, errors.New("no workload is left to run")
	}
	return left, nil
}

func (o options) save(r verdict.Report) error {
	if o.json == "" {
		return nil
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(raw, '\n'), 0o644) //nolint:gosec // for everybody to read
}

// bench is a benchmark on its way.
type bench struct {
	options
	self     string    // this program
	launcher string    // launch
	log      io.Writer // how far it is
}

// workload measures w over each of its networks.
func (b *bench) workload(ctx context.Context, w workload) (measured []verdict.Workload, err error) {
	b.printf("%s: filling the registries\n", w.name)
	s, err := w.open(ctx, b.scale)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, delay := range w.delays {
		m, err := b.network(ctx, w, s, delay)
		if err != nil {
			return nil, err
		}
		measured = append(measured, m)
	}
	return measured, nil
}

// network measures w over one network: everybody once in each round, and in every other
// round in the opposite order.
func (b *bench) network(ctx context.Context, w workload, s scene, delay time.Duration) (verdict.Workload, error) {
	entrants := b.entrants(w, delay)
	m := verdict.Workload{Name: w.name, Content: w.content, Delay: delay, Entrants: make([]verdict.Entrant, len(entrants))}
	order := make([]int, len(entrants))
	for i, e := range entrants {
		order[i] = i
		m.Entrants[i] = verdict.Entrant{Name: e.name, Skipped: e.skipped}
	}
	for round := range b.rounds {
		for _, i := range order {
			if e := entrants[i]; e.skipped == "" && round < e.rounds {
				r, err := b.once(ctx, s, delay, e)
				if err != nil {
					return m, err
				}
				b.printf("%s, delay %s, round %d: %s took %.2f s %s\n", w.name, delay, round+1, e.name, r.Wall, r.Problem)
				m.Entrants[i].Runs = append(m.Entrants[i].Runs, r)
			}
		}
		slices.Reverse(order)
	}
	if b.profiles != "" {
		if err := b.profile(ctx, w, s, delay); err != nil {
			return m, err
		}
	}
	m.Goals = m.Judge(w.goals(s))
	if len(w.parts) > 0 {
		m.Goals = append(m.Goals, linear(m, s, w.parts))
	}
	return m, nil
}

// once lets one program run. That it fails is part of the result, and no error.
func (b *bench) once(ctx context.Context, s scene, delay time.Duration, e entrant) (r verdict.Run, err error) {
	t, err := s.next(ctx)
	if err != nil {
		return r, err
	}
	if t.Dir, err = os.MkdirTemp("", "ecr-mirror-sync-bench-run-"); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(t.Dir)) }()
	program, err := e.program(t)
	if err != nil {
		return r, err
	}
	runtime.GC() // what setting up has left is not to be collected meanwhile
	for _, server := range t.Servers() {
		server.Reset()
		server.SetDelay(delay)
	}
	usage, err := measure.Run(ctx, b.launcher, t.Dir, program, b.limit)
	r = verdict.Run{Wall: usage.Wall.Seconds(), CPU: usage.CPU.Seconds(), RSS: usage.RSS, Source: t.Source.Traffic(), Target: t.Target.Traffic()}
	for _, server := range t.Servers() {
		server.SetDelay(0)
	}
	if failed, ok := errors.AsType[*measure.FailedError](err); ok && ctx.Err() == nil {
		r.Problem = failed.Error()
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := t.Target.Check(ctx, t.Want); err != nil {
		r.Problem = "the destination is wrong: " + err.Error()
	}
	return r, ctx.Err()
}

// profile lets ecr-mirror-sync run once more, with profiles.
func (b *bench) profile(ctx context.Context, w workload, s scene, delay time.Duration) error {
	if err := os.MkdirAll(b.profiles, 0o755); err != nil { //nolint:gosec // for everybody to read
		return err
	}
	path := func(kind string) string {
		return filepath.Join(b.profiles, fmt.Sprintf("%s-%s-%s.pprof", w.name, delay, kind))
	}
	r, err := b.once(ctx, s, delay, b.ours(verdict.Ours, "", w, "--cpuprofile", path("cpu"), "--memprofile", path("memory")))
	if err == nil && r.Problem != "" {
		err = errors.New(r.Problem)
	}
	return err
}

func (b *bench) printf(format string, args ...any) { _, _ = fmt.Fprintf(b.log, format, args...) }

// machine is what the figures depend on.
func machine() string {
	return fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// load says how busy the machine is with other things, where it tells.
func load() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(raw))[:3], " ")
}
