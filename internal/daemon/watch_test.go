package daemon

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
)

// watching is a Watcher of files in a directory.
type watching struct {
	*Watcher
	t *testing.T
}

func watchFiles(t *testing.T, files ...string) watching {
	t.Helper()
	w := NewWatcher(zap.NewNop())
	w.Follow(files, Digest{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Watch(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return watching{w, t}
}

func (w watching) changes(when string) {
	w.t.Helper()
	select {
	case <-w.Changed():
	case <-time.After(20 * time.Second):
		w.t.Fatalf("%s: nobody noticed", when)
	}
}

func (w watching) stays(when string) {
	w.t.Helper()
	w.look() // what the events would lead to
	select {
	case <-w.Changed():
		w.t.Fatalf("%s: it counts as a change", when)
	default:
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWatchesAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mirrors.yaml")
	write(t, file, "one")
	w := watchFiles(t, file)
	write(t, file, "one")
	w.stays("written as it was")
	write(t, filepath.Join(filepath.Dir(file), "other"), "x")
	w.stays("a neighbour was written")
	write(t, file, "two")
	w.changes("another content")
	other := file + ".new"
	write(t, other, "three")
	if err := os.Rename(other, file); err != nil {
		t.Fatal(err)
	}
	w.changes("replaced, as editors do")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.changes("removed")
	write(t, file, "three")
	w.changes("there again")
}

// As the kubelet does it: file -> ..data/file, ..data -> ..DATE, and an update renames a new
// ..data over the old one. Nothing happens to the file itself.
func TestWatchesAConfigMap(t *testing.T) {
	mount := t.TempDir()
	swap := func(version, content string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(mount, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(mount, version, "mirrors.yaml"), content)
		next := filepath.Join(mount, "..data_tmp")
		if err := os.Symlink(version, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(mount, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..2026_1", "one")
	file := filepath.Join(mount, "mirrors.yaml")
	if err := os.Symlink("..data/mirrors.yaml", file); err != nil {
		t.Fatal(err)
	}
	w := watchFiles(t, file)
	swap("..2026_2", "two")
	w.changes("the ConfigMap was updated")
	swap("..2026_3", "two")
	w.stays("updated to the same")
	swap("..2026_4", "three")
	w.changes("updated again")
}

// What changed between reading and watching is a change.
func TestNothingIsMissedInBetween(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mirrors.yaml")
	write(t, file, "now")
	w := NewWatcher(zap.NewNop())
	defer w.events.Close()
	var read Digest
	read.Note(file, []byte("before"), nil)
	w.Follow([]string{file}, read)
	w.look()
	select {
	case <-w.Changed():
	default:
		t.Error("nobody noticed")
	}
	read = Digest{}
	read.Note(file, []byte("now"), nil)
	w.Follow([]string{file}, read)
	w.look()
	select {
	case <-w.Changed():
		t.Error("what was read just so counts as changed")
	default:
	}
}
