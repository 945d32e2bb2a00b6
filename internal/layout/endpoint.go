package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocilayout "go.podman.io/image/v5/oci/layout"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// endpoint is one side of copies.
type endpoint struct {
	dir  *directory
	repo ref.Repository
}

// Reference names the layout as the library does, without a tag.
func (e endpoint) Reference() imagetypes.ImageReference {
	named, err := Name(e.repo.Tagged(""))
	if err != nil {
		return nil // a path that the library does not take; nobody asks us for it
	}
	return named
}

// Name returns r as the library and its trust policies name it: transport oci, and the
// path with the tag, also of an archive. (The library's own transport for archives would
// bring its unpacking along.)
func Name(r ref.Reference) (imagetypes.ImageReference, error) {
	return ocilayout.NewReference(location(r.Repository), r.Tag)
}

// Close does nothing: every write is whole when it returns.
func (endpoint) Close() error { return nil }

// source reads a layout, as containers/image sees it. It keeps no state and may be shared.
type source struct {
	endpoint
	registry.PlainSource
}

var (
	_ imagetypes.ImageSource = (*source)(nil)
	_ registry.BlobStater    = (*source)(nil)
)

// GetManifest reads a manifest by digest; what a tag means is decided once, by Resolve.
func (s *source) GetManifest(ctx context.Context, instance *ref.Digest) ([]byte, string, error) {
	if instance == nil {
		return nil, "", fmt.Errorf("manifest of %s without a digest: %w", s.repo, registry.ErrUnsupported)
	}
	m, err := s.dir.manifest(ctx, *instance)
	return m.Raw, m.MediaType, err
}

// GetBlob opens a blob; the bytes are the caller's to check.
func (s *source) GetBlob(ctx context.Context, info imagetypes.BlobInfo, _ imagetypes.BlobInfoCache) (io.ReadCloser, int64, error) {
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	at, err := s.dir.blob(info.Digest)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(at)
	if err != nil {
		return nil, 0, kind(err)
	}
	about, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(kind(err), f.Close())
	}
	return f, about.Size(), nil
}

// StatBlob looks how large a blob is.
func (s *source) StatBlob(_ context.Context, digest ref.Digest) (int64, error) {
	at, err := s.dir.blob(digest)
	if err != nil {
		return 0, err
	}
	about, err := os.Stat(at)
	if err != nil {
		return 0, kind(err)
	}
	return about.Size(), nil
}

// destination writes a layout, as containers/image sees it, with the abilities of
// package registry. It keeps no state and may be shared.
type destination struct {
	endpoint
	registry.PlainDestination
	all *Layouts
}

var (
	_ imagetypes.ImageDestination = (*destination)(nil)
	_ registry.ManifestWriter     = (*destination)(nil)
	_ registry.BlobUploader       = (*destination)(nil)
	_ registry.ReferrerWriter     = (*destination)(nil)
	_ registry.BlobMounter        = (*destination)(nil)
)

// UploadBlob stores what open reads.
func (d *destination) UploadBlob(ctx context.Context, want ref.Descriptor, open registry.Opener) error {
	content, err := open(ctx)
	if err != nil {
		return err
	}
	defer content.Close()
	return d.dir.put(ctx, want, func(w io.Writer) error {
		_, err := io.Copy(w, content)
		return err
	})
}

// MountBlob links the file that another layout of the place has. Where files cannot be
// linked, or it has none of the right size, the blob is to be uploaded.
func (d *destination) MountBlob(_ context.Context, want ref.Descriptor, from ref.Repository) (registry.BlobUploader, error) {
	other := d.all.directory(from)
	theirs, err := other.blob(want.Digest)
	if err != nil {
		return nil, err
	}
	ours, err := d.dir.blob(want.Digest)
	if err != nil {
		return nil, err
	}
	if held, err := other.holds(want); err != nil || !held {
		return d, err
	}
	if err := os.MkdirAll(filepath.Dir(ours), 0o755); err != nil { //nolint:gosec // images are to be read by others
		return nil, kind(err)
	}
	if err := os.Link(theirs, ours); err != nil && !errors.Is(err, os.ErrExist) {
		return d, nil // another file system, or one without links
	}
	return nil, kind(syncDir(filepath.Dir(ours)))
}

// WriteManifest stores m; where identifier is a tag, the index then names it.
func (d *destination) WriteManifest(ctx context.Context, identifier string, m registry.Manifest) error {
	stored, err := d.store(ctx, m)
	if err != nil {
		return err
	}
	if named, err := ref.ParseDigest(identifier); err == nil {
		if named == stored.Digest {
			return nil
		}
		return d.dir.put(ctx, ref.Descriptor{Digest: named, Size: stored.Size}, whole(m.Raw)) // of another algorithm
	}
	return d.dir.enter(ctx, identifier, stored)
}

// WriteReferrer stores m, and lets the index name it, without a tag.
func (d *destination) WriteReferrer(ctx context.Context, digest, _ ref.Digest, m registry.Manifest) (bool, error) {
	stored := ref.Descriptor{MediaType: m.MediaType, Digest: digest, Size: int64(len(m.Raw))}
	if err := d.dir.put(ctx, stored, whole(m.Raw)); err != nil {
		return false, err
	}
	return true, d.dir.enter(ctx, "", stored)
}

func (d *destination) store(ctx context.Context, m registry.Manifest) (ref.Descriptor, error) {
	stored := ref.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(m.Raw), Size: int64(len(m.Raw))}
	return stored, d.dir.put(ctx, stored, whole(m.Raw))
}

// whole writes bytes that are at hand.
func whole(raw []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	}
}

// TryReusingBlob looks whether the blob is there.
func (d *destination) TryReusingBlob(_ context.Context, info imagetypes.BlobInfo, _ imagetypes.BlobInfoCache, _ bool) (bool, imagetypes.BlobInfo, error) {
	held, err := d.dir.holds(ref.Descriptor{Digest: info.Digest, Size: info.Size})
	if err != nil || !held {
		return false, imagetypes.BlobInfo{}, err
	}
	return true, imagetypes.BlobInfo{Digest: info.Digest, Size: info.Size}, nil
}

// PutBlob stores a blob whose digest is known. It is what the interface asks for;
// UploadBlob is the same.
func (d *destination) PutBlob(ctx context.Context, stream io.Reader, info imagetypes.BlobInfo, _ imagetypes.BlobInfoCache, _ bool) (imagetypes.BlobInfo, error) {
	want := ref.Descriptor{Digest: info.Digest, Size: info.Size}
	err := d.UploadBlob(ctx, want, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(stream), nil })
	return imagetypes.BlobInfo{Digest: want.Digest, Size: want.Size}, err
}

// PutManifest stores a manifest by digest.
func (d *destination) PutManifest(ctx context.Context, raw []byte, instance *ref.Digest) error {
	if instance == nil {
		return fmt.Errorf("manifest for %s without a digest: %w", d.repo, registry.ErrUnsupported)
	}
	return d.WriteManifest(ctx, instance.String(), registry.Manifest{Raw: raw})
}
