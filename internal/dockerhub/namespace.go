package dockerhub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// Namespace yields the paths of a namespace's repositories ("grafana/loki"), each once,
// by name. Without a credential these are the public ones. With one, those that it may
// see; of an organization's access token without the right to list repositories Docker
// Hub takes no notice, and answers with the public ones. Plugins are left out: they are
// no images.
//
// It ends after the first error: what came before that is a part and not the list.
// ErrNotFound means that there is no such namespace.
func (c *Client) Namespace(ctx context.Context, namespace string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		seen := map[string]bool{}
		each := func(path string) bool {
			if seen[path] {
				return true
			}
			seen[path] = true
			return yield(path, nil)
		}
		err := c.pass(ctx, namespace, each)
		if errors.Is(err, errShrank) {
			err = c.pass(ctx, namespace, each)
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield("", fmt.Errorf("namespace %s of Docker Hub: %w", redact.Line(namespace, redact.MaxLine), err))
		}
	}
}

var (
	errEnough = errors.New("the caller has enough")

	// errShrank means that a repository was deleted while its namespace was being
	// listed. Pages are counted off from the beginning, so that another one may have
	// moved from a page that was still to come to one that was read already.
	errShrank = errors.New("repositories were deleted while it was being listed")
)

// repositories is a page of a namespace.
// https://docs.docker.com/reference/api/hub/latest/#tag/repositories/operation/listNamespaceRepositories
type repositories struct {
	Count   int    `json:"count"` // on all pages
	Next    string `json:"next"`
	Results *[]struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		Type      string `json:"repository_type"` // image, plugin, or null for images of old
	} `json:"results"`
}

// pass reads the pages of a namespace from the first to the last, and gives each
// repository to each until that returns false.
func (c *Client) pass(ctx context.Context, namespace string, each func(path string) bool) error {
	next, err := c.firstPage(namespace)
	if err != nil {
		return err
	}
	visited := map[string]bool{}
	for count := 0; next != nil; {
		if visited[next.String()] || len(visited) >= maxPages {
			return fmt.Errorf("the pages do not end: %w", failure.ErrPermanent)
		}
		page, err := c.page(ctx, next)
		switch {
		case len(visited) > 0 && errors.Is(err, failure.ErrNotFound), err == nil && page.Count < count:
			return errShrank
		case err != nil:
			return err
		}
		visited[next.String()] = true
		count = page.Count
		if !c.pathsOf(page, namespace, each) {
			return errEnough
		}
		if next, err = follow(next, page.Next); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) firstPage(namespace string) (*url.URL, error) {
	if _, ok := pathOf(namespace + "/x"); !ok || strings.Contains(namespace, "/") {
		return nil, fmt.Errorf("that is no name of a namespace: %w", failure.ErrPermanent)
	}
	u := c.hub.JoinPath("v2/namespaces", namespace, "repositories")
	u.RawQuery = url.Values{"page_size": {strconv.Itoa(pageSize)}, "ordering": {"name"}}.Encode()
	return u, nil
}

func (c *Client) page(ctx context.Context, u *url.URL) (repositories, error) {
	token, err := c.token(ctx)
	if err != nil {
		return repositories{}, err
	}
	var page repositories
	if err := c.ask(ctx, request{method: http.MethodGet, url: u, token: token}, &page); err != nil {
		return repositories{}, err
	}
	if page.Results == nil {
		return repositories{}, fmt.Errorf("GET %s: the answer has no results: %w", redact.URL(u), failure.ErrPermanent)
	}
	return page, nil
}

// pathsOf gives a page's repositories to each and reports whether it wants more.
func (c *Client) pathsOf(page repositories, namespace string, each func(path string) bool) bool {
	for _, entry := range *page.Results {
		if entry.Type == "plugin" {
			continue
		}
		path, ok := pathOf(namespace + "/" + entry.Name)
		if !ok || strings.Contains(entry.Name, "/") || entry.Namespace != namespace {
			c.leftOut(entry.Namespace + "/" + entry.Name)
			continue
		}
		if !each(path) {
			return false
		}
	}
	return true
}

// follow reads the link to the next page, "" for none. It is followed on the host that
// gave it and nowhere else, and in the way that host is spoken to.
func follow(from *url.URL, link string) (*url.URL, error) {
	if link == "" {
		return nil, nil
	}
	u, err := from.Parse(link)
	if err != nil {
		return nil, fmt.Errorf("link to the next page: %w: %w", redact.Error(err), failure.ErrPermanent)
	}
	if !strings.EqualFold(u.Host, from.Host) {
		return nil, fmt.Errorf("link to the next page leads to another host, %s: %w", redact.Line(u.Host, redact.MaxLine), failure.ErrPermanent)
	}
	next := *from
	next.Path, next.RawPath, next.RawQuery = u.Path, u.RawPath, u.RawQuery
	return &next, nil
}
