package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// DeleteTag removes a tag with one DELETE. A registry that removes no tags may answer
// 400 or 405, and one that never had the endpoint 404 without the code that an absent
// tag has: all of them are ErrUnsupported.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#deleting-tags
func (c *Client) DeleteTag(ctx context.Context, r ref.Reference) error {
	h, err := c.host(r.Repository.Host)
	if err != nil {
		return err
	}
	if !ref.ValidTag(r.Tag) {
		return fmt.Errorf("%s names no tag: %w", r, registry.ErrPermanent)
	}
	_, err = h.small(ctx, call{
		method: http.MethodDelete,
		repo:   r.Repository,
		path:   "manifests/" + r.Tag,
		accept: []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent},
		remove: true,
	}, unread)
	if removesNoTags(err) {
		return fmt.Errorf("the registry removes no tags: %w: %w", err, registry.ErrUnsupported)
	}
	return err
}

func removesNoTags(err error) bool {
	status, ok := errors.AsType[*StatusError](err)
	if !ok || status.token {
		return false
	}
	switch status.Status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusNotFound:
		return status.Code == "" || status.Code == "UNSUPPORTED"
	}
	return false
}

// LastTagDeletes is false: by the specification a manifest outlives its tags.
func (*Client) LastTagDeletes(ref.Repository) (bool, error) { return false, nil }
