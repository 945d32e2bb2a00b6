package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A Store keeps the bytes of one state.
type Store interface {
	// Read returns the bytes and which version of them that is. Both are empty where
	// nothing is kept yet. At most MaxSize+1 bytes are read.
	Read(ctx context.Context) (data []byte, version string, err error)

	// Write keeps data in place of that version, "" for the first. ErrChanged means that
	// there is another version by now; a store that cannot tell overwrites it. It is all
	// or nothing.
	Write(ctx context.Context, data []byte, version string) error
}

// ErrChanged means that another run has written the state meanwhile.
var ErrChanged = errors.New("another run changed it meanwhile")

// Load reads the state. Where there is none yet it remembers nothing.
func Load(ctx context.Context, store Store) (State, error) {
	s, _, err := load(ctx, store)
	return s, err
}

func load(ctx context.Context, store Store) (State, string, error) {
	data, version, err := store.Read(ctx)
	if err != nil || len(data) == 0 && version == "" {
		return State{}, "", err
	}
	s, err := Parse(data)
	if err != nil {
		return State{}, "", err
	}
	return s, version, nil
}

// updates is how often Update begins again where other runs write at the same time: shards
// may all end at once, and at least one of them gets through each time.
const updates = 20

// Update changes the state that is kept. It reads it again first, and begins anew where
// another run came between, so that runs that share a state lose nothing of each other.
func Update(ctx context.Context, store Store, change func(State) State) error {
	var err error
	for range updates {
		var s State
		var version string
		if s, version, err = load(ctx, store); err != nil {
			return err
		}
		var data []byte
		if data, err = change(s).Encode(); err != nil {
			return err
		}
		if err = store.Write(ctx, data, version); !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return err
}

// File is a Store in a file. Two runs that end at the same moment may lose what one of
// them saw, and never more.
type File string

// Read reads the file.
func (f File) Read(context.Context) (data []byte, version string, err error) {
	opened, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer opened.Close()
	data, err = io.ReadAll(io.LimitReader(opened, MaxSize+1))
	if err != nil {
		return nil, "", err
	}
	return data, "there", nil
}

// Write replaces the file: whoever reads it finds the old one or the new one.
func (f File) Write(_ context.Context, data []byte, _ string) (err error) {
	fresh, err := os.CreateTemp(filepath.Dir(string(f)), ".state-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(fresh.Name()))
		}
	}()
	if _, err := fresh.Write(data); err != nil {
		return errors.Join(err, fresh.Close())
	}
	if err := fresh.Sync(); err != nil {
		return errors.Join(err, fresh.Close())
	}
	if err := fresh.Close(); err != nil {
		return err
	}
	if err := os.Rename(fresh.Name(), string(f)); err != nil {
		return fmt.Errorf("putting the new state in place: %w", err)
	}
	return nil
}

// String names the file.
func (f File) String() string { return string(f) }
