package ecrlocal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// tool is a client program run as a user would.
type tool struct {
	t    *testing.T
	path string
	env  []string
}

// findTool skips the test when the program is not installed. paths are tried in order.
func findTool(t *testing.T, run *ecrlocaltest.Running, paths ...string) tool {
	t.Helper()
	for _, p := range paths {
		if found, err := exec.LookPath(p); err == nil {
			home := t.TempDir() // no configuration of the user's
			env := append(os.Environ(), "HOME="+home, "DOCKER_CONFIG="+home, "XDG_RUNTIME_DIR="+home,
				"AWS_CONFIG_FILE="+home+"/config", "AWS_SHARED_CREDENTIALS_FILE="+home+"/credentials", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1")
			return tool{t: t, path: found, env: append(env, run.Env()...)}
		}
	}
	t.Skipf("%s is not installed", paths[len(paths)-1])
	return tool{}
}

// run returns what the program prints, and its exit code.
func (c tool) run(input string, args ...string) (string, int) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), c.path, args...)
	cmd.Env = c.env
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	if err != nil {
		return stdout.String() + stderr.String(), cmd.ProcessState.ExitCode()
	}
	return stdout.String(), 0
}

// must is run for what has to succeed.
func (c tool) must(args ...string) string {
	c.t.Helper()
	out, code := c.run("", args...)
	if code != 0 {
		c.t.Fatalf("%s %s: exit %d\n%s", filepath.Base(c.path), strings.Join(args, " "), code, out)
	}
	return out
}

// TestAWSCLI runs Debian's awscli 2.9 through the operations it knows.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	run := ecrlocaltest.Start(t)
	cli := findTool(t, run, "/usr/bin/aws", "aws")
	t.Log(strings.TrimSpace(cli.must("--version")))
	aws := func(args ...string) []string {
		return append([]string{"--endpoint-url", run.URL, "--output", "json"}, args...)
	}
	// query runs a command and returns the one value its --query selects.
	query := func(expression string, args ...string) string {
		t.Helper()
		out := cli.must(append(aws(args...), "--query", expression, "--output", "text")...)
		return strings.TrimSpace(out)
	}
	r := login(t, run)

	for _, row := range []struct {
		want  string
		query string
		args  []string
	}{
		{run.Host + "/app", "repository.repositoryUri", []string{
			"ecr", "create-repository", "--repository-name", "app", "--tags", "Key=upstream-image,Value=docker.io/library/nginx",
		}},
		{"app", "repositories[0].repositoryName", []string{"ecr", "describe-repositories"}},
		{"docker.io/library/nginx", "tags[0].Value", []string{"ecr", "list-tags-for-resource", "--resource-arn", arnOf("app")}},
		{"", "@", []string{"ecr", "tag-resource", "--resource-arn", arnOf("app"), "--tags", "Key=more,Value=1"}},
		{"2", "length(ResourceTagMappingList[0].Tags)", []string{"resourcegroupstaggingapi", "get-resources", "--resource-type-filters", "ecr:repository", "--tag-filters", "Key=upstream-image"}},
		{"", "@", []string{"ecr", "untag-resource", "--resource-arn", arnOf("app"), "--tag-keys", "more"}},
		{"IMMUTABLE", "imageTagMutability", []string{"ecr", "put-image-tag-mutability", "--repository-name", "app", "--image-tag-mutability", "IMMUTABLE"}},
		{"True", "imageScanningConfiguration.scanOnPush", []string{"ecr", "put-image-scanning-configuration", "--repository-name", "app", "--image-scanning-configuration", "scanOnPush=true"}},
		{run.URL, "authorizationData[0].proxyEndpoint", []string{"ecr", "get-authorization-token"}},
		{"111122223333", "Account", []string{"sts", "get-caller-identity"}},
		{"arn:aws:sts::444455556666:assumed-role/r/cli", "AssumedRoleUser.Arn", []string{"sts", "assume-role", "--role-arn", "arn:aws:iam::444455556666:role/r", "--role-session-name", "cli"}},
		{"arn:aws:sts::444455556666:assumed-role/r/cli", "AssumedRoleUser.Arn", []string{
			"sts", "assume-role-with-web-identity", "--role-arn", "arn:aws:iam::444455556666:role/r", "--role-session-name", "cli", "--web-identity-token", "a.web.token",
		}},
		{"{}", "policyText", []string{"ecr", "set-repository-policy", "--repository-name", "app", "--policy-text", "{}"}},
		{"{}", "policyText", []string{"ecr", "get-repository-policy", "--repository-name", "app"}},
		{run.Host + "/public-111122223333/pub", "repository.repositoryUri", []string{"ecr-public", "create-repository", "--repository-name", "pub"}},
		{"pub", "repositories[0].repositoryName", []string{"ecr-public", "describe-repositories"}},
	} {
		if got := query(row.query, row.args...); got != row.want {
			t.Errorf("%s: got %s, want %s", strings.Join(row.args[:2], " "), got, row.want)
		}
	}
	if got := cli.must(aws("ecr", "get-login-password")...); len(got) < 50 {
		t.Errorf("the password is %q", got)
	}

	raw := r.pushImage("app", "1", "one")
	d := string(digest.FromBytes(raw))
	layer := string(digest.FromString("layer of one"))
	file := filepath.Join(t.TempDir(), "part")
	if err := os.WriteFile(file, []byte("by the cli"), 0o600); err != nil {
		t.Fatal(err)
	}
	part := string(digest.FromString("by the cli"))
	upload := query("uploadId", "ecr", "initiate-layer-upload", "--repository-name", "app")
	for _, row := range []struct {
		want  string
		query string
		args  []string
	}{
		{"1", "imageIds[0].imageTag", []string{"ecr", "list-images", "--repository-name", "app"}},
		{d, "imageDetails[0].imageDigest", []string{"ecr", "describe-images", "--repository-name", "app", "--image-ids", "imageTag=1"}},
		{ociManifest, "images[0].imageManifestMediaType", []string{"ecr", "batch-get-image", "--repository-name", "app", "--image-ids", "imageTag=1"}},
		{"AVAILABLE", "layers[0].layerAvailability", []string{"ecr", "batch-check-layer-availability", "--repository-name", "app", "--layer-digests", layer}},
		{layer, "layerDigest", []string{"ecr", "get-download-url-for-layer", "--repository-name", "app", "--layer-digest", layer}},
		{"9", "lastByteReceived", []string{
			"ecr", "upload-layer-part", "--repository-name", "app", "--upload-id", upload, "--part-first-byte", "0", "--part-last-byte", "9", "--layer-part-blob", "fileb://" + file,
		}},
		{part, "layerDigest", []string{"ecr", "complete-layer-upload", "--repository-name", "app", "--upload-id", upload, "--layer-digests", part}},
		{"2", "image.imageId.imageTag", []string{"ecr", "put-image", "--repository-name", "app", "--image-tag", "2", "--image-manifest", string(raw)}},
		{"2", "imageIds[0].imageTag", []string{"ecr", "batch-delete-image", "--repository-name", "app", "--image-ids", "imageTag=2"}},
		{"app", "repository.repositoryName", []string{"ecr", "delete-repository", "--repository-name", "app", "--force"}},
	} {
		if got := query(row.query, row.args...); got != row.want {
			t.Errorf("%s: got %s, want %s", strings.Join(row.args[:2], " "), got, row.want)
		}
	}

	out, code := cli.run("", aws("ecr", "list-images", "--repository-name", "gone")...)
	if code != 254 || !strings.Contains(out, "An error occurred (RepositoryNotFoundException) when calling the ListImages operation") {
		t.Errorf("a missing repository: exit %d, %s", code, out)
	}
	// awscli's own paging goes through the emulator's pages.
	create(t, run, "r1", "r2", "r3")
	if got := strings.Fields(query("repositories[].repositoryName", "ecr", "describe-repositories", "--page-size", "1")); !slices.Equal(got, []string{"r1", "r2", "r3"}) {
		t.Errorf("in pages of one there are the repositories %v, want r1, r2 and r3", got)
	}
}

