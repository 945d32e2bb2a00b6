package layout_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	ocilayout "go.podman.io/image/v5/oci/layout"
	orasoci "oras.land/oras-go/v2/content/oci"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/layout"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// opener reads bytes that are at hand.
func opener(b []byte) registry.Opener {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// write writes an image, its manifests by digest, and tags it. What it refers to is
// entered as a referrer.
func write(t *testing.T, target registry.Target, repo ref.Repository, node imagetest.Node, tag string) {
	t.Helper()
	dst, err := target.OpenDestination(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range node.AllBlobs() {
		if err := registry.UploadBlob(t.Context(), dst, ref.Descriptor{Digest: b.Digest(), Size: b.Descriptor.Size}, opener(b.Content)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range node.All() {
		if err := registry.WriteManifest(t.Context(), dst, n.Digest().String(), manifestOf(n)); err != nil {
			t.Fatal(err)
		}
	}
	if tag != "" {
		if err := registry.WriteManifest(t.Context(), dst, tag, manifestOf(node)); err != nil {
			t.Fatal(err)
		}
	}
	if err := registry.Commit(t.Context(), dst); err != nil {
		t.Fatal(err)
	}
}

func manifestOf(n imagetest.Node) registry.Manifest {
	return registry.Manifest{MediaType: n.Descriptor.MediaType, Raw: n.Raw}
}

var (
	amd64 = ref.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ref.Platform{OS: "linux", Architecture: "arm64"}
	index = imagetest.Index(
		imagetest.Image(amd64, imagetest.Layer("shared", 5000), imagetest.Layer("amd64", 3000)),
		imagetest.Image(arm64, imagetest.Layer("shared", 5000), imagetest.Layer("arm64", 3000)),
	)
	signature = imagetest.Referrer(index, "application/vnd.example.signature", imagetest.Layer("signature", 300))
)

// Other people's readers find the image, its platforms and its referrers.
func TestOthersReadTheLayout(t *testing.T) {
	dir := t.TempDir()
	repo := ref.Repository{Host: "oci:" + dir, Path: "library/nginx"}
	at := filepath.Join(dir, "library", "nginx")
	layouts := &layout.Layouts{}
	write(t, layouts, repo, index, "1.27")
	write(t, layouts, repo, index, "stable")
	dst, err := layouts.OpenDestination(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	write(t, layouts, repo, signature, "")
	if listed, err := registry.WriteReferrer(t.Context(), dst, signature.Digest(), index.Digest(), manifestOf(signature)); err != nil || !listed {
		t.Fatalf("listed %t, %v", listed, err)
	}

	t.Run("containers/image", func(t *testing.T) {
		named, err := ocilayout.NewReference(at, "stable")
		if err != nil {
			t.Fatal(err)
		}
		src, err := named.NewImageSource(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		raw, mediaType, err := src.GetManifest(t.Context(), nil)
		if err != nil || mediaType != index.Descriptor.MediaType || !bytes.Equal(raw, index.Raw) {
			t.Errorf("%s, %v: %s", mediaType, err, raw)
		}
	})
	t.Run("oras", func(t *testing.T) {
		store, err := orasoci.NewFromFS(t.Context(), os.DirFS(at))
		if err != nil {
			t.Fatal(err)
		}
		subject, err := store.Resolve(t.Context(), "1.27")
		if err != nil || subject.Digest != index.Digest() {
			t.Fatalf("%s, %v", subject.Digest, err)
		}
		about, err := store.Predecessors(t.Context(), subject)
		if err != nil || len(about) != 1 || about[0].Digest != signature.Digest() {
			t.Errorf("what refers to it: %v, %v", about, err)
		}
	})
	t.Run("skopeo", func(t *testing.T) {
		skopeo, err := exec.LookPath("skopeo")
		if err != nil {
			t.Skip("apt install skopeo installs the program this asks: ", err)
		}
		out, err := exec.CommandContext(t.Context(), skopeo, "inspect", "--raw", "oci:"+at+":1.27").Output()
		if err != nil || !bytes.Equal(out, index.Raw) {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// What others wrote: tags that no registry could have, and files that are not there.
func TestWhatOthersWrote(t *testing.T) {
	dir := t.TempDir()
	repo := ref.Repository{Host: "oci:" + dir, Path: "app"}
	layouts := &layout.Layouts{}
	write(t, layouts, repo, index, "1.0")
	edit(t, filepath.Join(dir, "app", imgspec.ImageIndexFile), func(i *imgspec.Index) {
		i.Annotations = map[string]string{"org.example": "kept"}
		whole := i.Manifests[0]
		whole.Annotations = map[string]string{imgspec.AnnotationRefName: "docker.io/library/app:1.0"}
		lost := whole
		lost.Digest = "sha256:" + ref.Digest(strings.Repeat("0", 64))
		lost.Annotations = map[string]string{imgspec.AnnotationRefName: "lost"}
		i.Manifests = append(i.Manifests, whole, lost)
	})
	write(t, layouts, repo, index, "2.0")

	var tags []string
	for tag, err := range layouts.Tags(t.Context(), repo) {
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, tag)
	}
	if diff := cmp.Diff([]string{"1.0", "2.0", "lost"}, tags); diff != "" {
		t.Errorf("tags (-want +got)\n%s", diff)
	}
	if _, err := layouts.Resolve(t.Context(), repo.Tagged("lost")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a tag whose manifest is not there: %v", err)
	}
	held, err := layouts.Snapshot(t.Context(), repo, nil)
	if err != nil || len(held) != 2 {
		t.Errorf("%v, %v", held, err)
	}
	edit(t, filepath.Join(dir, "app", imgspec.ImageIndexFile), func(i *imgspec.Index) {
		if i.Annotations["org.example"] != "kept" || len(i.Manifests) != 4 {
			t.Errorf("what others wrote was not kept: %+v", i)
		}
	})
}

func edit(t *testing.T, at string, change func(*imgspec.Index)) {
	t.Helper()
	raw, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	var i imgspec.Index
	if err := json.Unmarshal(raw, &i); err != nil {
		t.Fatal(err)
	}
	change(&i)
	if raw, err = json.Marshal(i); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Two programs that write tags to one layout lose none.
func TestTwoWritersLoseNoTag(t *testing.T) {
	repo := ref.Repository{Host: "oci:" + t.TempDir(), Path: "app"}
	var all sync.WaitGroup
	for _, prefix := range []string{"a", "b", "c"} {
		layouts := &layout.Layouts{}
		all.Go(func() {
			dst, err := layouts.OpenDestination(t.Context(), repo)
			if err != nil {
				t.Error(err)
				return
			}
			for n := range strings.SplitSeq("0123456789", "") {
				if err := registry.WriteManifest(t.Context(), dst, prefix+n, manifestOf(index)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	held, err := (&layout.Layouts{}).Snapshot(t.Context(), repo, nil)
	if err != nil || len(held) != 30 {
		t.Errorf("%d tags of 30, %v", len(held), err)
	}
}

func TestAWrongBlobLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	dst, err := (&layout.Layouts{}).OpenDestination(t.Context(), ref.Repository{Host: "oci:" + dir, Path: "app"})
	if err != nil {
		t.Fatal(err)
	}
	want := index.AllBlobs()[0]
	err = registry.UploadBlob(t.Context(), dst, ref.Descriptor{Digest: want.Digest(), Size: want.Descriptor.Size}, opener([]byte("something else")))
	if !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("a blob of other bytes: %v", err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// files lists the files below a directory.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(at string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, at)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRepositories(t *testing.T) {
	dir := t.TempDir()
	layouts := &layout.Layouts{}
	host := "oci:" + dir
	for _, name := range []string{"library/nginx", "library/redis", "app"} {
		write(t, layouts, ref.Repository{Host: host, Path: name}, index, "1.0")
	}
	if err := os.MkdirAll(filepath.Join(dir, "no", "layout"), 0o750); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, err := range layouts.Repositories(t.Context(), host) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if diff := cmp.Diff([]string{"app", "library/nginx", "library/redis"}, names); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, err := range layouts.Repositories(t.Context(), host+"/absent") {
		if !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("a place that is not there: %v", err)
		}
	}
}

// An archive is what it was until the commit, and then the same bytes whoever wrote it.
func TestArchivesAppearWhole(t *testing.T) {
	dir := t.TempDir()
	host := "oci-archive:" + dir
	for _, name := range []string{"one.tar", "two.tar"} {
		archives := &layout.Archives{}
		repo := ref.Repository{Host: host, Path: name}
		dst, err := archives.OpenDestination(t.Context(), repo)
		if err != nil {
			t.Fatal(err)
		}
		if err := registry.WriteManifest(t.Context(), dst, "1.0", manifestOf(index)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Error("the archive is there before it is whole")
		}
		write(t, archives, repo, index, "1.0")
		if err := archives.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left := files(t, dir); len(left) != 2 {
		t.Errorf("beside the archives: %v", left)
	}
	one, two := read(t, filepath.Join(dir, "one.tar")), read(t, filepath.Join(dir, "two.tar"))
	if !bytes.Equal(one, two) {
		t.Error("the same image makes two different archives")
	}

	// A second run adds to it.
	archives := &layout.Archives{}
	defer archives.Close()
	repo := ref.Repository{Host: host, Path: "one.tar"}
	write(t, archives, repo, signature, "signature")
	again := &layout.Archives{}
	defer again.Close()
	held, err := again.Snapshot(t.Context(), repo, nil)
	if err != nil || held["1.0"].Digest != index.Digest() || held["signature"].Digest != signature.Digest() {
		t.Errorf("%v, %v", held, err)
	}
}

func read(t *testing.T, at string) []byte {
	t.Helper()
	raw, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Archives come from other people. Nothing in one leads out of its directory, and what
// is no layout is refused.
func TestHostileArchives(t *testing.T) {
	faults.Covers(t, "F98")
	dir := t.TempDir()
	archive := func(name string, members map[string]string) ref.Repository {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out := tar.NewWriter(f)
		for name, content := range members {
			header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o600}
			if target, link := strings.CutPrefix(content, "-> "); link {
				header = &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
				content = ""
			}
			if err := out.WriteHeader(header); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(out, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		return ref.Repository{Host: "oci-archive:" + dir, Path: name}
	}
	const empty = `{"schemaVersion":2,"manifests":[]}`
	for name, members := range map[string]map[string]string{
		"no layout": {"manifest.json": "[]"},
		"no index":  {"index.json": "{"},
		"link":      {"index.json": "-> /etc/passwd"},
	} {
		archives := &layout.Archives{}
		if _, err := archives.Snapshot(t.Context(), archive(name+".tar", members), nil); !errors.Is(err, registry.ErrPermanent) {
			t.Errorf("%s: %v", name, err)
		}
		if err := archives.Close(); err != nil {
			t.Error(err)
		}
	}
	archives := &layout.Archives{}
	repo := archive("out.tar", map[string]string{"index.json": empty, "../escaped": "x", "/tmp/escaped": "x", "blobs/sha256/../../../escaped": "x"})
	if held, err := archives.Snapshot(t.Context(), repo, nil); err != nil || len(held) != 0 {
		t.Errorf("%v, %v", held, err)
	}
	for _, at := range files(t, dir) {
		if strings.Contains(at, "escaped") {
			t.Errorf("%s came out of an archive", at)
		}
	}
	if err := archives.Close(); err != nil {
		t.Error(err)
	}
	if left := files(t, dir); slices.ContainsFunc(left, func(at string) bool { return !strings.HasSuffix(at, ".tar") }) {
		t.Errorf("left behind: %v", left)
	}
}

// A cut archive is refused before anything of it is used.
func TestACutArchiveIsRefused(t *testing.T) {
	dir := t.TempDir()
	repo := ref.Repository{Host: "oci-archive:" + dir, Path: "a.tar"}
	archives := &layout.Archives{}
	write(t, archives, repo, index, "1.0")
	if err := archives.Close(); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "a.tar")
	if err := os.Truncate(at, int64(len(read(t, at))/2)); err != nil {
		t.Fatal(err)
	}
	again := &layout.Archives{}
	defer again.Close()
	if _, err := again.Snapshot(t.Context(), repo, nil); !errors.Is(err, registry.ErrPermanent) {
		t.Errorf("%v", err)
	}
}
