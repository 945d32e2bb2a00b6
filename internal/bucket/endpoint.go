package bucket

import (
	"context"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/stall"
)

// OpenSource returns an endpoint that reads the content of repo.
func (t *Target) OpenSource(ctx context.Context, repo ref.Repository) (imagetypes.ImageSource, error) {
	e, err := t.endpoint(ctx, repo)
	if err != nil {
		return nil, err
	}
	return &source{endpoint: e}, nil
}

// OpenDestination returns an endpoint that writes content to repo.
func (t *Target) OpenDestination(ctx context.Context, repo ref.Repository) (imagetypes.ImageDestination, error) {
	e, err := t.endpoint(ctx, repo)
	if err != nil {
		return nil, err
	}
	return &destination{endpoint: e}, nil
}

// endpoint is one side of copies: a repository in a bucket.
type endpoint struct {
	bucket *bucket
	repo   ref.Repository
	name   imagetypes.ImageReference
}

func (t *Target) endpoint(ctx context.Context, repo ref.Repository) (endpoint, error) {
	b, err := t.bucket(ctx, repo.Host)
	if err != nil {
		return endpoint{}, err
	}
	// The library knows no places like this: the reference is for its messages alone.
	named, err := reference.ParseNormalizedNamed("bucket.invalid/" + repo.Path)
	if err != nil {
		return endpoint{}, fmt.Errorf("repository %s: %w: %w", repo, err, registry.ErrPermanent)
	}
	name, err := docker.NewReferenceUnknownDigest(named)
	if err != nil {
		return endpoint{}, fmt.Errorf("repository %s: %w", repo, err)
	}
	return endpoint{bucket: b, repo: repo, name: name}, nil
}

// Reference names the repository, without tag or digest.
func (e endpoint) Reference() imagetypes.ImageReference { return e.name }

// Close does nothing: connections belong to the Target.
func (endpoint) Close() error { return nil }

// source is a repository to read from. It keeps no state and may be shared.
type source struct {
	endpoint
	registry.PlainSource
}

var (
	_ imagetypes.ImageSource = (*source)(nil)
	_ registry.BlobStater    = (*source)(nil)
)

// GetManifest reads a manifest by digest and checks it. Without a digest it is an error:
// what a tag means is decided once, by Resolve.
func (s *source) GetManifest(ctx context.Context, instance *ref.Digest) ([]byte, string, error) {
	if instance == nil {
		return nil, "", fmt.Errorf("manifest of %s without a digest: %w", s.repo, registry.ErrUnsupported)
	}
	if err := checkDigest(*instance); err != nil {
		return nil, "", err
	}
	m, err := s.bucket.manifest(ctx, s.repo.Digested(*instance))
	return m.Raw, m.MediaType, err
}

// GetBlob starts reading a blob, once; the bytes are the caller's to check. Reading fails
// with ErrStalled where nothing comes for a minute.
func (s *source) GetBlob(ctx context.Context, want imagetypes.BlobInfo, _ imagetypes.BlobInfoCache) (io.ReadCloser, int64, error) {
	if err := checkDigest(want.Digest); err != nil {
		return nil, 0, err
	}
	ctx, watch := stall.New(ctx)
	watch.Await("no answer", stallTime)
	out, err := s.bucket.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.bucket.name, Key: aws.String(s.bucket.blobKey(s.repo, want.Digest)),
	})
	watch.Rest()
	if err != nil {
		err = watch.Cause(translate("GetObject", err))
		watch.Stop()
		return nil, 0, err
	}
	return watch.Body(out.Body, stallTime), aws.ToInt64(out.ContentLength), nil
}

// StatBlob asks how large a blob is.
func (s *source) StatBlob(ctx context.Context, digest ref.Digest) (int64, error) {
	if err := checkDigest(digest); err != nil {
		return 0, err
	}
	held, err := s.bucket.head(ctx, s.bucket.blobKey(s.repo, digest))
	return held.size, err
}

// destination is a repository to write to, with the abilities of package registry. It
// keeps no state and may be shared.
type destination struct {
	endpoint
	registry.PlainDestination
}

var (
	_ imagetypes.ImageDestination = (*destination)(nil)
	_ registry.ManifestWriter     = (*destination)(nil)
	_ registry.BlobUploader       = (*destination)(nil)
	_ registry.BlobReplacer       = (*destination)(nil)
	_ registry.ReferrerWriter     = (*destination)(nil)
	_ registry.BlobMounter        = (*destination)(nil)
)

// PutBlob stores a blob whose digest and size are known. It is what the interface asks
// for; UploadBlob is what the program uses.
func (d *destination) PutBlob(ctx context.Context, stream io.Reader, info imagetypes.BlobInfo, _ imagetypes.BlobInfoCache, _ bool) (imagetypes.BlobInfo, error) {
	want := ref.Descriptor{MediaType: info.MediaType, Digest: info.Digest, Size: info.Size}
	err := d.UploadBlob(ctx, want, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(stream), nil })
	if err != nil {
		return imagetypes.BlobInfo{}, err
	}
	return imagetypes.BlobInfo{Digest: want.Digest, Size: want.Size}, nil
}

// TryReusingBlob asks whether the repository holds the blob already, of the size that it
// should have. One that is found stays until it is referred to.
func (d *destination) TryReusingBlob(ctx context.Context, info imagetypes.BlobInfo, _ imagetypes.BlobInfoCache, _ bool) (bool, imagetypes.BlobInfo, error) {
	held, err := d.hasBlob(ctx, ref.Descriptor{Digest: info.Digest, Size: info.Size})
	if err != nil || !held {
		return false, imagetypes.BlobInfo{}, err
	}
	return true, imagetypes.BlobInfo{Digest: info.Digest, Size: info.Size}, nil
}

// PutManifest stores a manifest by digest. Its media type is read from its bytes; a caller
// that knows it uses WriteManifest.
func (d *destination) PutManifest(ctx context.Context, raw []byte, instance *ref.Digest) error {
	if instance == nil {
		return fmt.Errorf("manifest for %s without a digest: %w", d.repo, registry.ErrUnsupported)
	}
	parsed, err := manifest.Parse(raw, "")
	if err != nil {
		return err
	}
	return d.WriteManifest(ctx, instance.String(), registry.Manifest{MediaType: parsed.MediaType, Raw: raw})
}
