package ecrlocal_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// TestRepositoryRoundTrip checks every member of a repository on its way through the SDK.
func TestRepositoryRoundTrip(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c))
	client := api(run)
	created, err := client.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{
		RepositoryName:                     new("team/app"),
		ImageTagMutability:                 ecrtypes.ImageTagMutabilityImmutableWithExclusion,
		ImageTagMutabilityExclusionFilters: []ecrtypes.ImageTagMutabilityExclusionFilter{{Filter: new("latest*"), FilterType: "WILDCARD"}},
		ImageScanningConfiguration:         &ecrtypes.ImageScanningConfiguration{ScanOnPush: true},
		EncryptionConfiguration:            &ecrtypes.EncryptionConfiguration{EncryptionType: "KMS", KmsKey: new("alias/k")},
		Tags:                               []ecrtypes.Tag{{Key: new("upstream-image"), Value: new("docker.io/library/nginx")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &ecrtypes.Repository{
		CreatedAt:                          aws.Time(c.Now()),
		EncryptionConfiguration:            &ecrtypes.EncryptionConfiguration{EncryptionType: "KMS", KmsKey: new("alias/k")},
		ImageScanningConfiguration:         &ecrtypes.ImageScanningConfiguration{ScanOnPush: true},
		ImageTagMutability:                 "IMMUTABLE_WITH_EXCLUSION",
		ImageTagMutabilityExclusionFilters: []ecrtypes.ImageTagMutabilityExclusionFilter{{Filter: new("latest*"), FilterType: "WILDCARD"}},
		RegistryId:                         new("111122223333"),
		RepositoryArn:                      new("arn:aws:ecr:us-east-1:111122223333:repository/team/app"),
		RepositoryName:                     new("team/app"),
		RepositoryUri:                      new(run.Host + "/team/app"),
	}
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".noSmithyDocumentSerde" }, cmp.Ignore())
	if diff := cmp.Diff(want, created.Repository, ignore); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	described, err := client.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"team/app"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]ecrtypes.Repository{*want}, described.Repositories, ignore); diff != "" {
		t.Errorf("described (-want +got):\n%s", diff)
	}
	tags, err := client.ListTagsForResource(t.Context(), &ecr.ListTagsForResourceInput{ResourceArn: want.RepositoryArn})
	if err != nil {
		t.Fatal(err)
	}
	if got := tagMap(tags.Tags); got["upstream-image"] != "docker.io/library/nginx" || len(got) != 1 {
		t.Errorf("tags are %v", got)
	}
}

