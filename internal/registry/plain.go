package registry

import (
	"context"

	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// PlainSource is what all endpoints that are read from answer alike, where the library's
// interface asks for more than content. It is embedded.
type PlainSource struct{}

// HasThreadSafeGetBlob is true: many blobs are read at once.
func (PlainSource) HasThreadSafeGetBlob() bool { return true }

// GetSignatures returns none: signatures are artifacts, and are read as such. A trust
// policy that needs them is judged over the library's own source, which finds them where
// the system's configuration says.
func (PlainSource) GetSignatures(context.Context, *ref.Digest) ([][]byte, error) { return nil, nil }

// LayerInfosForCopy returns nil: the manifest says it all.
func (PlainSource) LayerInfosForCopy(context.Context, *ref.Digest) ([]imagetypes.BlobInfo, error) {
	return nil, nil
}

// PlainDestination is what all endpoints that are written to answer alike: they take
// every manifest and blob as it is, and nothing else. It is embedded.
type PlainDestination struct{}

// HasThreadSafePutBlob is true: many blobs are written at once.
func (PlainDestination) HasThreadSafePutBlob() bool { return true }

// SupportedManifestMIMETypes returns nil: any.
func (PlainDestination) SupportedManifestMIMETypes() []string { return nil }

// DesiredLayerCompression is to preserve the original.
func (PlainDestination) DesiredLayerCompression() imagetypes.LayerCompression {
	return imagetypes.PreserveOriginal
}

// AcceptsForeignLayerURLs is true: they stay what they are.
func (PlainDestination) AcceptsForeignLayerURLs() bool { return true }

// MustMatchRuntimeOS is false: nothing is run here.
func (PlainDestination) MustMatchRuntimeOS() bool { return false }

// IgnoresEmbeddedDockerReference is true: names in manifests are not looked at.
func (PlainDestination) IgnoresEmbeddedDockerReference() bool { return true }

// SupportsSignatures returns ErrUnsupported, see PutSignatures.
func (PlainDestination) SupportsSignatures(context.Context) error { return ErrUnsupported }

// PutSignatures stores none: signatures are artifacts, and are copied as such.
func (PlainDestination) PutSignatures(_ context.Context, signatures [][]byte, _ *ref.Digest) error {
	if len(signatures) > 0 {
		return ErrUnsupported
	}
	return nil
}

// Commit does nothing: what makes writes last is a Committer's to do.
func (PlainDestination) Commit(context.Context, imagetypes.UnparsedImage) error { return nil }
