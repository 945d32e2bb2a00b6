// Command launch stands between the benchmark and what it measures. See package measure.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := measure.Launch(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "launch: "+err.Error())
		os.Exit(1)
	}
}
