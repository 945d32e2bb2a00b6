package copy

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"go.uber.org/zap"
)

// A run's spool is a directory of its own, spoolPrefix and a number, and beside it a file
// of the same name and lockSuffix, which the run keeps locked for as long as it lives.
const (
	spoolPrefix = "ecr-mirror-sync-"
	lockSuffix  = ".lock"
)

// spoolDir is where a run spools. The lock ends with the process, however that ends: what a
// kill has left is told from what another run is using.
type spoolDir struct {
	path string
	lock *flock.Flock // not held where the file system knows no locks
}

// makeSpoolDir makes the directory of one run in parent, the system's temporary directory
// where that is "". Before that it removes what runs that were killed have left there: a
// daemon that was killed for its memory again and again filled the volume, which outlives
// its containers.
func makeSpoolDir(parent string, log *zap.Logger) (*spoolDir, error) {
	parent = cmp.Or(parent, os.TempDir())
	sweep(parent, log)
	file, err := os.CreateTemp(parent, spoolPrefix+"*"+lockSuffix) // 0600
	if err != nil {
		return nil, err
	}
	d := &spoolDir{path: strings.TrimSuffix(file.Name(), lockSuffix), lock: flock.New(file.Name())}
	err = file.Close()
	if locked, lockErr := d.lock.TryLock(); !locked {
		log.Debug("spool not locked: others leave it alone, also when this run is killed", zap.String("dir", d.path), zap.Error(lockErr))
		err = errors.Join(err, os.Remove(file.Name()))
	}
	if err == nil {
		err = os.Mkdir(d.path, 0o700) // after the lock: others look for directories
	}
	if err != nil {
		return nil, errors.Join(err, d.unlock())
	}
	return d, nil
}

// remove removes the directory with all that is in it. Where that does not work, the lock's
// file stays for a later run to find, and to try again.
func (d *spoolDir) remove() error {
	if err := os.RemoveAll(d.path); err != nil {
		return errors.Join(err, d.lock.Close())
	}
	return d.unlock()
}

// unlock lets the lock go, and removes its file.
func (d *spoolDir) unlock() error {
	err := d.lock.Close() // first: Windows removes no open file
	if removeErr := os.Remove(d.lock.Path()); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// sweep removes the spools in parent whose runs are no more. A directory without a lock,
// or with that of another user, is left alone.
func sweep(parent string, log *zap.Logger) {
	dirs, err := os.ReadDir(parent)
	if err != nil {
		return // nothing can be made there, either
	}
	for _, dir := range dirs {
		if !dir.IsDir() || !strings.HasPrefix(dir.Name(), spoolPrefix) {
			continue
		}
		path := filepath.Join(parent, dir.Name())
		lock := flock.New(path+lockSuffix, flock.SetFlag(os.O_RDWR)) // and does not make it
		if locked, err := lock.TryLock(); err != nil || !locked {
			_ = lock.Close()
			continue
		}
		left := spoolDir{path, lock}
		if err := left.remove(); err != nil {
			log.Debug("spool of a killed run not removed", zap.String("dir", path), zap.Error(err))
			continue
		}
		log.Info("removed the spool of a run that was killed", zap.String("dir", path))
	}
}
