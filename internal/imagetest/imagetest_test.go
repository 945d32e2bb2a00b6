package imagetest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

var (
	amd64 = ref.Platform{OS: "linux", Architecture: "amd64"}
	armv7 = ref.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
)

// everything is one graph with each kind of node in it.
func everything() imagetest.Node {
	base := imagetest.Layer("base", 3000)
	image := imagetest.Image(amd64, base, imagetest.Layer("app", 100))
	return imagetest.Index(
		image,
		imagetest.Image(armv7, base, base).WithoutMediaType(),
		imagetest.Attestation(image),
		imagetest.DockerIndex(
			imagetest.DockerImage(amd64, base, imagetest.ForeignLayer("windows", 500, "https://example.com/layer")),
		),
		imagetest.Artifact("application/vnd.example.chart", imagetest.NewBlob("text/plain", []byte("hello"))),
	)
}

func TestSameCallsGiveSameBytes(t *testing.T) {
	one, two := everything(), everything()
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("(-first +second)\n%s", diff)
	}
	// Written out: pseudo-random layers are the same in every process and release of Go.
	if got, want := imagetest.Layer("base", 16).Digest(), ref.Digest("sha256:9b4951125d102607ed163fc9728c3d5e8a9a053e4bc759bff9e2e82d63f89b80"); got != want {
		t.Errorf("Layer(base, 16) = %s, want %s", got, want)
	}
}

func TestDifferentSeedsGiveDifferentLayers(t *testing.T) {
	if imagetest.Layer("a", 8).Digest() == imagetest.Layer("b", 8).Digest() {
		t.Error("seeds a and b give the same layer")
	}
}

func TestDescriptorsTellTheTruth(t *testing.T) {
	for n := range everything().All() {
		if got := digest.FromBytes(n.Raw); got != n.Digest() || n.Descriptor.Size != int64(len(n.Raw)) {
			t.Errorf("manifest %s of %d bytes has digest %s and %d bytes", n.Digest(), n.Descriptor.Size, got, len(n.Raw))
		}
		for _, b := range n.Blobs {
			if got := digest.FromBytes(b.Content); got != b.Digest() || b.Descriptor.Size != int64(len(b.Content)) {
				t.Errorf("blob %s of %d bytes has digest %s and %d bytes", b.Digest(), b.Descriptor.Size, got, len(b.Content))
			}
		}
	}
}

