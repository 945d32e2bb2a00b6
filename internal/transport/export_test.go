package transport

import (
	"context"
	"net"
)

// Over returns o with a network of the test's own in place of the real one.
func (o Options) Over(dial func(ctx context.Context, network, address string) (net.Conn, error)) Options {
	o.dial = dial
	return o
}

// Limits that tests go to the edge of.
const (
	MaxManifest = maxManifest
	MaxPage     = maxPage
	MaxPages    = maxPages
)

// Names for what has no other way in.
var (
	APIAddress = apiAddress
	NextLink   = nextLink
)

// CatalogPage returns the repositories that one page of a host's catalogue names.
func CatalogPage(host string, page []byte) ([]string, error) {
	catalog := catalogOf(host)
	entries, err := catalog.parse(page)
	var names []string
	for _, entry := range entries {
		if name, ok := entry.(string); ok && catalog.valid(name) {
			names = append(names, name)
		}
	}
	return names, err
}
