package ecr

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	taggingtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// throughTagging asks the tagging API for each key by itself, since it joins several
// keys with AND and a repository with only one of them has to show as a mistake. What
// it finds is to be described by ECR.
func (f *Finder) throughTagging(ctx context.Context, in *regional) ([]repository, error) {
	byARN := map[string]repository{}
	for _, key := range f.opts.Keys.Queried() {
		resources, err := carrying(ctx, in, key)
		if err != nil {
			return nil, err
		}
		for _, resource := range resources {
			if repo, ok := f.repositoryOf(resource); ok {
				byARN[repo.arn] = repo
			}
		}
	}
	return slices.SortedFunc(maps.Values(byARN), func(a, b repository) int { return cmp.Compare(a.arn, b.arn) }), nil
}

// carrying lists the repositories that have a resource tag.
func carrying(ctx context.Context, in *regional, key string) ([]taggingtypes.ResourceTagMapping, error) {
	return allPages(ctx, "tag:GetResources", func(ctx context.Context, token *string) ([]taggingtypes.ResourceTagMapping, *string, error) {
		out, err := in.tagging.GetResources(ctx, &tagging.GetResourcesInput{
			ResourceTypeFilters: []string{"ecr:repository"},
			TagFilters:          []taggingtypes.TagFilter{{Key: aws.String(key)}},
			ResourcesPerPage:    aws.Int32(100),
			PaginationToken:     token,
		})
		if err != nil {
			return nil, nil, err
		}
		return out.ResourceTagMappingList, out.PaginationToken, nil
	})
}

// repositoryOf reads one answer of the tagging API, and reports whether it is a
// repository under the prefixes that has one of the keys. The API also names resources
// that once had tags, with none.
func (f *Finder) repositoryOf(resource taggingtypes.ResourceTagMapping) (repository, bool) {
	parsed, err := arn.Parse(aws.ToString(resource.ResourceARN))
	if err != nil || parsed.Service != "ecr" {
		return repository{}, false
	}
	name, ok := strings.CutPrefix(parsed.Resource, "repository/")
	if !ok || !f.underPrefixes(name) {
		return repository{}, false
	}
	tags := make(map[string]string, len(resource.Tags))
	for _, t := range resource.Tags {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return repository{arn: parsed.String(), name: name, account: parsed.AccountID, tags: tags}, f.marked(tags)
}

// describeBatch is the most names that DescribeRepositories takes; describeAtOnce
// bounds the calls, whose rate AWS does not publish.
const (
	describeBatch  = 100
	describeAtOnce = 4
)

// describe adds what ECR says of each repository: its URI and which tags may be
// overwritten. A repository that ECR does not know is left out: the tagging API goes
// on naming repositories for a while after they are deleted.
func (f *Finder) describe(ctx context.Context, in *regional, repos []repository) ([]repository, error) {
	batches := slices.Collect(slices.Chunk(repos, describeBatch))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(describeAtOnce)
	for i := range batches {
		g.Go(func() (err error) {
			batches[i], err = f.describeSome(ctx, in, batches[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return orDenied(slices.Concat(batches...))
}

// describeSome describes one batch. One name that is unknown, or that the caller may
// not describe, makes ECR refuse the whole call, so a refused batch is halved until
// the name is alone.
func (f *Finder) describeSome(ctx context.Context, in *regional, batch []repository) ([]repository, error) {
	details, err := f.detailsOf(ctx, in, batch)
	unknown := errors.Is(err, registry.ErrNotFound)
	switch {
	case err == nil:
		return f.withDetails(batch, details), nil
	case !unknown && !refused(err):
		return nil, err
	case len(batch) > 1:
		half := len(batch) / 2
		first, err := f.describeSome(ctx, in, batch[:half])
		if err != nil {
			return nil, err
		}
		second, err := f.describeSome(ctx, in, batch[half:])
		return slices.Concat(first, second), err
	case unknown:
		return f.withDetails(batch, nil), nil
	}
	refusedOne := batch[0]
	refusedOne.err = err
	return []repository{refusedOne}, nil
}

// detailsOf asks ECR about a batch of repositories, by name.
func (f *Finder) detailsOf(ctx context.Context, in *regional, batch []repository) (map[string]*types.Repository, error) {
	names := make([]string, 0, len(batch))
	for _, repo := range batch {
		names = append(names, repo.name)
	}
	out, err := in.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RegistryId: f.session.registryID(), RepositoryNames: names})
	if err != nil {
		return nil, translate("ecr:DescribeRepositories", err)
	}
	byName := make(map[string]*types.Repository, len(out.Repositories))
	for i := range out.Repositories {
		byName[aws.ToString(out.Repositories[i].RepositoryName)] = &out.Repositories[i]
	}
	return byName, nil
}

// withDetails returns the repositories that ECR knows, and says which it does not.
func (f *Finder) withDetails(batch []repository, details map[string]*types.Repository) []repository {
	known := make([]repository, 0, len(batch))
	for _, repo := range batch {
		if repo.details = details[repo.name]; repo.details == nil {
			f.session.log.Warn("left out a repository that has resource tags and does not exist", zap.String("arn", repo.arn))
			continue
		}
		known = append(known, repo)
	}
	return known
}

// orDenied turns a refusal of every repository into one error: a permission is missing
// then, and a row for each repository would bury that.
func orDenied(repos []repository) ([]repository, error) {
	if len(repos) == 0 || slices.ContainsFunc(repos, func(r repository) bool { return !refused(r.err) }) {
		return repos, nil
	}
	return nil, repos[0].err
}

// listAtOnce bounds ListTagsForResource, whose rate AWS does not publish.
const listAtOnce = 10

// throughECR describes every repository and reads the tags of each: more calls, but
// only ECR's own permissions, and any account's registry. A repository whose tags ECR
// will not show stays in the result with the reason, since it may be a mirror; if AWS
// cannot be reached or is too busy, that is so of all of them and an error.
func (f *Finder) throughECR(ctx context.Context, in *regional) ([]repository, error) {
	repos, err := f.everyRepository(ctx, in)
	if err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(listAtOnce)
	for i := range repos {
		g.Go(func() error {
			var err error
			repos[i].tags, err = tagsOf(ctx, in, repos[i].arn)
			if refused(err) || errors.Is(err, registry.ErrPermanent) {
				repos[i].err = err
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if repos, err = orDenied(repos); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(repos, func(r repository) bool { return r.err == nil && !f.marked(r.tags) }), nil
}

// everyRepository lists what is under the prefixes.
func (f *Finder) everyRepository(ctx context.Context, in *regional) ([]repository, error) {
	listed, err := describeAll(ctx, in, f.session.registryID())
	if err != nil {
		return nil, err
	}
	var repos []repository
	for i := range listed {
		r := &listed[i]
		if name := aws.ToString(r.RepositoryName); f.underPrefixes(name) {
			repos = append(repos, repository{arn: aws.ToString(r.RepositoryArn), name: name, account: aws.ToString(r.RegistryId), details: r})
		}
	}
	return repos, nil
}

// tagsOf reads the tags of one repository; none where it was deleted meanwhile.
func tagsOf(ctx context.Context, in *regional, arn string) (map[string]string, error) {
	out, err := in.ecr.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: aws.String(arn)})
	if err != nil {
		err = translate("ecr:ListTagsForResource", err)
		if errors.Is(err, registry.ErrNotFound) {
			return nil, nil
		}
		return nil, err
	}
	return byKey(out.Tags), nil
}
