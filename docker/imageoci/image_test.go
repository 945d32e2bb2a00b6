package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	containerimage "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// stages writes what the build stage would leave, for two platforms: a few bytes in
// place of the program.
func stages(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, platform := range []string{"linux-amd64", "linux-arm64"} {
		stage := filepath.Join(root, "build", platform)
		put(t, filepath.Join(stage, "etc/ssl/certs/ca-certificates.crt"), "certificates", 0o600)
		put(t, filepath.Join(stage, "out/ecr-mirror-sync"), "a program for "+platform, 0o700)
		if err := os.Mkdir(filepath.Join(stage, "out/tmp"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(stage, "out/tmp"), 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func put(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), mode)); err != nil {
		t.Fatal(err)
	}
}

func options(t *testing.T) Options {
	t.Helper()
	_, recipe := shipped(t)
	return Options{
		Recipe: recipe, Context: "../..", Stages: stages(t), Platforms: []string{"linux/amd64", "linux/arm64"}, Tag: "1.2.3",
		Args: map[string]string{"VERSION": "1.2.3", "COMMIT": "abc"}, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func build(t *testing.T, o Options) Built {
	t.Helper()
	built, err := Build(o)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func digestOf(t *testing.T, built Built) string {
	t.Helper()
	digest, err := built.index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// images are the images of an index by platform.
func images(t *testing.T, index containerimage.ImageIndex) map[string]containerimage.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]containerimage.Image{}
	for _, child := range manifest.Manifests {
		if found[child.Platform.String()], err = index.Image(child.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// listing is what the layers of an image hold, a line for each entry, with all that a
// kernel would know about it.
func listing(t *testing.T, image containerimage.Image) []string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, l := range layers {
		content, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for archive := tar.NewReader(content); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, fmt.Sprintf("%04o %d:%d %s", header.Mode, header.Uid, header.Gid, header.Name))
		}
	}
	return found
}

// everything is all that the image may hold.
var everything = []string{
	"0755 0:0 etc/", "0755 0:0 etc/ssl/", "0755 0:0 etc/ssl/certs/", "0644 0:0 etc/ssl/certs/ca-certificates.crt",
	"0755 0:0 ecr-mirror-sync", "1777 0:0 tmp/",
	"0755 0:0 etc/", "0755 0:0 etc/ecr-mirror-sync/", "0644 0:0 etc/ecr-mirror-sync/default-policy.json",
	"0755 0:0 etc/", "0755 0:0 etc/containers/", "0755 0:0 etc/containers/registries.d/", "0644 0:0 etc/containers/registries.d/default.yaml",
}

func TestImageHoldsWhatItNeeds(t *testing.T) {
	built := build(t, options(t))
	for platform, image := range images(t, built.index) {
		if diff := cmp.Diff(everything, listing(t, image)); diff != "" {
			t.Errorf("%s: %s", platform, diff)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if have := config.OS + "/" + config.Architecture; have != platform {
			t.Errorf("the config of %s says %s", platform, have)
		}
		if config.Config.User != "65532:65532" || config.Config.Labels["org.opencontainers.image.version"] != "1.2.3" ||
			config.Config.Labels["org.opencontainers.image.revision"] != "abc" || !cmp.Equal(config.Config.Entrypoint, []string{"/ecr-mirror-sync"}) {
			t.Errorf("config of %s: %+v", platform, config.Config)
		}
	}
}

// Two machines that build one commit get one digest, whatever their clocks, users and
// umasks are; another commit gets another.
func TestBuildIsReproducible(t *testing.T) {
	one, two := options(t), options(t)
	err := filepath.WalkDir(two.Stages, func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".crt") {
			err = os.Chmod(path, 0o444)
		}
		return errors.Join(err, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	})
	if err != nil {
		t.Fatal(err)
	}
	first := digestOf(t, build(t, one))
	if second := digestOf(t, build(t, two)); second != first {
		t.Errorf("the same files built twice: %s and %s", first, second)
	}
	two.Created = two.Created.Add(time.Second)
	if other := digestOf(t, build(t, two)); other == first {
		t.Error("another time makes the same image")
	}
}

func TestWrittenLayoutIsWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "oci")
	built := build(t, options(t))
	for range 2 { // a second build replaces the first
		if err := built.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest.String() != digestOf(t, built) {
		t.Errorf("the layout lists %+v", manifest.Manifests)
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Run("a directory of somebody else's", func(t *testing.T) {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "thesis.txt"), "years of work", 0o600)
		if err := build(t, options(t)).Write(dir); err == nil {
			t.Error("it was written over")
		}
		if _, err := os.Stat(filepath.Join(dir, "thesis.txt")); err != nil {
			t.Error(err)
		}
	})
	t.Run("a platform that was not built", func(t *testing.T) {
		o := options(t)
		o.Platforms = append(o.Platforms, "linux/riscv64")
		if _, err := Build(o); err == nil || !strings.Contains(err.Error(), "linux/riscv64") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a link", func(t *testing.T) {
		o := options(t)
		if err := os.Symlink("/etc/shadow", filepath.Join(o.Stages, "build/linux-amd64/out/link")); err != nil {
			t.Fatal(err)
		}
		if _, err := Build(o); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("error %v", err)
		}
	})
}