// pushIndex pushes an index of two images to a registry, as library/app:1, and returns it.
func pushIndex(r *registry) []byte {
	r.t.Helper()
	const repo, tag = "library/app", "1"
	idx := index(r.pushImage(repo, "", "amd64"), r.pushImage(repo, "", "arm64"))
	r.want(201, r.pushManifest(repo, tag, idx))
	return idx
}

// TestSkopeo copies an index from a plain registry into ECR and back into files, logs in, and
// lists and deletes.
func TestSkopeo(t *testing.T) {
	t.Parallel()
	upstream := ecrlocaltest.StartRegistry(t)
	run := ecrlocaltest.Start(t)
	skopeo := findTool(t, run, "skopeo")
	t.Log(strings.TrimSpace(skopeo.must("--version")))
	idx := pushIndex(anonymous(t, upstream.URL))
	create(t, run, "app")
	r := login(t, run)
	auth := filepath.Join(t.TempDir(), "auth.json")
	if out, code := skopeo.run(r.password(), "login", "--tls-verify=false", "--authfile", auth, "-u", "AWS", "--password-stdin", run.Host); code != 0 {
		t.Fatalf("login: %d %s", code, out)
	}
	skopeo.must("copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", "--dest-authfile", auth,
		"docker://"+upstream.Host+"/library/app:1", "docker://"+run.Host+"/app:1")
	if got := r.do("GET", "/v2/app/manifests/1", nil, "Accept", ociIndex); !bytes.Equal(got.body, idx) {
		t.Errorf("ECR has %s, want %s", got.body, idx)
	}
	dir := t.TempDir()
	skopeo.must("copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--src-authfile", auth, "docker://"+run.Host+"/app:1", "oci:"+dir+":1")
	if _, err := os.Stat(filepath.Join(dir, "blobs/sha256", digest.FromBytes(idx).Encoded())); err != nil {
		t.Errorf("the index is not in the layout: %v", err)
	}
	var tags struct{ Tags []string }
	if err := json.Unmarshal([]byte(skopeo.must("list-tags", "--tls-verify=false", "--authfile", auth, "docker://"+run.Host+"/app")), &tags); err != nil || len(tags.Tags) != 1 {
		t.Errorf("list-tags: %v, %v", tags, err)
	}
	raw := skopeo.must("inspect", "--raw", "--tls-verify=false", "--authfile", auth, "docker://"+run.Host+"/app:1")
	if raw != string(idx) {
		t.Errorf("inspect --raw: %s", raw)
	}
	skopeo.must("delete", "--tls-verify=false", "--authfile", auth, "docker://"+run.Host+"/app:1")
	if a := r.do("GET", "/v2/app/manifests/"+string(digest.FromBytes(idx)), nil); a.status != 404 {
		t.Errorf("after skopeo delete: %d", a.status)
	}
	out, code := skopeo.run("", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--dest-authfile", auth,
		"docker://"+upstream.Host+"/library/app:1", "docker://"+run.Host+"/nope:1")
	if code == 0 || !strings.Contains(out, "does not exist in the registry with id") {
		t.Errorf("into a missing repository: exit %d, %s", code, out)
	}
}

