// Command bench measures what ecr-mirror-sync costs: in requests and bytes, which
// decide, and in time, CPU and memory, beside a floor and other programs. It starts all
// registries itself, on loopback. docs/performance.md says how to read what it prints.
//
//	make bench
//	make bench BENCH_FLAGS="--scale 0.1 --only W1 --rounds 3"
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/floor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func newRoot() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:           "bench",
		Short:         "Measure ecr-mirror-sync beside a floor and other programs",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.command = strings.Join(append([]string{"bench"}, os.Args[1:]...), " ")
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := root.Flags()
	flags.Float64Var(&o.scale, "scale", 1, "size of the workloads; 1 is what the goals speak of")
	flags.IntVar(&o.rounds, "rounds", 7, "paired rounds of floor and ecr-mirror-sync")
	flags.StringSliceVar(&o.only, "only", nil, "`WORKLOADS` to run: W1, W1-ecr, W1s, W2, W2-ecr, W3, scale (default: all)")
	flags.StringSliceVar(&o.delays, "delay", nil, "of each workload's `DELAYS` only these, such as 0s,20ms")
	flags.StringSliceVar(&o.peers, "peers", []string{"regsync", "crane", "skopeo"}, "other `PROGRAMS` to measure, where they are installed")
	flags.IntVar(&o.peerRounds, "peer-rounds", 1, "rounds in which they run")
	flags.DurationVar(&o.limit, "limit", 3*time.Minute, "a run that takes longer is cut off")
	flags.StringVar(&o.binary, "binary", "bin/ecr-mirror-sync", "the `PROGRAM` that is measured")
	flags.StringSliceVar(&o.args, "args", nil, "more `ARGUMENTS` for it")
	flags.StringVar(&o.json, "json", "", "write everything, run by run, to this `FILE`")
	flags.StringVar(&o.profiles, "profiles", "", "after the rounds, write a CPU and a memory profile of one more run to this `DIRECTORY`")
	flags.IntVar(&o.small, "floor-requests", 128, "small requests that the floor has under way on each side")
	flags.IntVar(&o.streams, "floor-streams", 0, "blobs that the floor has under way (default: 16, 64 where requests are delayed, and 256 in W1s)")
	root.AddCommand(newFloor())
	return root
}

// newFloor is the floor as a program of its own.
func newFloor() *cobra.Command {
	return &cobra.Command{
		Use: "floor ANSWER", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			var answer floor.Answer
			if err := json.Unmarshal(raw, &answer); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return floor.Run(cmd.Context(), answer)
		},
	}
}
