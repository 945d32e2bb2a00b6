package ecrlocal_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	rgttypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

func tagging(run *ecrlocaltest.Running) *resourcegroupstaggingapi.Client {
	return resourcegroupstaggingapi.NewFromConfig(run.AWSConfig(""), func(o *resourcegroupstaggingapi.Options) { o.RetryMaxAttempts = 1 })
}

// tagged creates a repository with resource tags.
func tagged(t *testing.T, run *ecrlocaltest.Running, name string, tags map[string]string) {
	t.Helper()
	if err := run.CreateRepository(name, ecrlocal.RepositoryOptions{Tags: tags}); err != nil {
		t.Fatal(err)
	}
}

func arnOf(name string) string { return "arn:aws:ecr:us-east-1:111122223333:repository/" + name }

// found asks GetResources and returns "name k=v k=v" for each resource.
func found(t *testing.T, run *ecrlocaltest.Running, in *resourcegroupstaggingapi.GetResourcesInput) []string {
	t.Helper()
	var all []string
	pages := resourcegroupstaggingapi.NewGetResourcesPaginator(tagging(run), in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.ResourceTagMappingList {
			line := strings.TrimPrefix(aws.ToString(r.ResourceARN), arnOf(""))
			for _, tag := range r.Tags {
				line += " " + aws.ToString(tag.Key) + "=" + aws.ToString(tag.Value)
			}
			all = append(all, line)
		}
	}
	return all
}

