package dockerhub

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// Search yields the paths of the public repositories that Docker Hub finds for a text,
// in its own order, the best first, each once. A popular word finds tens of thousands,
// in pages of 100, so a caller stops when it has enough.
//
// It ends after the first error. What a search finds changes from day to day.
func (c *Client) Search(ctx context.Context, text string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		seen := map[string]bool{}
		for number := 1; number <= maxPages; number++ {
			page, err := c.found(ctx, text, number)
			if err != nil {
				yield("", fmt.Errorf("searching Docker Hub for %s: %w", redact.Line(text, redact.MaxLine), err))
				return
			}
			for _, result := range *page.Results {
				path, ok := pathOf(result.Name)
				if !ok {
					c.leftOut(result.Name)
					continue
				}
				if seen[path] {
					continue
				}
				seen[path] = true
				if !yield(path, nil) {
					return
				}
			}
			if number >= page.Pages || len(*page.Results) == 0 {
				return
			}
		}
		yield("", fmt.Errorf("searching Docker Hub for %s: there are more than %d pages: %w", redact.Line(text, redact.MaxLine), maxPages, failure.ErrPermanent))
	}
}

// results is a page of what a search found.
// https://github.com/moby/moby/blob/v1.8.3/docs/reference/api/registry_api.md#search
type results struct {
	Pages   int `json:"num_pages"`
	Results *[]struct {
		Name string `json:"name"`
	} `json:"results"`
}

// found asks for one page. The index does not find library/nginx by that name: Docker
// Engine asks for nginx, too.
func (c *Client) found(ctx context.Context, text string, page int) (results, error) {
	u := c.index.JoinPath("v1/search")
	u.RawQuery = url.Values{
		"q": {strings.TrimPrefix(text, "library/")}, "n": {strconv.Itoa(pageSize)}, "page": {strconv.Itoa(page)},
	}.Encode()
	var answer results
	if err := c.ask(ctx, request{method: http.MethodGet, url: u}, &answer); err != nil {
		return results{}, err
	}
	if answer.Results == nil {
		return results{}, fmt.Errorf("GET %s: the answer has no results: %w", redact.URL(u), failure.ErrPermanent)
	}
	return answer, nil
}
