// Package manifest says what a manifest refers to, and writes the smaller indexes that
// platform selection asks for. It is pure: bytes in, values out.
//
// A manifest is hostile input: every digest is checked for its grammar, every size for
// its sign, and what is neither image nor index is refused with a reason.
package manifest

import (
	"encoding/json"
	"fmt"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Media types of Docker's formats, which the OCI's packages do not name.
const (
	MediaTypeDockerList  = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerImage = "application/vnd.docker.distribution.manifest.v2+json"

	// MediaTypeDockerConfig is that of the config of a Docker image.
	MediaTypeDockerConfig = "application/vnd.docker.container.image.v1+json"

	mediaTypeSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	mediaTypeSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// A Manifest is what a manifest's bytes say. Exactly one of Children and Blobs has a
// meaning: an index names children, an image or artifact names blobs.
type Manifest struct {
	MediaType   string
	Index       bool
	Children    []Child
	Blobs       []Blob // config first, then layers, as written: repeats included
	Subject     *ref.Descriptor
	Annotations map[string]string

	// ArtifactType is what the manifest says it is the manifest of, "" where it does
	// not say. See Kind.
	ArtifactType string
}

// Kind is the artifact type by which a list of referrers has the manifest: its own, or
// else that of its config.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
func (m Manifest) Kind() string {
	if m.ArtifactType == "" && len(m.Blobs) > 0 {
		return m.Blobs[0].MediaType
	}
	return m.ArtifactType
}

// A Child is one entry of an index. Platform is nil where the entry names none.
type Child struct {
	ref.Descriptor
	Platform    *ref.Platform
	Annotations map[string]string
}

// A Blob is a config or a layer.
type Blob struct {
	ref.Descriptor
	// Foreign layers live where their URLs say and are kept as references.
	Foreign bool
}

// Media types of layers that are not to be distributed by registries.
// https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers
var foreignTypes = map[string]bool{
	"application/vnd.docker.image.rootfs.foreign.diff.tar":         true,
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":    true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar":      true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": true,
}

// document is the union of what indexes and image manifests can hold.
type document struct {
	MediaType    string                `json:"mediaType"`
	ArtifactType string                `json:"artifactType"`
	Manifests    *[]imgspec.Descriptor `json:"manifests"`
	Config       *imgspec.Descriptor   `json:"config"`
	Layers       *[]imgspec.Descriptor `json:"layers"`
	Subject      *imgspec.Descriptor   `json:"subject"`
	Annotations  map[string]string     `json:"annotations"`

	// Schema 1 alone has these.
	FSLayers json.RawMessage `json:"fsLayers"`
	History  json.RawMessage `json:"history"`
}

// Parse reads a manifest that was served with the given media type, which may be ""
// or general ("application/json") where the registry did not know better. Every error
// is of kind failure.ErrUnsupported: bytes that have the right digest and cannot be
// read will not become readable.
func Parse(raw []byte, served string) (Manifest, error) {
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return Manifest{}, unsupported("its JSON is not a manifest's: %v", err)
	}
	if err := unambiguous(raw); err != nil {
		return Manifest{}, err
	}
	mediaType, err := doc.mediaType(served)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{MediaType: mediaType, ArtifactType: doc.ArtifactType, Annotations: doc.Annotations}
	if doc.Subject != nil {
		subject, err := descriptor(*doc.Subject)
		if err != nil {
			return Manifest{}, err
		}
		m.Subject = &subject
	}
	switch mediaType {
	case imgspec.MediaTypeImageIndex, MediaTypeDockerList:
		m.Index = true
		m.Children, err = doc.children()
	case imgspec.MediaTypeImageManifest, MediaTypeDockerImage:
		m.Blobs, err = doc.blobs()
	case mediaTypeSchema1, mediaTypeSchema1Signed:
		err = unsupported("Docker schema 1, which no current registry takes; its publisher has to push the image anew")
	default:
		err = unsupported("media type %q is neither an image nor an index", mediaType)
	}
	if err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// mediaType decides what the document is: what it says of itself, what it was served
// as, or what its fields can only mean. Where these contradict each other the document
// is refused, since two clients would read it as two different things.
// https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh
func (d document) mediaType(served string) (string, error) {
	image, schema1 := d.Layers != nil || d.Config != nil, d.FSLayers != nil || d.History != nil
	if d.Manifests != nil && (image || schema1) || image && schema1 {
		return "", unsupported("it has the fields of both an index and an image, or of two kinds of image, so it is not clear what it is")
	}
	known := isKnown(served)
	switch {
	case d.MediaType != "" && known && d.MediaType != served:
		return "", unsupported("it was served as %q and calls itself %q", served, d.MediaType)
	case d.MediaType != "":
		return d.MediaType, nil
	case known:
		return served, nil
	case d.Manifests != nil:
		return imgspec.MediaTypeImageIndex, nil
	case d.Config != nil:
		return imgspec.MediaTypeImageManifest, nil
	case schema1:
		return mediaTypeSchema1, nil
	}
	return served, nil
}

func isKnown(mediaType string) bool {
	switch mediaType {
	case imgspec.MediaTypeImageIndex, imgspec.MediaTypeImageManifest,
		MediaTypeDockerList, MediaTypeDockerImage,
		mediaTypeSchema1, mediaTypeSchema1Signed:
		return true
	}
	return false
}

func (d document) children() ([]Child, error) {
	if d.Manifests == nil {
		return nil, unsupported("it is called an index and has no manifests")
	}
	children := make([]Child, 0, len(*d.Manifests))
	for _, entry := range *d.Manifests {
		desc, err := descriptor(entry)
		if err != nil {
			return nil, err
		}
		child := Child{Descriptor: desc, Annotations: entry.Annotations}
		if p := entry.Platform; p != nil {
			child.Platform = &ref.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
		}
		children = append(children, child)
	}
	return children, nil
}

func (d document) blobs() ([]Blob, error) {
	if d.Config == nil {
		return nil, unsupported("it is called an image and has no config")
	}
	entries := []imgspec.Descriptor{*d.Config}
	if d.Layers != nil {
		entries = append(entries, *d.Layers...)
	}
	blobs := make([]Blob, 0, len(entries))
	for i, entry := range entries {
		desc, err := descriptor(entry)
		if err != nil {
			return nil, err
		}
		layer := i > 0 // a config is never left out
		blobs = append(blobs, Blob{Descriptor: desc, Foreign: layer && foreignTypes[entry.MediaType] && len(entry.URLs) > 0})
	}
	return blobs, nil
}

// descriptor checks one entry. A digest becomes part of URLs, so its grammar is what
// keeps "../" out of them.
func descriptor(d imgspec.Descriptor) (ref.Descriptor, error) {
	digest, err := ref.ParseDigest(string(d.Digest))
	if err != nil {
		return ref.Descriptor{}, unsupported("%v", err)
	}
	if d.Size < 0 {
		return ref.Descriptor{}, unsupported("%s has a negative size", digest)
	}
	return ref.Descriptor{MediaType: d.MediaType, Digest: digest, Size: d.Size}, nil
}

// unsupportedError says why a manifest cannot be mirrored as it is.
type unsupportedError string

func unsupported(format string, args ...any) error {
	return unsupportedError(fmt.Sprintf(format, args...))
}

func (e unsupportedError) Error() string { return "unsupported manifest: " + string(e) }

func (unsupportedError) Unwrap() error { return failure.ErrUnsupported }
