package ecrlocal_test

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// TestRestart stops a server with --data and starts another on the same directory.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	var server *ecrlocal.Server
	var web *httptest.Server
	start := func() *ecrlocaltest.Running {
		t.Helper()
		var err error
		server, err = ecrlocal.New(ecrlocal.Options{DataDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		web = httptest.NewServer(server)
		return &ecrlocaltest.Running{Server: server, URL: web.URL, Host: strings.TrimPrefix(web.URL, "http://")}
	}
	stop := func() {
		t.Helper()
		web.Close()
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
	}

	run := start()
	if err := run.CreateRepository("app", ecrlocal.RepositoryOptions{
		Tags: map[string]string{"k": "v"}, Mutability: "IMMUTABLE_WITH_EXCLUSION", Exclusions: []string{"latest"},
	}); err != nil {
		t.Fatal(err)
	}
	run.SetBlobMounting("", "", true)
	template(t, run, "team", nil)
	r := login(t, run)
	child := r.pushImage("app", "", "one")
	idx := index(child)
	r.want(201, r.pushManifest("app", "1", idx))
	r.pushImage("app", "old", "two")
	if _, err := api(run).UpdateImageStorageClass(t.Context(), &ecr.UpdateImageStorageClassInput{
		RepositoryName: new("app"), ImageId: &ecrtypes.ImageIdentifier{ImageTag: new("old")}, TargetStorageClass: "ARCHIVE",
	}); err != nil {
		t.Fatal(err)
	}
	upload := strings.TrimPrefix(r.begin("app"), run.URL)
	before := inventory(t, run)
	stop()
	sessions := filepath.Join(dir, "blobs/docker/registry/v2/repositories/*/*/*/_uploads/*")
	if left, err := filepath.Glob(sessions); err != nil || len(left) != 0 {
		t.Errorf("a clean end leaves unfinished uploads behind: %v, %v", left, err)
	}
	killed := strings.Replace(sessions, "*/*/*", "a/b/c", 1)
	if err := os.MkdirAll(strings.Replace(killed, "*", "session", 1), 0o755); err != nil { // as if it had been killed
		t.Fatal(err)
	}

	run = start()
	defer stop()
	if diff := cmp.Diff(before, inventory(t, run)); diff != "" {
		t.Errorf("the state (-before +after):\n%s", diff)
	}
	r.base = run.URL // the token of the first process still works
	if a := r.do("GET", "/v2/app/manifests/1", nil); !bytes.Equal(a.body, idx) {
		t.Errorf("pulled %d %s, want %s", a.status, a.body, idx)
	}
	if a := r.do("HEAD", "/v2/app/blobs/"+string(digest.FromString("layer of one")), nil); a.status != 200 {
		t.Errorf("the layer: %d", a.status)
	}
	if a := r.pushManifest("app", "1", idx); a.String() != "400 TAG_INVALID" {
		t.Errorf("the immutable tag: %s", a)
	}
	if a := r.do("DELETE", "/v2/app/manifests/"+string(digest.FromBytes(child)), nil); a.String() != "405 UNSUPPORTED" {
		t.Errorf("deleting a child of an index: %s", a)
	}
	if a := r.do("POST", "/v2/team/x/blobs/uploads/?from=app&mount="+string(digest.FromString("layer of one")), nil); a.String() != "201" {
		t.Errorf("mounting into a repository made by the template: %s", a)
	}
	if a := r.do("GET", upload, nil); a.String() != "404 BLOB_UPLOAD_UNKNOWN" {
		t.Errorf("the unfinished upload: %s", a)
	}
	if left, err := filepath.Glob(killed); err != nil || len(left) != 0 {
		t.Errorf("a start leaves unfinished uploads behind: %v, %v", left, err)
	}
}

// inventory is what the API says about the repository "app" and its images.
func inventory(t *testing.T, run *ecrlocaltest.Running) any {
	t.Helper()
	client := api(run)
	repos, err := client.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil {
		t.Fatal(err)
	}
	images, err := client.DescribeImages(t.Context(), &ecr.DescribeImagesInput{
		RepositoryName: new("app"), Filter: &ecrtypes.DescribeImagesFilter{ImageStatus: "ANY"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range repos.Repositories {
		lines = append(lines, aws.ToString(r.RepositoryArn)+" "+string(r.ImageTagMutability)+" "+
			aws.ToString(r.ImageTagMutabilityExclusionFilters[0].Filter)+" "+r.CreatedAt.String())
	}
	for _, d := range images.ImageDetails {
		lines = append(lines, aws.ToString(d.ImageDigest)+" "+strings.Join(d.ImageTags, ",")+" "+string(d.ImageStatus)+" "+
			aws.ToString(d.ImageManifestMediaType)+" "+d.ImagePushedAt.String())
	}
	return append(lines, found(t, run, &resourcegroupstaggingapi.GetResourcesInput{})...)
}

// TestDamagedData is reported, not overlooked.
func TestDamagedData(t *testing.T) {
	for _, row := range []struct{ name, state, want string }{
		{"not JSON", "{", "reading the state"},
		{"a lost manifest", `{"Registries":{"111122223333/us-east-1":{"Repositories":{"app":{"Name":"app","Images":{"sha256:0":{}}}}}}}`, "reading repository app"},
		{"a tag of nothing", `{"Registries":{"111122223333/us-east-1":{"Repositories":{"app":{"Name":"app","Tags":{"1":"sha256:0"}}}}}}`, "tag 1 names no image"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(row.state), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ecrlocal.New(ecrlocal.Options{DataDir: dir}); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

func TestSeed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seed.yaml")
	if err := os.WriteFile(path, []byte(`
repositories:
  - name: app
    tags: {upstream-image: docker.io/library/nginx, upstream-tags: 1.27.+}
    mutability: IMMUTABLE_WITH_EXCLUSION
    exclusions: [latest]
  - {name: app, account: "444455556666", region: eu-west-1}
templates:
  - {prefix: team, mutability: IMMUTABLE}
settings:
  - blobMounting: true
`), 0o600); err != nil {
		t.Fatal(err)
	}
	seed, err := ecrlocal.LoadSeed(path)
	if err != nil {
		t.Fatal(err)
	}
	run := ecrlocaltest.Start(t, func(o *ecrlocal.Options) { o.Seed = seed })
	got := found(t, run, &resourcegroupstaggingapi.GetResourcesInput{})
	if diff := cmp.Diff([]string{"app upstream-image=docker.io/library/nginx upstream-tags=1.27.+"}, got); diff != "" {
		t.Errorf("tagged (-want +got):\n%s", diff)
	}
	abroad, err := ecr.NewFromConfig(run.AWSConfig("eu-west-1")).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RegistryId: new("444455556666")})
	if err != nil || len(abroad.Repositories) != 1 {
		t.Errorf("the other account has %+v, %v", abroad, err)
	}
	setting, err := api(run).GetAccountSetting(t.Context(), &ecr.GetAccountSettingInput{Name: new("BLOB_MOUNTING")})
	if err != nil || aws.ToString(setting.Value) != "ENABLED" {
		t.Errorf("blob mounting is %+v, %v", setting, err)
	}
	if a := login(t, run).do("POST", "/v2/team/new/blobs/uploads/", nil); a.String() != "202" {
		t.Errorf("a push under the template: %s", a)
	}
}

func TestSeedErrors(t *testing.T) {
	for _, row := range []struct{ name, content, want string }{
		{"unknown field", "repos: []\n", "repos"},
		{"bad name", "repositories: [{name: Upper}]\n", `repository "Upper"`},
		{"bad account", "repositories: [{name: app, account: \"1\"}]\n", `repository "app"`},
		{"bad mode", "repositories: [{name: app, mutability: SOMETIMES}]\n", `repository "app"`},
		{"bad tag", "repositories: [{name: app, tags: {k: a*b}}]\n", `repository "app"`},
		{"bad template", "templates: [{prefix: Upper}]\n", `template "Upper"`},
		{"template for nothing known", "templates: [{prefix: team, appliedFor: [LUNCH]}]\n", `template "team"`},
	} {
		path := filepath.Join(t.TempDir(), "seed.yaml")
		if err := os.WriteFile(path, []byte(row.content), 0o600); err != nil {
			t.Fatal(err)
		}
		seed, err := ecrlocal.LoadSeed(path)
		if err == nil {
			_, err = ecrlocal.New(ecrlocal.Options{Seed: seed})
		}
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

// TestSeedLeavesWhatExists changes nothing that an earlier run made.
func TestSeedLeavesWhatExists(t *testing.T) {
	dir := t.TempDir()
	for _, value := range []string{"first", "second"} {
		server, err := ecrlocal.New(ecrlocal.Options{DataDir: dir, Seed: &ecrlocal.Seed{
			Repositories: []ecrlocal.SeedRepository{{Name: "app", Tags: map[string]string{"k": value}}},
			Templates:    []ecrlocal.SeedTemplate{{Prefix: "ROOT"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		web := httptest.NewServer(server)
		run := &ecrlocaltest.Running{Server: server, URL: web.URL}
		if diff := cmp.Diff([]string{"app k=first"}, found(t, run, &resourcegroupstaggingapi.GetResourcesInput{})); diff != "" {
			t.Errorf("with the seed %q (-want +got):\n%s", value, diff)
		}
		web.Close()
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	if _, err := ecrlocal.New(ecrlocal.Options{Account: "1"}); err == nil {
		t.Error("an account of one digit was accepted")
	}
	if _, err := ecrlocal.New(ecrlocal.Options{Region: "US East"}); err == nil {
		t.Error("a Region with a space was accepted")
	}
	bad := &ecrlocal.Credentials{AccessKeys: map[string]ecrlocal.AccessKey{"A": {}}}
	if _, err := ecrlocal.New(ecrlocal.Options{Credentials: bad}); err == nil {
		t.Error("an access key without an account was accepted")
	}
}
