package ecrlocal

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// splitReference reads a manifest reference: a digest or a tag.
func splitReference(reference string) (tag string, dgst digest.Digest, err error) {
	if strings.Contains(reference, ":") {
		dgst, err = parseDigest(reference)
		return "", dgst, err
	}
	if !imageTagValid(reference) {
		return "", "", newRegistryError(http.StatusBadRequest, "TAG_INVALID", "invalid tag %q", reference)
	}
	return reference, "", nil
}

// getManifest answers GET and HEAD.
func (s *Server) getManifest(p *pull) error {
	tag, dgst, err := splitReference(p.reference)
	if err != nil {
		return err
	}
	m, served, err := s.pullManifest(p, tag, dgst)
	if err != nil {
		return err
	}
	p.Header().Set("Content-Type", m.mediaType)
	p.Header().Set("Content-Length", strconv.Itoa(len(m.raw)))
	p.Header().Set("Docker-Content-Digest", string(served))
	if p.r.Method == http.MethodHead {
		p.WriteHeader(http.StatusOK)
		return nil
	}
	_, _ = p.Write(m.raw) // the client may be gone
	return nil
}

// pullManifest finds the manifest to serve and its digest.
func (s *Server) pullManifest(p *pull, tag string, dgst digest.Digest) (*manifest, digest.Digest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repo(p)
	if err != nil {
		return nil, "", err
	}
	img := repo.find(tag, dgst)
	if img == nil || img.Archived {
		return nil, "", notFound("MANIFEST_UNKNOWN", "Requested image not found")
	}
	if p.r.Method == http.MethodGet {
		s.recordPull(img)
	}
	m := s.served(img, tag != "", p.r.Header.Values("Accept"))
	if m != img.manifest {
		return m, digest.FromBytes(m.raw), nil
	}
	return m, img.Digest, nil
}

func (s *Server) putManifest(p *pull) error {
	raw, err := readManifest(p.r.Body)
	if err != nil {
		return err
	}
	m, err := parseManifest(raw, p.r.Header.Get("Content-Type"), s.quirks.StrictManifests)
	if err != nil {
		return s.manifestRefusal(err)
	}
	tag, dgst, err := splitReference(p.reference)
	if err != nil {
		return err
	}
	stored, err := s.storeManifest(p, put{manifest: m, tag: tag, digest: dgst})
	if err != nil {
		return err
	}
	if m.subject != nil {
		p.Header().Set("Oci-Subject", string(m.subject.Digest))
	}
	if !s.quirks.OmitManifestLocation {
		p.Header().Set("Location", p.url("/manifests/"+string(stored)))
	}
	p.Header().Set("Docker-Content-Digest", string(stored))
	p.Header().Set("Content-Length", "0")
	p.WriteHeader(http.StatusCreated)
	return nil
}

func (s *Server) storeManifest(p *pull, request put) (digest.Digest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repositoryForPush(p.target, p.name)
	if err != nil {
		return "", err
	}
	img, _, err := s.putImage(p.r.Context(), repo, request)
	if err != nil {
		return "", err
	}
	return img.Digest, nil
}

// manifestRefusal is how a manifest that cannot be read is refused: 405 by ECR, 400 by a
// plain registry.
func (s *Server) manifestRefusal(err error) error {
	if s.quirks.StrictManifests {
		return err
	}
	return newRegistryError(http.StatusBadRequest, "MANIFEST_INVALID", "%s", err)
}

// readManifest reads a manifest of at most the allowed size.
func readManifest(body io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(body, maxManifestSize+1))
	if err != nil {
		return nil, newRegistryError(http.StatusBadRequest, "MANIFEST_INVALID", "reading the manifest: %s", err)
	}
	if len(raw) > maxManifestSize {
		return nil, newRegistryError(http.StatusRequestEntityTooLarge, "MANIFEST_INVALID", "the manifest is larger than %d bytes", maxManifestSize)
	}
	return raw, nil
}

// deleteManifest removes a tag and leaves its image, or removes an image and its tags.
func (s *Server) deleteManifest(p *pull) error {
	tag, dgst, err := splitReference(p.reference)
	if err != nil {
		return err
	}
	if err := s.removeReference(p, tag, dgst); err != nil {
		return err
	}
	p.Header().Set("Content-Length", "0")
	p.WriteHeader(http.StatusAccepted)
	return nil
}

func (s *Server) removeReference(p *pull, tag string, dgst digest.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repo(p)
	if err != nil {
		return err
	}
	img := repo.find(tag, dgst)
	switch {
	case img == nil:
		return notFound("MANIFEST_UNKNOWN", "Requested image not found")
	case tag != "":
		repo.untag(tag)
	case s.quirks.RefuseDeletions && len(repo.indexesOf[dgst]) > 0:
		return newRegistryError(http.StatusMethodNotAllowed, "UNSUPPORTED",
			"Requested image referenced by manifest list: [%s]", strings.Join(digestStrings(repo.indexesOf[dgst]), ", "))
	default:
		repo.remove(img)
	}
	s.changed()
	return nil
}

// getReferrers answers with an index of the images that refer to a digest.
func (s *Server) getReferrers(p *pull) error {
	subject, err := parseDigest(p.reference)
	if err != nil {
		return err
	}
	wanted := p.r.URL.Query().Get("artifactType")
	index, err := s.referrerIndex(p, subject, wanted)
	if err != nil {
		return err
	}
	if wanted != "" {
		p.Header().Set("Oci-Filters-Applied", "artifactType")
	}
	return p.respondJSON(v1.MediaTypeImageIndex, index)
}

func (s *Server) referrerIndex(p *pull, subject digest.Digest, wanted string) (v1.Index, error) {
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repo(p)
	if err != nil && !s.quirks.RequireRepository {
		return index, nil // it would appear with the first push
	}
	if err != nil {
		return index, err
	}
	for _, img := range repo.referrers(subject) {
		if img.Archived || (wanted != "" && wanted != img.artifactType) {
			continue
		}
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: img.MediaType, Digest: img.Digest, Size: int64(len(img.raw)),
			ArtifactType: img.artifactType, Annotations: img.annotations,
		})
	}
	return index, nil
}
