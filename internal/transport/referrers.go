package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// Limits on the referrers of one manifest. Real ones have some dozens.
const (
	maxReferrerPages = 100
	maxReferrers     = 10_000
)

// Referrers asks the referrers API what refers to subject's digest. A host that does not
// know the API is asked once; from then on the fallback tag is read in its place. Both
// are a GET, and where nothing refers to the subject the second is answered with 404.
func (c *Client) Referrers(ctx context.Context, subject ref.Reference) ([]ref.Descriptor, error) {
	return c.referrers(ctx, subject, c.taggedReferrers)
}

// AskReferrers is Referrers for a subject that has no fallback tag. A host that is known
// not to know the API is not asked at all.
func (c *Client) AskReferrers(ctx context.Context, subject ref.Reference) ([]ref.Descriptor, error) {
	return c.referrers(ctx, subject, func(context.Context, ref.Reference) ([]imgspec.Descriptor, error) { return nil, nil })
}

// referrers asks the referrers API or, where there is none, instead.
func (c *Client) referrers(ctx context.Context, subject ref.Reference, instead func(context.Context, ref.Reference) ([]imgspec.Descriptor, error)) ([]ref.Descriptor, error) {
	h, err := c.host(subject.Repository.Host)
	if err != nil {
		return nil, err
	}
	if err := checkDigest(subject.Digest); err != nil {
		return nil, err
	}
	if !h.noReferrers.Load() {
		entries, err := h.askReferrers(ctx, subject)
		if !unknownAPI(err) {
			return h.claims(subject, entries), err
		}
		// An answer for this one repository says nothing about the others.
		if status, ok := errors.AsType[*StatusError](err); !ok || status.Code != "NAME_UNKNOWN" {
			h.noReferrers.Store(true)
		}
	}
	entries, err := instead(ctx, subject)
	return h.claims(subject, entries), err
}

// askReferrers reads all pages of the referrers API.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
func (h *host) askReferrers(ctx context.Context, subject ref.Reference) ([]imgspec.Descriptor, error) {
	what := "referrers of " + subject.String()
	var all []imgspec.Descriptor
	for page, err := range pages(ctx, h, inPages[imgspec.Descriptor]{
		what: what,
		first: call{
			method: http.MethodGet,
			repo:   subject.Repository,
			path:   "referrers/" + subject.Digest.String(),
			header: http.Header{"Accept": {imgspec.MediaTypeImageIndex}},
		},
		pages: maxReferrerPages,
		parse: parseReferrers,
	}) {
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(all) > maxReferrers {
			return nil, fmt.Errorf("%s: more than %d: %w", what, maxReferrers, registry.ErrPermanent)
		}
	}
	return all, nil
}

// errNoIndex says that what came is no index, as where a web page answers for every path.
var errNoIndex = errors.New("it is no index")

func parseReferrers(page []byte) ([]imgspec.Descriptor, error) {
	var index struct {
		Manifests *[]imgspec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(page, &index); err != nil || index.Manifests == nil {
		return nil, errNoIndex
	}
	return *index.Manifests, nil
}

// unknownAPI reports that a host does not know the referrers API: it says so, calls the
// request wrong, or answers something else. A registry that knows the API says 200 also
// where there are no referrers.
func unknownAPI(err error) bool {
	if errors.Is(err, errNoIndex) || errors.Is(err, registry.ErrUnsupported) {
		return true
	}
	_, answered := errors.AsType[*StatusError](err)
	return answered && (errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrPermanent))
}

// taggedReferrers reads the index under the fallback tag.
func (c *Client) taggedReferrers(ctx context.Context, subject ref.Reference) ([]imgspec.Descriptor, error) {
	tag := subject.Repository.Tagged(registry.ReferrersTag(subject.Digest))
	m, err := c.Manifest(ctx, tag)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := parseReferrers(m.Raw)
	if err == nil && len(entries) > maxReferrers {
		err = fmt.Errorf("more than %d", maxReferrers)
	}
	if err != nil {
		return nil, fmt.Errorf("referrers of %s, under the tag %s: %w: %w", subject, tag.Tag, err, registry.ErrPermanent)
	}
	return entries, nil
}

// claims reads the entries of a list of referrers, each digest once. One bad entry does
// not spoil the rest of the list: it is left out and logged.
func (h *host) claims(subject ref.Reference, entries []imgspec.Descriptor) []ref.Descriptor {
	var listed []ref.Descriptor
	seen := map[ref.Digest]bool{}
	for _, e := range entries {
		d, err := ref.ParseDigest(e.Digest.String())
		if err != nil || e.Size < 0 {
			h.log.Warn("left out an entry that is no descriptor", zap.Stringer("subject", subject),
				zap.String("digest", redact.Line(e.Digest.String(), redact.MaxLine)), zap.Int64("size", e.Size))
			continue
		}
		if !seen[d] {
			seen[d] = true
			listed = append(listed, ref.Descriptor{MediaType: e.MediaType, Digest: d, Size: e.Size})
		}
	}
	return listed
}