func tagMap(tags []ecrtypes.Tag) map[string]string {
	m := make(map[string]string)
	for _, tag := range tags {
		m[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return m
}

// TestAPIErrors is one row per refusal: what is asked of a server that has the repository
// "app" with the image "one" tagged 1, and the exception that comes back. The exceptions are
// compared by the SDK's own decoding.
func TestAPIErrors(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app", "full", "frozen")
	r := login(t, run)
	raw := r.pushImage("app", "1", "one")
	r.pushImage("full", "1", "one")
	r.pushImage("frozen", "1", "one")
	unreferenced := r.pushBlob("app", []byte("unreferenced"))
	client := api(run)
	arn := "arn:aws:ecr:us-east-1:111122223333:repository/app"
	if _, err := client.PutImageTagMutability(t.Context(), &ecr.PutImageTagMutabilityInput{
		RepositoryName: new("frozen"), ImageTagMutability: "IMMUTABLE",
	}); err != nil {
		t.Fatal(err)
	}
	type (
		ctx  = context.Context
		call = func(ctx) error
	)
	put := func(repo, tag string, manifest []byte, change func(*ecr.PutImageInput)) call {
		return func(c ctx) error {
			in := &ecr.PutImageInput{RepositoryName: &repo, ImageTag: &tag, ImageManifest: aws.String(string(manifest))}
			if change != nil {
				change(in)
			}
			_, err := client.PutImage(c, in)
			return err
		}
	}
	createRepo := func(change func(*ecr.CreateRepositoryInput)) call {
		return func(c ctx) error {
			in := &ecr.CreateRepositoryInput{RepositoryName: new("new")}
			change(in)
			_, err := client.CreateRepository(c, in)
			return err
		}
	}
	tag := func(key, value string) call {
		return func(c ctx) error {
			_, err := client.TagResource(c, &ecr.TagResourceInput{ResourceArn: &arn, Tags: []ecrtypes.Tag{{Key: &key, Value: &value}}})
			return err
		}
	}
	list := func(change func(*ecr.ListImagesInput)) call {
		return func(c ctx) error {
			in := &ecr.ListImagesInput{RepositoryName: new("app")}
			change(in)
			_, err := client.ListImages(c, in)
			return err
		}
	}
	describeRepos := func(in *ecr.DescribeRepositoriesInput) call {
		return func(c ctx) error { _, err := client.DescribeRepositories(c, in); return err }
	}
	describeImages := func(in *ecr.DescribeImagesInput) call {
		in.RepositoryName = new("app")
		return func(c ctx) error { _, err := client.DescribeImages(c, in); return err }
	}
	download := func(repo string, dgst digest.Digest) call {
		return func(c ctx) error {
			_, err := client.GetDownloadUrlForLayer(c, &ecr.GetDownloadUrlForLayerInput{RepositoryName: &repo, LayerDigest: aws.String(string(dgst))})
			return err
		}
	}
	layerless := manifest(ociManifest, []byte("no"), []byte("such"))
	childless := index(layerless)
	manyTags := make([]ecrtypes.Tag, 51)
	for i := range manyTags {
		manyTags[i] = ecrtypes.Tag{Key: aws.String(fmt.Sprint("k", i)), Value: new("v")}
	}

	for _, row := range []struct {
		name string
		call call
		want string
	}{
		{"create: exists", createRepo(func(in *ecr.CreateRepositoryInput) { in.RepositoryName = new("app") }), "RepositoryAlreadyExistsException"},
		{"create: bad name", createRepo(func(in *ecr.CreateRepositoryInput) { in.RepositoryName = new("Upper") }), "InvalidParameterException"},
		{"create: one character", createRepo(func(in *ecr.CreateRepositoryInput) { in.RepositoryName = new("a") }), "InvalidParameterException"},
		{"create: bad mutability", createRepo(func(in *ecr.CreateRepositoryInput) { in.ImageTagMutability = "SOMETIMES" }), "InvalidParameterException"},
		{"create: exclusion without filters", createRepo(func(in *ecr.CreateRepositoryInput) { in.ImageTagMutability = "IMMUTABLE_WITH_EXCLUSION" }), "InvalidParameterException"},
		{"create: filters without exclusion", createRepo(func(in *ecr.CreateRepositoryInput) {
			in.ImageTagMutabilityExclusionFilters = []ecrtypes.ImageTagMutabilityExclusionFilter{{Filter: new("*"), FilterType: "WILDCARD"}}
		}), "InvalidParameterException"},
		{"create: filter of other characters", createRepo(func(in *ecr.CreateRepositoryInput) {
			in.ImageTagMutability = "IMMUTABLE_WITH_EXCLUSION"
			in.ImageTagMutabilityExclusionFilters = []ecrtypes.ImageTagMutabilityExclusionFilter{{Filter: new("[a]"), FilterType: "WILDCARD"}}
		}), "InvalidParameterException"},
		{"create: too many tags", createRepo(func(in *ecr.CreateRepositoryInput) { in.Tags = manyTags }), "TooManyTagsException"},
		{"create: bad tag", createRepo(func(in *ecr.CreateRepositoryInput) { in.Tags = []ecrtypes.Tag{{Key: new("k"), Value: new("a*")}} }), "InvalidTagParameterException"},

		{"tag: star in the value", tag("k", "1.*"), "InvalidTagParameterException"},
		{"tag: comma in the value", tag("k", "a,b"), "InvalidTagParameterException"},
		{"tag: parentheses in the key", tag("(k)", "v"), "InvalidTagParameterException"},
		{"tag: key of 129 characters", tag(strings.Repeat("k", 129), "v"), "InvalidTagParameterException"},
		{"tag: value of 257 characters", tag("k", strings.Repeat("v", 257)), "InvalidTagParameterException"},
		{"tag: reserved prefix", tag("AWS:k", "v"), "InvalidTagParameterException"},
		{"tag: reserved prefix in the value", tag("k", "aws:v"), "InvalidTagParameterException"},
		{"tag: no such repository", func(c ctx) error {
			_, err := client.TagResource(c, &ecr.TagResourceInput{ResourceArn: aws.String(arn + "x"), Tags: []ecrtypes.Tag{{Key: new("k"), Value: new("v")}}})
			return err
		}, "RepositoryNotFoundException"},
		{"list tags: not an ARN", func(c ctx) error {
			_, err := client.ListTagsForResource(c, &ecr.ListTagsForResourceInput{ResourceArn: new("app")})
			return err
		}, "InvalidParameterException"},

		{"describe repositories: one unknown", describeRepos(&ecr.DescribeRepositoriesInput{RepositoryNames: []string{"app", "nope"}}), "RepositoryNotFoundException"},
		{"describe repositories: names and paging", describeRepos(&ecr.DescribeRepositoriesInput{RepositoryNames: []string{"app"}, MaxResults: new(int32(1))}), "InvalidParameterException"},
		{"describe repositories: too many names", describeRepos(&ecr.DescribeRepositoriesInput{RepositoryNames: make([]string, 101)}), "InvalidParameterException"},
		{"describe repositories: 1001 per page", describeRepos(&ecr.DescribeRepositoriesInput{MaxResults: new(int32(1001))}), "InvalidParameterException"},
		{"describe repositories: forged token", describeRepos(&ecr.DescribeRepositoriesInput{NextToken: new("forged")}), "InvalidParameterException"},

		{"list images: no such account", list(func(in *ecr.ListImagesInput) { in.RegistryId = new("1") }), "InvalidParameterException"},
		{"list images: no repository", list(func(in *ecr.ListImagesInput) { in.RepositoryName = new("nope") }), "RepositoryNotFoundException"},
		{"list images: 1001 per page", list(func(in *ecr.ListImagesInput) { in.MaxResults = new(int32(1001)) }), "InvalidParameterException"},
		{"list images: 0 per page", list(func(in *ecr.ListImagesInput) { in.MaxResults = new(int32(0)) }), "InvalidParameterException"},
		{"list images: unknown status", list(func(in *ecr.ListImagesInput) {
			in.Filter = &ecrtypes.ListImagesFilter{ImageStatus: "LOST"}
		}), "InvalidParameterException"},
		{"list images: unknown tag status", list(func(in *ecr.ListImagesInput) {
			in.Filter = &ecrtypes.ListImagesFilter{TagStatus: "MAYBE"}
		}), "InvalidParameterException"},
		{"describe images: unknown", describeImages(&ecr.DescribeImagesInput{ImageIds: []ecrtypes.ImageIdentifier{{ImageTag: new("nope")}}}), "ImageNotFoundException"},
		{"describe images: ids and paging", describeImages(&ecr.DescribeImagesInput{
			ImageIds: []ecrtypes.ImageIdentifier{{ImageTag: new("1")}}, MaxResults: new(int32(1)),
		}), "InvalidParameterException"},
		{"batch get: 101 ids", func(c ctx) error {
			_, err := client.BatchGetImage(c, &ecr.BatchGetImageInput{RepositoryName: new("app"), ImageIds: make([]ecrtypes.ImageIdentifier, 101)})
			return err
		}, "InvalidParameterException"},

		{"put: same manifest and tag", put("app", "1", raw, nil), "ImageAlreadyExistsException"},
		{"put: same manifest and tag, immutable", put("frozen", "1", raw, nil), "ImageTagAlreadyExistsException"},
		{"put: not JSON", put("app", "2", []byte("{"), nil), "InvalidParameterException"},
		{"put: no media type", put("app", "2", []byte(`{"schemaVersion":2}`), nil), "InvalidParameterException"},
		{"put: media types at odds", put("app", "2", raw, func(in *ecr.PutImageInput) { in.ImageManifestMediaType = new(dockerManifest) }), "InvalidParameterException"},
		{"put: media type with a parameter", put("app", "2", []byte(strings.Replace(string(raw), ociLayer, "text/x; q=1", 1)), nil), "InvalidParameterException"},
		{"put: bad tag", put("app", "a+b", raw, nil), "InvalidParameterException"},
		{"put: tag of 129 characters", put("app", strings.Repeat("t", 129), raw, nil), "InvalidParameterException"},
		{"put: other digest", put("app", "2", raw, func(in *ecr.PutImageInput) { in.ImageDigest = aws.String(string(digest.FromString("x"))) }), "ImageDigestDoesNotMatchException"},
		{"put: not a digest", put("app", "2", raw, func(in *ecr.PutImageInput) { in.ImageDigest = new("nonsense") }), "InvalidParameterException"},
		{"put: missing layers", put("app", "2", layerless, nil), "LayersNotFoundException"},
		{"put: missing children", put("app", "2", childless, nil), "ReferencedImagesNotFoundException"},
		{"put: too large", put("app", "2", append(raw, strings.Repeat(" ", 4<<20)...), nil), "InvalidParameterException"},
		{"put: no repository", put("nope", "1", raw, nil), "RepositoryNotFoundException"},

		{"delete repository: not empty", func(c ctx) error {
			_, err := client.DeleteRepository(c, &ecr.DeleteRepositoryInput{RepositoryName: new("full")})
			return err
		}, "RepositoryNotEmptyException"},
		{"policy: none", func(c ctx) error {
			_, err := client.GetRepositoryPolicy(c, &ecr.GetRepositoryPolicyInput{RepositoryName: new("app")})
			return err
		}, "RepositoryPolicyNotFoundException"},
		{"policy: not JSON", func(c ctx) error {
			_, err := client.SetRepositoryPolicy(c, &ecr.SetRepositoryPolicyInput{RepositoryName: new("app"), PolicyText: new("allow")})
			return err
		}, "InvalidParameterException"},
		{"lifecycle: none", func(c ctx) error {
			_, err := client.GetLifecyclePolicy(c, &ecr.GetLifecyclePolicyInput{RepositoryName: new("app")})
			return err
		}, "LifecyclePolicyNotFoundException"},
		{"lifecycle: too short", func(c ctx) error {
			_, err := client.PutLifecyclePolicy(c, &ecr.PutLifecyclePolicyInput{RepositoryName: new("app"), LifecyclePolicyText: new("{}")})
			return err
		}, "InvalidParameterException"},
		{"setting: unknown", func(c ctx) error {
			_, err := client.PutAccountSetting(c, &ecr.PutAccountSettingInput{Name: new("NOISE"), Value: new("ENABLED")})
			return err
		}, "InvalidParameterException"},
		{"setting: unknown value", func(c ctx) error {
			_, err := client.PutAccountSetting(c, &ecr.PutAccountSettingInput{Name: new("BLOB_MOUNTING"), Value: new("YES")})
			return err
		}, "InvalidParameterException"},
		{"template: unknown", func(c ctx) error {
			_, err := client.DeleteRepositoryCreationTemplate(c, &ecr.DeleteRepositoryCreationTemplateInput{Prefix: new("nope")})
			return err
		}, "TemplateNotFoundException"},
		{"template: tags without a role", func(c ctx) error {
			_, err := client.CreateRepositoryCreationTemplate(c, &ecr.CreateRepositoryCreationTemplateInput{
				Prefix: new("p"), AppliedFor: []ecrtypes.RCTAppliedFor{"CREATE_ON_PUSH"}, ResourceTags: []ecrtypes.Tag{{Key: new("k"), Value: new("v")}},
			})
			return err
		}, "ValidationException"},
		{"storage class: unknown image", func(c ctx) error {
			_, err := client.UpdateImageStorageClass(c, &ecr.UpdateImageStorageClassInput{
				RepositoryName: new("app"), ImageId: &ecrtypes.ImageIdentifier{ImageTag: new("nope")}, TargetStorageClass: "ARCHIVE",
			})
			return err
		}, "ImageNotFoundException"},
		{"storage class: unknown class", func(c ctx) error {
			_, err := client.UpdateImageStorageClass(c, &ecr.UpdateImageStorageClassInput{
				RepositoryName: new("app"), ImageId: &ecrtypes.ImageIdentifier{ImageTag: new("1")}, TargetStorageClass: "ATTIC",
			})
			return err
		}, "InvalidParameterException"},
		{"referrers: 51 per page", func(c ctx) error {
			_, err := client.ListImageReferrers(c, &ecr.ListImageReferrersInput{
				RepositoryName: new("app"), SubjectId: &ecrtypes.SubjectIdentifier{ImageDigest: new("sha256:0")}, MaxResults: new(int32(51)),
			})
			return err
		}, "InvalidParameterException"},
		{"referrers: six types", func(c ctx) error {
			_, err := client.ListImageReferrers(c, &ecr.ListImageReferrersInput{
				RepositoryName: new("app"), SubjectId: &ecrtypes.SubjectIdentifier{ImageDigest: new("sha256:0")},
				Filter: &ecrtypes.ListImageReferrersFilter{ArtifactTypes: make([]string, 6)},
			})
			return err
		}, "InvalidParameterException"},
		{"layers: 101 digests", func(c ctx) error {
			_, err := client.BatchCheckLayerAvailability(c, &ecr.BatchCheckLayerAvailabilityInput{RepositoryName: new("app"), LayerDigests: make([]string, 101)})
			return err
		}, "InvalidParameterException"},
		{"download: unreferenced layer", download("app", unreferenced), "LayerInaccessibleException"},
		{"download: missing layer", download("app", digest.FromString("nope")), "LayersNotFoundException"},
		{"token: eleven registries", func(c ctx) error {
			_, err := client.GetAuthorizationToken(c, &ecr.GetAuthorizationTokenInput{
				RegistryIds: make([]string, 11), //nolint:staticcheck // deprecated, but clients send it
			})
			return err
		}, "InvalidParameterException"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := errorCode(t, row.call(t.Context())); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// TestTypedErrors decodes one exception of each service into the SDK's types.
func TestTypedErrors(t *testing.T) {
	run := ecrlocaltest.Start(t)
	_, err := api(run).ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: new("nope")})
	var missing *ecrtypes.RepositoryNotFoundException
	if !errors.As(err, &missing) {
		t.Fatalf("got %v, want RepositoryNotFoundException", err)
	}
	want := "The repository with name 'nope' does not exist in the registry with id '111122223333'"
	if got := missing.ErrorMessage(); got != want {
		t.Errorf("message is %q, want %q", got, want)
	}
}

// TestInvalidLayerPartCarriesItsMembers checks the one exception that has further members.
func TestInvalidLayerPartCarriesItsMembers(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	client := api(run)
	up, err := client.InitiateLayerUpload(t.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: new("app")})
	if err != nil {
		t.Fatal(err)
	}
	part := func(first, last int64, content string) error {
		_, err := client.UploadLayerPart(t.Context(), &ecr.UploadLayerPartInput{
			RepositoryName: new("app"), UploadId: up.UploadId, PartFirstByte: &first, PartLastByte: &last, LayerPartBlob: []byte(content),
		})
		return err
	}
	if err := part(0, 3, "abcd"); err != nil {
		t.Fatal(err)
	}
	var invalid *ecrtypes.InvalidLayerPartException
	if err := part(9, 9, "z"); !errors.As(err, &invalid) {
		t.Fatalf("got %v, want InvalidLayerPartException", err)
	}
	if got := aws.ToInt64(invalid.LastValidByteReceived); got != 3 || aws.ToString(invalid.UploadId) != *up.UploadId {
		t.Errorf("lastValidByteReceived is %d of upload %s, want 3 of %s", got, aws.ToString(invalid.UploadId), *up.UploadId)
	}
}

// TestLayerAPI pushes an image through the control plane alone and pulls it by the registry.
func TestLayerAPI(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	client := api(run)
	large := strings.Repeat("0123456789abcdef", 5<<20/16)
	upload := func(dgst digest.Digest, parts ...string) error {
		up, err := client.InitiateLayerUpload(t.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: new("app")})
		if err != nil {
			return err
		}
		var at int64
		for _, p := range parts {
			next := at + int64(len(p))
			if _, err := client.UploadLayerPart(t.Context(), &ecr.UploadLayerPartInput{
				RepositoryName: new("app"), UploadId: up.UploadId,
				PartFirstByte: aws.Int64(at), PartLastByte: aws.Int64(next - 1), LayerPartBlob: []byte(p),
			}); err != nil {
				return err
			}
			at = next
		}
		_, err = client.CompleteLayerUpload(t.Context(), &ecr.CompleteLayerUploadInput{
			RepositoryName: new("app"), UploadId: up.UploadId, LayerDigests: []string{string(dgst)},
		})
		return err
	}
	for _, row := range []struct {
		name  string
		dgst  digest.Digest
		parts []string
		want  string
	}{
		{"two parts", digest.FromString(large + "end"), []string{large, "end"}, ""},
		{"one small part", digest.FromString("config"), []string{"config"}, ""},
		{"again", digest.FromString("config"), []string{"config"}, "LayerAlreadyExistsException"},
		{"no part", digest.FromString(""), nil, "EmptyUploadException"},
		{"small part first", digest.FromString("abcd"), []string{"ab", "cd"}, "LayerPartTooSmallException"},
		{"other digest", digest.FromString("abcd"), []string{"xyz"}, "InvalidLayerException"},
	} {
		if got := errorCode(t, upload(row.dgst, row.parts...)); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
	if _, err := client.CompleteLayerUpload(t.Context(), &ecr.CompleteLayerUploadInput{
		RepositoryName: new("app"), UploadId: new("gone"), LayerDigests: []string{string(digest.FromString("x"))},
	}); errorCode(t, err) != "UploadNotFoundException" {
		t.Errorf("an unknown upload: %v", err)
	}

	raw := manifest(ociManifest, []byte("config"), []byte(large+"end"))
	out, err := client.PutImage(t.Context(), &ecr.PutImageInput{RepositoryName: new("app"), ImageTag: new("1"), ImageManifest: aws.String(string(raw))})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := aws.ToString(out.Image.ImageId.ImageDigest), string(digest.FromBytes(raw)); got != want {
		t.Errorf("PutImage says %s, want %s", got, want)
	}
	r := login(t, run)
	if got := r.do("GET", "/v2/app/manifests/1", nil); string(got.body) != string(raw) {
		t.Errorf("pulled %s, want %s", got.body, raw)
	}

	layers, err := client.BatchCheckLayerAvailability(t.Context(), &ecr.BatchCheckLayerAvailabilityInput{
		RepositoryName: new("app"), LayerDigests: []string{string(digest.FromString("config")), string(digest.FromString("nope")), "nonsense", " "},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range layers.Layers {
		got = append(got, fmt.Sprint(l.LayerAvailability, " ", aws.ToInt64(l.LayerSize), " ", aws.ToString(l.MediaType)))
	}
	for _, f := range layers.Failures {
		got = append(got, string(f.FailureCode))
	}
	want := []string{"AVAILABLE 6 " + ociConfig, "UNAVAILABLE 0 ", "InvalidLayerDigest", "MissingLayerDigest"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layers (-want +got):\n%s", diff)
	}

	url, err := client.GetDownloadUrlForLayer(t.Context(), &ecr.GetDownloadUrlForLayerInput{
		RepositoryName: new("app"), LayerDigest: aws.String(string(digest.FromString(large + "end"))),
	})
	if err != nil {
		t.Fatal(err)
	}
	if a := anonymous(t, run.URL).do("GET", aws.ToString(url.DownloadUrl), nil); string(a.body) != large+"end" {
		t.Errorf("the URL gave %d and %d bytes, want %d", a.status, len(a.body), len(large)+3)
	}
}

// TestPaging walks each paginator over more than two pages and looks for losses.
func TestPaging(t *testing.T) {
	run := ecrlocaltest.Start(t)
	var names []string
	for i := range 250 {
		names = append(names, fmt.Sprintf("r%03d", i))
	}
	create(t, run, names...)
	client := api(run)

	var sizes []int
	var listed []string
	repos := ecr.NewDescribeRepositoriesPaginator(client, &ecr.DescribeRepositoriesInput{})
	for repos.HasMorePages() {
		page, err := repos.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(page.Repositories))
		for _, r := range page.Repositories {
			listed = append(listed, aws.ToString(r.RepositoryName))
		}
	}
	if diff := cmp.Diff([]int{100, 100, 50}, sizes); diff != "" {
		t.Errorf("default page sizes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(names, listed); diff != "" {
		t.Errorf("repositories (-want +got):\n%s", diff)
	}

	r := login(t, run)
	raw := r.pushImage("r000", "", "one")
	for i := range 12 {
		r.want(201, r.pushManifest("r000", fmt.Sprint("t", i), raw))
	}
	r.pushImage("r000", "", "two")
	seen := make(map[string]bool)
	images := ecr.NewListImagesPaginator(client, &ecr.ListImagesInput{RepositoryName: new("r000"), MaxResults: new(int32(5))})
	for images.HasMorePages() {
		page, err := images.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range page.ImageIds {
			seen[aws.ToString(id.ImageDigest)+" "+aws.ToString(id.ImageTag)] = true
		}
	}
	if len(seen) != 13 { // twelve tags of one image, and one untagged image
		t.Errorf("ListImages gave %d entries, want 13: %v", len(seen), seen)
	}
	var details int
	described := ecr.NewDescribeImagesPaginator(client, &ecr.DescribeImagesInput{RepositoryName: new("r000"), MaxResults: new(int32(1))})
	for described.HasMorePages() {
		page, err := described.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		details += len(page.ImageDetails)
	}
	if details != 2 {
		t.Errorf("DescribeImages gave %d images, want 2", details)
	}
}

// TestPageTokensBelongToTheirOperation keeps a token of one listing out of another.
func TestPageTokensBelongToTheirOperation(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app", "two")
	client := api(run)
	page, err := client.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{MaxResults: new(int32(1))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: new("app"), NextToken: page.NextToken})
	if got := errorCode(t, err); got != "InvalidParameterException" {
		t.Errorf("got %q, want InvalidParameterException", got)
	}
}

func TestPageSizeCap(t *testing.T) {
	run := ecrlocaltest.Start(t, func(o *ecrlocal.Options) { o.PageSizeCap = 2 })
	create(t, run, "a1", "a2", "a3")
	page, err := api(run).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{MaxResults: new(int32(1000))})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Repositories) != 2 || page.NextToken == nil {
		t.Errorf("got %d repositories, token %v; want 2 and a token", len(page.Repositories), page.NextToken)
	}
}

// TestImages follows an index, its child and its tags through the listing operations.
func TestImages(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c))
	create(t, run, "app")
	r := login(t, run)
	child := r.pushImage("app", "", "child")
	idx := index(child)
	r.want(201, r.pushManifest("app", "1", idx))
	r.want(201, r.pushManifest("app", "latest", idx))
	client := api(run)

	out, err := client.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: new("app"), ImageIds: []ecrtypes.ImageIdentifier{{ImageTag: new("1")}}})
	if err != nil {
		t.Fatal(err)
	}
	got := out.ImageDetails[0]
	size := int64(len(child) + len(`{"name":"child"}`) + len("layer of child"))
	if aws.ToString(got.ImageDigest) != string(digest.FromBytes(idx)) || aws.ToString(got.ImageManifestMediaType) != ociIndex ||
		aws.ToInt64(got.ImageSizeInBytes) != size || !got.ImagePushedAt.Equal(c.Now()) || got.ImageStatus != "ACTIVE" {
		t.Errorf("the index is described as %+v; want its own digest and type, and its child's size %d", got, size)
	}
	if diff := cmp.Diff([]string{"1", "latest"}, got.ImageTags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}

	for _, row := range []struct {
		status ecrtypes.TagStatus
		want   int
	}{{"", 3}, {"ANY", 3}, {"TAGGED", 2}, {"UNTAGGED", 1}} {
		list, err := client.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: new("app"), Filter: &ecrtypes.ListImagesFilter{TagStatus: row.status}})
		if err != nil || len(list.ImageIds) != row.want {
			t.Errorf("tagStatus %q: %d entries, %v; want %d", row.status, len(list.ImageIds), err, row.want)
		}
	}

	deleted, err := client.BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: new("app"), ImageIds: []ecrtypes.ImageIdentifier{
		{ImageDigest: aws.String(string(digest.FromBytes(child)))}, // still referenced
		{ImageTag: new("latest")},                                  // one of two tags
		{ImageTag: new("1")},                                       // the last tag takes the image along
		{ImageDigest: aws.String(string(digest.FromBytes(child)))},
		{ImageTag: new("1")},
		{ImageTag: new("a+b")},
		{ImageDigest: new("nonsense")},
		{},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var failures []string
	for _, f := range deleted.Failures {
		failures = append(failures, string(f.FailureCode))
	}
	want := []string{"ImageReferencedByManifestList", "ImageNotFound", "InvalidImageTag", "InvalidImageDigest", "MissingDigestAndTag"}
	if diff := cmp.Diff(want, failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if len(deleted.ImageIds) != 3 {
		t.Errorf("deleted %d, want 3", len(deleted.ImageIds))
	}
	left, err := client.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: new("app")})
	if err != nil || len(left.ImageIds) != 0 {
		t.Errorf("left are %d images, %v; want none", len(left.ImageIds), err)
	}
}

