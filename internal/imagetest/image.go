package imagetest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Image is an OCI image for one platform.
func Image(p ref.Platform, layers ...Blob) Node {
	return image(configOf(p, layers, v1.ImageConfig{}), p, layers)
}

// DockerImage is an image in Docker's format, schema 2.
func DockerImage(p ref.Platform, layers ...Blob) Node {
	config := configOf(p, layers, v1.ImageConfig{})
	config.Descriptor.MediaType = DockerConfig

	blobs := []Blob{config}
	for _, layer := range layers {
		if layer.Foreign() {
			layer.Descriptor.MediaType = DockerForeignLayer
		} else {
			layer.Descriptor.MediaType = DockerLayer
		}
		blobs = append(blobs, layer)
	}
	n := newNode(DockerManifest, manifestOf(DockerManifest, blobs), blobs, nil)
	return n.WithPlatform(p)
}

// ExecutableImage is an image that holds one program and nothing below it: the file
// at binaryPath becomes the entrypoint, under its own name in the root directory,
// and runs as a user without rights. Where caBundle is not empty it becomes a layer
// of its own, at the place where programs look for certificates, so that images for
// several platforms share it.
func ExecutableImage(binaryPath string, p ref.Platform, caBundle []byte) (Node, error) {
	program, err := os.ReadFile(binaryPath)
	if err != nil {
		return Node{}, fmt.Errorf("reading the program of an image: %w", err)
	}
	name := filepath.Base(binaryPath)
	var layers []Blob
	if len(caBundle) > 0 {
		layers = append(layers, tarLayer([]file{{path: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: caBundle}}))
	}
	layers = append(layers, tarLayer([]file{{path: name, mode: 0o755, content: program}}))
	config := configOf(p, layers, v1.ImageConfig{
		User:       "65532:65532",
		Entrypoint: []string{path.Join("/", name)},
		WorkingDir: "/",
	})
	return image(config, p, layers), nil
}

// Artifact is a manifest that is no image: it has an artifact type, the empty config
// and whatever blobs it carries.
func Artifact(artifactType string, blobs ...Blob) Node {
	empty := NewBlob(v1.MediaTypeEmptyJSON, []byte("{}"))
	if len(blobs) == 0 {
		// The specification asks for at least one layer, and names this one for artifacts that need none.
		blobs = []Blob{empty}
	}
	blobs = append([]Blob{empty}, blobs...)
	m := manifestOf(v1.MediaTypeImageManifest, blobs)
	m.ArtifactType = artifactType
	n := newNode(v1.MediaTypeImageManifest, m, blobs, nil)
	n.Descriptor.ArtifactType = artifactType
	return n
}

// Referrer is an artifact about subject: a signature, an SBOM.
func Referrer(subject Node, artifactType string, blobs ...Blob) Node {
	return Artifact(artifactType, blobs...).WithSubject(subject)
}

// Attestation is what buildkit puts into an index beside the image it is about: an
// image manifest for the platform unknown/unknown whose layers are statements, tied
// to its image by annotations of the descriptor, not by a subject.
func Attestation(of Node, statements ...Blob) Node {
	if len(statements) == 0 {
		statement := NewBlob("application/vnd.in-toto+json",
			fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"digest":{%q:%q}}]}`,
				of.Digest().Algorithm(), of.Digest().Encoded()))
		statement.Descriptor.Annotations = map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
		statements = []Blob{statement}
	}
	unknown := ref.Platform{OS: "unknown", Architecture: "unknown"}
	n := image(configOf(unknown, statements, v1.ImageConfig{}), unknown, statements)
	n.Descriptor.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": string(of.Digest()),
	}
	return n
}

// Index is an OCI index. Its children may be indexes themselves.
func Index(children ...Node) Node {
	descriptors := make([]v1.Descriptor, 0, len(children))
	for _, child := range children {
		descriptors = append(descriptors, child.Descriptor)
	}
	return newNode(v1.MediaTypeImageIndex, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: descriptors,
	}, nil, children)
}

// DockerIndex is Docker's form of an index, the manifest list.
func DockerIndex(children ...Node) Node {
	descriptors := make([]v1.Descriptor, 0, len(children))
	for _, child := range children {
		d := plain(child.Descriptor)
		d.Platform = child.Descriptor.Platform
		descriptors = append(descriptors, d)
	}
	return newNode(DockerList, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: DockerList,
		Manifests: descriptors,
	}, nil, children)
}

func image(config Blob, p ref.Platform, layers []Blob) Node {
	blobs := append([]Blob{config}, layers...)
	n := newNode(v1.MediaTypeImageManifest, manifestOf(v1.MediaTypeImageManifest, blobs), blobs, nil)
	return n.WithPlatform(p)
}

// manifestOf names blobs: the first as the config, the rest as the layers.
func manifestOf(mediaType string, blobs []Blob) v1.Manifest {
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: mediaType,
		Config:    blobs[0].Descriptor,
		Layers:    make([]v1.Descriptor, 0, len(blobs)-1),
	}
	for _, blob := range blobs[1:] {
		m.Layers = append(m.Layers, blob.Descriptor)
	}
	return m
}

func configOf(p ref.Platform, layers []Blob, run v1.ImageConfig) Blob {
	diffIDs := make([]digest.Digest, 0, len(layers))
	for _, layer := range layers {
		diffIDs = append(diffIDs, layer.DiffID)
	}
	return NewBlob(v1.MediaTypeImageConfig, mustMarshal(v1.Image{
		Platform: *ociPlatform(p),
		Config:   run,
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: diffIDs},
	}))
}
