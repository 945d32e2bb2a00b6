package copy

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
)

// Bounds of reading configs, which a hostile upstream may make as large as it likes.
const (
	maxConfig     = 8 << 20 // bytes; those of real images have some thousands
	configsAtOnce = 8
	configRetries = 2
)

// Config returns an image's config, the blob that its manifest calls so, from the
// repository the manifest was read from. Its bytes have that digest. A config that is
// larger than 8 MiB is an error of kind failure.ErrUnsupported.
//
// It is not among what Read counts: no registry takes it for a pull.
func (l *Library) Config(ctx context.Context, src registry.Source, repo ref.Repository, config ref.Descriptor) ([]byte, error) {
	at := func(err error) error {
		if registry.OnSide(err) != "" {
			return err
		}
		return &registry.Error{Op: "read config from", Side: registry.SideSource, Ref: repo.Digested(config.Digest), Err: err}
	}
	if config.Size > maxConfig {
		return nil, at(fmt.Errorf("it has %d bytes, and at most %d are read: %w", config.Size, maxConfig, failure.ErrUnsupported))
	}
	endpoint, err := src.OpenSource(ctx, repo)
	if err != nil {
		return nil, at(err)
	}
	var raw []byte
	err = retry.Do(ctx, retry.Policy{Times: configRetries, Final: failure.Final}, func(ctx context.Context) error {
		return limited(ctx, l.configs, func() (err error) {
			raw, err = readBlob(ctx, endpoint, config)
			return err
		})
	})
	if err = errors.Join(err, endpoint.Close()); err != nil {
		return nil, at(err)
	}
	return raw, nil
}

// readBlob reads a small blob whole, verified.
func readBlob(ctx context.Context, endpoint imagetypes.ImageSource, want ref.Descriptor) (raw []byte, err error) {
	body, _, err := endpoint.GetBlob(ctx, imagetypes.BlobInfo{Digest: want.Digest, Size: want.Size, MediaType: want.MediaType}, none.NoCache)
	if err != nil {
		return nil, err
	}
	content := verify(body, want, func(int) {})
	defer func() { err = errors.Join(err, content.Close()) }()
	return io.ReadAll(content)
}