func TestBatchGetImage(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	raw := r.pushTyped("app", "1", "one", dockerManifest)
	other := r.pushImage("app", "2", "two")
	client := api(run)
	get := func(accept []string, ids ...ecrtypes.ImageIdentifier) *ecr.BatchGetImageOutput {
		t.Helper()
		out, err := client.BatchGetImage(t.Context(), &ecr.BatchGetImageInput{RepositoryName: new("app"), ImageIds: ids, AcceptedMediaTypes: accept})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	byTag, byDigest := ecrtypes.ImageIdentifier{ImageTag: new("1")}, ecrtypes.ImageIdentifier{ImageDigest: aws.String(string(digest.FromBytes(raw)))}
	for _, row := range []struct {
		name   string
		accept []string
		id     ecrtypes.ImageIdentifier
		want   string
	}{
		{"no accepted types", nil, byTag, dockerManifest},
		{"stored type accepted", []string{dockerManifest, ociManifest}, byTag, dockerManifest},
		{"only the twin accepted", []string{ociManifest}, byTag, ociManifest},
		{"never by digest", []string{ociManifest}, byDigest, dockerManifest},
	} {
		img := get(row.accept, row.id).Images[0]
		body := []byte(aws.ToString(img.ImageManifest))
		if got := aws.ToString(img.ImageManifestMediaType); got != row.want || aws.ToString(img.ImageId.ImageDigest) != string(digest.FromBytes(body)) {
			t.Errorf("%s: got %s with digest %s, want %s with the digest of its bytes", row.name, got, *img.ImageId.ImageDigest, row.want)
		}
	}
	out := get(nil, ecrtypes.ImageIdentifier{ImageTag: new("1"), ImageDigest: aws.String(string(digest.FromBytes(other)))},
		ecrtypes.ImageIdentifier{ImageTag: new("nope")})
	if len(out.Failures) != 2 || out.Failures[0].FailureCode != "ImageTagDoesNotMatchDigest" || out.Failures[1].FailureCode != "ImageNotFound" {
		t.Errorf("failures are %+v", out.Failures)
	}
}

// TestMutability is one row per mode: what happens to a second push of a tag.
func TestMutability(t *testing.T) {
	for _, row := range []struct {
		mode       string
		exclusions []string
		tag, want  string
	}{
		{"MUTABLE", nil, "v1", "201"},
		{"IMMUTABLE", nil, "v1", "400 TAG_INVALID"},
		{"IMMUTABLE_WITH_EXCLUSION", []string{"latest", "dev-*"}, "v1", "400 TAG_INVALID"},
		{"IMMUTABLE_WITH_EXCLUSION", []string{"latest", "dev-*"}, "latest", "201"},
		{"IMMUTABLE_WITH_EXCLUSION", []string{"latest", "dev-*"}, "dev-7", "201"},
		{"MUTABLE_WITH_EXCLUSION", []string{"v*"}, "v1", "400 TAG_INVALID"},
		{"MUTABLE_WITH_EXCLUSION", []string{"v*"}, "latest", "201"},
	} {
		t.Run(row.mode+" "+row.tag, func(t *testing.T) {
			run := ecrlocaltest.Start(t)
			if err := run.CreateRepository("app", ecrlocal.RepositoryOptions{Mutability: row.mode, Exclusions: row.exclusions}); err != nil {
				t.Fatal(err)
			}
			r := login(t, run)
			r.pushImage("app", row.tag, "one")
			moved := r.pushImage("app", "", "two")
			a := r.pushManifest("app", row.tag, moved)
			if a.String() != row.want {
				t.Errorf("got %s, want %s", a, row.want)
			}
			if a.status == 400 && !strings.Contains(string(a.body), "tag is immutable") {
				t.Errorf("the message does not say so: %s", a.body)
			}
		})
	}
}

// TestArchived follows an image into the archive and back.
func TestArchived(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	raw := r.pushImage("app", "1", "one")
	layer := digest.FromString("layer of one")
	client := api(run)
	count := func(status ecrtypes.ImageStatusFilter) int {
		t.Helper()
		list, err := client.ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: new("app"), Filter: &ecrtypes.ListImagesFilter{ImageStatus: status}})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.ImageIds)
	}
	out, err := client.UpdateImageStorageClass(t.Context(), &ecr.UpdateImageStorageClassInput{
		RepositoryName: new("app"), ImageId: &ecrtypes.ImageIdentifier{ImageTag: new("1")}, TargetStorageClass: "ARCHIVE",
	})
	if err != nil || out.ImageStatus != "ARCHIVED" {
		t.Fatalf("archiving: %+v, %v", out, err)
	}
	if a, b, c := count(""), count("ANY"), count("ARCHIVED"); a != 0 || b != 1 || c != 1 {
		t.Errorf("listed by default %d, ANY %d, ARCHIVED %d; want 0, 1, 1", a, b, c)
	}
	if a := r.do("GET", "/v2/app/manifests/1", nil); a.String() != "404 MANIFEST_UNKNOWN" {
		t.Errorf("pulling the manifest: %s", a)
	}
	if a := r.do("GET", "/v2/app/blobs/"+string(layer), nil); a.String() != "404 BLOB_UNKNOWN" {
		t.Errorf("pulling a layer: %s", a)
	}
	if tags := tagsOf(t, r.do("GET", "/v2/app/tags/list", nil)); len(tags) != 0 {
		t.Errorf("tags are %v, want none", tags)
	}
	layers, err := client.BatchCheckLayerAvailability(t.Context(), &ecr.BatchCheckLayerAvailabilityInput{RepositoryName: new("app"), LayerDigests: []string{string(layer)}})
	if err != nil || layers.Layers[0].LayerAvailability != "ARCHIVED" {
		t.Errorf("the layer is %+v, %v; want ARCHIVED", layers, err)
	}
	images, err := client.BatchGetImage(t.Context(), &ecr.BatchGetImageInput{RepositoryName: new("app"), ImageIds: []ecrtypes.ImageIdentifier{{ImageTag: new("1")}}})
	if err != nil || len(images.Failures) != 1 || images.Failures[0].FailureCode != "ImageInaccessible" {
		t.Errorf("BatchGetImage: %+v, %v; want ImageInaccessible", images, err)
	}
	r.want(201, r.pushManifest("app", "1", raw))
	if a := count(""); a != 1 {
		t.Errorf("after pushing it again %d active images, want 1", a)
	}
	r.want(200, r.do("GET", "/v2/app/manifests/1", nil))
}

