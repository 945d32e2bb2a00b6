package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/storage/pkg/lockfile"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Limits on what is read into memory, in bytes.
const (
	maxManifest = 16 << 20
	maxIndex    = 64 << 20
)

// Files of ours beside those of the specification, which allows them.
const (
	incoming = ".incoming" // where files are until they are whole
	lockName = ".lock"
)

// directory is one layout.
type directory struct {
	path string
	name string     // what messages call it
	mu   sync.Mutex // held while index.json is changed; lockName is, too, for other processes
}

// blob is where content of a digest is.
func (d *directory) blob(digest ref.Digest) (string, error) {
	if _, err := ref.ParseDigest(string(digest)); err != nil {
		return "", fmt.Errorf("%w: %w", err, registry.ErrPermanent)
	}
	return filepath.Join(d.path, imgspec.ImageBlobsDir, digest.Algorithm().String(), digest.Encoded()), nil
}

// holds reports whether content is there, of the right size where one is said.
func (d *directory) holds(want ref.Descriptor) (bool, error) {
	at, err := d.blob(want.Digest)
	if err != nil {
		return false, err
	}
	info, err := os.Stat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, kind(err)
	}
	return info.Mode().IsRegular() && (want.Size < 0 || info.Size() == want.Size), nil
}

// manifest reads a manifest by digest. Its media type is what its bytes say.
func (d *directory) manifest(ctx context.Context, digest ref.Digest) (registry.Manifest, error) {
	if ctx.Err() != nil {
		return registry.Manifest{}, context.Cause(ctx)
	}
	at, err := d.blob(digest)
	if err != nil {
		return registry.Manifest{}, err
	}
	raw, err := readAtMost(at, maxManifest)
	if err != nil {
		return registry.Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	return registry.Manifest{MediaType: manifest.GuessMIMEType(raw), Raw: raw}, nil
}

// index reads index.json. ErrNotFound means that there is no layout.
func (d *directory) index(ctx context.Context) (imgspec.Index, error) {
	var index imgspec.Index
	if ctx.Err() != nil {
		return index, context.Cause(ctx)
	}
	raw, err := readAtMost(filepath.Join(d.path, imgspec.ImageIndexFile), maxIndex)
	if err != nil {
		return index, fmt.Errorf("layout: %w", err)
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return index, fmt.Errorf("%s of the layout %s is no index: %w: %w", imgspec.ImageIndexFile, d.name, err, registry.ErrPermanent)
	}
	return index, nil
}

// tagged returns what each tag points at. Of entries with one name the last counts.
func (d *directory) tagged(ctx context.Context) (map[string]ref.Descriptor, error) {
	index, err := d.index(ctx)
	if err != nil {
		return nil, err
	}
	return tagsOf(index), nil
}

func tagsOf(index imgspec.Index) map[string]ref.Descriptor {
	tags := map[string]ref.Descriptor{}
	for _, entry := range index.Manifests {
		if tag := entry.Annotations[imgspec.AnnotationRefName]; ref.ValidTag(tag) {
			tags[tag] = ref.Descriptor{MediaType: entry.MediaType, Digest: entry.Digest, Size: entry.Size}
		}
	}
	return tags
}

// referrers returns the entries of the index whose manifests have subject for their
// subject. An entry that cannot be read, or is no manifest, refers to nothing.
func (d *directory) referrers(ctx context.Context, subject ref.Digest) ([]ref.Descriptor, error) {
	index, err := d.index(ctx)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := map[ref.Digest]ref.Descriptor{}
	for _, entry := range index.Manifests {
		m, err := d.manifest(ctx, entry.Digest)
		if err != nil {
			continue
		}
		var about struct {
			Subject *imgspec.Descriptor `json:"subject"`
		}
		if json.Unmarshal(m.Raw, &about) == nil && about.Subject != nil && about.Subject.Digest == subject {
			found[entry.Digest] = ref.Descriptor{MediaType: entry.MediaType, Digest: entry.Digest, Size: entry.Size}
		}
	}
	return slices.Collect(maps.Values(found)), nil
}

// put stores content under its digest, whole or not at all: content writes it to a file of
// its own first, which must then have that digest and size. Nothing arrives after ctx has
// ended.
func (d *directory) put(ctx context.Context, want ref.Descriptor, content func(io.Writer) error) error {
	at, err := d.blob(want.Digest)
	if err != nil {
		return err
	}
	return d.arrive(ctx, at, func(f *os.File) error {
		hash := want.Digest.Algorithm().Hash()
		count := &counter{}
		if err := content(io.MultiWriter(f, hash, count)); err != nil {
			return err
		}
		if got := ref.Digest(fmt.Sprintf("%s:%x", want.Digest.Algorithm(), hash.Sum(nil))); got != want.Digest || want.Size >= 0 && count.n != want.Size {
			return fmt.Errorf("blob %s came as %s of %d bytes: %w", want.Digest, got, count.n, registry.ErrCorrupt)
		}
		return nil
	})
}

// arrive makes a file appear at once. It is on disk when arrive returns, so that no index
// ever names what a power cut can take.
func (d *directory) arrive(ctx context.Context, at string, fill func(*os.File) error) error {
	in := filepath.Join(d.path, incoming)
	for _, dir := range []string{in, filepath.Dir(at)} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // images are to be read by others
			return kind(err)
		}
	}
	f, err := os.CreateTemp(in, "")
	if err != nil {
		return kind(err)
	}
	defer os.Remove(f.Name()) // nothing is there after the rename
	defer f.Close()
	if err := fill(f); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return kind(err)
	}
	if err := os.Rename(f.Name(), at); err != nil {
		return kind(err)
	}
	return kind(syncDir(filepath.Dir(at)))
}