func TestAllYieldsChildrenFirstAndOnce(t *testing.T) {
	image := imagetest.Image(amd64)
	inner := imagetest.Index(image)
	outer := imagetest.Index(inner, image)

	var got []ref.Digest
	for n := range outer.All() {
		got = append(got, n.Digest())
	}
	want := []ref.Digest{image.Digest(), inner.Digest(), outer.Digest()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAllBlobsLeavesOutRepeatsAndForeignLayers(t *testing.T) {
	layer := imagetest.Layer("x", 10)
	image := imagetest.Image(amd64, layer, layer, imagetest.ForeignLayer("y", 10, "https://example.com/y"))
	var got []string
	for _, b := range imagetest.Index(image, image).AllBlobs() {
		got = append(got, b.Descriptor.MediaType)
	}
	want := []string{v1.MediaTypeImageConfig, v1.MediaTypeImageLayerGzip}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestManifestFields(t *testing.T) {
	image := imagetest.Image(amd64, imagetest.Layer("x", 10))
	tests := []struct {
		name string
		node imagetest.Node
		want map[string]any // fields of the manifest; nil means absent
	}{
		{"OCI image", image, map[string]any{"mediaType": v1.MediaTypeImageManifest, "subject": nil}},
		{"Docker image", imagetest.DockerImage(amd64), map[string]any{"mediaType": imagetest.DockerManifest}},
		{"OCI index", imagetest.Index(image), map[string]any{"mediaType": v1.MediaTypeImageIndex}},
		{"Docker index", imagetest.DockerIndex(image), map[string]any{"mediaType": imagetest.DockerList}},
		{"no media type", image.WithoutMediaType(), map[string]any{"mediaType": nil, "schemaVersion": 2.0}},
		{"artifact", imagetest.Artifact("application/x"), map[string]any{"artifactType": "application/x"}},
		{
			"annotations add up", image.WithAnnotations(map[string]string{"a": "1"}).WithAnnotations(map[string]string{"b": "2"}),
			map[string]any{"annotations": map[string]any{"a": "1", "b": "2"}},
		},
		{"referrer", imagetest.Referrer(image, "application/x"), map[string]any{"subject": map[string]any{
			"mediaType": image.Descriptor.MediaType, "digest": string(image.Digest()), "size": float64(image.Descriptor.Size),
		}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fields := map[string]any{}
			if err := json.Unmarshal(tt.node.Raw, &fields); err != nil {
				t.Fatal(err)
			}
			for key, want := range tt.want {
				if diff := cmp.Diff(want, fields[key]); diff != "" {
					t.Errorf("%s (-want +got)\n%s", key, diff)
				}
			}
		})
	}
}

func TestAttestationIsTiedToItsImage(t *testing.T) {
	image := imagetest.Image(amd64)
	var index v1.Index
	if err := json.Unmarshal(imagetest.Index(image, imagetest.Attestation(image)).Raw, &index); err != nil {
		t.Fatal(err)
	}
	got := index.Manifests[1]
	if got.Platform.OS != "unknown" || got.Platform.Architecture != "unknown" {
		t.Errorf("platform %s/%s, want unknown/unknown", got.Platform.OS, got.Platform.Architecture)
	}
	want := map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": string(image.Digest()),
	}
	if diff := cmp.Diff(want, got.Annotations); diff != "" {
		t.Errorf("annotations (-want +got)\n%s", diff)
	}
}

func TestExecutableImage(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	image, err := imagetest.ExecutableImage(binary, amd64, []byte("certificates"))
	if err != nil {
		t.Fatal(err)
	}

	var config v1.Image
	if err := json.Unmarshal(image.Blobs[0].Content, &config); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/tool"}, config.Config.Entrypoint); diff != "" {
		t.Errorf("entrypoint (-want +got)\n%s", diff)
	}
	wantFiles := []map[string]int64{{"etc/ssl/certs/ca-certificates.crt": 0o644}, {"tool": 0o755}}
	for i, layer := range image.Blobs[1:] {
		files, diffID := untar(t, layer.Content)
		if diff := cmp.Diff(wantFiles[i], files); diff != "" {
			t.Errorf("files of layer %d (-want +got)\n%s", i, diff)
		}
		if config.RootFS.DiffIDs[i] != diffID {
			t.Errorf("layer %d has diff ID %s, the config says %s", i, diffID, config.RootFS.DiffIDs[i])
		}
	}

	if _, err := imagetest.ExecutableImage(binary+".missing", amd64, nil); err == nil {
		t.Error("a missing program gives no error")
	}
}

// untar returns the modes of the files in a layer and the digest of the bare archive.
func untar(t *testing.T, layer []byte) (map[string]int64, digest.Digest) {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]int64{}
	for tr := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, digest.FromBytes(archive)
		}
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = header.Mode
	}
}

func TestPush(t *testing.T) {
	registry := ecrlocaltest.StartRegistry(t)
	node := everything()

	got, err := imagetest.Push(t.Context(), nil, registry.URL, "team/app", "1.0", node)
	if err != nil {
		t.Fatal(err)
	}
	if got != node.Digest() {
		t.Errorf("Push returned %s, want %s", got, node.Digest())
	}
	if raw := get(t, registry.URL+"/v2/team/app/manifests/1.0", node.Descriptor.MediaType); !bytes.Equal(raw, node.Raw) {
		t.Errorf("the tag holds\n%s\nwant\n%s", raw, node.Raw)
	}
	for _, b := range node.AllBlobs() {
		if content := get(t, registry.URL+"/v2/team/app/blobs/"+string(b.Digest()), ""); !bytes.Equal(content, b.Content) {
			t.Errorf("blob %s arrived changed", b.Digest())
		}
	}
}

func TestPushWithoutTag(t *testing.T) {
	registry := ecrlocaltest.StartRegistry(t)
	image := imagetest.Image(amd64)

	if _, err := imagetest.Push(t.Context(), nil, registry.URL, "app", "", image); err != nil {
		t.Fatal(err)
	}
	get(t, registry.URL+"/v2/app/manifests/"+string(image.Digest()), image.Descriptor.MediaType)
}

func TestPushQuotesTheRegistry(t *testing.T) {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "AWS" || password != "secret" {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		http.Error(w, "the repository does not exist", http.StatusNotFound)
	}))
	defer registry.Close()

	for _, tt := range []struct {
		name string
		auth []imagetest.Auth
		want string
	}{
		{"anonymous", nil, "who are you"},
		{"signed in", []imagetest.Auth{imagetest.Basic("AWS", "secret")}, "the repository does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := imagetest.Push(t.Context(), registry.Client(), registry.URL, "app", "1", imagetest.Image(amd64), tt.auth...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that contains %q", err, tt.want)
			}
		})
	}
}

func get(t *testing.T, url, accept string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", url, resp.Status, body)
	}
	return body
}
