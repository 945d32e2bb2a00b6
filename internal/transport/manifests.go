package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// maxManifest is the largest manifest read or written, in bytes. It is ECR's limit,
// and what distribution and containers/image allow.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html
const maxManifest = 4 << 20

// acceptsManifests lists every media type a manifest can have. The whole list goes out with
// each request: under a narrow Accept some registries convert what they hold, and the
// bytes then have another digest.
var acceptsManifests = http.Header{"Accept": {strings.Join([]string{
	imgspec.MediaTypeImageIndex,
	manifest.DockerV2ListMediaType,
	imgspec.MediaTypeImageManifest,
	manifest.DockerV2Schema2MediaType,
	manifest.DockerV2Schema1SignedMediaType,
	manifest.DockerV2Schema1MediaType,
	"*/*",
}, ", ")}}

func manifestCall(method string, r ref.Reference) call {
	return call{
		method: method,
		repo:   r.Repository,
		path:   "manifests/" + r.Identifier(),
		header: acceptsManifests,
		accept: []int{http.StatusOK},
	}
}

// Resolve asks with one HEAD what r points at. Where the registry's answer has no
// digest, or is a refusal without words, one GET follows: some registries send no
// digest, and HEAD cannot carry a reason.
func (c *Client) Resolve(ctx context.Context, r ref.Reference) (ref.Descriptor, error) {
	h, err := c.host(r.Repository.Host)
	if err != nil {
		return ref.Descriptor{}, err
	}
	if err := checkReference(r); err != nil {
		return ref.Descriptor{}, err
	}
	head, err := h.small(ctx, manifestCall(http.MethodHead, r), unread)
	if err != nil && !wordless(err) {
		return ref.Descriptor{}, err
	}
	if err == nil {
		if d, ok := saidDigest(head.header, r); ok {
			return ref.Descriptor{MediaType: mediaType(head.header), Digest: d, Size: head.length}, nil
		}
	}
	m, err := c.Manifest(ctx, r)
	if err != nil {
		return ref.Descriptor{}, err
	}
	d := r.Digest // which the bytes have
	if d == "" {
		d = digestOf(m.Raw)
	}
	return ref.Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(len(m.Raw))}, nil
}

// saidDigest reads the digest that an answer to HEAD carries. One that is not what r
// asked for is not believed.
func saidDigest(header http.Header, r ref.Reference) (ref.Digest, bool) {
	d, err := ref.ParseDigest(header.Get("Docker-Content-Digest"))
	return d, err == nil && (r.Digest == "" || r.Digest == d)
}

// wordless reports a refusal whose reason a GET may tell. Absence needs no reason, and
// a registry that throttles or breaks does not want a second request.
func wordless(err error) bool {
	status, ok := errors.AsType[*StatusError](err)
	if !ok || status.token || status.Code != "" || status.Message != "" {
		return false
	}
	switch status.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden,
		http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// Manifest reads the manifest r points at. Where r has a digest, the bytes are checked
// against it, and asked for again if they do not match.
func (c *Client) Manifest(ctx context.Context, r ref.Reference) (registry.Manifest, error) {
	h, err := c.host(r.Repository.Host)
	if err != nil {
		return registry.Manifest{}, err
	}
	if err := checkReference(r); err != nil {
		return registry.Manifest{}, err
	}
	a, err := h.matching(ctx, manifestCall(http.MethodGet, r), r.Digest)
	if err != nil {
		return registry.Manifest{}, err
	}
	if r.Digest == "" && isWebPage(a.header) {
		return registry.Manifest{}, fmt.Errorf("manifest of %s came as a web page: %w", r, registry.ErrPermanent)
	}
	return registry.Manifest{MediaType: mediaType(a.header), Raw: a.body}, nil
}

// matching is small for a manifest whose digest may be known. One wrong answer is a
// network's or a cache's; a second one is what the registry holds.
func (h *host) matching(ctx context.Context, c call, want ref.Digest) (answer, error) {
	for again := true; ; again = false {
		a, err := h.small(ctx, c, maxManifest)
		if err != nil || want == "" {
			return a, err
		}
		got := want.Algorithm().FromBytes(a.body)
		if got == want {
			return a, nil
		}
		if !again {
			return answer{}, fmt.Errorf("manifest %s came as %s: %w", want, got, registry.ErrCorrupt)
		}
	}
}

// writeManifest stores m under identifier, a tag or the digest of m.Raw, and returns
// when the registry has confirmed the digest.
func (h *host) writeManifest(ctx context.Context, repo ref.Repository, identifier string, m registry.Manifest) error {
	_, err := h.storeManifest(ctx, repo, identifier, m)
	return err
}

// storeManifest is writeManifest, and returns the headers of the registry's answer.
func (h *host) storeManifest(ctx context.Context, repo ref.Repository, identifier string, m registry.Manifest) (http.Header, error) {
	if len(m.Raw) > maxManifest {
		return nil, fmt.Errorf("manifest of %d bytes is over the limit of %d: %w", len(m.Raw), maxManifest, registry.ErrPermanent)
	}
	stored, err := h.small(ctx, call{
		method: http.MethodPut,
		repo:   repo,
		path:   "manifests/" + identifier,
		header: http.Header{"Content-Type": {m.MediaType}},
		body:   m.Raw,
		push:   true,
		// The specification says 201; older Quay said 202. A 200 is what a login page
		// or a portal answers.
		accept: []int{http.StatusCreated, http.StatusAccepted},
	}, unread)
	if err != nil {
		return nil, err
	}
	said := stored.header.Get("Docker-Content-Digest")
	if d, err := ref.ParseDigest(said); said == "" || err == nil && d.Algorithm().FromBytes(m.Raw) == d {
		return stored.header, nil // some registries say nothing
	}
	return nil, fmt.Errorf("wrote manifest %s and the registry calls it %s: %w", digestOf(m.Raw), redact.Line(said, redact.MaxLine), registry.ErrCorrupt)
}

// checkReference refuses a digest that is none, and a tag. Digests come from manifests,
// which anybody may have written, and go into paths.
func checkReference(r ref.Reference) error {
	if r.Digest != "" {
		return checkDigest(r.Digest)
	}
	if !ref.ValidTag(r.Tag) {
		return fmt.Errorf("%s names no image: %w", r, registry.ErrPermanent)
	}
	return nil
}

func checkDigest(d ref.Digest) error {
	if _, err := ref.ParseDigest(string(d)); err != nil {
		return fmt.Errorf("%w: %w", err, registry.ErrPermanent)
	}
	return nil
}

// mediaType returns the media type of an answer without its parameters.
func mediaType(header http.Header) string {
	mt, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return strings.TrimSpace(mt)
}

// isWebPage reports whether somebody else answered in a registry's place: a portal, a
// proxy, a login page.
func isWebPage(header http.Header) bool { return strings.EqualFold(mediaType(header), "text/html") }

// manifestType reads a manifest's media type from its bytes.
func manifestType(raw []byte) string { return manifest.GuessMIMEType(raw) }

func digestOf(raw []byte) ref.Digest { return digest.FromBytes(raw) }
