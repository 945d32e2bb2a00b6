package registry

import (
	"context"
	"regexp"

	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// ReferrerWriter is the ability of a destination endpoint to tell whether a registry
// took notice of a manifest's subject. Use WriteReferrer.
type ReferrerWriter interface {
	// WriteReferrer stores m, whose subject is subject, under its digest. It reports
	// whether the registry said that it lists m among the subject's referrers.
	WriteReferrer(ctx context.Context, digest, subject ref.Digest, m Manifest) (listed bool, err error)
}

// WriteReferrer writes m, whose subject is subject, under its digest. It reports whether
// the registry said that it lists m among the subject's referrers, which a registry that
// is older than the referrers API does not, and an endpoint without the ability cannot.
func WriteReferrer(ctx context.Context, dst imagetypes.ImageDestination, digest, subject ref.Digest, m Manifest) (listed bool, err error) {
	if w, ok := dst.(ReferrerWriter); ok {
		return w.WriteReferrer(ctx, digest, subject, m)
	}
	return false, WriteManifest(ctx, dst, digest.String(), m)
}

// ReferrersAsker is the ability of a Source to ask for referrers without reading the
// fallback tag. Use AskReferrers.
type ReferrersAsker interface {
	// AskReferrers is Referrers for a subject that is known to have no fallback tag: where
	// the place cannot be asked, there are none.
	AskReferrers(ctx context.Context, subject ref.Reference) ([]ref.Descriptor, error)
}

// AskReferrers lists what refers to a subject that is known to have no fallback tag. A
// Source without the ability looks for it all the same.
func AskReferrers(ctx context.Context, s Source, subject ref.Reference) ([]ref.Descriptor, error) {
	if asker, ok := s.(ReferrersAsker); ok {
		return asker.AskReferrers(ctx, subject)
	}
	return s.Referrers(ctx, subject)
}

// noTag matches the characters that a digest may have and a tag may not.
var noTag = regexp.MustCompile(`[^a-zA-Z0-9._-]`)

// Lengths of the two parts of a fallback tag.
const (
	maxTagAlgorithm = 32
	maxTagEncoded   = 64
)

// ReferrersTag is the tag under which a registry without the referrers API holds an
// index of the referrers of d.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
func ReferrersTag(d ref.Digest) string {
	part := func(s string, most int) string { return noTag.ReplaceAllString(s[:min(len(s), most)], "-") }
	return part(d.Algorithm().String(), maxTagAlgorithm) + "-" + part(d.Encoded(), maxTagEncoded)
}