// TestCreateOnPush checks which template a push finds, and what it makes.
func TestCreateOnPush(t *testing.T) {
	run := ecrlocaltest.Start(t)
	template(t, run, "team", func(in *ecr.CreateRepositoryCreationTemplateInput) {
		in.ImageTagMutability = "IMMUTABLE"
		in.CustomRoleArn = new("arn:aws:iam::111122223333:role/templates")
		in.ResourceTags = []ecrtypes.Tag{{Key: new("made"), Value: new("on push")}}
	})
	template(t, run, "team/cache", func(in *ecr.CreateRepositoryCreationTemplateInput) {
		in.AppliedFor = []ecrtypes.RCTAppliedFor{"PULL_THROUGH_CACHE"}
	})
	template(t, run, "team/deep", func(in *ecr.CreateRepositoryCreationTemplateInput) { in.ImageTagMutability = "MUTABLE" })
	template(t, run, "team/deep/er/still", func(in *ecr.CreateRepositoryCreationTemplateInput) { in.ImageTagMutability = "IMMUTABLE" })
	template(t, run, "ROOT", func(in *ecr.CreateRepositoryCreationTemplateInput) {
		in.AppliedFor = []ecrtypes.RCTAppliedFor{"REPLICATION"}
	})
	r := login(t, run)
	for _, row := range []struct{ name, want string }{
		{"team/app", "202"},
		{"team/deep/app", "202"},
		{"team/deep/er/app", "202"},
		{"team/cache/app", "202"}, // the longer prefix is not for pushes
		{"teammate/app", "404 NAME_UNKNOWN"},
		{"team", "404 NAME_UNKNOWN"},
		{"other", "404 NAME_UNKNOWN"},
	} {
		if a := r.do("POST", "/v2/"+row.name+"/blobs/uploads/", nil); a.String() != row.want {
			t.Errorf("%s: got %s, want %s", row.name, a, row.want)
		}
	}
	client := api(run)
	repos, err := client.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{
		RepositoryNames: []string{"team/app", "team/deep/app", "team/deep/er/app"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var modes []string
	for _, repo := range repos.Repositories {
		modes = append(modes, string(repo.ImageTagMutability))
	}
	if diff := cmp.Diff([]string{"IMMUTABLE", "MUTABLE", "MUTABLE"}, modes); diff != "" {
		t.Errorf("made by the longest prefix that covers whole segments (-want +got):\n%s", diff)
	}
	tags, err := client.ListTagsForResource(t.Context(), &ecr.ListTagsForResourceInput{ResourceArn: repos.Repositories[0].RepositoryArn})
	if err != nil || tagMap(tags.Tags)["made"] != "on push" {
		t.Errorf("tags are %v, %v", tags, err)
	}

	if _, err := client.DeleteRepositoryCreationTemplate(t.Context(), &ecr.DeleteRepositoryCreationTemplateInput{Prefix: new("ROOT")}); err != nil {
		t.Fatal(err)
	}
	template(t, run, "ROOT", nil)
	if a := r.do("POST", "/v2/other/blobs/uploads/", nil); a.String() != "202" {
		t.Errorf("with a ROOT template: %s", a)
	}
	list, err := client.DescribeRepositoryCreationTemplates(t.Context(), &ecr.DescribeRepositoryCreationTemplatesInput{})
	if err != nil || len(list.RepositoryCreationTemplates) != 5 {
		t.Errorf("templates are %+v, %v; want 5", list, err)
	}
	if _, err := client.DeleteRepositoryCreationTemplate(t.Context(), &ecr.DeleteRepositoryCreationTemplateInput{Prefix: new("ROOT")}); err != nil {
		t.Error(err)
	}
	if a := r.do("POST", "/v2/third/blobs/uploads/", nil); a.String() != "404 NAME_UNKNOWN" {
		t.Errorf("after its deletion: %s", a)
	}
}

// TestPolicies sets and reads what a repository merely keeps.
func TestPolicies(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	client := api(run)
	policy, lifecycle := `{"Version":"2012-10-17"}`, `{"rules":[{"description":"`+strings.Repeat("x", 80)+`"}]}`
	if _, err := client.SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: new("app"), PolicyText: &policy}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutLifecyclePolicy(t.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: new("app"), LifecyclePolicyText: &lifecycle}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutImageScanningConfiguration(t.Context(), &ecr.PutImageScanningConfigurationInput{
		RepositoryName: new("app"), ImageScanningConfiguration: &ecrtypes.ImageScanningConfiguration{ScanOnPush: true},
	}); err != nil {
		t.Fatal(err)
	}
	gotPolicy, err := client.GetRepositoryPolicy(t.Context(), &ecr.GetRepositoryPolicyInput{RepositoryName: new("app")})
	if err != nil || aws.ToString(gotPolicy.PolicyText) != policy {
		t.Errorf("policy is %v, %v", gotPolicy, err)
	}
	gotLifecycle, err := client.GetLifecyclePolicy(t.Context(), &ecr.GetLifecyclePolicyInput{RepositoryName: new("app")})
	if err != nil || aws.ToString(gotLifecycle.LifecyclePolicyText) != lifecycle {
		t.Errorf("lifecycle policy is %v, %v", gotLifecycle, err)
	}
	repos, err := client.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil || !repos.Repositories[0].ImageScanningConfiguration.ScanOnPush {
		t.Errorf("scanning is %+v, %v; want on", repos, err)
	}
	if _, err := client.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: new("app")}); err != nil {
		t.Error(err)
	}
	setting, err := client.GetAccountSetting(t.Context(), &ecr.GetAccountSettingInput{Name: new("BLOB_MOUNTING")})
	if err != nil || aws.ToString(setting.Value) != "DISABLED" {
		t.Errorf("blob mounting is %v, %v; want DISABLED", setting, err)
	}
}

