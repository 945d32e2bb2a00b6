package transport

import (
	"context"
	"fmt"
	"io"
	"net/url"

	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// OpenSource returns an endpoint that reads the content of repo. It costs no request.
func (c *Client) OpenSource(_ context.Context, repo ref.Repository) (imagetypes.ImageSource, error) {
	e, err := c.endpoint(repo)
	if err != nil {
		return nil, err
	}
	return &source{endpoint: e, client: c}, nil
}

// OpenDestination returns an endpoint that writes content to repo. It costs no request.
func (c *Client) OpenDestination(_ context.Context, repo ref.Repository) (imagetypes.ImageDestination, error) {
	e, err := c.endpoint(repo)
	if err != nil {
		return nil, err
	}
	return &destination{endpoint: e}, nil
}

// endpoint is one side of copies: a repository and the host it is on.
type endpoint struct {
	host *host
	repo ref.Repository
	name imagetypes.ImageReference
}

func (c *Client) endpoint(repo ref.Repository) (endpoint, error) {
	h, err := c.host(repo.Host)
	if err != nil {
		return endpoint{}, err
	}
	named, err := reference.ParseNormalizedNamed(repo.String())
	if err != nil {
		return endpoint{}, fmt.Errorf("repository %s: %w", repo, err)
	}
	name, err := docker.NewReferenceUnknownDigest(named)
	if err != nil {
		return endpoint{}, fmt.Errorf("repository %s: %w", repo, err)
	}
	return endpoint{host: h, repo: repo, name: name}, nil
}

// Reference names the repository, without tag or digest.
func (e endpoint) Reference() imagetypes.ImageReference { return e.name }

// Close does nothing: connections belong to the Client.
func (endpoint) Close() error { return nil }

// source is a repository to read from, as containers/image sees it. It keeps no state
// and may be shared.
type source struct {
	endpoint
	registry.PlainSource
	client *Client
}

var (
	_ imagetypes.ImageSource = (*source)(nil)
	_ registry.BlobStater    = (*source)(nil)
)

// GetManifest reads a manifest by digest and checks it. Without a digest it is an
// error: what a tag means is decided once, by Resolve.
func (s *source) GetManifest(ctx context.Context, instance *ref.Digest) ([]byte, string, error) {
	if instance == nil {
		return nil, "", fmt.Errorf("manifest of %s without a digest: %w", s.repo, registry.ErrUnsupported)
	}
	m, err := s.client.Manifest(ctx, s.repo.Digested(*instance))
	return m.Raw, m.MediaType, err
}

// GetBlob starts reading a blob, once; the bytes are the caller's to check.
func (s *source) GetBlob(ctx context.Context, info imagetypes.BlobInfo, _ imagetypes.BlobInfoCache) (io.ReadCloser, int64, error) {
	return s.host.openBlob(ctx, s.repo, info.Digest)
}

// StatBlob asks how large a blob is, with the right to read and no other.
func (s *source) StatBlob(ctx context.Context, digest ref.Digest) (int64, error) {
	return s.host.statBlob(ctx, s.repo, digest, false)
}

// destination is a repository to write to, as containers/image sees it, with the
// abilities of package registry. It keeps no state and may be shared.
type destination struct {
	endpoint
	registry.PlainDestination
}

var (
	_ imagetypes.ImageDestination = (*destination)(nil)
	_ registry.ManifestWriter     = (*destination)(nil)
	_ registry.BlobUploader       = (*destination)(nil)
	_ registry.ReferrerWriter     = (*destination)(nil)
	_ registry.BlobMounter        = (*destination)(nil)
)

// WriteManifest stores m under a tag or under its digest.
func (d *destination) WriteManifest(ctx context.Context, identifier string, m registry.Manifest) error {
	return d.host.writeManifest(ctx, d.repo, identifier, m)
}

// WriteReferrer stores m under its digest, and reports whether the registry's answer
// names subject: it keeps m among the referrers of it.
func (d *destination) WriteReferrer(ctx context.Context, digest, subject ref.Digest, m registry.Manifest) (bool, error) {
	header, err := d.host.storeManifest(ctx, d.repo, digest.String(), m)
	return err == nil && header.Get("OCI-Subject") == subject.String(), err
}

// UploadBlob sends a blob with two round trips: the upload session is opened beside
// the source, then one PUT carries the bytes. It fails with ErrStalled where next to
// nothing moves for the stall time.
func (d *destination) UploadBlob(ctx context.Context, want ref.Descriptor, open registry.Opener) error {
	return d.upload(ctx, want, func(ctx context.Context) (*url.URL, error) { return d.host.startUpload(ctx, d.repo) }, open)
}

func (d *destination) upload(ctx context.Context, want ref.Descriptor, start sessionOpener, open registry.Opener) error {
	if err := checkDigest(want.Digest); err != nil {
		return err
	}
	if want.Size < 0 {
		return fmt.Errorf("blob %s without a size: %w", want.Digest, registry.ErrUnsupported)
	}
	return d.host.upload(ctx, d.repo, want, start, open)
}

// MountBlob asks with one request for a blob of another repository on the same host. The
// upload session that a registry opens instead is good for one upload.
func (d *destination) MountBlob(ctx context.Context, want ref.Descriptor, from ref.Repository) (registry.BlobUploader, error) {
	if err := checkDigest(want.Digest); err != nil {
		return nil, err
	}
	if from.Host != d.repo.Host {
		return nil, fmt.Errorf("mount from another registry, %s: %w", from, registry.ErrUnsupported)
	}
	location, err := d.host.mount(ctx, d.repo, want.Digest, from)
	if err != nil || location == nil {
		return nil, err
	}
	return &session{destination: d, location: location}, nil
}

// session is an upload that a registry opened in place of mounting a blob.
type session struct {
	destination *destination
	location    *url.URL
}

// UploadBlob sends the blob into the session.
func (s *session) UploadBlob(ctx context.Context, want ref.Descriptor, open registry.Opener) error {
	return s.destination.upload(ctx, want, func(context.Context) (*url.URL, error) { return s.location, nil }, open)
}

// PutBlob stores a blob whose digest is known. It is what the interface asks for;
// UploadBlob is the shorter way.
func (d *destination) PutBlob(ctx context.Context, stream io.Reader, info imagetypes.BlobInfo, _ imagetypes.BlobInfoCache, _ bool) (imagetypes.BlobInfo, error) {
	want := ref.Descriptor{MediaType: info.MediaType, Digest: info.Digest, Size: info.Size}
	err := d.UploadBlob(ctx, want, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(stream), nil })
	if err != nil {
		return imagetypes.BlobInfo{}, err
	}
	return imagetypes.BlobInfo{Digest: want.Digest, Size: want.Size}, nil
}

// TryReusingBlob asks whether the repository holds the blob already.
func (d *destination) TryReusingBlob(ctx context.Context, info imagetypes.BlobInfo, _ imagetypes.BlobInfoCache, _ bool) (bool, imagetypes.BlobInfo, error) {
	held, err := d.host.hasBlob(ctx, d.repo, ref.Descriptor{Digest: info.Digest, Size: info.Size})
	if err != nil || !held {
		return false, imagetypes.BlobInfo{}, err
	}
	return true, imagetypes.BlobInfo{Digest: info.Digest, Size: info.Size}, nil
}

// PutManifest stores a manifest by digest. Its media type is read from its bytes; a
// caller that knows it uses WriteManifest.
func (d *destination) PutManifest(ctx context.Context, raw []byte, instance *ref.Digest) error {
	if instance == nil {
		return fmt.Errorf("manifest for %s without a digest: %w", d.repo, registry.ErrUnsupported)
	}
	return d.WriteManifest(ctx, instance.String(), registry.Manifest{MediaType: manifestType(raw), Raw: raw})
}
