package ecrlocal_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	publictypes "github.com/aws/aws-sdk-go-v2/service/ecrpublic/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// publicLogin creates a public repository and logs into the public registry.
func publicLogin(t *testing.T, run *ecrlocaltest.Running, repository string) *registry {
	t.Helper()
	client := ecrpublic.NewFromConfig(run.AWSConfig(""))
	if _, err := client.CreateRepository(t.Context(), &ecrpublic.CreateRepositoryInput{RepositoryName: &repository}); err != nil {
		t.Fatal(err)
	}
	out, err := client.GetAuthorizationToken(t.Context(), &ecrpublic.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	r := anonymous(t, run.URL)
	r.auth = "Basic " + aws.ToString(out.AuthorizationData.AuthorizationToken)
	return r
}

func TestPublicControlPlane(t *testing.T) {
	run := ecrlocaltest.Start(t, func(o *ecrlocal.Options) { o.PageSizeCap = 1 })
	r := publicLogin(t, run, "app")
	name := "public-111122223333/app"
	raw := r.pushImage(name, "1", "one")
	r.want(201, r.pushManifest(name, "2", raw))

	client := ecrpublic.NewFromConfig(run.AWSConfig(""))
	repos, err := client.DescribeRepositories(t.Context(), &ecrpublic.DescribeRepositoriesInput{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := aws.ToString(repos.Repositories[0].RepositoryUri), run.Host+"/"+name; got != want {
		t.Errorf("repositoryUri is %s, want %s", got, want)
	}
	arn := repos.Repositories[0].RepositoryArn
	if got, want := aws.ToString(arn), "arn:aws:ecr-public::111122223333:repository/app"; got != want {
		t.Errorf("the ARN is %s, want %s", got, want)
	}
	if _, err := client.TagResource(t.Context(), &ecrpublic.TagResourceInput{
		ResourceArn: arn, Tags: []publictypes.Tag{{Key: new("k"), Value: new("v")}},
	}); err != nil {
		t.Fatal(err)
	}
	tags, err := client.ListTagsForResource(t.Context(), &ecrpublic.ListTagsForResourceInput{ResourceArn: arn})
	if err != nil || len(tags.Tags) != 1 || aws.ToString(tags.Tags[0].Value) != "v" {
		t.Errorf("tags are %v, %v; want k=v", tags, err)
	}
	images, err := client.DescribeImages(t.Context(), &ecrpublic.DescribeImagesInput{RepositoryName: new("app")})
	if err != nil || len(images.ImageDetails) != 1 || len(images.ImageDetails[0].ImageTags) != 2 {
		t.Errorf("images are %v, %v; want one with two tags", images, err)
	}
	var listed []string
	pages := ecrpublic.NewDescribeImageTagsPaginator(client, &ecrpublic.DescribeImageTagsInput{RepositoryName: new("app")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, detail := range page.ImageTagDetails {
			listed = append(listed, aws.ToString(detail.ImageTag))
		}
	}
	if diff := cmp.Diff([]string{"1", "2"}, listed); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}

// TestPublicPullIsAnonymous follows the bearer challenge without any login.
func TestPublicPullIsAnonymous(t *testing.T) {
	run := ecrlocaltest.Start(t)
	owner := publicLogin(t, run, "app")
	name := "public-111122223333/app"
	raw := owner.pushImage(name, "1", "one")

	r := anonymous(t, run.URL)
	challenge := r.do("GET", "/v2/"+name+"/manifests/1", nil)
	want := `Bearer realm="` + run.URL + `/token/",service="public.ecr.aws",scope="aws"`
	if got := challenge.header.Get("Www-Authenticate"); challenge.status != 401 || got != want {
		t.Fatalf("challenge is %d %s, want 401 %s", challenge.status, got, want)
	}
	var issued struct{ Token string }
	if err := json.Unmarshal(r.do("GET", "/token/?service=public.ecr.aws&scope=aws", nil).body, &issued); err != nil {
		t.Fatal(err)
	}
	r.auth = "Bearer " + issued.Token
	if got := r.want(200, r.do("GET", "/v2/"+name+"/manifests/1", nil)); !bytes.Equal(got.body, raw) {
		t.Errorf("pulled %s, want %s", got.body, raw)
	}
	if a := r.do("POST", "/v2/"+name+"/blobs/uploads/", nil); a.String() != "403 DENIED" {
		t.Errorf("an anonymous push: %s, want 403 DENIED", a)
	}
	if a := r.do("GET", "/v2/app/manifests/1", nil); a.status != 401 {
		t.Errorf("a public token on a private repository: %s, want 401", a)
	}
}