// TestReferrers lists what refers to an image, by the API and by the registry.
func TestReferrers(t *testing.T) {
	run := ecrlocaltest.Start(t)
	create(t, run, "app")
	r := login(t, run)
	subject := r.pushImage("app", "1", "one")
	config := []byte(`{}`)
	r.pushBlob("app", config)
	var last digest.Digest
	for i := range 25 {
		raw := manifest(ociManifest, config, config, fmt.Sprintf(`,"artifactType":"application/vnd.example.%d","annotations":{"n":"%d"},"subject":%s`, i%2, i, descriptor(ociManifest, subject)))
		last = digest.FromBytes(raw)
		a := r.want(201, r.pushManifest("app", string(last), raw))
		if got := a.header.Get("OCI-Subject"); got != string(digest.FromBytes(subject)) {
			t.Fatalf("OCI-Subject is %q", got)
		}
	}
	client := api(run)
	subjectID := &ecrtypes.SubjectIdentifier{ImageDigest: aws.String(string(digest.FromBytes(subject)))}
	first, err := client.ListImageReferrers(t.Context(), &ecr.ListImageReferrersInput{RepositoryName: new("app"), SubjectId: subjectID})
	if err != nil || len(first.Referrers) != 20 || first.NextToken == nil {
		t.Fatalf("the first page has %d referrers, %v; want 20 and a token", len(first.Referrers), err)
	}
	second, err := client.ListImageReferrers(t.Context(), &ecr.ListImageReferrersInput{RepositoryName: new("app"), SubjectId: subjectID, NextToken: first.NextToken})
	if err != nil || len(second.Referrers) != 5 || second.NextToken != nil {
		t.Errorf("the second page has %d referrers, %v; want 5 and no token", len(second.Referrers), err)
	}
	odd, err := client.ListImageReferrers(t.Context(), &ecr.ListImageReferrersInput{
		RepositoryName: new("app"), SubjectId: subjectID, MaxResults: new(int32(50)),
		Filter: &ecrtypes.ListImageReferrersFilter{ArtifactTypes: []string{"application/vnd.example.1"}},
	})
	if err != nil || len(odd.Referrers) != 12 || len(odd.Referrers[0].Annotations) != 1 {
		t.Errorf("of one type %d referrers, %v; want 12 with their annotations", len(odd.Referrers), err)
	}

	path := "/v2/app/referrers/" + string(digest.FromBytes(subject))
	all := r.want(200, r.do("GET", path, nil))
	if got := strings.Count(string(all.body), `"digest"`); got != 25 || all.header.Get("Content-Type") != ociIndex {
		t.Errorf("the registry lists %d as %s, want 25 as an index", got, all.header.Get("Content-Type"))
	}
	some := r.do("GET", path+"?artifactType=application/vnd.example.0", nil)
	if got := strings.Count(string(some.body), `"digest"`); got != 13 || some.header.Get("OCI-Filters-Applied") != "artifactType" {
		t.Errorf("of one type the registry lists %d, filter %q; want 13", got, some.header.Get("OCI-Filters-Applied"))
	}
	detail, err := client.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: new("app"), ImageIds: []ecrtypes.ImageIdentifier{{ImageDigest: aws.String(string(last))}}})
	if err != nil || aws.ToString(detail.ImageDetails[0].SubjectManifestDigest) != *subjectID.ImageDigest ||
		aws.ToString(detail.ImageDetails[0].ArtifactMediaType) != "application/vnd.example.0" {
		t.Errorf("a referrer is described as %+v, %v", detail, err)
	}
}

