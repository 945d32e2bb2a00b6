package verify

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// blob checks a blob, once for all manifests that name it. What was hashed counts for
// whom it was hashed for.
func (r *Repository) blob(ctx context.Context, want ref.Descriptor, moved func(int)) plan.Inspection {
	want = ref.Descriptor{Digest: want.Digest, Size: want.Size} // by which it is the same blob
	var hashed int64
	found, err := r.blobs.do(ctx, want, func() (plan.Inspection, error) {
		return r.measure(ctx, want, func(n int) {
			hashed += int64(n)
			moved(n)
		})
	})
	found.Hashed, found.Err = hashed, err
	return found
}

// measure looks whether a blob is there, with the size that its manifest says, and hashes
// it where that is asked for, or the registry does not say a size.
func (r *Repository) measure(ctx context.Context, want ref.Descriptor, moved func(int)) (plan.Inspection, error) {
	if r.checker.deep {
		return r.hash(ctx, want, moved)
	}
	var size int64
	err := r.ask(ctx, func() (err error) {
		size, err = registry.StatBlob(ctx, r.content, want)
		return err
	})
	problem, err := r.verdict(ctx, "look for blob at", r.at.Digested(want.Digest), err)
	switch {
	case err != nil:
		return plan.Inspection{}, err
	case problem != "":
		return damaged("blob", want.Digest, problem), nil
	case size < 0:
		return r.hash(ctx, want, moved)
	case size != want.Size:
		return damaged("blob", want.Digest, sizes(want, size)), nil
	}
	return plan.Inspection{}, nil
}

func sizes(want ref.Descriptor, got int64) string {
	return fmt.Sprintf("its manifest says %d bytes and it has %d", want.Size, got)
}

// hashTimes is how often a blob is read whose stream broke. A connection breaks now and
// then; a blob that breaks it each time is not to be had.
const hashTimes = 3

// hash reads a blob to its end.
func (r *Repository) hash(ctx context.Context, want ref.Descriptor, moved func(int)) (plan.Inspection, error) {
	var problem string
	var err error
	for range hashTimes {
		err = limited(ctx, r.checker.streams, func() (err error) {
			problem, err = r.stream(ctx, want, moved)
			return err
		})
		if err == nil || ctx.Err() != nil || failure.Final(err) {
			break
		}
	}
	if err != nil {
		problem, err = r.verdict(ctx, "read blob from", r.at.Digested(want.Digest), err)
	}
	if err != nil || problem == "" {
		return plan.Inspection{}, err
	}
	return damaged("blob", want.Digest, problem), nil
}

// stream reads a blob once, in constant memory. The problem is what is wrong with bytes
// that could be read.
func (r *Repository) stream(ctx context.Context, want ref.Descriptor, moved func(int)) (problem string, err error) {
	body, size, err := r.content.GetBlob(ctx, imagetypes.BlobInfo{Digest: want.Digest, Size: want.Size}, none.NoCache)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if size >= 0 && size != want.Size {
		return sizes(want, size), nil
	}
	hash := want.Digest.Algorithm().Hash()
	n, err := io.Copy(io.MultiWriter(hash, counter(moved)), io.LimitReader(body, want.Size+1))
	switch got := digest.NewDigest(want.Digest.Algorithm(), hash); {
	case err != nil:
		return "", err
	case n > want.Size:
		return fmt.Sprintf("it is longer than the %d bytes that its manifest says", want.Size), nil
	case n < want.Size && size < 0:
		return sizes(want, n), nil
	case n < want.Size:
		return "", fmt.Errorf("after %d of %d bytes: %w", n, want.Size, io.ErrUnexpectedEOF)
	case got != want.Digest:
		return fmt.Sprintf("its bytes are %s", got), nil
	}
	return "", nil
}

// counter tells of the bytes that are written to it.
type counter func(n int)

func (c counter) Write(p []byte) (int, error) {
	c(len(p))
	return len(p), nil
}
