package ecr

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	publictypes "github.com/aws/aws-sdk-go-v2/service/ecrpublic/types"
)

// publicRegion is where the API of ECR Public is, for every Region's users.
// https://docs.aws.amazon.com/general/latest/gr/ecr-public.html
const publicRegion = "us-east-1"

// Repositories lists the paths of the repositories of the private registry at host, in
// ECR's order. The listing is asked for when the loop begins, and complete before it
// yields anything; if it fails, the error is all there is.
func (r *Registries) Repositories(ctx context.Context, host string) iter.Seq2[string, error] {
	return listed(func() ([]string, error) {
		at, err := r.private(host)
		if err != nil {
			return nil, err
		}
		repositories, err := describeAll(ctx, at.clients(), optional(at.Account))
		names := make([]string, 0, len(repositories))
		for i := range repositories {
			names = append(names, aws.ToString(repositories[i].RepositoryName))
		}
		return names, err
	})
}

// listed yields what list returns, or its error alone.
func listed(list func() ([]string, error)) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		all, err := list()
		if err != nil {
			yield("", err)
			return
		}
		for _, one := range all {
			if !yield(one, nil) {
				return
			}
		}
	}
}

// describeAll lists the repositories of the registry of an account; nil means the
// caller's.
func describeAll(ctx context.Context, in *regional, registryID *string) ([]types.Repository, error) {
	return allPages(ctx, "ecr:DescribeRepositories", func(ctx context.Context, token *string) ([]types.Repository, *string, error) {
		out, err := in.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{
			RegistryId: registryID,
			MaxResults: aws.Int32(pageSize),
			NextToken:  token,
		})
		if err != nil {
			return nil, nil, err
		}
		return out.Repositories, out.NextToken, nil
	})
}

// PublicRepositories lists the repositories of the account's own public registry,
// and not those of others, which its API does not show. What it yields are paths at
// public.ecr.aws, ALIAS/NAME with the account's primary alias. For the rest it is like
// Repositories.
func (r *Registries) PublicRepositories(ctx context.Context) iter.Seq2[string, error] {
	return listed(func() ([]string, error) {
		session, _ := r.Public(publicHost)
		repositories, err := describePublic(ctx, session.in(publicRegion))
		if err != nil {
			return nil, err
		}
		paths := make([]string, 0, len(repositories))
		for i := range repositories {
			uri := aws.ToString(repositories[i].RepositoryUri) // the alias is in there and nowhere else
			_, path, ok := strings.Cut(uri, "/")
			if !ok || path == "" {
				return nil, fmt.Errorf("ecr-public:DescribeRepositories: repository URI %q: expected HOST/ALIAS/NAME", uri)
			}
			paths = append(paths, path)
		}
		return paths, nil
	})
}

// describePublic lists the repositories of the caller's public registry.
func describePublic(ctx context.Context, in *regional) ([]publictypes.Repository, error) {
	return allPages(ctx, "ecr-public:DescribeRepositories", func(ctx context.Context, token *string) ([]publictypes.Repository, *string, error) {
		out, err := in.public.DescribeRepositories(ctx, &ecrpublic.DescribeRepositoriesInput{
			MaxResults: aws.Int32(pageSize),
			NextToken:  token,
		})
		if err != nil {
			return nil, nil, err
		}
		return out.Repositories, out.NextToken, nil
	})
}
