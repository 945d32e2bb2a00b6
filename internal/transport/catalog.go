package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

var _ registry.Lister = (*Client)(nil)

// Repositories yields the paths of the repositories in a registry's catalogue, in the
// registry's order, each once. A name that no repository can have is left out and
// logged.
//
// The catalogue is no part of the OCI specification. Many hosted registries have none
// (ErrUnsupported), show it to administrators alone (ErrDenied), or answer with an empty
// one; some list only what the credential may read.
// https://distribution.github.io/distribution/spec/api/#listing-repositories
func (c *Client) Repositories(ctx context.Context, host string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for path, err := range c.names(ctx, host, catalogOf(host)) {
			if !yield(path, catalogError(host, err)) {
				return
			}
		}
	}
}

func catalogOf(host string) listing {
	return listing{
		what:  "catalogue of " + host,
		noun:  "repository",
		first: call{method: http.MethodGet, path: "_catalog"},
		parse: parseCatalog,
		valid: func(path string) bool {
			repo, err := ref.ParseRepository(host + "/" + path)
			return err == nil && repo == ref.Repository{Host: host, Path: path}
		},
	}
}

func parseCatalog(page []byte) ([]any, error) {
	var catalog struct {
		Repositories []any `json:"repositories"`
	}
	err := json.Unmarshal(page, &catalog)
	return catalog.Repositories, err
}

// catalogError says what to do where a registry does not show a catalogue.
func catalogError(host string, err error) error {
	switch {
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrUnsupported):
		return fmt.Errorf("%s has no catalogue of its repositories, so name them one by one: %w (%v)", host, registry.ErrUnsupported, err) //nolint:errorlint // the catalogue is not there, and no repository is absent because of it
	case errors.Is(err, registry.ErrDenied):
		return fmt.Errorf("%s does not show its catalogue, as many registries do only to administrators; name the repositories one by one, or give other credentials: %w", host, err)
	}
	return err
}
