package ecr_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

func TestParseRepositoryName(t *testing.T) {
	frankfurt := ecr.Location{Account: account, Region: "eu-central-1"}
	for _, test := range []struct {
		typed string
		want  ecr.RepositoryName
	}{
		{"nginx", ecr.RepositoryName{Name: "nginx"}},
		{"external/nginx", ecr.RepositoryName{Name: "external/nginx"}},
		{"docker.io/library/nginx", ecr.RepositoryName{Name: "docker.io/library/nginx"}},
		{"a--b/c__d.e", ecr.RepositoryName{Name: "a--b/c__d.e"}},
		{hostIn("eu-central-1") + "/external/nginx", ecr.RepositoryName{Name: "external/nginx", At: frankfurt}},
		{hostIn("eu-central-1") + ":443/nginx", ecr.RepositoryName{Name: "nginx", At: frankfurt}},
		{"arn:aws:ecr:eu-central-1:" + account + ":repository/external/nginx", ecr.RepositoryName{Name: "external/nginx", At: frankfurt}},
		{"arn:aws-cn:ecr:cn-north-1:" + account + ":repository/nginx", ecr.RepositoryName{Name: "nginx", At: ecr.Location{Account: account, Region: "cn-north-1"}}},
		{"127.0.0.1:5100/external/nginx", ecr.RepositoryName{Name: "external/nginx", Host: "127.0.0.1:5100"}},
	} {
		got, err := ecr.ParseRepositoryName(test.typed)
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, error %v, want %+v", test.typed, got, err, test.want)
		}
	}
	for _, typed := range []string{
		"", "x", "External/nginx", "a//b", "/nginx", "nginx/", "nginx:1.27", "ext/nginx:1.27", "nginx@sha256:00", "a b",
		hostIn("eu-central-1"), hostIn("eu-central-1") + "/", hostIn("eu-central-1") + "/nginx:1", "https://" + hostIn("eu-central-1") + "/nginx",
		"arn:aws:s3:::bucket", "arn:aws:ecr:eu-central-1:" + account + ":registry/x", "arn:aws:ecr:eu-central-1:" + account + ":repository/",
		"arn:aws:ecr-public::" + account + ":repository/x", strings.Repeat("x", 257),
	} {
		if got, err := ecr.ParseRepositoryName(typed); err == nil {
			t.Errorf("%q was read as %+v", typed, got)
		}
	}
}

// repositoryNamed asks for a repository of the emulator.
func repositoryNamed(t *testing.T, server *ecrlocaltest.Running, name string) *ecr.TaggedRepository {
	t.Helper()
	_, registries := connect(t, server.URL, ecr.Options{})
	repo, err := registries.Repository(t.Context(), ecr.RepositoryName{Name: name}, region)
	if err != nil {
		t.Fatalf("Repository(%s): %v", name, err)
	}
	return repo
}

func TestResourceTagsOfOneRepository(t *testing.T) {
	server := ecrlocaltest.Start(t)
	create(t, server, "external/app", ecrlocal.RepositoryOptions{Tags: map[string]string{"team": "web", "old": "1"}})
	repo := repositoryNamed(t, server, "external/app")
	if repo.Ref != repositoryOn(server, "external/app") || repo.ARN != "arn:aws:ecr:"+region+":"+account+":repository/external/app" || repo.Region != region {
		t.Errorf("the repository is %+v", repo)
	}

	if err := repo.SetResourceTags(t.Context(), map[string]string{"upstream-image": "nginx", "old": "", "upstream-tags": "1.27.+/-+-rc+"}); err != nil {
		t.Fatal(err)
	}
	wantTags(t, repo, map[string]string{"team": "web", "old": "", "upstream-image": "nginx", "upstream-tags": "1.27.+/-+-rc+"})
	wantRequests(t, server, "TagResource", 1)

	if err := repo.RemoveResourceTags(t.Context(), []string{"old", "upstream-tags", "never-there"}); err != nil {
		t.Fatal(err)
	}
	wantTags(t, repo, map[string]string{"team": "web", "upstream-image": "nginx"})
	wantRequests(t, server, "UntagResource", 1)
}

func wantTags(t *testing.T, repo *ecr.TaggedRepository, want map[string]string) {
	t.Helper()
	got, err := repo.ResourceTags(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resource tags (-want +got):\n%s", diff)
	}
}

func TestRepositoryThatIsNotThere(t *testing.T) {
	server := ecrlocaltest.Start(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{})
	_, registries := connect(t, server.URL, ecr.Options{})
	for _, test := range []struct {
		named  ecr.RepositoryName
		region string
		want   string
	}{
		{ecr.RepositoryName{Name: "none"}, region, "repository none in " + region + ": ecr:DescribeRepositories: RepositoryNotFoundException"},
		{ecr.RepositoryName{Name: "app"}, "eu-west-1", "repository app in eu-west-1: ecr:DescribeRepositories: RepositoryNotFoundException"},
	} {
		_, err := registries.Repository(t.Context(), test.named, test.region)
		if !errors.Is(err, registry.ErrNotFound) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: error %v", test.named.Name, err)
		}
	}
	// A host that is another registry's must not be taken for this one.
	_, err := registries.Repository(t.Context(), ecr.RepositoryName{Name: "app", Host: "127.0.0.1:1"}, region)
	if err == nil || !strings.Contains(err.Error(), "whose repositories are at "+server.Host) {
		t.Errorf("another host: error %v", err)
	}
}

func TestResourceTagsThatAWSRefuses(t *testing.T) {
	server := ecrlocaltest.Start(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{})
	repo := repositoryNamed(t, server, "app")
	server.FailNext("TagResource", 1, refusal("TooManyTagsException", "at most 50"))
	if err := repo.SetResourceTags(t.Context(), map[string]string{"a": "b"}); err == nil || err.Error() != "ecr:TagResource: TooManyTagsException: at most 50" {
		t.Errorf("TagResource: error %v", err)
	}
	if err := repo.SetResourceTags(t.Context(), map[string]string{"a": "(b)"}); err == nil || !strings.HasPrefix(err.Error(), "ecr:TagResource: InvalidTagParameterException") {
		t.Errorf("TagResource: error %v", err)
	}
	server.FailNext("UntagResource", 1, refusal("AccessDeniedException", "no"))
	if err := repo.RemoveResourceTags(t.Context(), []string{"a"}); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("UntagResource: error %v", err)
	}
	server.FailNext("ListTagsForResource", 1, refusal("AccessDeniedException", "no"))
	if _, err := repo.ResourceTags(t.Context()); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("ListTagsForResource: error %v", err)
	}
	wantTags(t, repo, mirrored())
}
