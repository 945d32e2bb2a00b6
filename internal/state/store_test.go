package state_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/state"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	file := state.File(filepath.Join(dir, "state.json"))
	if s, err := state.Load(t.Context(), file); err != nil || !s.Since(repo.Tagged("old"), a, days(1)).IsZero() {
		t.Errorf("before the first run: %v, %v", s, err)
	}
	observe := func(s state.State) state.State { return s.Observe(saw(old(a)), days(0)) }
	if err := state.Update(t.Context(), file, observe); err != nil {
		t.Fatal(err)
	}
	s, err := state.Load(t.Context(), file)
	if err != nil || !s.Since(repo.Tagged("old"), a, days(1)).Equal(days(0)) {
		t.Errorf("after it: %v, %v", s, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("the directory holds %v, %v", files, err)
	}
}

// A file that is no state is left alone: somebody may have named the wrong one.
func TestUpdateLeavesWhatIsNoState(t *testing.T) {
	faults.Covers(t, "F82")
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := state.Update(t.Context(), state.File(path), func(s state.State) state.State { return s }); err == nil {
		t.Error("no error")
	}
	if kept, err := os.ReadFile(path); err != nil || string(kept) != "mine" {
		t.Errorf("it is %q, %v", kept, err)
	}
}

func TestFileThatCannotBeWritten(t *testing.T) {
	file := state.File(filepath.Join(t.TempDir(), "none", "state.json"))
	if err := state.Update(t.Context(), file, func(s state.State) state.State { return s }); err == nil {
		t.Error("no error")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "state.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := state.File(filepath.Join(dir, "state.json")).Write(t.Context(), nil, ""); err == nil {
		t.Error("a directory was replaced")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// contested is a store that other runs write to.
type contested struct {
	data    []byte
	version int
	others  []func(*contested) // before each write
}

func (c *contested) Read(context.Context) ([]byte, string, error) {
	if c.version == 0 {
		return nil, "", nil
	}
	return c.data, string(rune('a' + c.version)), nil
}

func (c *contested) Write(ctx context.Context, data []byte, version string) error {
	if len(c.others) > 0 {
		other := c.others[0]
		c.others = c.others[1:]
		other(c)
	}
	if _, now, _ := c.Read(ctx); now != version {
		return state.ErrChanged
	}
	c.data, c.version = bytes.Clone(data), c.version+1
	return nil
}

func TestUpdateKeepsWhatOtherRunsSaw(t *testing.T) {
	other := ref.Repository{Host: "ecr.example", Path: "other"}
	theirs := func(c *contested) {
		s, err := state.Load(t.Context(), c)
		if err != nil {
			t.Error(err)
		}
		data, err := s.Observe([]state.Observation{{Repository: other, Unwanted: old(b), Certain: true}}, days(0)).Encode()
		if err != nil {
			t.Error(err)
		}
		c.data, c.version = data, c.version+1
	}
	store := &contested{others: []func(*contested){theirs, func(*contested) {}}}
	mine := func(s state.State) state.State { return s.Observe(saw(old(a)), days(0)) }
	if err := state.Update(t.Context(), store, mine); err != nil {
		t.Fatal(err)
	}
	s, err := state.Load(t.Context(), store)
	if err != nil || s.Since(other.Tagged("old"), b, days(1)).IsZero() || s.Since(repo.Tagged("old"), a, days(1)).IsZero() {
		t.Errorf("it holds %s, %v", store.data, err)
	}

	busy := &contested{}
	for range 20 {
		busy.others = append(busy.others, theirs)
	}
	if err := state.Update(t.Context(), busy, mine); !errors.Is(err, state.ErrChanged) {
		t.Errorf("with others all the time: %v", err)
	}
}
