package transport

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// Limits on a listing. A registry that exceeds one is broken or hostile: a Link header
// that leads to itself once kept a client busy for 34,561 pages in three seconds.
const (
	pageSize = 1000      // names, as asked for; ECR refuses more
	maxPages = 10_000    // of one listing
	maxNames = 1_000_000 // of one listing
	maxPage  = 32 << 20  // bytes
)

// listing is what a registry gives in pages: the tags of a repository, or its own
// repositories.
type listing struct {
	what  string // as errors call it
	noun  string // what one of its names names
	first call   // for the first page, without its size
	parse func(page []byte) ([]any, error)
	valid func(name string) bool
}

// inPages is what of a listing is asked for page by page, whatever its entries are.
type inPages[E any] struct {
	what  string // as errors call it
	first call   // for the first page
	sized bool   // whether the size of a page is asked for
	pages int    // at most
	parse func(page []byte) ([]E, error)
}

// names yields a listing's names in the registry's order, each once. One bad name does
// not spoil the rest of the list: it is left out and logged.
func (c *Client) names(ctx context.Context, hostName string, l listing) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		h, err := c.host(hostName)
		if err != nil {
			yield("", err)
			return
		}
		seen := map[string]bool{}
		for page, err := range pages(ctx, h, inPages[any]{what: l.what, first: l.first, sized: true, pages: maxPages, parse: l.parse}) {
			if err != nil {
				yield("", err)
				return
			}
			for _, entry := range page {
				name, ok := h.entryName(l, entry)
				if !ok || seen[name] {
					continue
				}
				seen[name] = true
				if len(seen) > maxNames {
					yield("", fmt.Errorf("%s has more than %d entries: %w", l.what, maxNames, registry.ErrPermanent))
					return
				}
				if !yield(name, nil) {
					return
				}
			}
		}
	}
}

// entryName returns an entry of a list if it is a name.
func (h *host) entryName(l listing, entry any) (string, bool) {
	if name, ok := entry.(string); ok && l.valid(name) {
		return name, true
	}
	h.log.Warn("left out a name that is no "+l.noun,
		zap.String("list", l.what), zap.String("name", redact.Line(fmt.Sprint(entry), redact.MaxLine)))
	return "", false
}

// pages follows the Link headers of a listing.
func pages[E any](ctx context.Context, h *host, l inPages[E]) iter.Seq2[[]E, error] {
	return func(yield func([]E, error) bool) {
		next := l.first
		if l.sized {
			next.query = url.Values{"n": {strconv.Itoa(pageSize)}}
		}
		next.accept = []int{http.StatusOK}
		visited := map[string]bool{}
		for range l.pages {
			entries, link, err := page(ctx, h, l, next)
			if refusesPageSize(err, next) {
				next.query = nil
				continue
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(entries, nil) || link == nil {
				return
			}
			if visited[link.String()] {
				yield(nil, fmt.Errorf("%s leads to a page it has shown already: %w", l.what, registry.ErrPermanent))
				return
			}
			visited[link.String()] = true
			next.url = link
		}
		yield(nil, fmt.Errorf("%s has more than %d pages: %w", l.what, l.pages, registry.ErrPermanent))
	}
}

// page reads one page of a listing, and where the next one is. What is no string comes
// as it is: it is for the caller to leave out.
func page[E any](ctx context.Context, h *host, l inPages[E], c call) ([]E, *url.URL, error) {
	answer, err := h.small(ctx, c, maxPage)
	if err != nil {
		return nil, nil, err
	}
	entries, err := l.parse(answer.body)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %w", l.what, err, registry.ErrPermanent)
	}
	link, err := nextPage(answer)
	return entries, link, err
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
