package transport

import (
	"context"
	"net/http"

	orasauth "oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Ping asks the base of a host's API, which every registry has, with the credential that
// the repositories below a path get, or the host itself where path is "", and the token that
// it may have to be exchanged for. It costs one answered request and asks for no repository.
//
// It reports whether the registry asks who is asking; one that does not says nothing of
// the credential. An error that wraps registry.ErrDenied is a refusal of the credential,
// or of nobody.
func (c *Client) Ping(ctx context.Context, name, path string) (asks bool, err error) {
	h, err := c.host(name)
	if err != nil {
		return false, err
	}
	below := ref.Repository{Host: name, Path: path}
	_, err = h.small(ctx, call{method: http.MethodGet, repo: below, base: true, accept: []int{http.StatusOK}}, unread)
	return h.tokens.seen(h.address) != orasauth.SchemeUnknown, err
}
