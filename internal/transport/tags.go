package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// Limits on a tag listing. A registry that exceeds one is broken or hostile: a Link
// header that leads to itself once kept a client busy for 34,561 pages in three
// seconds.
const (
	tagPage     = 1000      // what is asked for; ECR refuses more
	tagPages    = 10_000    // pages of one listing
	maxTags     = 1_000_000 // tags of one listing
	maxTagsPage = 32 << 20  // bytes of one page
)

// Tags yields the tags of repo in the registry's order, each once. A name that is no
// tag is left out and logged.
func (c *Client) Tags(ctx context.Context, repo ref.Repository) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		h, err := c.host(repo.Host)
		if err != nil {
			yield("", err)
			return
		}
		seen := map[string]bool{}
		for page, err := range h.tagPages(ctx, repo) {
			if err != nil {
				yield("", err)
				return
			}
			for _, entry := range page {
				tag, ok := h.tagName(repo, entry)
				if !ok || seen[tag] {
					continue
				}
				seen[tag] = true
				if len(seen) > maxTags {
					yield("", fmt.Errorf("tag list of %s has more than %d tags: %w", repo, maxTags, registry.ErrPermanent))
					return
				}
				if !yield(tag, nil) {
					return
				}
			}
		}
	}
}

// tagName returns an entry of a tag list if it is a tag. One bad name does not spoil the
// rest of the list.
func (h *host) tagName(repo ref.Repository, entry any) (string, bool) {
	if tag, ok := entry.(string); ok && ref.ValidTag(tag) {
		return tag, true
	}
	h.log.Warn("left out a name that is no tag",
		zap.Stringer("repository", repo), zap.String("name", redact.Line(fmt.Sprint(entry), redact.MaxLine)))
	return "", false
}

// tagPages follows the Link headers of a listing.
func (h *host) tagPages(ctx context.Context, repo ref.Repository) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		next := call{
			method: http.MethodGet,
			repo:   repo,
			path:   "tags/list",
			query:  url.Values{"n": {strconv.Itoa(tagPage)}},
			accept: []int{http.StatusOK},
		}
		visited := map[string]bool{}
		for range tagPages {
			tags, link, err := h.tagPage(ctx, next)
			if refusesPageSize(err, next) {
				next.query = nil
				continue
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(tags, nil) || link == nil {
				return
			}
			if visited[link.String()] {
				yield(nil, fmt.Errorf("tag list of %s leads to a page it has shown already: %w", repo, registry.ErrPermanent))
				return
			}
			visited[link.String()] = true
			next.url = link
		}
		yield(nil, fmt.Errorf("tag list of %s has more than %d pages: %w", repo, tagPages, registry.ErrPermanent))
	}
}

// tagPage reads one page of a listing, and where the next one is. What is no string
// comes as it is: it is for the caller to leave out.
func (h *host) tagPage(ctx context.Context, c call) ([]any, *url.URL, error) {
	page, err := h.small(ctx, c, maxTagsPage)
	if err != nil {
		return nil, nil, err
	}
	var list struct {
		Tags []any `json:"tags"`
	}
	if err := json.Unmarshal(page.body, &list); err != nil {
		return nil, nil, fmt.Errorf("tag list of %s: %w: %w", c.repo, err, registry.ErrPermanent)
	}
	link, err := nextPage(page)
	return list.Tags, link, err
}

// refusesPageSize reports that the first page was refused for its size: Quay has
// refused more than 100 at times. The listing is then asked for with the registry's
// own page size.
func refusesPageSize(err error, c call) bool {
	status, ok := errors.AsType[*StatusError](err)
	if !ok || c.query == nil || c.url != nil {
		return false
	}
	switch status.Status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUnprocessableEntity:
		return true // ECR has answered 405 UNSUPPORTED
	}
	return false
}
