// Package layout makes OCI image layouts, directories on disk, places like registries: to
// carry images over an air gap, or to look at what a mirror would hold.
//
// The place "oci:DIR" holds a repository in each directory below DIR, so that a whole
// registry's tree fits: oci:/srv/air and library/nginx are the layout /srv/air/library/nginx.
// It is an ordinary layout, which skopeo and crane read: a tag is the annotation
// org.opencontainers.image.ref.name in index.json.
//
// The place "oci-archive:DIR" holds them in tar files: library/nginx.tar is one layout.
//
// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Layouts reads and writes layouts. The zero Layouts is ready for use, and safe for
// concurrent use; other processes may write to the same layouts meanwhile.
type Layouts struct {
	mu   sync.Mutex
	open map[string]*directory // by path
}

var (
	_ registry.Target      = (*Layouts)(nil)
	_ registry.Snapshotter = (*Layouts)(nil)
	_ registry.TagDeleter  = (*Layouts)(nil)
	_ registry.Lister      = (*Layouts)(nil)
)

// location is where repo's layout is.
func location(repo ref.Repository) string {
	_, dir, _ := strings.Cut(repo.Host, ":")
	return filepath.Join(dir, filepath.FromSlash(repo.Path))
}

// directory returns the one directory of repo.
func (l *Layouts) directory(repo ref.Repository) *directory {
	at := location(repo)
	l.mu.Lock()
	defer l.mu.Unlock()
	if d, ok := l.open[at]; ok {
		return d
	}
	if l.open == nil {
		l.open = map[string]*directory{}
	}
	d := &directory{path: at, name: at}
	l.open[at] = d
	return d
}

// Resolve says what the index has for a tag, or that a manifest is there. A tag whose
// manifest is missing is absent: it can be written anew.
func (l *Layouts) Resolve(ctx context.Context, r ref.Reference) (ref.Descriptor, error) {
	d := l.directory(r.Repository)
	if r.Digest != "" {
		m, err := d.manifest(ctx, r.Digest)
		if err != nil {
			return ref.Descriptor{}, err
		}
		return ref.Descriptor{MediaType: m.MediaType, Digest: r.Digest, Size: int64(len(m.Raw))}, nil
	}
	tagged, err := d.tagged(ctx)
	if err != nil {
		return ref.Descriptor{}, err
	}
	entry, ok := tagged[r.Tag]
	if !ok {
		return ref.Descriptor{}, fmt.Errorf("tag %s in %s: %w", r.Tag, d.name, registry.ErrNotFound)
	}
	if held, err := d.holds(entry); err != nil || !held {
		return ref.Descriptor{}, errors.Join(err, fmt.Errorf("manifest %s of tag %s in %s: %w", entry.Digest, r.Tag, d.name, registry.ErrNotFound))
	}
	return entry, nil
}

// Snapshot reads all tags from the index, whichever are asked for.
func (l *Layouts) Snapshot(ctx context.Context, repo ref.Repository, _ []string) (map[string]ref.Descriptor, error) {
	d := l.directory(repo)
	tagged, err := d.tagged(ctx)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil //nolint:nilnil // an absent repository has no tags
	}
	for tag, entry := range tagged {
		held, err := d.holds(entry)
		if err != nil {
			return nil, err
		}
		if !held {
			delete(tagged, tag)
		}
	}
	return tagged, err
}

// Tags yields the tags of the index, sorted. Names that no registry could have for a tag
// are left out.
func (l *Layouts) Tags(ctx context.Context, repo ref.Repository) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		tagged, err := l.directory(repo).tagged(ctx)
		if err != nil {
			yield("", err)
			return
		}
		for _, tag := range sortedKeys(tagged) {
			if !yield(tag, nil) {
				return
			}
		}
	}
}

// Manifest reads a manifest.
func (l *Layouts) Manifest(ctx context.Context, r ref.Reference) (registry.Manifest, error) {
	d := l.directory(r.Repository)
	if r.Digest != "" {
		return d.manifest(ctx, r.Digest)
	}
	entry, err := l.Resolve(ctx, r)
	if err != nil {
		return registry.Manifest{}, err
	}
	m, err := d.manifest(ctx, entry.Digest)
	if err == nil && entry.MediaType != "" {
		m.MediaType = entry.MediaType // it need not be in the manifest itself
	}
	return m, err
}

// Referrers reads the subjects of all manifests that the index names.
func (l *Layouts) Referrers(ctx context.Context, subject ref.Reference) ([]ref.Descriptor, error) {
	return l.directory(subject.Repository).referrers(ctx, subject.Digest)
}

// OpenSource returns the layout to read from.
func (l *Layouts) OpenSource(_ context.Context, repo ref.Repository) (imagetypes.ImageSource, error) {
	return &source{endpoint: endpoint{l.directory(repo), repo}}, nil
}

// OpenDestination returns the layout to write to. It is made with the first write.
func (l *Layouts) OpenDestination(_ context.Context, repo ref.Repository) (imagetypes.ImageDestination, error) {
	return &destination{endpoint: endpoint{l.directory(repo), repo}, all: l}, nil
}

// DeleteTag removes a tag from the index. The content stays, as in registries before
// they collect garbage.
func (l *Layouts) DeleteTag(ctx context.Context, r ref.Reference) error {
	return l.directory(r.Repository).update(ctx, func(index *imgspec.Index) error {
		before := len(index.Manifests)
		index.Manifests = slices.DeleteFunc(index.Manifests, func(e imgspec.Descriptor) bool { return e.Annotations[imgspec.AnnotationRefName] == r.Tag })
		if len(index.Manifests) == before {
			return fmt.Errorf("tag %s in %s: %w", r.Tag, r.Repository, registry.ErrNotFound)
		}
		return nil
	})
}

// LastTagDeletes is false: nothing but tags is ever removed.
func (*Layouts) LastTagDeletes(ref.Repository) (bool, error) { return false, nil }

// Repositories yields the layouts below a place, sorted by path. Layouts inside layouts
// are not looked for.
func (l *Layouts) Repositories(ctx context.Context, host string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		root := location(ref.Repository{Host: host})
		errStop := errors.New("stop")
		err := filepath.WalkDir(root, func(at string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if _, err := os.Stat(filepath.Join(at, imgspec.ImageLayoutFile)); err != nil {
				return nil //nolint:nilerr // a directory among others
			}
			name, err := filepath.Rel(root, at)
			if err == nil && name != "." && !yield(filepath.ToSlash(name), nil) {
				return errStop
			}
			return fs.SkipDir
		})
		if err != nil && !errors.Is(err, errStop) {
			yield("", fmt.Errorf("list layouts below %s: %w", root, kind(err)))
		}
	}
}
