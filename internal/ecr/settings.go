package ecr

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

var _ registry.Reconciler = (*Target)(nil)

// Differences compares the settings of a private repository. Only what is asked for is
// read, so that only that needs permission.
func (t *Target) Differences(ctx context.Context, repo ref.Repository, want provision.Settings) ([]provision.Difference, error) {
	at, private, err := t.registries.one(repo.Host)
	if err != nil {
		return nil, err
	}
	if !private {
		return registry.Differences(ctx, t.Target, repo, want)
	}
	have, err := at.settings(ctx, repo, want)
	if err != nil {
		return nil, err
	}
	return provision.Differences(have, want), nil
}

// settings reads of a repository what want asks for.
func (s site) settings(ctx context.Context, repo ref.Repository, want provision.Settings) (provision.Settings, error) {
	described, err := s.describe(ctx, repo)
	if err != nil {
		return provision.Settings{}, err
	}
	have := settingsOf(described)
	if len(want.ResourceTags) > 0 {
		if have.ResourceTags, err = tagsOf(ctx, s.clients(), aws.ToString(described.RepositoryArn)); err != nil {
			return have, err
		}
	}
	if want.LifecyclePolicy != "" {
		out, err := s.clients().ecr.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RegistryId: optional(s.Account), RepositoryName: &repo.Path})
		if err = translate("ecr:GetLifecyclePolicy", err); err != nil && !hasNone(err) {
			return have, err
		} else if err == nil {
			have.LifecyclePolicy = aws.ToString(out.LifecyclePolicyText)
		}
	}
	if want.Policy != "" {
		out, err := s.clients().ecr.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RegistryId: optional(s.Account), RepositoryName: &repo.Path})
		if err = translate("ecr:GetRepositoryPolicy", err); err != nil && !hasNone(err) {
			return have, err
		} else if err == nil {
			have.Policy = aws.ToString(out.PolicyText)
		}
	}
	return have, nil
}

// describe asks ECR about one repository.
func (s site) describe(ctx context.Context, repo ref.Repository) (*types.Repository, error) {
	out, err := s.clients().ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{
		RegistryId:      optional(s.Account),
		RepositoryNames: []string{repo.Path},
	})
	if err != nil {
		return nil, translate("ecr:DescribeRepositories", err)
	}
	for i := range out.Repositories {
		if aws.ToString(out.Repositories[i].RepositoryName) == repo.Path {
			return &out.Repositories[i], nil
		}
	}
	return nil, fmt.Errorf("ecr:DescribeRepositories: the answer does not name %s", repo.Path)
}

// settingsOf are those that the description of a repository tells.
func settingsOf(r *types.Repository) provision.Settings {
	have := provision.Settings{TagMutability: provision.TagMutability{Mode: string(r.ImageTagMutability)}}
	for _, filter := range r.ImageTagMutabilityExclusionFilters {
		have.TagMutability.Exclusions = append(have.TagMutability.Exclusions, aws.ToString(filter.Filter))
	}
	if scanning := r.ImageScanningConfiguration; scanning != nil {
		have.ScanOnPush = &scanning.ScanOnPush
	}
	if e := r.EncryptionConfiguration; e != nil {
		have.Encryption = provision.Encryption{Type: string(e.EncryptionType), KMSKey: aws.ToString(e.KmsKey)}
	}
	return have
}

// Reconcile changes one setting of a private repository.
func (t *Target) Reconcile(ctx context.Context, repo ref.Repository, want provision.Settings, d provision.Difference) error {
	at, private, err := t.registries.one(repo.Host)
	if err != nil {
		return err
	}
	if !private {
		return registry.Reconcile(ctx, t.Target, repo, want, d)
	}
	return at.put(ctx, repo, want, d.Setting)
}

// put gives a repository one of its settings; what settings does not ask for stays.
func (s site) put(ctx context.Context, repo ref.Repository, settings provision.Settings, which provision.Setting) error {
	client, account, name := s.clients().ecr, optional(s.Account), &repo.Path
	switch {
	case which == provision.ScanOnPush && settings.ScanOnPush != nil:
		_, err := client.PutImageScanningConfiguration(ctx, &ecr.PutImageScanningConfigurationInput{
			RegistryId: account, RepositoryName: name,
			ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: *settings.ScanOnPush},
		})
		return translate("ecr:PutImageScanningConfiguration", err)
	case which == provision.TagsMutable && settings.TagMutability.Mode != "":
		_, err := client.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{
			RegistryId: account, RepositoryName: name,
			ImageTagMutability:                 types.ImageTagMutability(settings.TagMutability.Mode),
			ImageTagMutabilityExclusionFilters: exclusionFilters(settings.TagMutability.Exclusions),
		})
		return translate("ecr:PutImageTagMutability", err)
	case which == provision.LifecyclePolicy && settings.LifecyclePolicy != "":
		_, err := client.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{
			RegistryId: account, RepositoryName: name, LifecyclePolicyText: &settings.LifecyclePolicy,
		})
		return translate("ecr:PutLifecyclePolicy", err)
	case which == provision.Policy && settings.Policy != "":
		// Not forced: a policy that would lock the caller out of changing it is refused.
		_, err := client.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{
			RegistryId: account, RepositoryName: name, PolicyText: &settings.Policy,
		})
		return translate("ecr:SetRepositoryPolicy", err)
	case which == provision.ResourceTags && len(settings.ResourceTags) > 0:
		described, err := s.describe(ctx, repo)
		if err != nil {
			return err
		}
		_, err = client.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: described.RepositoryArn, Tags: tagList(settings.ResourceTags)})
		return translate("ecr:TagResource", err)
	case which == provision.EncryptedWith:
		return fmt.Errorf("the encryption of %s cannot be changed: %w", repo, registry.ErrUnsupported)
	}
	return nil
}