func TestGetResources(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "never")
	tagged(t, run, "ab", map[string]string{"a": "1", "b": "1"})
	tagged(t, run, "a2", map[string]string{"a": "2"})
	tagged(t, run, "empty", map[string]string{"a": ""})
	tagged(t, run, "once", map[string]string{"c": "1"})
	tagged(t, run, "deleted", map[string]string{"a": "1"})
	if err := run.CreateRepository("elsewhere", ecrlocal.RepositoryOptions{Region: "eu-west-1", Tags: map[string]string{"a": "1"}}); err != nil {
		t.Fatal(err)
	}
	client := api(run)
	if _, err := client.UntagResource(t.Context(), &ecr.UntagResourceInput{ResourceArn: aws.String(arnOf("once")), TagKeys: []string{"c"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: new("deleted")}); err != nil {
		t.Fatal(err)
	}
	filter := func(key string, values ...string) rgttypes.TagFilter {
		return rgttypes.TagFilter{Key: &key, Values: values}
	}
	for _, row := range []struct {
		name string
		in   resourcegroupstaggingapi.GetResourcesInput
		want []string
	}{
		{"all that ever had a tag", resourcegroupstaggingapi.GetResourcesInput{}, []string{"a2 a=2", "ab a=1 b=1", "empty a=", "once"}},
		{"by key", resourcegroupstaggingapi.GetResourcesInput{TagFilters: []rgttypes.TagFilter{filter("a")}}, []string{"a2 a=2", "ab a=1 b=1", "empty a="}},
		{"by value", resourcegroupstaggingapi.GetResourcesInput{TagFilters: []rgttypes.TagFilter{filter("a", "1")}}, []string{"ab a=1 b=1"}},
		{"values are ored", resourcegroupstaggingapi.GetResourcesInput{TagFilters: []rgttypes.TagFilter{filter("a", "1", "2")}}, []string{"a2 a=2", "ab a=1 b=1"}},
		{"keys are anded", resourcegroupstaggingapi.GetResourcesInput{TagFilters: []rgttypes.TagFilter{filter("a"), filter("b")}}, []string{"ab a=1 b=1"}},
		{"keys are case-sensitive", resourcegroupstaggingapi.GetResourcesInput{TagFilters: []rgttypes.TagFilter{filter("A")}}, nil},
		{"by type", resourcegroupstaggingapi.GetResourcesInput{
			ResourceTypeFilters: []string{"ec2:instance", "ecr:repository"}, TagFilters: []rgttypes.TagFilter{filter("b")},
		}, []string{"ab a=1 b=1"}},
		{"by service", resourcegroupstaggingapi.GetResourcesInput{ResourceTypeFilters: []string{"ecr"}, TagFilters: []rgttypes.TagFilter{filter("b")}}, []string{"ab a=1 b=1"}},
		{"other types", resourcegroupstaggingapi.GetResourcesInput{ResourceTypeFilters: []string{"s3"}}, nil},
		{"by ARN", resourcegroupstaggingapi.GetResourcesInput{ResourceARNList: []string{arnOf("ab"), arnOf("nope")}}, []string{"ab a=1 b=1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, found(t, run, &row.in)); diff != "" {
				t.Errorf("resources (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGetResourcesRefuses(t *testing.T) {
	run := ecrlocaltest.Start(t)
	many := make([]rgttypes.TagFilter, 51)
	for i := range many {
		many[i].Key = aws.String(fmt.Sprint("k", i))
	}
	for _, row := range []struct {
		name string
		in   resourcegroupstaggingapi.GetResourcesInput
	}{
		{"ARNs and filters", resourcegroupstaggingapi.GetResourcesInput{ResourceARNList: []string{"a"}, TagFilters: many[:1]}},
		{"ARNs and types", resourcegroupstaggingapi.GetResourcesInput{ResourceARNList: []string{"a"}, ResourceTypeFilters: []string{"ecr"}}},
		{"ARNs and paging", resourcegroupstaggingapi.GetResourcesInput{ResourceARNList: []string{"a"}, ResourcesPerPage: new(int32(1))}},
		{"101 ARNs", resourcegroupstaggingapi.GetResourcesInput{ResourceARNList: make([]string, 101)}},
		{"51 keys", resourcegroupstaggingapi.GetResourcesInput{TagFilters: many}},
		{"21 values", resourcegroupstaggingapi.GetResourcesInput{TagFilters: []rgttypes.TagFilter{{Key: new("k"), Values: make([]string, 21)}}}},
		{"no key", resourcegroupstaggingapi.GetResourcesInput{TagFilters: []rgttypes.TagFilter{{Values: []string{"v"}}}}},
		{"101 per page", resourcegroupstaggingapi.GetResourcesInput{ResourcesPerPage: new(int32(101))}},
		{"0 per page", resourcegroupstaggingapi.GetResourcesInput{ResourcesPerPage: new(int32(0))}},
		{"99 tags per page", resourcegroupstaggingapi.GetResourcesInput{TagsPerPage: new(int32(99))}},
		{"forged token", resourcegroupstaggingapi.GetResourcesInput{PaginationToken: new("forged")}},
	} {
		_, err := tagging(run).GetResources(t.Context(), &row.in)
		if _, ok := errors.AsType[*rgttypes.InvalidParameterException](err); !ok {
			t.Errorf("%s: got %v, want InvalidParameterException", row.name, err)
		}
	}
}

func TestGetResourcesPages(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c))
	var want []string
	for i := range 120 {
		name := fmt.Sprintf("r%03d", i)
		tagged(t, run, name, map[string]string{"k1": "v", "k2": "v", "k3": "v"})
		want = append(want, name+" k1=v k2=v k3=v")
	}
	client := tagging(run)
	size := func(in *resourcegroupstaggingapi.GetResourcesInput) int {
		t.Helper()
		page, err := client.GetResources(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return len(page.ResourceTagMappingList)
	}
	if got := size(&resourcegroupstaggingapi.GetResourcesInput{}); got != 50 {
		t.Errorf("the default page has %d resources, want 50", got)
	}
	if got := size(&resourcegroupstaggingapi.GetResourcesInput{ResourcesPerPage: new(int32(100))}); got != 100 {
		t.Errorf("the largest page has %d resources, want 100", got)
	}
	if got := size(&resourcegroupstaggingapi.GetResourcesInput{ResourcesPerPage: new(int32(100)), TagsPerPage: new(int32(100))}); got != 33 {
		t.Errorf("100 tags cover %d resources of 3, want 33", got)
	}
	if diff := cmp.Diff(want, found(t, run, &resourcegroupstaggingapi.GetResourcesInput{TagsPerPage: new(int32(100))})); diff != "" {
		t.Errorf("all pages (-want +got):\n%s", diff)
	}

	page, err := client.GetResources(t.Context(), &resourcegroupstaggingapi.GetResourcesInput{})
	if err != nil {
		t.Fatal(err)
	}
	next := &resourcegroupstaggingapi.GetResourcesInput{PaginationToken: page.PaginationToken}
	c.Advance(15 * time.Minute)
	if got := size(next); got != 50 {
		t.Errorf("after 15 minutes the token gives %d resources, want 50", got)
	}
	c.Advance(time.Second)
	_, err = client.GetResources(t.Context(), next)
	if _, ok := errors.AsType[*rgttypes.PaginationTokenExpiredException](err); !ok {
		t.Errorf("a second later: %v, want PaginationTokenExpiredException", err)
	}
}

// TestTaggingDelay sees tags, changes and deletions late, and ECR itself sees them at once.
func TestTaggingDelay(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c), func(o *ecrlocal.Options) { o.TaggingDelay = time.Minute })
	tagged(t, run, "app", map[string]string{"k": "old"})
	client := api(run)
	look := func() string {
		t.Helper()
		return strings.Join(found(t, run, &resourcegroupstaggingapi.GetResourcesInput{}), ", ")
	}
	var got []string
	got = append(got, look())
	c.Advance(time.Minute)
	got = append(got, look())
	if _, err := client.TagResource(t.Context(), &ecr.TagResourceInput{ResourceArn: aws.String(arnOf("app")), Tags: []ecrtypes.Tag{{Key: new("k"), Value: new("new")}}}); err != nil {
		t.Fatal(err)
	}
	tags, err := client.ListTagsForResource(t.Context(), &ecr.ListTagsForResourceInput{ResourceArn: aws.String(arnOf("app"))})
	if err != nil || tagMap(tags.Tags)["k"] != "new" {
		t.Errorf("ECR says %v, %v; want k=new at once", tags, err)
	}
	got = append(got, look())
	c.Advance(time.Minute)
	got = append(got, look())
	if _, err := client.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: new("app")}); err != nil {
		t.Fatal(err)
	}
	got = append(got, look())
	c.Advance(time.Minute)
	got = append(got, look())
	want := []string{"", "app k=old", "app k=old", "app k=new", "app k=new", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
}

