package copy_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gofrs/flock"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
)

// A daemon that was killed for its memory left its spool behind each time, in a volume that
// outlives its containers.
func TestSpoolsOfKilledRunsAreRemoved(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	plant := func(name string, locked bool) {
		t.Helper()
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "blob-1"), []byte("part of a layer"), 0o600); err != nil {
			t.Fatal(err)
		}
		if !locked {
			return
		}
		lock := flock.New(dir + ".lock")
		if ok, err := lock.TryLock(); !ok {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = lock.Close() })
	}
	plant("ecr-mirror-sync-1", false)
	if err := os.WriteFile(filepath.Join(parent, "ecr-mirror-sync-1.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	plant("ecr-mirror-sync-2", true)
	plant("ecr-mirror-sync-3", false) // whose run is just making its lock, or knows none
	plant("something-else", false)

	down := ecrFleet(t, 4, false)
	w := newWorldOf(t, distribution(t), down)
	f := fleetOf(w, 4, 1)
	library := copy.NewLibrary(16)
	for _, a := range f.actions {
		if _, err := copy.Root(t.Context(), library, w.endpoint, a); err != nil {
			t.Fatal(err)
		}
	}
	copier := copy.New(w, library, copy.Options{Spool: copy.Spool{Dir: parent, Limit: 1 << 20}})
	f.judge(down, copier.Run(t.Context(), plan.Plan{Actions: f.actions}))
	if err := copier.Close(); err != nil {
		t.Error(err)
	}
	var left []string
	entries, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{"ecr-mirror-sync-2", "ecr-mirror-sync-2.lock", "ecr-mirror-sync-3", "something-else"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}