// syncDir makes a rename last.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// update changes index.json, which is made where there is none, while nobody else does.
func (d *directory) update(ctx context.Context, change func(*imgspec.Index) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.MkdirAll(d.path, 0o755); err != nil { //nolint:gosec // images are to be read by others
		return kind(err)
	}
	lock, err := lockfile.GetLockFile(filepath.Join(d.path, lockName))
	if err != nil {
		return kind(err)
	}
	lock.Lock()
	defer lock.Unlock()

	index, err := d.index(ctx)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		index = imgspec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageIndex}
		if err := d.write(ctx, imgspec.ImageLayoutFile, imgspec.ImageLayout{Version: imgspec.ImageLayoutVersion}); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if err := change(&index); err != nil {
		return err
	}
	if index.Manifests == nil {
		index.Manifests = []imgspec.Descriptor{} // the specification wants the list
	}
	return d.write(ctx, imgspec.ImageIndexFile, index)
}

func (d *directory) write(ctx context.Context, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return d.arrive(ctx, filepath.Join(d.path, name), func(f *os.File) error {
		_, err := f.Write(raw)
		return kind(err)
	})
}

// enter lets the index name a manifest: under a tag, which then names no other, or under
// none, so that what refers to another manifest is found.
func (d *directory) enter(ctx context.Context, tag string, m ref.Descriptor) error {
	entry := imgspec.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}
	if tag != "" {
		entry.Annotations = map[string]string{imgspec.AnnotationRefName: tag}
	}
	return d.update(ctx, func(index *imgspec.Index) error {
		index.Manifests = slices.DeleteFunc(index.Manifests, func(e imgspec.Descriptor) bool {
			named := e.Annotations[imgspec.AnnotationRefName]
			return named == tag && (tag != "" || e.Digest == m.Digest)
		})
		index.Manifests = append(index.Manifests, entry)
		return nil
	})
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// readAtMost reads a file of no more than most bytes.
func readAtMost(at string, most int64) ([]byte, error) {
	f, err := os.Open(at)
	if err != nil {
		return nil, kind(err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, kind(err)
	}
	if int64(len(raw)) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes: %w", at, most, registry.ErrPermanent)
	}
	return raw, nil
}

// kind marks an error of the file system with what it means.
func kind(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", err, registry.ErrNotFound)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", err, registry.ErrDenied)
	}
	return err
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
