package ecrlocal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
)

// keeper keeps the state in a data directory:
//
//	state.json          everything but bytes, replaced atomically
//	manifests/<digest>  the bytes of manifests
//	blobs/              distribution's own layout
//
// The state is written in the background after each change, so changes that come fast share
// one write. A process that is killed may lose the last of them.
type keeper struct {
	dir     string
	log     *zap.Logger
	dirty   chan struct{} // holds one item when there is something to write
	stop    chan struct{}
	stopped chan error // receives the result of the last write
}

func openKeeper(dir string, log *zap.Logger) (*keeper, error) {
	if err := os.MkdirAll(filepath.Join(dir, "manifests"), 0o750); err != nil {
		return nil, fmt.Errorf("opening the data directory: %w", err)
	}
	return &keeper{
		dir: dir, log: log,
		dirty: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan error, 1),
	}, nil
}

// start begins to write what snapshot returns whenever wake is called.
func (k *keeper) start(snapshot func() ([]byte, error)) {
	go func() {
		for {
			select {
			case <-k.dirty:
				if err := k.write(snapshot); err != nil {
					k.log.Error("state not kept", zap.Error(err))
				}
			case <-k.stop:
				k.stopped <- k.write(snapshot)
				return
			}
		}
	}()
}

// wake asks for a write without waiting for it.
func (k *keeper) wake() {
	select {
	case k.dirty <- struct{}{}:
	default: // one is already due
	}
}

// close writes once more and ends the background writer.
func (k *keeper) close() error {
	close(k.stop)
	return <-k.stopped
}

func (k *keeper) write(snapshot func() ([]byte, error)) error {
	raw, err := snapshot()
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(k.dir, "state.json"), raw)
}

// keepManifest stores a manifest's bytes before the state mentions them.
func (k *keeper) keepManifest(dgst digest.Digest, raw []byte) error {
	if err := replaceFile(k.manifestPath(dgst), raw); err != nil {
		return fmt.Errorf("keeping manifest %s: %w", dgst, err)
	}
	return nil
}

func (k *keeper) manifestPath(dgst digest.Digest) string {
	return filepath.Join(k.dir, "manifests", dgst.Algorithm().String()+"-"+dgst.Encoded())
}

// replaceFile writes a file so that readers see either the old content or the new.
func replaceFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// load reads the state that was kept, or returns an empty one.
func (k *keeper) load() (*state, error) {
	raw, err := os.ReadFile(filepath.Join(k.dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return newState(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	st := newState()
	if err := json.Unmarshal(raw, st); err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	for _, reg := range st.Registries {
		for _, repo := range reg.Repositories {
			if err := k.restore(repo); err != nil {
				return nil, fmt.Errorf("reading repository %s: %w", repo.Name, err)
			}
		}
	}
	return st, nil
}

// restore rebuilds what the state file does not hold: manifests and the indexes over them.
func (k *keeper) restore(repo *repository) error {
	repo.resetIndexes()
	for dgst, img := range repo.Images {
		raw, err := os.ReadFile(k.manifestPath(dgst))
		if err != nil {
			return err
		}
		if img.manifest, err = parseManifest(raw, img.MediaType, false); err != nil {
			return err
		}
		img.tags = make(map[string]struct{})
		repo.index(img)
	}
	for tag, dgst := range repo.Tags {
		img, ok := repo.Images[dgst]
		if !ok {
			return fmt.Errorf("tag %s names no image", tag)
		}
		img.tags[tag] = struct{}{}
	}
	return nil
}

// snapshot is the state as the keeper writes it.
func (s *Server) snapshot() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Marshal(s.state)
}
