package bucket

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// WriteManifest stores m under its digest, and then under a tag, which is then in
// tags/list, where identifier is one: whoever resolves a tag reads its digest.
func (d *destination) WriteManifest(ctx context.Context, identifier string, m registry.Manifest) error {
	o, err := d.object(identifier, m)
	if err != nil {
		return err
	}
	if err := d.bucket.base(ctx); err != nil {
		return err
	}
	if lastDigest(o.key) == "" {
		return d.writeTag(ctx, identifier, o)
	}
	return d.writeDigest(ctx, o)
}

// writeDigest stores a manifest under its digest.
func (d *destination) writeDigest(ctx context.Context, o object) error {
	if err := d.bucket.claim(ctx, d.repo, o.key); err != nil {
		return err
	}
	return d.bucket.putNew(ctx, o)
}

// object is a manifest as it is stored.
func (d *destination) object(identifier string, m registry.Manifest) (object, error) {
	o := object{key: d.bucket.in(d.repo, manifests+identifier), raw: m.Raw, mediaType: m.MediaType, cache: forever, digest: ref.Digest(identifier)}
	if len(m.Raw) > maxManifest {
		return o, fmt.Errorf("manifest of %d bytes is over the limit of %d: %w", len(m.Raw), maxManifest, registry.ErrPermanent)
	}
	// What a manifest says of itself is what it is served as.
	if parsed, err := manifest.Parse(m.Raw, m.MediaType); err == nil {
		o.mediaType = parsed.MediaType
	}
	switch {
	case ref.ValidTag(identifier):
		o.cache, o.digest = d.bucket.briefly(), digest.FromBytes(m.Raw)
		return o, nil
	case checkDigest(o.digest) != nil:
		return o, fmt.Errorf("%q is neither a tag nor a digest: %w", identifier, registry.ErrPermanent)
	}
	if got := o.digest.Algorithm().FromBytes(m.Raw); got != o.digest {
		return o, fmt.Errorf("the manifest to be stored as %s is %s: %w", o.digest, got, registry.ErrCorrupt)
	}
	return o, nil
}

// writeTag writes a tag, and only then its entry in the list. A registry that is given a tag
// has the manifest under its digest as well, and clients that have resolved the tag ask
// for that.
func (d *destination) writeTag(ctx context.Context, tag string, o object) error {
	named := o
	named.key, named.cache = d.bucket.in(d.repo, manifests+string(o.digest)), forever
	if err := d.writeDigest(ctx, named); err != nil {
		return err
	}
	if err := d.bucket.put(ctx, o); err != nil {
		return err
	}
	return d.bucket.enter(ctx, d.repo, tag)
}

// WriteReferrer stores m under its digest, and adds it to the list of what refers to
// subject.
func (d *destination) WriteReferrer(ctx context.Context, digest, subject ref.Digest, m registry.Manifest) (listed bool, err error) {
	if err := checkDigest(subject); err != nil {
		return false, err
	}
	if err := d.WriteManifest(ctx, digest.String(), m); err != nil {
		return false, err
	}
	parsed, err := manifest.Parse(m.Raw, m.MediaType)
	if err != nil {
		return false, err
	}
	err = d.bucket.addReferrer(ctx, d.repo, subject, imgspec.Descriptor{
		MediaType: parsed.MediaType, Digest: digest, Size: int64(len(m.Raw)),
		ArtifactType: parsed.Kind(), Annotations: parsed.Annotations,
	})
	return err == nil, err
}

// MountBlob lets S3 copy a blob from another repository of the bucket. There is no session
// to go on with where it cannot.
func (d *destination) MountBlob(ctx context.Context, want ref.Descriptor, from ref.Repository) (registry.BlobUploader, error) {
	if err := checkDigest(want.Digest); err != nil {
		return nil, err
	}
	if from.Host != d.repo.Host {
		return nil, fmt.Errorf("mount from another bucket, %s: %w", from, registry.ErrUnsupported)
	}
	if want.Size > maxCopy {
		return nil, fmt.Errorf("a blob of %d bytes is more than S3 copies at once: %w", want.Size, registry.ErrUnsupported)
	}
	key := d.bucket.blobKey(d.repo, want.Digest)
	if err := d.bucket.claim(ctx, d.repo, key); err != nil {
		return nil, err
	}
	held, err := d.bucket.head(ctx, d.bucket.blobKey(from, want.Digest))
	if err != nil {
		return nil, err
	}
	if want.Size >= 0 && held.size != want.Size {
		return nil, fmt.Errorf("blob %s in %s has %d bytes: %w", want.Digest, from, held.size, registry.ErrNotFound)
	}
	return nil, d.bucket.copyOver(ctx, d.bucket.blobKey(from, want.Digest), key)
}

// maxCopy is the largest object that CopyObject takes, in bytes.
const maxCopy = 5 << 30
