package main

import (
	"archive/tar"
	"crypto/x509"
	"debug/elf"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"
	containerimage "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// realImage is the image that `make image-oci` has built. Compiling the program for two
// platforms takes minutes where nothing is cached, so `make image-test` runs these tests.
func realImage(t *testing.T) (dir string, index containerimage.ImageIndex) {
	t.Helper()
	dir = os.Getenv("IMAGE_OCI")
	if dir == "" {
		t.Skip("IMAGE_OCI names no layout: run make image-test")
	}
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := root.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if index, err = root.ImageIndex(manifest.Manifests[0].Digest); err != nil {
		t.Fatal(err)
	}
	return dir, index
}

// Each platform's image holds what it needs and nothing else: a static program for that
// platform, and authorities that are not only a file of that name.
func TestRealImage(t *testing.T) {
	_, index := realImage(t)
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	machines := map[string]elf.Machine{"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64}
	found := images(t, index)
	if len(found) != len(machines) {
		t.Errorf("%d platforms, expected %d", len(found), len(machines))
	}
	for platform, image := range found {
		if diff := cmp.Diff(everything, listing(t, image)); diff != "" {
			t.Errorf("%s: %s", platform, diff)
		}
		root := unpack(t, image)
		program, err := elf.Open(filepath.Join(root, "ecr-mirror-sync"))
		if err != nil {
			t.Fatal(err)
		}
		if program.Machine != machines[platform] {
			t.Errorf("%s: the program is for %s", platform, program.Machine)
		}
		if libraries, err := program.ImportedLibraries(); len(libraries) > 0 || err != nil {
			t.Errorf("%s: the program wants %v, %v", platform, libraries, err)
		}
		if n := authorities(t, filepath.Join(root, "etc/ssl/certs/ca-certificates.crt")); n < 50 {
			t.Errorf("%s: %d certificate authorities", platform, n)
		}
		t.Logf("%s: %d bytes unpacked", platform, sizeOf(t, root))
	}
}

// The program runs where nothing is but the image, as the image's user: it finds its way
// to ECR, and to the policy that is in the image, and mirrors the image it is in.
func TestRealImageRuns(t *testing.T) {
	dir, index := realImage(t)
	if os.Geteuid() != 0 {
		t.Skip("only root may change the root directory")
	}
	image := images(t, index)["linux/"+runtime.GOARCH]
	if image == nil {
		t.Skip("the image has no platform " + runtime.GOARCH)
	}
	root := unpack(t, image)
	local := ecrlocaltest.Start(t)
	var env []string
	environment(func(key, value string) { env = append(env, key+"="+value) }, local, "/")
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "/ecr-mirror-sync", args...)
		cmd.Env, cmd.Dir = env, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if out := run("version"); !strings.Contains(out, "linux/"+runtime.GOARCH) {
		t.Errorf("version says %s", out)
	}
	t.Log(run("version"))

	if err := os.CopyFS(filepath.Join(root, "tmp/oci"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	repository := "tools/ecr-mirror-sync"
	if _, err := ecr.NewFromConfig(local.AWSConfig("")).CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: &repository}); err != nil {
		t.Fatal(err)
	}
	tag, digest := named(t, dir)
	run("copy", "--src", "oci:/tmp/oci:"+tag, "--dest", local.Host+"/"+repository, "--policy", "/etc/ecr-mirror-sync/default-policy.json")
	if err := whole(t.Context(), local, repository, tag, digest); err != nil {
		t.Error(err)
	}
}

// named is the name that a layout gives its image, and the image's digest.
func named(t *testing.T, dir string) (tag, digest string) {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	only := manifest.Manifests[0]
	return only.Annotations["org.opencontainers.image.ref.name"], only.Digest.String()
}

// unpack writes an image's file system.
func unpack(t *testing.T, image containerimage.Image) string {
	t.Helper()
	root := t.TempDir()
	// Others have to get in: the program runs as somebody else.
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		content, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(extract(content, root), content.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func extract(content io.Reader, root string) error {
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(root, filepath.Clean("/"+header.Name))
		switch header.Typeflag {
		case tar.TypeDir:
			err = errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, header.FileInfo().Mode()))
		case tar.TypeReg:
			var data []byte
			if data, err = io.ReadAll(archive); err == nil {
				err = os.WriteFile(path, data, header.FileInfo().Mode())
			}
		default:
			err = fmt.Errorf("%s is neither a file nor a directory", header.Name)
		}
		if err != nil {
			return err
		}
	}
}

// authorities counts the certificates of a bundle, each of which has to be one.
func authorities(t *testing.T, bundle string) int {
	t.Helper()
	rest, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return n
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			t.Error(err)
		}
	}
}

func sizeOf(t *testing.T, root string) int64 {
	t.Helper()
	var size int64
	err := filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
