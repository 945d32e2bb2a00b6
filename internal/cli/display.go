package cli

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/progress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// display shows how far a run is; what is written to it are log lines, so that bars
// and lines do not spoil each other.
type display interface {
	progress.Reporter
	io.Writer
}

// newDisplay shows bars where stderr is a terminal, and a line now and then elsewhere,
// as in a CI log, where NO_COLOR and TERM=dumb ask for it too.
func newDisplay(stderr *os.File) display {
	fd := int(stderr.Fd())
	if !term.IsTerminal(fd) || os.Getenv("TERM") == "dumb" {
		return progress.NewPlain(stderr, 0)
	}
	return progress.NewTerminal(stderr, func() (width, height int) {
		width, height, err := term.GetSize(fd)
		if err != nil {
			return 80, 24
		}
		return width, height
	})
}

// fitted is how a result is written to stdout: coloured and fitted to a terminal, plain
// to anything else.
func fitted(stdout *os.File) report.Options {
	fd := int(stdout.Fd())
	if !term.IsTerminal(fd) {
		return report.Options{}
	}
	o := report.Options{Color: os.Getenv("NO_COLOR") == ""}
	if width, _, err := term.GetSize(fd); err == nil {
		o.Width = width
	}
	return o
}
