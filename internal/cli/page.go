package cli

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/page"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// pageFlags say where a run is shown as a page.
type pageFlags struct{ file string }

func (f *pageFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "report", "", "write what the run did as an HTML page, with a timeline, to this `FILE`, too")
}

// check refuses a file that could not be written once the run is over.
func (f pageFlags) check() error {
	if f.file == "" {
		return nil
	}
	probe, err := os.CreateTemp(filepath.Dir(f.file), ".report-*")
	if err == nil {
		_ = probe.Close()
		err = os.Remove(probe.Name())
	}
	if err == nil {
		if there, statErr := os.Stat(f.file); statErr == nil && there.IsDir() {
			return usageErrorf("--report %s: it is a directory", f.file)
		}
		return nil
	}
	return usageErrorf("--report %s cannot be written: %w", f.file, err)
}

// write puts the page in place as a whole, or not at all.
func (f pageFlags) write(r report.Report) (err error) {
	if f.file == "" {
		return nil
	}
	pages, err := page.New()
	if err != nil {
		return err
	}
	fresh, err := os.CreateTemp(filepath.Dir(f.file), ".report-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(fresh.Name())
		}
	}()
	if err := errors.Join(pages.Report(fresh, r), fresh.Chmod(forAll), fresh.Close()); err != nil {
		return err
	}
	return os.Rename(fresh.Name(), f.file)
}

// forAll is the mode of a page, which is for others to read and holds no secret.
const forAll = 0o644
