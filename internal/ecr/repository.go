package ecr

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// RepositoryName is a private repository as a person names it.
type RepositoryName struct {
	Name string   // within the registry: "external/nginx"
	At   Location // as far as the name says it; the zero Location is the session's own
	Host string   // the registry's host where it is no name of AWS's own, as with an emulator; else ""
}

// repositoryName is the grammar of ECR's service model.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
var repositoryName = regexp.MustCompile(`^(?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/)*[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)

// ParseRepositoryName reads the name of a repository, its URI, or its ARN. A name may
// begin like a host: docker.io/library/nginx is one.
func ParseRepositoryName(s string) (RepositoryName, error) {
	named := RepositoryName{Name: s}
	host, path, found := strings.Cut(s, "/")
	if parsed, err := arn.Parse(s); err == nil {
		name, isRepository := strings.CutPrefix(parsed.Resource, "repository/")
		if parsed.Service != "ecr" || !isRepository {
			return RepositoryName{}, fmt.Errorf("%q is no ARN of an ECR repository", s)
		}
		named = RepositoryName{Name: name, At: Location{Account: parsed.AccountID, Region: parsed.Region}}
	} else if at, isECR := ParseHost(host); isECR {
		named = RepositoryName{Name: path, At: at}
	} else if found && strings.Contains(host, ":") {
		named = RepositoryName{Name: path, Host: host}
	}
	if len(named.Name) < 2 || len(named.Name) > 256 || !repositoryName.MatchString(named.Name) {
		return RepositoryName{}, fmt.Errorf("%q is no ECR repository: expected a name such as external/nginx, a URI without a tag, or an ARN", s)
	}
	return named, nil
}

// TaggedRepository is one private repository, for reading and writing its resource tags.
type TaggedRepository struct {
	ARN    string
	Ref    ref.Repository // where its images are
	Region string

	client *ecr.Client
}

// Repository asks ECR for a repository in a Region of the first session's account. The
// error is of kind registry.ErrNotFound where there is none.
func (r *Registries) Repository(ctx context.Context, named RepositoryName, region string) (*TaggedRepository, error) {
	client := r.session.in(region).ecr
	out, err := client.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{
		RegistryId:      r.session.registryID(),
		RepositoryNames: []string{named.Name},
	})
	if _, missing := errors.AsType[*types.RepositoryNotFoundException](err); missing {
		return nil, fmt.Errorf("repository %s in %s: %w; create it first, or name its Region", named.Name, region, translate("ecr:DescribeRepositories", err))
	}
	if err != nil {
		return nil, fmt.Errorf("repository %s in %s: %w", named.Name, region, translate("ecr:DescribeRepositories", err))
	}
	if len(out.Repositories) != 1 {
		return nil, fmt.Errorf("ecr:DescribeRepositories: the answer names %d repositories, and %s was asked for", len(out.Repositories), named.Name)
	}
	found := &out.Repositories[0]
	at, err := ref.ParseRepository(aws.ToString(found.RepositoryUri))
	if err != nil {
		return nil, fmt.Errorf("repository URI: %w", err)
	}
	if named.Host != "" && named.Host != at.Host {
		return nil, fmt.Errorf("%s is no registry of this account and Region, whose repositories are at %s", named.Host, at.Host)
	}
	r.Learn(at.Host, Location{Account: aws.ToString(found.RegistryId), Region: region}, r.session)
	return &TaggedRepository{ARN: aws.ToString(found.RepositoryArn), Ref: at, Region: region, client: client}, nil
}

// ResourceTags reads all resource tags of the repository.
func (r *TaggedRepository) ResourceTags(ctx context.Context) (map[string]string, error) {
	out, err := r.client.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: &r.ARN})
	if err != nil {
		return nil, translate("ecr:ListTagsForResource", err)
	}
	return byKey(out.Tags), nil
}

// SetResourceTags writes resource tags, all in one call, so that nobody reads some of
// them without the others. The repository's others stay.
func (r *TaggedRepository) SetResourceTags(ctx context.Context, tags map[string]string) error {
	_, err := r.client.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: &r.ARN, Tags: tagList(tags)})
	return translate("ecr:TagResource", err)
}

// RemoveResourceTags removes resource tags, all in one call. Keys that the repository
// does not have are no error.
func (r *TaggedRepository) RemoveResourceTags(ctx context.Context, keys []string) error {
	_, err := r.client.UntagResource(ctx, &ecr.UntagResourceInput{ResourceArn: &r.ARN, TagKeys: keys})
	return translate("ecr:UntagResource", err)
}

// byKey makes a map of the tags that ECR lists.
func byKey(tags []types.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}
