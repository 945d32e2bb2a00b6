package transport

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// mount asks repo to take over a blob that another repository of this host holds. It
// returns nil where that was done, and otherwise the upload session that the registry
// opened instead.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#mounting-a-blob-from-another-repository
func (h *host) mount(ctx context.Context, repo ref.Repository, d ref.Digest, from ref.Repository) (*url.URL, error) {
	a, err := h.small(ctx, call{
		method: http.MethodPost,
		repo:   repo,
		path:   "blobs/uploads/",
		query:  url.Values{"mount": {string(d)}, "from": {from.Path}},
		push:   true,
		reads:  from, // or a token service's token does not allow it
		accept: []int{http.StatusCreated, http.StatusAccepted},
	}, unread)
	if err != nil {
		return nil, err
	}
	if a.status == http.StatusAccepted {
		return uploadLocation(a)
	}
	if stored := a.header.Get("Docker-Content-Digest"); stored != "" && stored != string(d) {
		return nil, fmt.Errorf("mounting blob %s, the registry speaks of %q: %w", d, stored, registry.ErrPermanent)
	}
	return nil, nil //nolint:nilnil // mounted
}
