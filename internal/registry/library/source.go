package library

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"

	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/stall"
)

// source reads one repository. The library opens a source by reading the manifest it is
// opened on, so the digest asked for opens it.
type source struct {
	repo    ref.Repository
	opts    Options
	known   atomic.Pointer[ref.Digest] // a manifest that was read: the source can be opened on it
	session *session[openedOn]
}

// openedOn is a library source that has read the manifest it was opened on.
type openedOn struct {
	imagetypes.ImageSource
	digest ref.Digest
}

// manifest reads a manifest, without asking again for the one that is known.
func (o openedOn) manifest(ctx context.Context, d ref.Digest) ([]byte, string, error) {
	if d == o.digest {
		return o.GetManifest(ctx, nil)
	}
	return o.GetManifest(ctx, &d)
}

func newSource(repo ref.Repository, opts Options) *source {
	return &source{repo: repo, opts: opts, session: newSession[openedOn](repo, opts)}
}

// openOn returns how to open the source on a manifest.
func (s *source) openOn(d ref.Digest) func(context.Context) (openedOn, auth.Credential, error) {
	return func(ctx context.Context) (openedOn, auth.Credential, error) {
		name, err := Name(s.repo.Digested(d))
		if err != nil {
			return openedOn{}, auth.Credential{}, err
		}
		src, cred, err := s.opts.openSource(ctx, name, s.repo)
		return openedOn{src, d}, cred, err
	}
}

// openSource opens a library source with the host's credential of now.
func (o Options) openSource(ctx context.Context, name imagetypes.ImageReference, repo ref.Repository) (imagetypes.ImageSource, auth.Credential, error) {
	sys, cred, err := o.systemContext(ctx, repo)
	if err != nil {
		return nil, auth.Credential{}, err
	}
	src, err := name.NewImageSource(ctx, sys)
	if err != nil {
		return nil, cred, err
	}
	return src, cred, nil
}

// manifest reads a manifest by digest. The bytes are the caller's to check.
func (s *source) manifest(ctx context.Context, d ref.Digest) (raw []byte, mediaType string, err error) {
	err = s.opts.question(ctx, func(ctx context.Context) error {
		return s.session.do(ctx, s.openOn(d), func(src openedOn) (err error) {
			raw, mediaType, err = src.manifest(ctx, d)
			return err
		})
	})
	if err != nil {
		return nil, "", err
	}
	s.known.Store(&d)
	return raw, mediaType, nil
}

// blob starts reading a blob, once.
func (s *source) blob(ctx context.Context, info imagetypes.BlobInfo, cache imagetypes.BlobInfoCache) (body io.ReadCloser, size int64, err error) {
	known := s.known.Load()
	if known == nil {
		return nil, 0, fmt.Errorf("no manifest of %s was read by digest yet: %w", s.repo, registry.ErrUnsupported)
	}
	info.URLs = nil // the library would fetch from wherever a manifest says
	ctx, watch := stall.New(ctx)
	watch.Await("no answer", s.opts.Stall)
	err = s.session.do(ctx, s.openOn(*known), func(src openedOn) (err error) {
		body, size, err = src.GetBlob(ctx, info, cache)
		return watch.Cause(err)
	})
	if err != nil {
		watch.Stop()
		return nil, 0, err
	}
	watch.Rest()
	return watch.Body(body, s.opts.Stall), size, nil
}

// sharedSource is a source as the copy engine sees it. Everything goes by digest.
type sharedSource struct {
	source *source
	name   imagetypes.ImageReference
}

var _ imagetypes.ImageSource = (*sharedSource)(nil)

// Reference names the repository, without tag or digest.
func (s *sharedSource) Reference() imagetypes.ImageReference { return s.name }

// Close does nothing: the source is shared.
func (*sharedSource) Close() error { return nil }

// GetManifest reads a manifest by digest; without one it is an error.
func (s *sharedSource) GetManifest(ctx context.Context, instance *ref.Digest) ([]byte, string, error) {
	if instance == nil {
		return nil, "", fmt.Errorf("manifest of %s without a digest: %w", s.source.repo, registry.ErrUnsupported)
	}
	return s.source.manifest(ctx, *instance)
}

// GetBlob starts reading a blob, once; the bytes are the caller's to check.
func (s *sharedSource) GetBlob(ctx context.Context, info imagetypes.BlobInfo, cache imagetypes.BlobInfoCache) (io.ReadCloser, int64, error) {
	return s.source.blob(ctx, info, cache)
}

// HasThreadSafeGetBlob reports that one source may be shared.
func (*sharedSource) HasThreadSafeGetBlob() bool { return true }

// GetSignatures returns none: signatures are artifacts and are copied as such.
func (*sharedSource) GetSignatures(context.Context, *ref.Digest) ([][]byte, error) { return nil, nil }

// LayerInfosForCopy returns nil: the manifest's own layers are what is copied.
func (*sharedSource) LayerInfosForCopy(context.Context, *ref.Digest) ([]imagetypes.BlobInfo, error) {
	return nil, nil
}
