package registry

import (
	"context"
	"fmt"
	"io"

	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Opener starts reading a blob. The reader fails at its end unless the bytes had the
// digest and size they were asked for by. Both opening and reading end with ctx, and
// with ErrStalled where the source sends nothing for too long.
type Opener func(ctx context.Context) (io.ReadCloser, error)

// BlobUploader is the ability of a destination endpoint to open the upload while the
// source is being opened, which saves a round trip for each blob. Use UploadBlob.
type BlobUploader interface {
	// UploadBlob stores the blob that open reads. It closes what it opened, and
	// returns only when the registry has said that it holds the blob.
	UploadBlob(ctx context.Context, want ref.Descriptor, open Opener) error
}

// UploadBlob stores a blob at dst, by the shortest way dst knows. It tries once.
func UploadBlob(ctx context.Context, dst imagetypes.ImageDestination, want ref.Descriptor, open Opener) error {
	if u, ok := dst.(BlobUploader); ok {
		return u.UploadBlob(ctx, want, open)
	}
	content, err := open(ctx)
	if err != nil {
		return err
	}
	defer content.Close()
	// Naming the digest would make the library ask first whether the blob is there,
	// which is known: without one it hashes, and tells.
	info := imagetypes.BlobInfo{Size: want.Size, MediaType: want.MediaType}
	stored, err := dst.PutBlob(ctx, content, info, none.NoCache, false)
	if err != nil {
		return err
	}
	if stored.Digest != want.Digest {
		return fmt.Errorf("blob %s was stored as %s: %w", want.Digest, stored.Digest, ErrCorrupt)
	}
	return nil
}

// BlobReplacer is the ability of a destination endpoint to store a blob also where it
// believes to hold it. Use ReplaceBlob.
type BlobReplacer interface {
	ReplaceBlob(ctx context.Context, want ref.Descriptor, open Opener) error
}

// ReplaceBlob is UploadBlob for a blob that dst holds, or says that it holds, with bytes
// that are not the blob's. Registries that keep each digest once may take the upload and
// leave what they have: only reading it again tells.
func ReplaceBlob(ctx context.Context, dst imagetypes.ImageDestination, want ref.Descriptor, open Opener) error {
	if r, ok := dst.(BlobReplacer); ok {
		return r.ReplaceBlob(ctx, want, open)
	}
	return UploadBlob(ctx, dst, want, open)
}

// BlobMounter is the ability of a destination endpoint to take a blob over from another
// repository of its registry, without its bytes. Use MountBlob.
type BlobMounter interface {
	// MountBlob asks the registry to take want over from the repository from, which is
	// on the same host. Where session is nil, and there is no error, it has done so.
	// Otherwise it has opened an upload instead, and session stores the blob there: once,
	// and only this blob.
	MountBlob(ctx context.Context, want ref.Descriptor, from ref.Repository) (session BlobUploader, err error)
}

// CanMount reports whether dst can mount blobs, as far as that is its own to say.
func CanMount(dst imagetypes.ImageDestination) bool {
	_, ok := dst.(BlobMounter)
	return ok
}

// MountBlob takes a blob over from another repository of dst's registry, see BlobMounter.
// Whatever its error is, the blob may still be uploaded.
func MountBlob(ctx context.Context, dst imagetypes.ImageDestination, want ref.Descriptor, from ref.Repository) (session BlobUploader, err error) {
	m, ok := dst.(BlobMounter)
	if !ok {
		return nil, fmt.Errorf("%T cannot mount blobs: %w", dst, ErrUnsupported)
	}
	return m.MountBlob(ctx, want, from)
}

// HasBlob reports whether dst holds a blob, of the right size where it says a size.
func HasBlob(ctx context.Context, dst imagetypes.ImageDestination, want ref.Descriptor) (bool, error) {
	held, info, err := dst.TryReusingBlob(ctx, imagetypes.BlobInfo{Digest: want.Digest, Size: want.Size, MediaType: want.MediaType}, none.NoCache, false)
	if err != nil || !held {
		return false, err
	}
	return info.Digest == want.Digest && (info.Size < 0 || want.Size < 0 || info.Size == want.Size), nil
}
