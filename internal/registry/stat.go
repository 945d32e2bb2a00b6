package registry

import (
	"context"

	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// BlobStater is the ability of a source endpoint to say how large a blob is without
// reading it. Use StatBlob.
type BlobStater interface {
	// StatBlob returns the size of a blob in bytes, or -1 where the place holds it and does
	// not say. It returns ErrNotFound where the blob is absent.
	StatBlob(ctx context.Context, digest ref.Digest) (size int64, err error)
}

// StatBlob returns the size of a blob that src holds, -1 where that is not said, and
// ErrNotFound where src does not hold it. Of an endpoint without the ability the blob is
// opened, and closed before it is read.
func StatBlob(ctx context.Context, src imagetypes.ImageSource, want ref.Descriptor) (size int64, err error) {
	if s, ok := src.(BlobStater); ok {
		return s.StatBlob(ctx, want.Digest)
	}
	body, size, err := src.GetBlob(ctx, imagetypes.BlobInfo{Digest: want.Digest, Size: want.Size, MediaType: want.MediaType}, none.NoCache)
	if err != nil {
		return 0, err
	}
	return size, body.Close()
}
