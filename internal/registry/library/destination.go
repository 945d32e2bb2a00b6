package library

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.podman.io/image/v5/manifest"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/stall"
)

// destination is a library destination that can write tags, and be shared. It embeds
// the first one that was opened for its properties alone.
type destination struct {
	imagetypes.ImageDestination
	repo    ref.Repository
	opts    Options
	session *session[imagetypes.ImageDestination]
}

var _ registry.ManifestWriter = (*destination)(nil)

// newDestination opens repo. It costs no request.
func newDestination(ctx context.Context, repo ref.Repository, opts Options) (*destination, error) {
	d := &destination{repo: repo, opts: opts, session: newSession[imagetypes.ImageDestination](repo, opts)}
	first, err := d.session.get(ctx, d.open)
	if err != nil {
		return nil, err
	}
	d.ImageDestination = first.object
	return d, nil
}

func (d *destination) open(ctx context.Context) (imagetypes.ImageDestination, auth.Credential, error) {
	name, err := unknownDigest(d.repo)
	if err != nil {
		return nil, auth.Credential{}, err
	}
	return d.opts.openDestination(ctx, name, d.repo)
}

// openDestination opens a library destination with the host's credential of now.
func (o Options) openDestination(ctx context.Context, name imagetypes.ImageReference, repo ref.Repository) (imagetypes.ImageDestination, auth.Credential, error) {
	sys, cred, err := o.systemContext(ctx, repo)
	if err != nil {
		return nil, auth.Credential{}, err
	}
	dst, err := name.NewImageDestination(ctx, sys)
	if err != nil {
		return nil, cred, err
	}
	return dst, cred, nil
}

// Close closes the live library destination.
func (d *destination) Close() error { return d.session.close() }

// WriteManifest stores m by digest through the shared destination. A library
// destination writes no tag but its own, so a tag opens one for itself.
func (d *destination) WriteManifest(ctx context.Context, identifier string, m registry.Manifest) error {
	// The library reads the media type from the bytes and takes no other.
	if guess := manifest.GuessMIMEType(m.Raw); guess != m.MediaType {
		return fmt.Errorf("the library would store a manifest of type %q as %q: %w", m.MediaType, guess, registry.ErrUnsupported)
	}
	if digest, err := ref.ParseDigest(identifier); err == nil {
		return d.PutManifest(ctx, m.Raw, &digest)
	}
	return d.opts.question(ctx, func(ctx context.Context) error { return d.tag(ctx, identifier, m.Raw) })
}

func (d *destination) tag(ctx context.Context, tag string, raw []byte) error {
	name, err := Name(d.repo.Tagged(tag))
	if err != nil {
		return err
	}
	tagged, cred, err := d.opts.openDestination(ctx, name, d.repo)
	if err != nil {
		return d.opts.translate(ctx, d.repo, cred, err)
	}
	err = d.opts.translate(ctx, d.repo, cred, tagged.PutManifest(ctx, raw, nil))
	return errors.Join(err, tagged.Close())
}

// PutManifest stores a manifest by digest; without one it is an error.
func (d *destination) PutManifest(ctx context.Context, raw []byte, instance *ref.Digest) error {
	if instance == nil {
		return fmt.Errorf("manifest for %s without a digest: %w", d.repo, registry.ErrUnsupported)
	}
	return d.opts.question(ctx, func(ctx context.Context) error {
		return d.session.do(ctx, d.open, func(dst imagetypes.ImageDestination) error {
			return dst.PutManifest(ctx, raw, instance)
		})
	})
}

// TryReusingBlob asks whether the repository holds the blob already.
func (d *destination) TryReusingBlob(ctx context.Context, info imagetypes.BlobInfo, cache imagetypes.BlobInfoCache, substitute bool) (held bool, found imagetypes.BlobInfo, err error) {
	err = d.opts.question(ctx, func(ctx context.Context) error {
		return d.session.do(ctx, d.open, func(dst imagetypes.ImageDestination) (err error) {
			held, found, err = dst.TryReusingBlob(ctx, info, cache, substitute)
			return err
		})
	})
	return held, found, err
}

// PutBlob streams a blob, once. It fails with ErrStalled where next to nothing moves for
// the stall time.
func (d *destination) PutBlob(ctx context.Context, stream io.Reader, info imagetypes.BlobInfo, cache imagetypes.BlobInfoCache, isConfig bool) (stored imagetypes.BlobInfo, err error) {
	ctx, watch := stall.New(ctx)
	defer watch.Stop()
	patience := stall.Patience{Stall: d.opts.Stall, Answer: 5 * d.opts.RequestTimeout}
	err = d.session.do(ctx, d.open, func(dst imagetypes.ImageDestination) (err error) {
		stored, err = dst.PutBlob(ctx, watch.Upload(stream, info.Size, patience), info, cache, isConfig)
		return watch.Cause(err)
	})
	return stored, err
}

// Commit does nothing: every manifest was written under its own name.
func (*destination) Commit(context.Context, imagetypes.UnparsedImage) error { return nil }
