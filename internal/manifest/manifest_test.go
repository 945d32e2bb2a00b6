package manifest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

	schema1       = "application/vnd.docker.distribution.manifest.v1+json"
	schema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	foreignLayer  = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

var (
	amd64 = ref.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ref.Platform{OS: "linux", Architecture: "arm64"}
	armv6 = ref.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}
	armv7 = ref.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
)

// descriptor is one as JSON.
func descriptor(mediaType, digest string, size int) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest, size)
}

var (
	config = descriptor("application/vnd.oci.image.config.v1+json", digestA, 2)
	layer  = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digestB, 7)
	child  = descriptor(imgspec.MediaTypeImageManifest, digestA, 5)
)

func TestParse(t *testing.T) {
	blobs := []manifest.Blob{
		{Descriptor: ref.Descriptor{MediaType: "application/vnd.oci.image.config.v1+json", Digest: digestA, Size: 2}},
		{Descriptor: ref.Descriptor{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Digest: digestB, Size: 7}},
	}
	children := []manifest.Child{{Descriptor: ref.Descriptor{MediaType: imgspec.MediaTypeImageManifest, Digest: digestA, Size: 5}}}
	image := `"config":` + config + `,"layers":[` + layer + `]`
	index := `"manifests":[` + child + `]`

	tests := []struct {
		name   string
		raw    string
		served string
		want   manifest.Manifest
	}{
		{
			"OCI image", `{"schemaVersion":2,"mediaType":"` + imgspec.MediaTypeImageManifest + `",` + image + `}`, imgspec.MediaTypeImageManifest,
			manifest.Manifest{MediaType: imgspec.MediaTypeImageManifest, Blobs: blobs},
		},
		{
			"OCI image without mediaType", `{"schemaVersion":2,` + image + `}`, imgspec.MediaTypeImageManifest,
			manifest.Manifest{MediaType: imgspec.MediaTypeImageManifest, Blobs: blobs},
		},
		{
			"image without mediaType from a registry that knows none", `{` + image + `}`, "application/json",
			manifest.Manifest{MediaType: imgspec.MediaTypeImageManifest, Blobs: blobs},
		},
		{
			"image that only says itself what it is", `{"mediaType":"` + manifest.MediaTypeDockerImage + `",` + image + `}`, "application/octet-stream",
			manifest.Manifest{MediaType: manifest.MediaTypeDockerImage, Blobs: blobs},
		},
		{
			"image without layers", `{"config":` + config + `}`, "",
			manifest.Manifest{MediaType: imgspec.MediaTypeImageManifest, Blobs: blobs[:1]},
		},
		{
			"repeated layers stay repeated", `{"config":` + config + `,"layers":[` + layer + `,` + layer + `]}`, "",
			manifest.Manifest{MediaType: imgspec.MediaTypeImageManifest, Blobs: append(blobs[:2:2], blobs[1])},
		},
		{
			"Docker image", `{"schemaVersion":2,"mediaType":"` + manifest.MediaTypeDockerImage + `",` + image + `}`, manifest.MediaTypeDockerImage,
			manifest.Manifest{MediaType: manifest.MediaTypeDockerImage, Blobs: blobs},
		},
		{
			"OCI index", `{"schemaVersion":2,"mediaType":"` + imgspec.MediaTypeImageIndex + `",` + index + `}`, imgspec.MediaTypeImageIndex,
			manifest.Manifest{MediaType: imgspec.MediaTypeImageIndex, Index: true, Children: children},
		},
		{
			"OCI index without mediaType", `{"schemaVersion":2,` + index + `}`, imgspec.MediaTypeImageIndex,
			manifest.Manifest{MediaType: imgspec.MediaTypeImageIndex, Index: true, Children: children},
		},
		{
			"index without mediaType from a registry that knows none", `{` + index + `}`, "text/plain",
			manifest.Manifest{MediaType: imgspec.MediaTypeImageIndex, Index: true, Children: children},
		},
		{
			"empty index", `{"manifests":[]}`, "",
			manifest.Manifest{MediaType: imgspec.MediaTypeImageIndex, Index: true, Children: []manifest.Child{}},
		},
		{
			"Docker list", `{"schemaVersion":2,"mediaType":"` + manifest.MediaTypeDockerList + `",` + index + `}`, manifest.MediaTypeDockerList,
			manifest.Manifest{MediaType: manifest.MediaTypeDockerList, Index: true, Children: children},
		},
		{
			"artifact with the empty config", `{"artifactType":"application/x","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + digestA + `","size":2},"layers":[]}`, imgspec.MediaTypeImageManifest,
			manifest.Manifest{MediaType: imgspec.MediaTypeImageManifest, ArtifactType: "application/x", Blobs: []manifest.Blob{
				{Descriptor: ref.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: digestA, Size: 2}},
			}},
		},
		{
			"subject and annotations", `{"config":` + config + `,"subject":` + layer + `,"annotations":{"Key":"a","key":"b"}}`, "",
			manifest.Manifest{
				MediaType: imgspec.MediaTypeImageManifest, Blobs: blobs[:1],
				Subject: &blobs[1].Descriptor, Annotations: map[string]string{"Key": "a", "key": "b"},
			},
		},
		{
			"platforms and annotations of children", `{"manifests":[{"digest":"` + digestA + `","size":0,"platform":{"os":"linux","architecture":"arm","variant":"v7","os.version":"1"},"annotations":{"k":"v"}}]}`, "",
			manifest.Manifest{MediaType: imgspec.MediaTypeImageIndex, Index: true, Children: []manifest.Child{
				{Descriptor: ref.Descriptor{Digest: digestA}, Platform: &armv7, Annotations: map[string]string{"k": "v"}},
			}},
		},
		{
			"unknown fields do not matter", `{"x":[{"Size":1,"SIZE":2}],` + index + `}`, "",
			manifest.Manifest{MediaType: imgspec.MediaTypeImageIndex, Index: true, Children: children},
		},
		{
			"null is absent", `{"manifests":null,` + image + `}`, "",
			manifest.Manifest{MediaType: imgspec.MediaTypeImageManifest, Blobs: blobs},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := manifest.Parse([]byte(test.raw), test.served)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	faults.Covers(t, "F41", "F42", "F43", "F44", "F45")
	entry := func(digest string, size int) string {
		return `{"manifests":[` + descriptor(imgspec.MediaTypeImageManifest, digest, size) + `]}`
	}
	tests := []struct{ name, raw, served, want string }{
		{"nothing", ``, "", "JSON"},
		{"no JSON", `<html>`, imgspec.MediaTypeImageIndex, "JSON"},
		{"no object", `[]`, imgspec.MediaTypeImageIndex, "JSON"},
		{"trailing data", `{"manifests":[]} {}`, "", "JSON"},
		{"nested beyond reason", `{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, "", "JSON"},
		{"wrong type of a field", `{"manifests":{}}`, "", "JSON"},
		{"both manifests and layers", `{"manifests":[],"layers":[]}`, imgspec.MediaTypeImageIndex, "both"},
		{"both manifests and config", `{"manifests":[],"config":` + config + `}`, imgspec.MediaTypeImageManifest, "both"},
		{"both layers and fsLayers", `{"layers":[],"fsLayers":[],"config":` + config + `}`, imgspec.MediaTypeImageManifest, "two kinds"},
		{"both manifests and history", `{"manifests":[],"history":[]}`, imgspec.MediaTypeImageIndex, "both"},
		{"the same field twice", `{"manifests":[],"manifests":[` + child + `]}`, "", `"manifests" twice`},
		{"the same field twice in a descriptor", `{"manifests":[{"digest":"` + digestA + `","digest":"` + digestB + `","size":1}]}`, "", `"digest" twice`},
		{"the same annotation twice", `{"manifests":[],"annotations":{"a":"1","a":"2"}}`, "", `"a" twice`},
		{"capitals", `{"manifests":[],"Manifests":[` + child + `]}`, "", `"Manifests"`},
		{"capitals alone", `{"config":` + config + `,"LAYERS":[]}`, "", `"LAYERS"`},
		{"capitals in a descriptor", `{"manifests":[{"Digest":"` + digestA + `","size":1}]}`, "", `"Digest"`},
		{"capitals in a platform", `{"manifests":[{"digest":"` + digestA + `","size":1,"platform":{"OS":"linux"}}]}`, "", `"OS"`},
		{"letters that fold to ours", `{"manifeſts":[]}`, "", "manifeſts"},
		{"served as another type", `{"mediaType":"` + imgspec.MediaTypeImageIndex + `","manifests":[]}`, imgspec.MediaTypeImageManifest, "calls itself"},
		{"index served as a Docker list", `{"mediaType":"` + imgspec.MediaTypeImageIndex + `","manifests":[]}`, manifest.MediaTypeDockerList, "calls itself"},
		{"an index without manifests", `{"mediaType":"` + imgspec.MediaTypeImageIndex + `"}`, "", "no manifests"},
		{"an index served as an image", `{"manifests":[]}`, imgspec.MediaTypeImageManifest, "no config"},
		{"an image without config", `{"layers":[` + layer + `]}`, imgspec.MediaTypeImageManifest, "no config"},
		{"nothing that is known", `{}`, "application/json", `"application/json" is neither`},
		{"null", `null`, "", "neither an image nor an index"},
		{"a type that is not known", `{"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}`, "", "neither an image nor an index"},
		{"schema 1", `{"schemaVersion":1,"fsLayers":[]}`, schema1, "schema 1"},
		{"signed schema 1", `{"schemaVersion":1,"fsLayers":[]}`, schema1Signed, "schema 1"},
		{"schema 1 from a registry that knows no types", `{"schemaVersion":1,"fsLayers":[],"history":[]}`, "application/json", "schema 1"},
		{"negative size", entry(digestA, -1), "", "negative size"},
		{"size beyond reason", `{"manifests":[{"digest":"` + digestA + `","size":99999999999999999999}]}`, "", "JSON"},
		{"no digest", `{"manifests":[{"size":1}]}`, "", "not a digest"},
		{"digest that climbs", entry("sha256:../../../blobs", 1), "", "not a digest"},
		{"short digest", entry("sha256:abc", 1), "", "not a digest"},
		{"upper-case digest", entry(strings.ToUpper(digestA), 1), "", "not a digest"},
		{"unknown algorithm", entry("md5:d41d8cd98f00b204e9800998ecf8427e", 1), "", "not a digest"},
		{"bad digest of a config", `{"config":` + descriptor("", "x", 1) + `}`, "", "not a digest"},
		{"bad digest of a layer", `{"config":` + config + `,"layers":[` + descriptor("", "x", 1) + `]}`, "", "not a digest"},
		{"bad digest of a subject", `{"config":` + config + `,"subject":` + descriptor("", "x", 1) + `}`, "", "not a digest"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := manifest.Parse([]byte(test.raw), test.served)
			if !errors.Is(err, failure.ErrUnsupported) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an unsupported manifest with %q", err, test.want)
			}
			if diff := cmp.Diff(manifest.Manifest{}, got); diff != "" {
				t.Errorf("beside the error came (-want +got):\n%s", diff)
			}
		})
	}
}

func TestForeignLayers(t *testing.T) {
	urls := `,"urls":["http://192.0.2.1/layer"]}`
	withURLs := strings.TrimSuffix(descriptor(foreignLayer, digestB, 7), "}") + urls
	tests := []struct {
		name, raw string
		want      []bool
	}{
		{"with URLs it stays where they say", `{"config":` + config + `,"layers":[` + withURLs + `]}`, []bool{false, true}},
		{"without URLs there is no other place to have it from", `{"config":` + config + `,"layers":[` + descriptor(foreignLayer, digestB, 7) + `]}`, []bool{false, false}},
		{"URLs alone make no layer foreign", `{"config":` + config + `,"layers":[` + strings.TrimSuffix(layer, "}") + urls + `]}`, []bool{false, false}},
		// An image whose config was left out would be tagged and could not be run.
		{"a config is never left out", `{"config":` + withURLs + `}`, []bool{false}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := manifest.Parse([]byte(test.raw), "")
			if err != nil {
				t.Fatal(err)
			}
			var got []bool
			for _, b := range m.Blobs {
				got = append(got, b.Foreign)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// platformed is an image for p; seed tells it from others.
func platformed(seed string, p ref.Platform) imagetest.Node {
	return imagetest.Image(p, imagetest.Layer(seed+p.String(), 64))
}

func selectFrom(t *testing.T, index imagetest.Node, platforms ...ref.Platform) manifest.Selected {
	t.Helper()
	s, err := manifest.Select(index.Raw, index.Descriptor.MediaType, platforms)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kept are the digests a selection names, in its order.
func kept(t *testing.T, s manifest.Selected) []ref.Digest {
	t.Helper()
	m, err := manifest.Parse(s.Raw, s.MediaType)
	if err != nil {
		t.Fatal(err)
	}
	var digests []ref.Digest
	for _, c := range m.Children {
		digests = append(digests, c.Digest)
	}
	return digests
}

func TestSelect(t *testing.T) {
	a, b, six, seven := platformed("", amd64), platformed("", arm64), platformed("", armv6), platformed("", armv7)
	v3 := platformed("v3", ref.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"})
	aboutA, aboutB := imagetest.Attestation(a), imagetest.Attestation(b)
	spelt := platformed("", arm64).WithPlatform(ref.Platform{OS: "linux", Architecture: "aarch64", Variant: "v8"})
	windows1 := imagetest.Image(ref.Platform{OS: "windows", Architecture: "amd64"}, imagetest.Layer("w1", 64))
	windows2 := imagetest.Image(ref.Platform{OS: "windows", Architecture: "amd64"}, imagetest.Layer("w2", 64))

	tests := []struct {
		name      string
		index     imagetest.Node
		platforms []ref.Platform
		want      []imagetest.Node
		missing   []ref.Platform
	}{
		{"one of two", imagetest.Index(a, b), []ref.Platform{amd64}, []imagetest.Node{a}, nil},
		{"upstream's order stays", imagetest.Index(b, a, six), []ref.Platform{amd64, arm64}, []imagetest.Node{b, a}, nil},
		{"attestations stay with their image", imagetest.Index(a, b, aboutA, aboutB), []ref.Platform{arm64}, []imagetest.Node{b, aboutB}, nil},
		{"no variant means all variants", imagetest.Index(a, six, seven), []ref.Platform{{OS: "linux", Architecture: "arm"}}, []imagetest.Node{six, seven}, nil},
		{"a variant means that variant", imagetest.Index(a, six, seven), []ref.Platform{armv7}, []imagetest.Node{seven}, nil},
		{"a variant of a bare name", imagetest.Index(a, v3), []ref.Platform{amd64}, []imagetest.Node{a, v3}, nil},
		{"other spellings", imagetest.Index(a, spelt), []ref.Platform{arm64}, []imagetest.Node{spelt}, nil},
		{"several versions of Windows", imagetest.Index(a, windows1, windows2), []ref.Platform{{OS: "windows", Architecture: "amd64"}}, []imagetest.Node{windows1, windows2}, nil},
		{"some are missing", imagetest.Index(a, b), []ref.Platform{armv7, amd64, armv6}, []imagetest.Node{a}, []ref.Platform{armv7, armv6}},
		{"a Docker list", imagetest.DockerIndex(a, b), []ref.Platform{amd64}, []imagetest.Node{a}, nil},
		{"a nested index that says its platform", imagetest.Index(a, imagetest.Index(b).WithPlatform(arm64)), []ref.Platform{arm64}, []imagetest.Node{imagetest.Index(b)}, nil},
		{"all of them", imagetest.Index(a, b), []ref.Platform{amd64, arm64}, []imagetest.Node{a, b}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := selectFrom(t, test.index, test.platforms...)
			var want []ref.Digest
			for _, n := range test.want {
				want = append(want, n.Digest())
			}
			if diff := cmp.Diff(want, kept(t, s)); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.missing, s.Missing); diff != "" && len(test.missing)+len(s.Missing) > 0 {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
			if s.MediaType != imgspec.MediaTypeImageIndex {
				t.Errorf("media type %s: a selection is always an OCI index", s.MediaType)
			}
			if got := s.Digest.Algorithm().FromBytes(s.Raw); got != s.Digest {
				t.Errorf("digest %s of bytes with %s", s.Digest, got)
			}
			if !manifest.SelectedFrom(s.Raw, test.index.Digest(), test.platforms) {
				t.Error("SelectedFrom does not know it again")
			}
		})
	}
}

func TestSelectWritesDescriptorsAsTheyWere(t *testing.T) {
	a, b := platformed("", amd64), platformed("", arm64)
	index := imagetest.Index(a, b, imagetest.Attestation(a)).WithAnnotations(map[string]string{
		"org.opencontainers.image.version": "1.2", manifest.AnnotationForm: "0",
	})
	var want, got imgspec.Index
	if err := json.Unmarshal(index.Raw, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(selectFrom(t, index, amd64).Raw, &got); err != nil {
		t.Fatal(err)
	}
	want.Manifests = []imgspec.Descriptor{want.Manifests[0], want.Manifests[2]}
	want.Annotations = map[string]string{
		"org.opencontainers.image.version": "1.2",
		manifest.AnnotationUpstream:        string(index.Digest()),
		manifest.AnnotationPlatforms:       "linux/amd64",
		manifest.AnnotationForm:            "1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The bytes decide the digest, and the digest decides whether a second run writes.
func TestSelectIsDeterministic(t *testing.T) {
	nodes := []imagetest.Node{platformed("", amd64), platformed("", arm64), platformed("", armv6), platformed("", armv7)}
	index := imagetest.Index(nodes...).WithAnnotations(map[string]string{"z": "1", "a": "2", "m": "3"})
	const want = "sha256:c18b31771ac6160de96dafa577ff5f2ad0cf1f51c86e7177ab0fdd6b5abf235a"
	sets := [][]ref.Platform{
		{amd64, arm64, armv7},
		{armv7, arm64, amd64},
		{arm64, armv7, amd64, arm64, amd64},
		{{OS: "linux", Architecture: "aarch64"}, {OS: "linux", Architecture: "x86_64", Variant: "v1"}, armv7},
	}
	for _, set := range sets {
		s := selectFrom(t, index, set...)
		if s.Digest != want {
			t.Errorf("%v: the selection is %s: if what Select writes was changed on purpose, its form has to change too:\n%s", set, s.Digest, s.Raw)
		}
	}
}

func TestSelectRefuses(t *testing.T) {
	a, b := platformed("", amd64), platformed("", arm64)
	tests := []struct {
		name      string
		node      imagetest.Node
		platforms []ref.Platform
		want      []string
	}{
		{"a single image", a, []ref.Platform{amd64}, []string{"single image"}},
		{"no platform left", imagetest.Index(a, b, imagetest.Attestation(a)), []ref.Platform{armv7, armv6}, []string{"no image for linux/arm/v6,linux/arm/v7", "upstream has linux/amd64, linux/arm64"}},
		{"no platform asked for", imagetest.Index(a), nil, []string{"no image for"}},
		{"no platform named", imagetest.Index(imagetest.Artifact("application/x")), []ref.Platform{amd64}, []string{"upstream has none it names"}},
		{"a nested index", imagetest.Index(a, imagetest.Index(b)), []ref.Platform{amd64}, []string{"nests the index " + string(imagetest.Index(b).Digest()), "mirror all platforms"}},
		{"a nested Docker list", imagetest.Index(a, imagetest.DockerIndex(b)), []ref.Platform{amd64}, []string{"nests the index"}},
		// What describes an image is not an image, whatever platform it is listed under.
		{"an attestation listed under a platform", imagetest.Index(imagetest.Attestation(a).WithPlatform(amd64)), []ref.Platform{amd64}, []string{"no image for linux/amd64"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := manifest.Select(test.node.Raw, test.node.Descriptor.MediaType, test.platforms)
			if !errors.Is(err, failure.ErrUnsupported) {
				t.Fatalf("got %v, want an unsupported manifest", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
	if _, err := manifest.Select([]byte("{"), "", []ref.Platform{amd64}); !errors.Is(err, failure.ErrUnsupported) {
		t.Errorf("broken JSON: %v", err)
	}
}

func TestSelectedFrom(t *testing.T) {
	index := imagetest.Index(platformed("", amd64), platformed("", arm64))
	s := selectFrom(t, index, amd64, armv7)
	changed := func(key, value string) []byte {
		var doc map[string]any
		if err := json.Unmarshal(s.Raw, &doc); err != nil {
			t.Fatal(err)
		}
		annotations, _ := doc["annotations"].(map[string]any)
		if annotations[key] == nil {
			t.Fatalf("there is no annotation %s", key)
		}
		annotations[key] = value
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	image := imagetest.Image(amd64).WithAnnotations(map[string]string{
		manifest.AnnotationUpstream: string(index.Digest()), manifest.AnnotationPlatforms: "linux/amd64", manifest.AnnotationForm: "1",
	})
	tests := []struct {
		name      string
		raw       []byte
		upstream  ref.Digest
		platforms []ref.Platform
		want      bool
	}{
		{"all three match", s.Raw, index.Digest(), []ref.Platform{amd64, armv7}, true},
		{"in another order", s.Raw, index.Digest(), []ref.Platform{armv7, amd64, armv7}, true},
		{"another upstream", s.Raw, digestA, []ref.Platform{amd64, armv7}, false},
		{"fewer platforms", s.Raw, index.Digest(), []ref.Platform{amd64}, false},
		{"more platforms", s.Raw, index.Digest(), []ref.Platform{amd64, armv6, armv7}, false},
		{"another form", changed(manifest.AnnotationForm, "0"), index.Digest(), []ref.Platform{amd64, armv7}, false},
		{"another upstream in it", changed(manifest.AnnotationUpstream, digestA), index.Digest(), []ref.Platform{amd64, armv7}, false},
		{"other platforms in it", changed(manifest.AnnotationPlatforms, "linux/amd64"), index.Digest(), []ref.Platform{amd64, armv7}, false},
		{"upstream's own index", index.Raw, index.Digest(), []ref.Platform{amd64, armv7}, false},
		{"an image that says the same", image.Raw, index.Digest(), []ref.Platform{amd64}, false},
		{"nothing", nil, index.Digest(), []ref.Platform{amd64, armv7}, false},
		{"nothing asked for", []byte(`{"manifests":[]}`), "", nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := manifest.SelectedFrom(test.raw, test.upstream, test.platforms); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestOne(t *testing.T) {
	v3Platform := ref.Platform{OS: "linux", Architecture: "amd64", Variant: "v3"}
	a, v3, b, six, seven := platformed("", amd64), platformed("", v3Platform), platformed("", arm64), platformed("", armv6), platformed("", armv7)
	tests := []struct {
		name     string
		index    imagetest.Node
		platform ref.Platform
		want     imagetest.Node
	}{
		{"the one that matches", imagetest.Index(a, b), arm64, b},
		// The index of a project that also builds for newer processors listed them first,
		// and the first match was an image that most machines cannot run.
		{"the plain one before its variants", imagetest.Index(v3, a), amd64, a},
		{"the variant asked for", imagetest.Index(a, v3), v3Platform, v3},
		{"the first variant where none is plain", imagetest.Index(a, six, seven), ref.Platform{OS: "linux", Architecture: "arm"}, six},
		{"the exact variant", imagetest.Index(six, seven), armv7, seven},
		{"no attestation", imagetest.Index(imagetest.Attestation(a).WithPlatform(amd64), a), amd64, a},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := manifest.Parse(test.index.Raw, "")
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.One(test.platform)
			if err != nil || got.Digest != test.want.Digest() {
				t.Errorf("got %s, %v, want %s", got.Digest, err, test.want.Digest())
			}
		})
	}
	m, err := manifest.Parse(imagetest.Index(a, b).Raw, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.One(armv7); !errors.Is(err, failure.ErrUnsupported) || !strings.Contains(err.Error(), "upstream has linux/amd64, linux/arm64") {
		t.Errorf("a platform that is not there: %v", err)
	}
}

func TestMissing(t *testing.T) {
	m, err := manifest.Parse(imagetest.Index(platformed("", amd64), platformed("", armv6)).Raw, "")
	if err != nil {
		t.Fatal(err)
	}
	asked := []ref.Platform{arm64, amd64, armv7, armv6}
	if diff := cmp.Diff([]ref.Platform{arm64, armv7}, m.Missing(asked)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]ref.Platform{arm64, amd64, armv7, armv6}, asked); diff != "" {
		t.Errorf("the argument was changed (-want +got):\n%s", diff)
	}
}

// Whatever the bytes are, Parse answers with a reason or with values that are safe to
// use; and where it takes a document, no other reader that tells capitals apart and
// takes the first of two equal names would see another one.
func FuzzParse(f *testing.F) {
	faults.Covers(f, "I16")
	a := platformed("", amd64)
	for _, n := range []imagetest.Node{
		a, a.WithoutMediaType(), imagetest.Index(a, imagetest.Attestation(a)), imagetest.DockerIndex(a), imagetest.Artifact("application/x"),
		imagetest.Index(imagetest.Index(a)), imagetest.Referrer(a, "application/x"),
		imagetest.Image(amd64, imagetest.ForeignLayer("f", 8, "http://192.0.2.1/")),
	} {
		f.Add(n.Raw, n.Descriptor.MediaType)
	}
	f.Add([]byte(`{"schemaVersion":1,"fsLayers":[]}`), schema1)
	f.Add([]byte(`{"manifests":[],"Manifests":[]}`), "")
	f.Fuzz(func(t *testing.T, raw []byte, served string) {
		m, err := manifest.Parse(raw, served)
		if err != nil {
			if !errors.Is(err, failure.ErrUnsupported) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if m.Index != (m.Blobs == nil) || m.Index != (m.Children != nil) {
			t.Fatalf("neither an index nor an image: %+v", m)
		}
		for _, c := range m.Children {
			checkDescriptor(t, c.Descriptor)
		}
		for _, b := range m.Blobs {
			checkDescriptor(t, b.Descriptor)
		}
		// Its own type has to be as good as what it was served as.
		again, err := manifest.Parse(raw, m.MediaType)
		if diff := cmp.Diff(m, again); err != nil || diff != "" {
			t.Fatalf("read again as %s: %v (-first +second):\n%s", m.MediaType, err, diff)
		}
		if s, err := manifest.Select(raw, served, []ref.Platform{amd64}); err == nil {
			if _, err := manifest.Parse(s.Raw, s.MediaType); err != nil {
				t.Fatalf("a selection that cannot be read: %v\n%s", err, s.Raw)
			}
		}
	})
}

func checkDescriptor(t *testing.T, d ref.Descriptor) {
	t.Helper()
	if d.Size < 0 || d.Digest.Validate() != nil || strings.ContainsAny(string(d.Digest), "/.%") {
		t.Fatalf("descriptor %+v", d)
	}
}

// A list of referrers names each by its artifact type, and an image manifest without one
// by its config.
func TestKind(t *testing.T) {
	config := manifest.Blob{Descriptor: ref.Descriptor{MediaType: "application/config"}}
	for want, m := range map[string]manifest.Manifest{
		"application/x":      {ArtifactType: "application/x", Blobs: []manifest.Blob{config}},
		"application/config": {Blobs: []manifest.Blob{config, {}}},
		"":                   {Index: true},
		"application/index":  {Index: true, ArtifactType: "application/index"},
	} {
		if got := m.Kind(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