// TestTagResourceMerges keeps other tags, and counts all of them.
func TestTagResourceMerges(t *testing.T) {
	run := ecrlocaltest.Start(t)
	many := make(map[string]string)
	for i := range 49 {
		many[fmt.Sprint("k", i)] = "v"
	}
	tagged(t, run, "app", many)
	add := func(keys ...string) string {
		var tags []ecrtypes.Tag
		for _, k := range keys {
			tags = append(tags, ecrtypes.Tag{Key: &k, Value: new("new é _.:/=+-@")})
		}
		_, err := api(run).TagResource(t.Context(), &ecr.TagResourceInput{ResourceArn: aws.String(arnOf("app")), Tags: tags})
		return errorCode(t, err)
	}
	got := []string{add("k0"), add("k49"), add("k49", "k50"), add("k50")}
	if want := []string{"", "", "TooManyTagsException", "TooManyTagsException"}; !slices.Equal(got, want) {
		t.Errorf("replacing one, adding the 50th, one too many twice: %q, want %q", got, want)
	}
	out, err := api(run).ListTagsForResource(t.Context(), &ecr.ListTagsForResourceInput{ResourceArn: aws.String(arnOf("app"))})
	if err != nil {
		t.Fatal(err)
	}
	if tags := tagMap(out.Tags); len(tags) != 50 || tags["k0"] != "new é _.:/=+-@" || tags["k1"] != "v" {
		t.Errorf("there are %d tags, k0=%q k1=%q; want 50, the new one and the old one", len(tags), tags["k0"], tags["k1"])
	}
}
