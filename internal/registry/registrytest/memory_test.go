package registrytest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/registrytest"
)

// Memory is a target that forgets: the smallest that there is. docs/adding-a-target.md is
// about it.
type Memory struct {
	mu        sync.Mutex
	manifests map[string]registry.Manifest // by repository, and tag or digest
	blobs     map[string][]byte            // by repository and digest
}

func NewMemory() *Memory {
	return &Memory{manifests: map[string]registry.Manifest{}, blobs: map[string][]byte{}}
}

func key(repo ref.Repository, identifier string) string { return repo.String() + "@" + identifier }

func (m *Memory) Manifest(ctx context.Context, r ref.Reference) (registry.Manifest, error) {
	if ctx.Err() != nil {
		return registry.Manifest{}, context.Cause(ctx)
	}
	if _, err := ref.ParseDigest(r.Identifier()); err != nil && !ref.ValidTag(r.Identifier()) {
		return registry.Manifest{}, fmt.Errorf("%s names no image: %w", r, registry.ErrPermanent)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.manifests[key(r.Repository, r.Identifier())]
	if !ok {
		return registry.Manifest{}, fmt.Errorf("%s: %w", r, registry.ErrNotFound)
	}
	return found, nil
}

func (m *Memory) Resolve(ctx context.Context, r ref.Reference) (ref.Descriptor, error) {
	found, err := m.Manifest(ctx, r)
	if err != nil {
		return ref.Descriptor{}, err
	}
	return ref.Descriptor{MediaType: found.MediaType, Digest: digest.FromBytes(found.Raw), Size: int64(len(found.Raw))}, nil
}

func (m *Memory) Tags(_ context.Context, repo ref.Repository) iter.Seq2[string, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := slices.Sorted(maps.Keys(m.manifests))
	return func(yield func(string, error) bool) {
		for _, name := range names {
			tag := name[min(len(repo.String())+1, len(name)):]
			if name == key(repo, tag) && ref.ValidTag(tag) && !yield(tag, nil) {
				return
			}
		}
	}
}

// Referrers knows of none: it keeps no lists.
func (m *Memory) Referrers(context.Context, ref.Reference) ([]ref.Descriptor, error) { return nil, nil }

func (m *Memory) OpenSource(_ context.Context, repo ref.Repository) (imagetypes.ImageSource, error) {
	return m.open(repo)
}

func (m *Memory) OpenDestination(_ context.Context, repo ref.Repository) (imagetypes.ImageDestination, error) {
	return m.open(repo)
}

func (m *Memory) open(repo ref.Repository) (*endpoint, error) {
	named, err := reference.ParseNormalizedNamed("memory.invalid/" + repo.Path) // for messages of the library alone
	if err != nil {
		return nil, err
	}
	name, err := docker.NewReferenceUnknownDigest(named)
	return &endpoint{memory: m, repo: repo, name: name}, err
}

// endpoint is a repository to read from and to write to. It may be shared.
type endpoint struct {
	memory *Memory
	repo   ref.Repository
	name   imagetypes.ImageReference
}

func (e *endpoint) GetManifest(ctx context.Context, d *ref.Digest) ([]byte, string, error) {
	if d == nil {
		return nil, "", registry.ErrUnsupported // what a tag means is decided once, by Resolve
	}
	m, err := e.memory.Manifest(ctx, e.repo.Digested(*d))
	return m.Raw, m.MediaType, err
}

func (e *endpoint) GetBlob(_ context.Context, b imagetypes.BlobInfo, _ imagetypes.BlobInfoCache) (io.ReadCloser, int64, error) {
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	content, ok := e.memory.blobs[key(e.repo, b.Digest.String())]
	if !ok {
		return nil, 0, fmt.Errorf("blob %s: %w", b.Digest, registry.ErrNotFound)
	}
	return io.NopCloser(bytes.NewReader(content)), int64(len(content)), nil
}

// WriteManifest is registry.ManifestWriter: it writes tags, and keeps media types. What has
// a tag is there under its digest, too.
func (e *endpoint) WriteManifest(ctx context.Context, identifier string, m registry.Manifest) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	e.memory.manifests[key(e.repo, identifier)] = m
	e.memory.manifests[key(e.repo, digest.FromBytes(m.Raw).String())] = m
	return nil
}

// UploadBlob is registry.BlobUploader. The reader fails at its end unless the bytes are
// right.
func (e *endpoint) UploadBlob(ctx context.Context, want ref.Descriptor, open registry.Opener) (err error) {
	content, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	raw, err := io.ReadAll(content)
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	e.memory.blobs[key(e.repo, want.Digest.String())] = raw
	return nil
}

func (e *endpoint) TryReusingBlob(_ context.Context, b imagetypes.BlobInfo, _ imagetypes.BlobInfoCache, _ bool) (bool, imagetypes.BlobInfo, error) {
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	content, ok := e.memory.blobs[key(e.repo, b.Digest.String())]
	return ok, imagetypes.BlobInfo{Digest: b.Digest, Size: int64(len(content))}, nil
}

// What the library's interfaces want besides, and the program does not ask for.

func (e *endpoint) PutBlob(context.Context, io.Reader, imagetypes.BlobInfo, imagetypes.BlobInfoCache, bool) (imagetypes.BlobInfo, error) {
	return imagetypes.BlobInfo{}, registry.ErrUnsupported
}

func (e *endpoint) PutManifest(context.Context, []byte, *ref.Digest) error {
	return registry.ErrUnsupported
}

func (e *endpoint) Reference() imagetypes.ImageReference { return e.name }
func (e *endpoint) Close() error                         { return nil }
func (e *endpoint) HasThreadSafeGetBlob() bool           { return true }
func (e *endpoint) HasThreadSafePutBlob() bool           { return true }
func (e *endpoint) GetSignatures(context.Context, *ref.Digest) ([][]byte, error) {
	return nil, nil
}

func (e *endpoint) LayerInfosForCopy(context.Context, *ref.Digest) ([]imagetypes.BlobInfo, error) {
	return nil, nil
}
func (e *endpoint) SupportedManifestMIMETypes() []string     { return nil }
func (e *endpoint) SupportsSignatures(context.Context) error { return registry.ErrUnsupported }
func (e *endpoint) DesiredLayerCompression() imagetypes.LayerCompression {
	return imagetypes.PreserveOriginal
}
func (e *endpoint) AcceptsForeignLayerURLs() bool                              { return true }
func (e *endpoint) MustMatchRuntimeOS() bool                                   { return false }
func (e *endpoint) IgnoresEmbeddedDockerReference() bool                       { return true }
func (e *endpoint) PutSignatures(context.Context, [][]byte, *ref.Digest) error { return nil }
func (e *endpoint) Commit(context.Context, imagetypes.UnparsedImage) error     { return nil }

// DeleteTag is registry.TagDeleter, an ability that nobody has to have.
func (m *Memory) DeleteTag(ctx context.Context, r ref.Reference) error {
	if _, err := m.Manifest(ctx, r); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.manifests, key(r.Repository, r.Tag))
	return nil
}

func (m *Memory) LastTagDeletes(ref.Repository) (bool, error) { return false, nil }

func TestContract(t *testing.T) {
	registrytest.Run(t, func(*testing.T) registrytest.Fixture {
		return registrytest.Fixture{
			Target:     NewMemory(),
			Repository: ref.Repository{Host: "memory:", Path: "team/app"},
			Sibling:    ref.Repository{Host: "memory:", Path: "team/other"},
			Can:        registrytest.Abilities{Deletes: true},
		}
	})
}
