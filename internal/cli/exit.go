package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/daemon"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// The exit codes. 2 stays unused: a Go program that panics exits with it, and that must
// not look like an answer.
const (
	exitOK          = 0
	exitSomeFailed  = 1
	exitNothingDone = 3
	exitChanges     = 4
	exitBudget      = 6
	exitDrift       = 7
	exitDamage      = 8
	exitUsage       = 10
	exitInterrupted = 130
	exitTerminated  = 143
)

// exitDrained is what a daemon leaves that a signal ended and that did all it had begun: for
// it a signal is no failure, and it exits with 0.
const exitDrained = -1

// exitCode is a line of help.
type exitCode struct{ code, says string }

// exitCodesOf are the codes that a command which goes through mirrors can end with, and for
// the program's own help those of all commands. Other commands have none but 0, 10 and what
// their own help says.
func exitCodesOf(cmd *cobra.Command) []exitCode {
	name := cmd.Name()
	if cmd.HasParent() && !runs(cmd) {
		return nil
	}
	codes := []exitCode{{"0", "everything is in sync, or was brought in sync and read back; what rules say to leave alone may have drifted"}}
	switch name {
	case "list":
		codes[0].says = "everything that is asked for could be listed"
	case "verify":
		codes[0].says = "every tag is verified, or was repaired"
	}
	codes = append(
		codes,
		exitCode{"1", "at least one row failed or is blocked; the rest is done"},
		exitCode{"3", "nothing could be done: discovery failed, or every row did"},
	)
	if name == "sync" || name == "copy" || !cmd.HasParent() {
		codes = append(codes, exitCode{"4", "with --exit-code in a dry run: there are changes"})
	}
	codes = append(codes, exitCode{"6", "--max-duration is used up; what was not done is listed"})
	if name == "verify" || !cmd.HasParent() {
		codes = append(
			codes,
			exitCode{"7", "verify found drift: tags that are missing, or not what upstream has"},
			exitCode{"8", "verify found damage: images that are not complete, or not what their digest says"},
		)
	}
	return append(
		codes,
		exitCode{"10", "usage or configuration error; nothing was written"},
		exitCode{"130/143", "interrupted by SIGINT or SIGTERM; a daemon that got done what it had begun exits with 0"},
	)
}

// usageError is a mistake on the command line or in a file it names: exit code 10,
// before anything was written.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usageErrorf(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// mistakes are several usage errors, each told on a line of its own.
type mistakes []error

func (m mistakes) Error() string { return errors.Join(m...).Error() }

// mistakesOf makes a usage error of the problems that package discover joined.
func mistakesOf(err error) error { return usageError{apart(err)} }

// apart takes joined errors apart.
func apart(err error) mistakes {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return mistakes{err}
	}
	var all mistakes
	for _, one := range joined.Unwrap() {
		all = append(all, apart(one)...)
	}
	return all
}

// codeOf is the exit code of a command that could not do its work at all.
func codeOf(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if errors.Is(err, errBudget) {
		return exitBudget
	}
	if many, ok := errors.AsType[*daemon.TooManyFailures](err); ok && many.Last.Outcome == status.Partial {
		return exitSomeFailed
	}
	return exitNothingDone
}

// codeOfReport is the exit code of a run, or of a listing: the worst of what happened
// decides.
func codeOfReport(r report.Report, changesMatter bool) int {
	switch o := r.Outcome(); {
	case o.AllFailed:
		return exitNothingDone
	case o.AnyDamaged:
		return exitDamage
	case o.AnyFailed || o.AnyBlocked:
		return exitSomeFailed
	case o.AnyDrift:
		return exitDrift
	case o.Pending:
		return exitBudget
	case changesMatter && o.ChangesPlanned:
		return exitChanges
	}
	return exitOK
}
