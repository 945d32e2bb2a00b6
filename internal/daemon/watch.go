package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// A Watcher notices when files say something else. What counts is their content, so that
// neither a touch nor the swap of directories by which Kubernetes updates a ConfigMap is
// mistaken or missed: directories are watched, not files, and where they cannot be, as on
// some network file systems, the files are looked at now and then.
type Watcher struct {
	changed chan struct{}
	log     *zap.Logger
	events  *fsnotify.Watcher // nil where there is none

	mu    sync.Mutex
	files []string
	seen  [sha256.Size]byte
}

// settling is how long files are let be after something happened to them: whoever writes
// several, or one in pieces, is done by then.
const settling = 200 * time.Millisecond

// lookAnyway is how often files are looked at though nothing happened.
const lookAnyway = time.Minute

// NewWatcher returns a Watcher of no files. Watch begins.
func NewWatcher(log *zap.Logger) *Watcher {
	w := &Watcher{changed: make(chan struct{}, 1), log: log}
	events, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("files cannot be watched and are looked at every minute", zap.Error(err))
		return w
	}
	w.events = events
	return w
}

// Changed gets a value after files have changed, one for however many changes.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Ask asks for the files to be read again though they may be the same.
func (w *Watcher) Ask() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Follow replaces the files. Seen is how their content was read, by path: what has
// changed since counts as a change.
func (w *Watcher) Follow(files []string, seen Digest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files, w.seen = files, seen.sum(files)
	if w.events == nil {
		return
	}
	for _, directory := range w.events.WatchList() {
		_ = w.events.Remove(directory) // it may be gone
	}
	for _, file := range files {
		if err := w.events.Add(filepath.Dir(file)); err != nil {
			w.log.Warn("a directory cannot be watched; its files are looked at every minute", zap.String("file", file), zap.Error(err))
		}
	}
}

// Watch goes on until ctx ends.
func (w *Watcher) Watch(ctx context.Context) {
	anyway := time.NewTicker(lookAnyway)
	defer anyway.Stop()
	var events <-chan fsnotify.Event
	var errs <-chan error
	if w.events != nil {
		events, errs = w.events.Events, w.events.Errors
		defer w.events.Close()
	}
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			if settled == nil {
				settled = time.After(settling)
			}
		case err := <-errs:
			w.log.Debug("watching files", zap.Error(err))
			settled = time.After(settling) // events were lost, perhaps
		case <-settled:
			settled = nil
			w.look()
		case <-anyway.C:
			w.look()
		}
	}
}

// look asks if the files say something else than before.
func (w *Watcher) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := (Digest{}).sum(w.files); now != w.seen {
		w.seen = now
		w.Ask()
	}
}

// A Digest is what files were when they were read. The zero Digest reads them now.
type Digest struct{ of map[string][sha256.Size]byte }

// Note adds a file as it was read. Err is why it could not be.
func (d *Digest) Note(file string, content []byte, err error) {
	if d.of == nil {
		d.of = map[string][sha256.Size]byte{}
	}
	d.of[file] = digestOf(content, err)
}

func (d Digest) sum(files []string) [sha256.Size]byte {
	var all []byte
	for _, file := range files {
		one, ok := d.of[file]
		if !ok {
			one = digestOf(readLimited(file))
		}
		all = append(all, one[:]...)
	}
	return sha256.Sum256(all)
}

// digestOf stands for a file's content, or for its absence. Other errors are alike.
func digestOf(content []byte, err error) [sha256.Size]byte {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return sha256.Sum256([]byte("absent"))
	case err != nil:
		return sha256.Sum256([]byte("unreadable"))
	}
	return sha256.Sum256(append([]byte("content:"), content...))
}

// watchedBytes is how much of a file is looked at: configurations are smaller.
const watchedBytes = 64 << 20

func readLimited(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, watchedBytes))
}
