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

// Workers are those of one host, for tests of how many there are.
type Workers struct{ *workers }

// NewWorkers returns at most so many workers.
func NewWorkers(most int) Workers { return Workers{newWorkers(most)} }

// Do has a worker call f.
func (w Workers) Do(f func()) { w.do(f) }

// Alive returns how many there are.
func (w Workers) Alive() int { return len(w.places) }

// End lets them go.
func (w Workers) End() { w.end() }