// TestCrane copies an index, and pushes a layer of its own.
func TestCrane(t *testing.T) {
	t.Parallel()
	upstream := ecrlocaltest.StartRegistry(t)
	run := ecrlocaltest.Start(t)
	crane := findTool(t, run, "crane")
	t.Log(strings.TrimSpace(crane.must("version")))
	idx := pushIndex(anonymous(t, upstream.URL))
	create(t, run, "app")
	r := login(t, run)
	if out, code := crane.run(r.password(), "auth", "login", "-u", "AWS", "--password-stdin", run.Host); code != 0 {
		t.Fatalf("login: %d %s", code, out)
	}
	crane.must("copy", "--insecure", upstream.Host+"/library/app:1", run.Host+"/app:1")
	if got := strings.TrimSpace(crane.must("digest", "--insecure", run.Host+"/app:1")); got != string(digest.FromBytes(idx)) {
		t.Errorf("the digest is %s, want %s", got, digest.FromBytes(idx))
	}
	layer := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(layer, make([]byte, 1024), 0o600); err != nil { // an empty archive
		t.Fatal(err)
	}
	crane.must("append", "--insecure", "-f", layer, "-t", run.Host+"/app:2")
	crane.must("pull", "--insecure", run.Host+"/app:2", filepath.Join(t.TempDir(), "image.tar"))
	if got := strings.Fields(crane.must("ls", "--insecure", run.Host+"/app")); len(got) != 2 {
		t.Errorf("the tags are %v, want 1 and 2", got)
	}
	crane.must("validate", "--insecure", "--remote", run.Host+"/app:2")
}

// TestRegctl copies an index in and out again, and lists tags.
func TestRegctl(t *testing.T) {
	t.Parallel()
	upstream := ecrlocaltest.StartRegistry(t)
	run := ecrlocaltest.Start(t)
	regctl := findTool(t, run, "regctl")
	idx := pushIndex(anonymous(t, upstream.URL))
	create(t, run, "app")
	hosts := []string{
		"--host", "reg=" + upstream.Host + ",tls=disabled",
		"--host", "reg=" + run.Host + ",user=AWS,pass=" + login(t, run).password() + ",tls=disabled",
	}
	regctl.must(append(hosts, "image", "copy", upstream.Host+"/library/app:1", run.Host+"/app:1")...)
	if got := strings.TrimSpace(regctl.must(append(hosts, "image", "digest", run.Host+"/app:1")...)); got != string(digest.FromBytes(idx)) {
		t.Errorf("the digest is %s, want %s", got, digest.FromBytes(idx))
	}
	regctl.must(append(hosts, "image", "copy", run.Host+"/app:1", upstream.Host+"/back/app:1")...)
	if got := strings.Fields(regctl.must(append(hosts, "tag", "ls", run.Host+"/app")...)); len(got) != 1 || got[0] != "1" {
		t.Errorf("the tags are %v, want 1", got)
	}
}

// TestPlainProfileWithClients pushes and pulls without any login.
func TestPlainProfileWithClients(t *testing.T) {
	t.Parallel()
	upstream := ecrlocaltest.StartRegistry(t)
	run := ecrlocaltest.Start(t, ecrlocaltest.WithQuirks(ecrlocal.PlainOCI()))
	crane := findTool(t, run, "crane")
	idx := pushIndex(anonymous(t, upstream.URL))
	crane.must("copy", "--insecure", upstream.Host+"/library/app:1", run.Host+"/new/app:1")
	crane.must("copy", "--insecure", run.Host+"/new/app:1", run.Host+"/newer/app:1")
	if got := strings.TrimSpace(crane.must("digest", "--insecure", run.Host+"/newer/app:1")); got != string(digest.FromBytes(idx)) {
		t.Errorf("the digest is %s, want %s", got, digest.FromBytes(idx))
	}
	if n := ops(run.Journal())["mount"]; n == 0 {
		t.Error("crane did not mount between repositories of one registry")
	}
	if got := fmt.Sprint(strings.Fields(crane.must("catalog", "--insecure", run.Host))); got != "[new/app newer/app]" {
		t.Errorf("the catalog is %s", got)
	}
}
