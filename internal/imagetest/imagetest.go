// Package imagetest builds small images, indexes and artifacts, and pushes them.
//
// What it builds is deterministic: the same calls give the same bytes and so the same
// digests, in every process. A Node is a manifest with everything below it; it is
// made by composition, leaves first:
//
//	base := imagetest.Layer("base", 1<<10)
//	index := imagetest.Index(
//		imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"}, base),
//		imagetest.Image(ref.Platform{OS: "linux", Architecture: "arm64"}, base),
//	)
//	digest, err := imagetest.Push(ctx, client, "http://127.0.0.1:5000", "team/app", "1.0", index)
//
// Push speaks plain HTTP and shares no code with the program's own copier, so that a
// mistake in one of them does not hide in the other.
package imagetest

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Media types of Docker's image format, which the OCI's packages do not name.
const (
	DockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList         = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig       = "application/vnd.docker.container.image.v1+json"
	DockerLayer        = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	DockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

// A Node is a manifest, the blobs it names and the manifests below it. Its
// descriptor is what an index that holds it says about it, platform and annotations
// included. A Node is a value: the With methods return changed copies.
type Node struct {
	Descriptor v1.Descriptor
	Raw        []byte // the manifest
	Children   []Node // of an index, in its order
	Blobs      []Blob // of an image: config first, then the layers, repeats included
}

// Digest returns the digest of the manifest.
func (n Node) Digest() ref.Digest { return n.Descriptor.Digest }

// All yields every manifest of the graph once, children before their parents, so
// that pushing in this order never names what is not there yet.
func (n Node) All() iter.Seq[Node] {
	return func(yield func(Node) bool) {
		n.walk(map[ref.Digest]bool{}, yield)
	}
}

func (n Node) walk(seen map[ref.Digest]bool, yield func(Node) bool) bool {
	if seen[n.Digest()] {
		return true
	}
	seen[n.Digest()] = true
	for _, child := range n.Children {
		if !child.walk(seen, yield) {
			return false
		}
	}
	return yield(n)
}

// AllBlobs returns every blob of the graph that a registry holds, each digest once.
// Foreign layers are left out.
func (n Node) AllBlobs() []Blob {
	seen := map[ref.Digest]bool{}
	var blobs []Blob
	for node := range n.All() {
		for _, blob := range node.Blobs {
			if seen[blob.Digest()] || blob.Foreign() {
				continue
			}
			seen[blob.Digest()] = true
			blobs = append(blobs, blob)
		}
	}
	return blobs
}

// WithoutMediaType leaves out the manifest's own mediaType field, as older builders
// do: only the Content-Type then says what it is.
func (n Node) WithoutMediaType() Node {
	return n.rewrite(func(fields map[string]any) { delete(fields, "mediaType") })
}

// WithAnnotations adds annotations to the manifest itself.
func (n Node) WithAnnotations(annotations map[string]string) Node {
	return n.rewrite(func(fields map[string]any) {
		all := map[string]string{}
		if old, ok := fields["annotations"].(json.RawMessage); ok {
			mustUnmarshal(old, &all)
		}
		maps.Copy(all, annotations)
		fields["annotations"] = all
	})
}

// WithCreated writes a creation time into an image's config.
func (n Node) WithCreated(created string) Node {
	fields := map[string]any{}
	mustUnmarshal(n.Blobs[0].Content, &fields)
	fields["created"] = created
	config := NewBlob(n.Blobs[0].Descriptor.MediaType, mustMarshal(fields))
	n.Blobs = slices.Concat([]Blob{config}, n.Blobs[1:])
	return n.rewrite(func(fields map[string]any) { fields["config"] = config.Descriptor })
}

// WithSubject makes the node a referrer of another one.
func (n Node) WithSubject(subject Node) Node {
	return n.rewrite(func(fields map[string]any) {
		fields["subject"] = plain(subject.Descriptor)
	})
}

// WithPlatform changes what an index says about the node; the node's bytes stay.
func (n Node) WithPlatform(p ref.Platform) Node {
	n.Descriptor.Platform = ociPlatform(p)
	return n
}

// rewrite edits the top-level fields of the manifest and recomputes its descriptor.
func (n Node) rewrite(edit func(fields map[string]any)) Node {
	raw := map[string]json.RawMessage{}
	mustUnmarshal(n.Raw, &raw)
	fields := make(map[string]any, len(raw))
	for key, value := range raw {
		fields[key] = value
	}
	edit(fields)
	n.Raw = mustMarshal(fields)
	n.Descriptor.Digest = digest.FromBytes(n.Raw)
	n.Descriptor.Size = int64(len(n.Raw))
	return n
}

// A Blob is a config, a layer, or any other content that a manifest names.
type Blob struct {
	Descriptor v1.Descriptor
	Content    []byte
	DiffID     digest.Digest // of a layer: the digest of its uncompressed bytes
}

// Digest returns the digest of the blob.
func (b Blob) Digest() ref.Digest { return b.Descriptor.Digest }

// Foreign reports whether the blob is a layer that its vendor hands out and that
// registries therefore do not hold.
func (b Blob) Foreign() bool { return slices.Contains(foreignTypes, b.Descriptor.MediaType) }

var foreignTypes = []string{
	DockerForeignLayer,
	v1.MediaTypeImageLayerNonDistributable,     //nolint:staticcheck // deprecated, and still found in Windows images
	v1.MediaTypeImageLayerNonDistributableGzip, //nolint:staticcheck // deprecated, and still found in Windows images
	v1.MediaTypeImageLayerNonDistributableZstd, //nolint:staticcheck // deprecated, and still found in Windows images
}

// NewBlob makes a blob of any media type.
func NewBlob(mediaType string, content []byte) Blob {
	d := digest.FromBytes(content)
	return Blob{
		Descriptor: v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(content))},
		Content:    content,
		DiffID:     d,
	}
}

// plain is a descriptor as subjects and Docker's lists know it.
func plain(d v1.Descriptor) v1.Descriptor {
	return v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// newNode marshals a manifest. What it is given are this package's own structs, so a
// failure is a bug in the package.
func newNode(mediaType string, manifest any, blobs []Blob, children []Node) Node {
	raw := mustMarshal(manifest)
	return Node{
		Descriptor: v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))},
		Raw:        raw,
		Blobs:      blobs,
		Children:   children,
	}
}

func mustMarshal(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("imagetest: marshalling %T: %v", v, err))
	}
	return raw
}

func mustUnmarshal(raw []byte, v any) {
	if err := json.Unmarshal(raw, v); err != nil {
		panic(fmt.Sprintf("imagetest: unmarshalling what this package marshalled: %v", err))
	}
}

func ociPlatform(p ref.Platform) *v1.Platform {
	return &v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}
