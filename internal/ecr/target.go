package ecr

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	imagemanifest "go.podman.io/image/v5/manifest"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Target is ECR as a destination: a registry like others for content, and an API that
// answers in bulk what a registry answers tag by tag.
type Target struct {
	registry.Target
	registries *Registries
	quotas     quotas
}

var (
	_ registry.Snapshotter     = (*Target)(nil)
	_ registry.ManifestsReader = (*Target)(nil)
)

// NewTarget returns a Target that moves content through content.
func NewTarget(content registry.Target, registries *Registries) *Target {
	return &Target{Target: content, registries: registries}
}

// pageSize is the most that ECR's listings give in one answer.
const pageSize = 1000

// Snapshot lists every tag of a repository with its digest: one request for each
// thousand tags, however many are asked for. Images of every status are listed. An
// archived image is the default's blind spot, and pushing it again would silently bring
// it back from the archive.
func (t *Target) Snapshot(ctx context.Context, repo ref.Repository, tags []string) (map[string]ref.Descriptor, error) {
	at, private, err := t.registries.one(repo.Host)
	if err != nil {
		return nil, err
	}
	if !private {
		if err := t.knownInPublic(ctx, repo); err != nil {
			return nil, err
		}
		return registry.Snapshot(ctx, t.Target, repo, tags)
	}
	client := at.clients().ecr
	images, err := allPages(ctx, "ecr:ListImages", func(ctx context.Context, token *string) ([]types.ImageIdentifier, *string, error) {
		out, err := client.ListImages(ctx, &ecr.ListImagesInput{
			RepositoryName: aws.String(repo.Path),
			RegistryId:     optional(at.Account),
			MaxResults:     aws.Int32(pageSize),
			NextToken:      token,
			Filter:         &types.ListImagesFilter{TagStatus: types.TagStatusTagged, ImageStatus: types.ImageStatusFilterAny},
		})
		if err != nil {
			return nil, nil, err
		}
		return out.ImageIds, out.NextToken, nil
	})
	if err != nil {
		return nil, err
	}
	return byTag(images)
}

func byTag(images []types.ImageIdentifier) (map[string]ref.Descriptor, error) {
	held := make(map[string]ref.Descriptor, len(images))
	for _, id := range images {
		if id.ImageTag == nil {
			continue
		}
		digest, err := ref.ParseDigest(aws.ToString(id.ImageDigest))
		if err != nil {
			return nil, fmt.Errorf("ecr:ListImages: tag %q: %w", *id.ImageTag, err)
		}
		held[*id.ImageTag] = ref.Descriptor{Digest: digest, Size: -1}
	}
	return held, nil
}

// readBatch is the most images that BatchGetImage takes; readsAtOnce bounds how many
// such requests, each with an answer of perhaps megabytes, are under way.
const (
	readBatch   = 100
	readsAtOnce = 4
)

// everyType is sent with BatchGetImage for the same reason as a registry's full Accept
// header.
var everyType = []string{
	imgspec.MediaTypeImageIndex, imgspec.MediaTypeImageManifest,
	imagemanifest.DockerV2ListMediaType, imagemanifest.DockerV2Schema2MediaType,
	imagemanifest.DockerV2Schema1SignedMediaType, imagemanifest.DockerV2Schema1MediaType,
}

// ReadManifests reads manifests by digest, a hundred with each request.
func (t *Target) ReadManifests(ctx context.Context, repo ref.Repository, digests []ref.Digest) (map[ref.Digest]registry.Manifest, error) {
	at, private, err := t.registries.one(repo.Host)
	if err != nil {
		return nil, err
	}
	if !private {
		return registry.ReadManifests(ctx, t.Target, repo, digests)
	}
	var mu sync.Mutex
	found := make(map[ref.Digest]registry.Manifest, len(digests))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsAtOnce)
	for batch := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(digests))), readBatch) {
		g.Go(func() error {
			images, err := t.readSome(ctx, at, repo, batch)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, image := range images {
				found[digestOf(image.ImageId)] = registry.Manifest{
					MediaType: aws.ToString(image.ImageManifestMediaType),
					Raw:       []byte(aws.ToString(image.ImageManifest)),
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return found, nil
}

// readSome reads one batch. ECR reports what it could not give beside what it could;
// only absence is no failure.
func (t *Target) readSome(ctx context.Context, at site, repo ref.Repository, batch []ref.Digest) ([]types.Image, error) {
	ids := make([]types.ImageIdentifier, 0, len(batch))
	for _, d := range batch {
		ids = append(ids, types.ImageIdentifier{ImageDigest: aws.String(string(d))})
	}
	out, err := at.clients().ecr.BatchGetImage(ctx, &ecr.BatchGetImageInput{
		RepositoryName:     aws.String(repo.Path),
		RegistryId:         optional(at.Account),
		ImageIds:           ids,
		AcceptedMediaTypes: everyType,
	})
	if err != nil {
		return nil, translate("ecr:BatchGetImage", err)
	}
	for _, failure := range out.Failures {
		if failure.FailureCode != types.ImageFailureCodeImageNotFound {
			return nil, fmt.Errorf("ecr:BatchGetImage: %s: %s: %s", digestOf(failure.ImageId), failure.FailureCode, aws.ToString(failure.FailureReason))
		}
	}
	return out.Images, nil
}

func digestOf(id *types.ImageIdentifier) ref.Digest {
	if id == nil {
		return ""
	}
	return ref.Digest(aws.ToString(id.ImageDigest))
}
