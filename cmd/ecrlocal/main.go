// Command ecrlocal serves a local Amazon ECR: control plane and registry on one port.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Set by the linker, with -ldflags "-X main.version=… -X main.commit=…".
var (
	version = "devel"
	commit  = "unknown"
)

// The exit codes. A usage error is a flag or file that cannot be meant; nothing was served.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 10
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code. It serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot() //nolint:contextcheck // commands get it when they run
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(stderr, "ecrlocal: %v\n", err)
		return exitUsage
	default:
		_, _ = fmt.Fprintf(stderr, "ecrlocal: %v\n", err)
		return exitFailed
	}
}

// usageError marks what the user has to change in flags or files.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "ecrlocal",
		Short:         "A local Amazon ECR: control plane and registry on one port",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(), newRegistry(), newVersion())
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "ecrlocal %s (commit %s)\n", version, commit)
			return err
		},
	}
}

// noArgs refuses arguments, which no command takes.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}
