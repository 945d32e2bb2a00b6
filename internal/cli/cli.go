// Package cli is the command line: it parses flags, puts a run together, calls it,
// prints the result on stdout and everything else on stderr, and turns what happened
// into an exit code.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/nearest"
)

// Set by the linker, see the Makefile.
var (
	version = "dev"
	commit  = "unknown"
)

// Streams are the process's standard streams. Out gets results and nothing else.
type Streams struct {
	In       io.Reader
	Out, Err *os.File
}

// Main runs the program with args, without the program's own name, and returns its
// exit code.
func Main(args []string, streams Streams) int {
	ctx, stop := interruptible(context.Background())
	defer stop()
	defer heedless()()
	code := exitOK
	root := newRoot(streams, &code)
	var profile profiling
	profile.register(root)
	root.SetArgs(args)
	err := unread(streams.Out, root.ExecuteContext(ctx))
	if profileErr := profile.end(); err == nil {
		err = profileErr
	}
	if err != nil {
		code = codeOf(err)
		for _, line := range problems(err) {
			fmt.Fprintln(streams.Err, "ecr-mirror-sync: "+line)
		}
	}
	if signalled, ok := errors.AsType[*interrupt](context.Cause(ctx)); ok && code != exitDrained {
		return signalled.code()
	}
	return max(code, exitOK)
}

// newRoot builds the command tree. Commands that ran to their end put their exit code
// into code; commands that could not return an error.
func newRoot(streams Streams, code *int) *cobra.Command {
	root := &cobra.Command{
		Use:   "ecr-mirror-sync",
		Short: "Keep copies of container images in sync, driven by resource tags on ECR repositories",
		Long: `A repository with these two resource tags is a mirror:

    upstream-image = docker.io/library/nginx
    upstream-tags  = 1.27.+/stable

` + "`sync`" + ` finds such repositories, compares digests, and copies what differs: all
platforms, bytes unchanged, the tag last. Nothing is reported done that was not read back.`,
		Example: `  ecr-mirror-sync list
  ecr-mirror-sync sync --dry-run --insecure-policy
  ecr-mirror-sync sync --region eu-central-1 --policy policy.json
  ecr-mirror-sync copy --src ghcr.io/kedacore/keda:2.16.0 --prefix external --insecure-policy
  ecr-mirror-sync track external/nginx --image nginx --tags '1.27.*' --apply`,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		Args:                       knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	root.SetIn(streams.In)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		_ = writeHelp(cmd.OutOrStdout(), cmd, helpWidth(streams.Out)) // whoever closed the pipe has read enough
	})
	root.SetFlagErrorFunc(wrongFlag)
	root.Version = version
	root.SetVersionTemplate(versionLine() + "\n")
	add := func(title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: title, Title: title})
		for _, c := range commands {
			c.GroupID = title
		}
		root.AddCommand(commands...)
	}
	add("Mirroring", newList(streams, code), newCopy(streams, code), newSync(streams, code), newDaemon(streams, code), newVerify(streams, code))
	add("Setting up", newTrack(streams, code), newUntrack(streams, code), newConfig(streams), newAuth(streams, code), newNotify(streams, code))
	add("Besides", newReport(streams), newMan(), newVersion(streams))
	root.SetCompletionCommandGroupID("Besides")
	root.SetHelpCommandGroupID("Besides")
	return root
}

func newVersion(streams Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(streams.Out, versionLine())
			return err
		},
	}
}

func versionLine() string {
	return fmt.Sprintf("ecr-mirror-sync %s (commit %s, %s, %s/%s)", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// wrongFlag says of a flag that is not there which one may be meant, and of a duration what
// one looks like.
func wrongFlag(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near, found := nearest.Word(unknown.GetSpecifiedName(), names); found {
			return usageErrorf("%w; did you mean --%s?", err, near)
		}
	}
	if strings.Contains(err.Error(), "missing unit in duration") {
		return usageErrorf("%w: expected a number with a unit, such as 30s, 5m or 2h", err)
	}
	return usageErrorf("%w (see %s --help)", err, cmd.CommandPath())
}

// knownCommand refuses what is no subcommand, and says which one may be meant.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	near := cmd.SuggestionsFor(args[0])
	if len(near) == 0 {
		return usageErrorf("unknown command %q (see %s --help)", args[0], cmd.CommandPath())
	}
	return usageErrorf("unknown command %q; did you mean %s?", args[0], strings.Join(near, " or "))
}

// noArgs is cobra.NoArgs as a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageErrorf("%s takes no arguments, and %q is one (see %s --help)", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// environmentPrefix begins the name of the environment variable of every flag:
// ECR_MIRROR_SYNC_SRC_CREDS stands for --src-creds.
const environmentPrefix = "ECR_MIRROR_SYNC_"

// fromEnvironment sets the flags that the command line left alone and the environment
// names.
func fromEnvironment(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" {
			return
		}
		name := environmentPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			// The value may be a secret, and pflag's error quotes it.
			errs = append(errs, usageErrorf("environment variable %s is no value for --%s", name, f.Name))
		}
	})
	return errors.Join(errs...)
}

// interrupt is the cause of a run that a signal ended.
type interrupt struct{ signal os.Signal }

func (i *interrupt) Error() string { return "interrupted by signal: " + i.signal.String() }

// code is what a shell expects of a process that a signal ended.
func (i *interrupt) code() int {
	if i.signal == syscall.SIGTERM {
		return exitTerminated
	}
	return exitInterrupted
}

// interruptible returns a context that the first SIGINT or SIGTERM ends. The second
// one ends the process at once, as it does by default.
func interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(&interrupt{s})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(context.Canceled)
	}
}

// heedless lets the program live on when nobody reads its output any more, until the
// function it returns is called: `sync | head` was killed by SIGPIPE, and its exit code lost.
func heedless() (stop func()) {
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE) // nobody receives: writes fail with EPIPE from now on
	return func() { signal.Stop(pipes) }
}

// unread returns err, unless it is that nobody reads out any more: whoever closed it has
// seen enough. Other errors of writing are errors, such as a disk that is full.
func unread(out *os.File, err error) error {
	if failed, ok := errors.AsType[*fs.PathError](err); ok && failed.Path == out.Name() && errors.Is(failed, syscall.EPIPE) {
		return nil
	}
	return err
}

// oneLine keeps an error on one line, whatever it joins.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
