package ecr

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

var _ registry.TagDeleter = (*Target)(nil)

// LastTagDeletes is true for private ECR. ECR Public is asked as a registry like others.
func (t *Target) LastTagDeletes(repo ref.Repository) (bool, error) {
	_, private, err := t.registries.one(repo.Host)
	return private, err
}

// DeleteTag removes a tag, also one that may not be overwritten. The image goes with its
// last tag, unless an index names it: then ECR refuses, and the tag stays.
//
// The tag alone is named. An image that is named by its digest too would lose all its
// tags.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html
func (t *Target) DeleteTag(ctx context.Context, r ref.Reference) error {
	at, private, err := t.registries.one(r.Repository.Host)
	if err != nil {
		return err
	}
	if !private {
		return registry.DeleteTag(ctx, t.Target, r)
	}
	if !ref.ValidTag(r.Tag) {
		return fmt.Errorf("%s names no tag: %w", r, registry.ErrPermanent)
	}
	out, err := at.clients().ecr.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{
		RepositoryName: aws.String(r.Repository.Path),
		RegistryId:     optional(at.Account),
		ImageIds:       []types.ImageIdentifier{{ImageTag: aws.String(r.Tag)}},
	})
	if err != nil {
		return translate("ecr:BatchDeleteImage", err)
	}
	for _, refused := range out.Failures {
		return notDeleted(refused)
	}
	return nil
}

// notDeleted words ECR's reason why an image stays.
func notDeleted(f types.ImageFailure) error {
	kind := registry.ErrPermanent
	switch f.FailureCode {
	case types.ImageFailureCodeImageNotFound:
		kind = registry.ErrNotFound
	case types.ImageFailureCodeImageReferencedByManifestList:
		kind = registry.ErrForbidden
	default:
	}
	return fmt.Errorf("ecr:BatchDeleteImage: %s: %s: %w", f.FailureCode, oneLine(aws.ToString(f.FailureReason)), kind)
}
