package ecr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

var _ registry.RepositoryCreator = (*Target)(nil)

// quotas remembers which registries are full. No waiting makes room in one, so that asking
// again for every missing repository would only spend calls.
type quotas struct {
	mu   sync.Mutex
	full map[Location]error
}

// of returns why nothing can be made at a registry any more, nil where it can.
func (q *quotas) of(at Location) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.full[at]
}

// note remembers err if it says that the registry is full, and returns it for people.
func (q *quotas) note(at Location, err error) error {
	if !quotaReached(err) {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.full == nil {
		q.full = map[Location]error{}
	}
	if q.full[at] == nil {
		q.full[at] = fmt.Errorf("%w; raise the quota of repositories for %s: this run makes no more there", err, at)
	}
	return q.full[at]
}

func quotaReached(err error) bool {
	e, ok := errors.AsType[*callError](err)
	return ok && e.code == "LimitExceededException"
}

// CanCreateRepository is true for ECR, private and public, and for others as they say.
func (t *Target) CanCreateRepository(repo ref.Repository) bool {
	_, private := t.registries.Locate(repo.Host)
	_, public := t.registries.Public(repo.Host)
	return private || public || registry.CanCreateRepository(t.Target, repo)
}

// CreateRepository makes a repository. A private one's settings come with the one call that
// makes it, but for the policies, which ECR takes afterwards only.
func (t *Target) CreateRepository(ctx context.Context, repo ref.Repository, settings provision.Settings) (created bool, err error) {
	if session, public := t.registries.Public(repo.Host); public {
		return t.createPublic(ctx, session, repo, settings)
	}
	at, private, err := t.registries.one(repo.Host)
	if err != nil {
		return false, err
	}
	if !private {
		return registry.CreateRepository(ctx, t.Target, repo, settings)
	}
	if full := t.quotas.of(at.Location); full != nil {
		return false, full
	}
	_, err = at.clients().ecr.CreateRepository(ctx, creation(at, repo, settings))
	if _, exists := errors.AsType[*types.RepositoryAlreadyExistsException](err); exists {
		return false, nil
	}
	if err != nil {
		return false, t.quotas.note(at.Location, translate("ecr:CreateRepository", err))
	}
	for _, policy := range []provision.Setting{provision.LifecyclePolicy, provision.Policy} {
		if err := at.put(ctx, repo, settings, policy); err != nil {
			return true, fmt.Errorf("the repository was created without its %s, which reconcile: apply will set: %w", policy, err)
		}
	}
	return true, nil
}

// creation is the call that makes repo.
func creation(at site, repo ref.Repository, s provision.Settings) *ecr.CreateRepositoryInput {
	in := &ecr.CreateRepositoryInput{
		RegistryId:                         optional(at.Account),
		RepositoryName:                     aws.String(repo.Path),
		ImageTagMutability:                 types.ImageTagMutability(s.TagMutability.Mode),
		ImageTagMutabilityExclusionFilters: exclusionFilters(s.TagMutability.Exclusions),
		Tags:                               tagList(s.ResourceTags),
	}
	if s.ScanOnPush != nil {
		in.ImageScanningConfiguration = &types.ImageScanningConfiguration{ScanOnPush: *s.ScanOnPush}
	}
	if s.Encryption.Type != "" {
		in.EncryptionConfiguration = &types.EncryptionConfiguration{
			EncryptionType: types.EncryptionType(s.Encryption.Type),
			KmsKey:         optional(s.Encryption.KMSKey),
		}
	}
	return in
}

func exclusionFilters(filters []string) []types.ImageTagMutabilityExclusionFilter {
	var list []types.ImageTagMutabilityExclusionFilter
	for _, f := range filters {
		list = append(list, types.ImageTagMutabilityExclusionFilter{
			Filter: aws.String(f), FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard,
		})
	}
	return list
}

// tagList writes resource tags as ECR takes them, sorted.
func tagList(tags map[string]string) []types.Tag {
	list := make([]types.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return list
}
