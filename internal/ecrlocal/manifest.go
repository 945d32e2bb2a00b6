package ecrlocal

import (
	"encoding/json"
	"mime"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Docker's media types.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

// manifest is a manifest's bytes and what they mention.
type manifest struct {
	raw          []byte
	mediaType    string
	artifactType string // of an image manifest: artifactType, else its config's media type
	config       *v1.Descriptor
	layers       []v1.Descriptor
	children     []v1.Descriptor
	subject      *v1.Descriptor
	annotations  map[string]string
}

// manifestFields is the union of the fields of every manifest type that is read.
type manifestFields struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       *v1.Descriptor    `json:"config"`
	Layers       []v1.Descriptor   `json:"layers"`
	Manifests    []v1.Descriptor   `json:"manifests"`
	Subject      *v1.Descriptor    `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// isIndex reports whether a media type is that of an index.
func isIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == dockerList
}

func isManifestType(mediaType string) bool {
	return isIndex(mediaType) || mediaType == v1.MediaTypeImageManifest || mediaType == dockerManifest
}

// parseManifest reads a manifest. Its type is its own mediaType or, where it has none, the
// declared one; they must not contradict each other. With strict it must also be one of the
// types ECR stores, and all media types in it must be media types.
func parseManifest(raw []byte, declared string, strict bool) (*manifest, error) {
	var f manifestFields
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, errConstraint("ImageManifest", "Invalid JSON syntax")
	}
	declared, _, _ = strings.Cut(declared, ";")
	mediaType := f.MediaType
	if mediaType == "" {
		mediaType = strings.TrimSpace(declared)
	}
	switch {
	case mediaType == "" || (strict && !isManifestType(mediaType)):
		return nil, errConstraint("ImageManifest", "Invalid JSON syntax: no supported media type")
	case isManifestType(declared) && declared != mediaType:
		return nil, errConstraint("ImageManifestMediaType", "does not match the mediaType of the manifest")
	}
	m := &manifest{
		raw: raw, mediaType: mediaType, artifactType: f.ArtifactType, config: f.Config,
		layers: f.Layers, children: f.Manifests, subject: f.Subject, annotations: f.Annotations,
	}
	if m.artifactType == "" && f.Config != nil {
		m.artifactType = f.Config.MediaType
	}
	if strict {
		if err := m.checkStrictly(f.ArtifactType); err != nil {
			return nil, err
		}
	}
	return m, m.checkDigests()
}

// checkStrictly refuses what ECR is known to choke on.
func (m *manifest) checkStrictly(artifactType string) error {
	if !isIndex(m.mediaType) && m.config == nil {
		return errConstraint("ImageManifest", "Invalid JSON syntax: no config")
	}
	types := []string{artifactType}
	for _, d := range slices.Concat(m.layers, m.children) {
		types = append(types, d.MediaType)
	}
	if m.config != nil {
		types = append(types, m.config.MediaType)
	}
	for _, t := range types {
		if t != "" && !mediaTypePattern.MatchString(t) {
			return errConstraint("ImageManifest", "Invalid JSON syntax: '"+t+"' is not a media type")
		}
	}
	return nil
}

func (m *manifest) checkDigests() error {
	all := slices.Concat(m.layers, m.children)
	for _, d := range []*v1.Descriptor{m.config, m.subject} {
		if d != nil {
			all = append(all, *d)
		}
	}
	for _, d := range all {
		if d.Digest.Validate() != nil {
			return errConstraint("ImageManifest", "Invalid JSON syntax: '"+string(d.Digest)+"' is not a digest")
		}
	}
	return nil
}

// blobs returns the blobs the manifest needs in its repository: config and layers, but not
// those that are to be fetched from elsewhere.
func (m *manifest) blobs() []digest.Digest {
	var need []digest.Digest
	if m.config != nil {
		need = append(need, m.config.Digest)
	}
	for _, l := range m.layers {
		if len(l.URLs) == 0 && l.MediaType != dockerForeign {
			need = append(need, l.Digest)
		}
	}
	return need
}

// size is the size of the image: its manifest, config and layers.
func (m *manifest) size() int64 {
	total := int64(len(m.raw))
	if m.config != nil {
		total += m.config.Size
	}
	for _, l := range m.layers {
		total += l.Size
	}
	return total
}

// Compiled once, never changed.
var mediaTypePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$`)

// accepts reports whether a client that sent these Accept values takes mediaType. One that
// sent none takes everything.
func accepts(accept []string, mediaType string) bool {
	if len(accept) == 0 {
		return true
	}
	for _, header := range accept {
		for item := range strings.SplitSeq(header, ",") {
			parsed, _, err := mime.ParseMediaType(strings.TrimSpace(item))
			if err == nil && (parsed == mediaType || parsed == "*/*" || parsed == "application/*") {
				return true
			}
		}
	}
	return false
}

// converted returns the manifest as a client with these Accept values gets it when it pulls
// by tag: itself, or the other of Docker schema 2 and OCI image manifest when only that is
// accepted.
func (m *manifest) converted(accept []string) *manifest {
	var to string
	switch m.mediaType {
	case dockerManifest:
		to = v1.MediaTypeImageManifest
	case v1.MediaTypeImageManifest:
		to = dockerManifest
	}
	if to == "" || accepts(accept, m.mediaType) || !accepts(accept, to) {
		return m
	}
	rewritten, err := m.as(to)
	if err != nil {
		return m // a manifest of odd layers has no twin
	}
	return rewritten
}

// dockerToOCI pairs the media types that mean the same.
func dockerToOCI() map[string]string {
	return map[string]string{
		dockerManifest: v1.MediaTypeImageManifest,
		dockerConfig:   v1.MediaTypeImageConfig,
		dockerLayer:    v1.MediaTypeImageLayerGzip,
	}
}

// as rewrites the media types of an image manifest and of its descriptors.
func (m *manifest) as(mediaType string) (*manifest, error) {
	pairs := dockerToOCI()
	if mediaType == dockerManifest {
		for docker, oci := range dockerToOCI() {
			delete(pairs, docker)
			pairs[oci] = docker
		}
	}
	var fields map[string]any
	if err := json.Unmarshal(m.raw, &fields); err != nil {
		return nil, err
	}
	fields["mediaType"] = mediaType
	layers, _ := fields["layers"].([]any)
	for _, descriptor := range append(layers, fields["config"]) {
		d, ok := descriptor.(map[string]any)
		if !ok {
			continue
		}
		if twin, ok := pairs[asString(d["mediaType"])]; ok {
			d["mediaType"] = twin
		}
	}
	raw, err := json.MarshalIndent(fields, "", "   ")
	if err != nil {
		return nil, err
	}
	return parseManifest(raw, mediaType, false)
}

func asString(v any) string {
	s, _ := v.(string)
	return s
}
