package bucket_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/bucket"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// stock writes an index of two platforms and a single Docker image, as mirror/app:1.0 and
// mirror/app:docker.
func stock(t *testing.T, s *storage) (index, single imagetest.Node) {
	t.Helper()
	files := imagetest.TarLayer(map[string]string{"etc/motd": "hello"})
	index = imagetest.Index(
		imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"}, files),
		imagetest.Image(ref.Platform{OS: "linux", Architecture: "arm64"}, files, imagetest.TarLayer(map[string]string{"arm": "64"})),
	)
	single = imagetest.DockerImage(ref.Platform{OS: "linux", Architecture: "amd64"}, files)
	target := s.target(bucket.Options{})
	push(t, target, "mirror/app", "1.0", index)
	push(t, target, "mirror/app", "docker", single)
	return index, single
}

// push writes an image as the engine does.
func push(t *testing.T, target registry.Target, path, tag string, node imagetest.Node) {
	t.Helper()
	if err := write(t.Context(), target, path, tag, node); err != nil {
		t.Fatal(err)
	}
}

func write(ctx context.Context, target registry.Target, path, tag string, node imagetest.Node) error {
	dst, err := target.OpenDestination(ctx, ref.Repository{Host: host, Path: path})
	if err != nil {
		return err
	}
	for _, b := range node.AllBlobs() {
		want := ref.Descriptor{Digest: b.Digest(), Size: int64(len(b.Content))}
		if held, err := registry.HasBlob(ctx, dst, want); err != nil {
			return err
		} else if held {
			continue
		}
		open := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Content)), nil }
		if err := registry.UploadBlob(ctx, dst, want, open); err != nil {
			return err
		}
	}
	for n := range node.All() {
		if n.Digest() == node.Digest() {
			continue // the tag brings it
		}
		if err := registry.WriteManifest(ctx, dst, n.Digest().String(), registry.Manifest{MediaType: n.Descriptor.MediaType, Raw: n.Raw}); err != nil {
			return err
		}
	}
	return registry.WriteManifest(ctx, dst, tag, registry.Manifest{MediaType: node.Descriptor.MediaType, Raw: node.Raw})
}

// website serves a bucket's objects as S3 does without asking who it is: GET and HEAD of a
// key, with the metadata that was stored, and nothing that is not there.
func website(t *testing.T, s *storage) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "no", http.StatusMethodNotAllowed)
			return
		}
		out, err := s.client.GetObject(r.Context(), &s3.GetObjectInput{Bucket: aws.String(name), Key: aws.String(strings.TrimPrefix(r.URL.Path, "/"))})
		if err != nil {
			http.Error(w, "no such key", http.StatusNotFound)
			return
		}
		defer out.Body.Close()
		w.Header().Set("Content-Type", aws.ToString(out.ContentType))
		w.Header().Set("Content-Length", fmt.Sprint(aws.ToInt64(out.ContentLength)))
		for key, value := range out.Metadata {
			w.Header().Set("x-amz-meta-"+key, value)
		}
		if r.Method == http.MethodGet {
			_, _ = io.Copy(w, out.Body)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// export writes a bucket to a directory, as aws s3 sync does. Names are all that is left.
func export(t *testing.T, s *storage) string {
	t.Helper()
	dir := t.TempDir()
	for _, key := range s.keys() {
		if strings.HasSuffix(key, "/") {
			continue // which no file can be named
		}
		path := filepath.Join(dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(s.read(key)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// authority is the host that images are pulled from.
func authority(server *httptest.Server) string { return strings.TrimPrefix(server.URL, "http://") }

// The walker follows an image from its tag to every blob, and hashes all of it.
func TestWalkThroughAPlainFileServer(t *testing.T) {
	s := serve(t)
	index, _ := stock(t, s)
	report, err := walker.Check(t.Context(), walker.Options{Base: website(t, s).URL, Repository: "mirror/app", Reference: "1.0", Deep: true})
	if err != nil || report.Err() != nil || report.Root != index.Digest() {
		t.Errorf("%v, %v: %+v", err, report.Err(), report)
	}
}

// run runs a program that may not be installed.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, complaint.String())
	}
	return string(out)
}

func TestSkopeoPulls(t *testing.T) {
	s := serve(t)
	index, single := stock(t, s)
	at := "docker://" + authority(website(t, s)) + "/mirror/app"
	run(t, "skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--preserve-digests", at+":1.0", "oci:"+t.TempDir()+":x")
	run(t, "skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", at+":docker", "dir:"+t.TempDir())
	run(t, "skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", at+"@"+index.Children[0].Digest().String(), "dir:"+t.TempDir())
	for tag, node := range map[string]imagetest.Node{"1.0": index, "docker": single} {
		if got := run(t, "skopeo", "inspect", "--raw", "--tls-verify=false", at+":"+tag); got != string(node.Raw) {
			t.Errorf("%s is %s", tag, got)
		}
	}
	if got := run(t, "skopeo", "list-tags", "--tls-verify=false", at); !strings.Contains(got, `"1.0"`) || !strings.Contains(got, `"docker"`) {
		t.Errorf("tags: %s", got)
	}
}

func TestCranePulls(t *testing.T) {
	s := serve(t)
	index, single := stock(t, s)
	at := authority(website(t, s)) + "/mirror/app"
	run(t, "crane", "pull", "--insecure", "--format=oci", at+":1.0", t.TempDir())
	run(t, "crane", "pull", "--insecure", at+":docker", filepath.Join(t.TempDir(), "image.tar"))
	run(t, "crane", "validate", "--insecure", "--remote", at+":1.0")
	if got := strings.TrimSpace(run(t, "crane", "digest", "--insecure", at+":1.0")); got != index.Digest().String() {
		t.Errorf("1.0 is %s", got)
	}
	if got := strings.TrimSpace(run(t, "crane", "digest", "--insecure", at+":docker")); got != single.Digest().String() {
		t.Errorf("docker is %s", got)
	}
	if got := strings.Fields(run(t, "crane", "ls", "--insecure", at)); len(got) != 2 {
		t.Errorf("tags: %v", got)
	}
}

// A server of files that guesses their types is what a CDN must not be: the names are
// right, and the types are not.
func TestWhatAServerOfFilesLacks(t *testing.T) {
	s := serve(t)
	index, _ := stock(t, s)
	files := http.FileServer(http.Dir(export(t, s)))
	typed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2/":
			_, _ = io.WriteString(w, "{}")
			return
		case strings.Contains(r.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", index.Descriptor.MediaType)
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(typed.Close)
	bare := httptest.NewServer(files)
	t.Cleanup(bare.Close)

	answer, err := http.Get(bare.URL + "/v2/mirror/app/manifests/1.0") //nolint:noctx // the server is this test's own
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if got := answer.Header.Get("Content-Type"); got == index.Descriptor.MediaType {
		t.Errorf("a server of files knows %s", got)
	}
	// With the type, and something at /v2/, it is a registry.
	run(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+authority(typed)+"/mirror/app:1.0")
	run(t, "crane", "manifest", "--insecure", authority(typed)+"/mirror/app:1.0")
}
