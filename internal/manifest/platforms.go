package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// The annotations of an index that Select wrote. Together they say what it was made
// from, so that the next run can tell without reading upstream's index whether it
// still is what it should be.
const (
	AnnotationUpstream  = "io.ecr-mirror-sync.upstream.digest"
	AnnotationPlatforms = "io.ecr-mirror-sync.platforms"
	AnnotationForm      = "io.ecr-mirror-sync.form"
)

// form is the version of the rules by which Select writes. A change of what Select
// keeps changes it, and every index written under older rules is written anew.
const form = "1"

// BuildKit's names for attestation manifests, which stand in an index beside the
// images they describe, under the platform unknown/unknown.
// https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md
const (
	attestationType   = "vnd.docker.reference.type"
	attestationDigest = "vnd.docker.reference.digest"
	attestation       = "attestation-manifest"
)

// Selected is the outcome of Select.
type Selected struct {
	MediaType string
	Raw       []byte
	Digest    ref.Digest
	Missing   []ref.Platform // asked for, and not upstream
}

// Select writes the index that keeps only the given platforms of index, with their
// attestations. The result is deterministic: the same bytes for the same index and the
// same set of platforms, in whatever order they were named. It is an error if no
// platform is left, or if the index nests others, whose platforms it does not say.
func Select(raw []byte, served string, platforms []ref.Platform) (Selected, error) {
	m, err := Parse(raw, served)
	if err != nil {
		return Selected{}, err
	}
	if !m.Index {
		return Selected{}, unsupported("platforms are selected from an index, and this is a single image")
	}
	var entries struct {
		Manifests    []imgspec.Descriptor `json:"manifests"`
		ArtifactType string               `json:"artifactType"`
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return Selected{}, unsupported("its JSON is not an index's: %v", err)
	}
	keep, err := m.choose(platforms)
	if err != nil {
		return Selected{}, err
	}
	index := imgspec.Index{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    imgspec.MediaTypeImageIndex,
		ArtifactType: entries.ArtifactType,
		Manifests:    []imgspec.Descriptor{},
		Annotations:  m.annotated(digest.FromBytes(raw), platforms),
	}
	for i, entry := range entries.Manifests {
		if keep[i] {
			index.Manifests = append(index.Manifests, entry)
		}
	}
	written, err := json.Marshal(index)
	if err != nil {
		return Selected{}, fmt.Errorf("writing the index: %w", err)
	}
	return Selected{MediaType: imgspec.MediaTypeImageIndex, Raw: written, Digest: digest.FromBytes(written), Missing: m.Missing(platforms)}, nil
}

// annotated returns m's annotations and, over them, those that say what Select makes of
// it.
func (m Manifest) annotated(upstream ref.Digest, platforms []ref.Platform) map[string]string {
	all := make(map[string]string, len(m.Annotations)+3)
	maps.Copy(all, m.Annotations)
	all[AnnotationUpstream] = string(upstream)
	all[AnnotationPlatforms] = ref.FormatPlatforms(platforms)
	all[AnnotationForm] = form
	return all
}

// choose marks the children to keep, by position.
func (m Manifest) choose(platforms []ref.Platform) ([]bool, error) {
	keep := make([]bool, len(m.Children))
	images := map[ref.Digest]bool{}
	for i, child := range m.Children {
		if child.Platform == nil && isIndexType(child.MediaType) {
			return nil, unsupported("it nests the index %s, whose platforms it does not name; mirror all platforms of this image", child.Digest)
		}
		if slices.ContainsFunc(platforms, child.isFor) {
			keep[i], images[child.Digest] = true, true
		}
	}
	if len(images) == 0 {
		return nil, unsupported("no image for %s; upstream has %s", ref.FormatPlatforms(platforms), m.platforms())
	}
	for i, child := range m.Children {
		if child.isAttestation() && images[ref.Digest(child.Annotations[attestationDigest])] {
			keep[i] = true
		}
	}
	return keep, nil
}

func (c Child) isAttestation() bool { return c.Annotations[attestationType] == attestation }

// isFor reports whether the child is an image that p asks for.
func (c Child) isFor(p ref.Platform) bool {
	return c.Platform != nil && !c.isAttestation() && p.Matches(*c.Platform)
}

// platforms lists what an index has images for, for a person to choose from.
func (m Manifest) platforms() string {
	var names []string
	for _, child := range m.Children {
		if p := child.Platform; p != nil && p.OS != "unknown" {
			names = append(names, p.Normalized().String())
		}
	}
	if len(names) == 0 {
		return "none it names"
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

func isIndexType(mediaType string) bool {
	return mediaType == imgspec.MediaTypeImageIndex || mediaType == MediaTypeDockerList
}

// SelectedFrom reports whether raw is the index that Select writes from the upstream
// index of that digest for those platforms: all three annotations match.
func SelectedFrom(raw []byte, upstream ref.Digest, platforms []ref.Platform) bool {
	m, err := Parse(raw, "")
	return err == nil && m.Index && m.Annotations[AnnotationUpstream] == string(upstream) &&
		m.Annotations[AnnotationPlatforms] == ref.FormatPlatforms(platforms) &&
		m.Annotations[AnnotationForm] == form
}

// Missing returns those of the platforms that m, an index, has no image for.
func (m Manifest) Missing(platforms []ref.Platform) []ref.Platform {
	return slices.DeleteFunc(slices.Clone(platforms), func(p ref.Platform) bool {
		_, err := m.One(p)
		return err == nil
	})
}

// One returns the child of an index that is the image for p. Where p names no variant,
// an image without one comes first: beside amd64 some indexes list amd64/v3, which
// older processors cannot run. Else it is the first that matches.
func (m Manifest) One(p ref.Platform) (Child, error) {
	exact := func(c Child) bool { return c.isFor(p) && c.Platform.Normalized() == p.Normalized() }
	at := slices.IndexFunc(m.Children, exact)
	if at < 0 {
		at = slices.IndexFunc(m.Children, func(c Child) bool { return c.isFor(p) })
	}
	if at < 0 {
		return Child{}, unsupported("no image for %s; upstream has %s", p, m.platforms())
	}
	return m.Children[at], nil
}

// FirstImage returns the first child of an index that is an image, or an index of some;
// attestations are none.
func (m Manifest) FirstImage() (Child, bool) {
	at := slices.IndexFunc(m.Children, func(c Child) bool {
		return !c.isAttestation() && (c.Platform == nil || c.Platform.OS != "unknown")
	})
	if at < 0 {
		return Child{}, false
	}
	return m.Children[at], true
}
