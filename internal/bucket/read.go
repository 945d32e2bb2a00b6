package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Most that is read of small objects, in bytes. For manifests it is what registries allow.
const (
	maxManifest = 4 << 20
	maxList     = 64 << 20
)

// Resolve asks with one HEAD. A tag that something else has written, which says nothing of
// its digest, is read.
func (t *Target) Resolve(ctx context.Context, r ref.Reference) (ref.Descriptor, error) {
	b, err := t.bucket(ctx, r.Repository.Host)
	if err != nil {
		return ref.Descriptor{}, err
	}
	if err := checkReference(r); err != nil {
		return ref.Descriptor{}, err
	}
	held, err := b.head(ctx, b.manifestKey(r))
	if err != nil {
		return ref.Descriptor{}, err
	}
	if r.Digest != "" {
		held.digest = r.Digest
	}
	if held.digest != "" {
		return ref.Descriptor{MediaType: held.mediaType, Digest: held.digest, Size: held.size}, nil
	}
	m, err := t.Manifest(ctx, r)
	if err != nil {
		return ref.Descriptor{}, err
	}
	return ref.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(m.Raw), Size: int64(len(m.Raw))}, nil
}

// Tags yields the tags of repo, sorted, as the objects have them: what tags/list says is
// for those who pull.
func (t *Target) Tags(ctx context.Context, repo ref.Repository) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		b, err := t.bucket(ctx, repo.Host)
		if err != nil {
			yield("", err)
			return
		}
		empty, enough := true, false
		err = b.list(ctx, b.in(repo, manifests), func(o listed) bool {
			empty = false
			if tag, ok := tagOf(o.key); ok {
				enough = !yield(tag, nil)
			}
			return !enough
		})
		switch {
		case enough:
		case err != nil:
			yield("", err)
		case empty:
			yield("", fmt.Errorf("%s has no manifests: %w", repo, registry.ErrNotFound))
		}
	}
}

// tagOf returns the tag that a manifest is stored under, if it is one.
func tagOf(key string) (string, bool) {
	tag := path.Base(key)
	return tag, ref.ValidTag(tag)
}

// Manifest reads the manifest r points at. Where r has a digest, the bytes have it.
func (t *Target) Manifest(ctx context.Context, r ref.Reference) (registry.Manifest, error) {
	b, err := t.bucket(ctx, r.Repository.Host)
	if err != nil {
		return registry.Manifest{}, err
	}
	if err := checkReference(r); err != nil {
		return registry.Manifest{}, err
	}
	return b.manifest(ctx, r)
}

func (b *bucket) manifest(ctx context.Context, r ref.Reference) (registry.Manifest, error) {
	raw, held, err := b.get(ctx, b.manifestKey(r), maxManifest)
	if err != nil {
		return registry.Manifest{}, err
	}
	if r.Digest != "" {
		if got := r.Digest.Algorithm().FromBytes(raw); got != r.Digest {
			return registry.Manifest{}, fmt.Errorf("manifest %s came as %s: %w", r.Digest, got, registry.ErrCorrupt)
		}
	}
	return registry.Manifest{MediaType: held.mediaType, Raw: raw}, nil
}

// Referrers reads the list that WriteReferrer keeps.
func (t *Target) Referrers(ctx context.Context, subject ref.Reference) ([]ref.Descriptor, error) {
	b, err := t.bucket(ctx, subject.Repository.Host)
	if err != nil {
		return nil, err
	}
	if err := checkDigest(subject.Digest); err != nil {
		return nil, err
	}
	raw, _, err := b.get(ctx, b.referrersKey(subject.Repository, subject.Digest), maxList)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var index imgspec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("referrers of %s: it is no index: %w", subject, registry.ErrPermanent)
	}
	var referrers []ref.Descriptor
	for _, e := range index.Manifests {
		if checkDigest(e.Digest) == nil && e.Size >= 0 {
			referrers = append(referrers, ref.Descriptor{MediaType: e.MediaType, Digest: e.Digest, Size: e.Size})
		}
	}
	return referrers, nil
}