// TestLastPull records pulls about once a day.
func TestLastPull(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c))
	create(t, run, "app")
	r := login(t, run)
	r.pushImage("app", "1", "one")
	pulled := func() *time.Time {
		t.Helper()
		out, err := api(run).DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: new("app")})
		if err != nil {
			t.Fatal(err)
		}
		return out.ImageDetails[0].LastRecordedPullTime
	}
	if got := pulled(); got != nil {
		t.Errorf("before any pull: %v", got)
	}
	first := c.Now()
	r.do("GET", "/v2/app/manifests/1", nil)
	c.Advance(time.Hour)
	r.do("GET", "/v2/app/manifests/1", nil)
	if got := pulled(); got == nil || !got.Equal(first) {
		t.Errorf("after two pulls in an hour: %v, want the first, %v", got, first)
	}
	c.Advance(24 * time.Hour)
	login(t, run).do("GET", "/v2/app/manifests/1", nil) // the old token has expired
	if got := pulled(); got == nil || !got.Equal(c.Now()) {
		t.Errorf("a day later: %v, want %v", got, c.Now())
	}
}

// TestUnknownRequests are answered, not ignored.
func TestUnknownRequests(t *testing.T) {
	run := ecrlocaltest.Start(t)
	r := anonymous(t, run.URL)
	signed := "AWS4-HMAC-SHA256 Credential=K/20261122/us-east-1/ecr/aws4_request, SignedHeaders=host, Signature=0"
	const service = "AmazonEC2ContainerRegistry_V20150921."
	for _, row := range []struct {
		name, method, target, auth, body string
		status                           int
		want                             string
	}{
		{"unsigned", "POST", service + "DescribeRepositories", "", "{}", 400, "MissingAuthenticationTokenException"},
		{"half signed", "POST", service + "DescribeRepositories", "AWS4-HMAC-SHA256 Credential=K/x", "{}", 400, "MissingAuthenticationTokenException"},
		{"no such operation", "POST", service + "MakeCoffee", signed, "{}", 400, "UnknownOperationException"},
		{"not JSON", "POST", service + "DescribeRepositories", signed, "{", 400, "SerializationException"},
		{"not a POST", "GET", service + "DescribeRepositories", signed, "", 404, "POST to /"},
	} {
		a := r.do(row.method, "/", []byte(row.body), "X-Amz-Target", row.target, "Authorization", row.auth)
		if a.status != row.status || !strings.Contains(string(a.body), row.want) {
			t.Errorf("%s: got %d %s, want %d %s", row.name, a.status, a.body, row.status, row.want)
		}
	}
	if a := login(t, run).do(http.MethodPost, "/v2/app/nothing/here", nil); a.String() != "404 UNSUPPORTED" {
		t.Errorf("an unknown registry path: %s", a)
	}
}
