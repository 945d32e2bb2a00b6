package cli

import (
	"errors"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/spf13/cobra"
)

// profiling writes profiles of a run, for whoever works on its speed: the flags are
// hidden.
type profiling struct {
	cpu, memory string // files; "" for none
	running     *os.File
}

// register adds the flags to every command, and begins when one of them is called.
func (p *profiling) register(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&p.cpu, "cpuprofile", "", "write a CPU profile of the run to this `FILE`")
	flags.StringVar(&p.memory, "memprofile", "", "write a profile of what the run allocated to this `FILE`")
	for _, name := range []string{"cpuprofile", "memprofile"} {
		flags.Lookup(name).Hidden = true
	}
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return p.begin() }
}

func (p *profiling) begin() error {
	if p.cpu == "" {
		return nil
	}
	file, err := os.Create(p.cpu)
	if err != nil {
		return usageErrorf("--cpuprofile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return errors.Join(err, file.Close())
	}
	p.running = file
	return nil
}

// end writes what was asked for. It is called once, however the run went.
func (p *profiling) end() error {
	var err error
	if p.running != nil {
		pprof.StopCPUProfile()
		err = p.running.Close()
	}
	if p.memory == "" {
		return err
	}
	file, createErr := os.Create(p.memory)
	if createErr != nil {
		return errors.Join(err, usageErrorf("--memprofile: %w", createErr))
	}
	runtime.GC() // what is in use is counted at a collection
	return errors.Join(err, pprof.Lookup("allocs").WriteTo(file, 0), file.Close())
}
