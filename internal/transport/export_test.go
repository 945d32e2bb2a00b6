package transport

import (
	"context"
	"net"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
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
	KindOf     = kindOf

	NetworkError = networkError
)

// CatalogPage returns the repositories that one page of a host's catalogue names.
func CatalogPage(host string, page []byte) ([]string, error) {
	catalog := catalogOf(host)
	return named(page, catalog.parse, catalog.valid)
}

// TagsPage returns the tags that one page of a list names.
func TagsPage(page []byte) ([]string, error) { return named(page, parseTags, ref.ValidTag) }

func named(page []byte, parse func([]byte) ([]any, error), valid func(string) bool) ([]string, error) {
	entries, err := parse(page)
	var names []string
	for _, entry := range entries {
		if name, ok := entry.(string); ok && valid(name) {
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
func (w Workers) Do(ctx context.Context, f func()) error { return w.do(ctx, f) }

// Alive returns how many there are.
func (w Workers) Alive() int { return len(w.places) }

// End lets them go.
func (w Workers) End() { w.end() }

// UploadsAtOnce returns how many blobs may be written to a host at once by now.
func (c *Client) UploadsAtOnce(name string) int {
	h, err := c.host(name)
	if err != nil {
		return -1
	}
	p := h.operations.blobWrites.places
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// Bucket is a bucket that tests may use.
type Bucket struct{ *bucket }

// NewBucket returns one that paces to perSecond requests.
func NewBucket(perSecond float64) Bucket { return Bucket{newBucket(perSecond)} }

// Wait waits for a turn.
func (b Bucket) Wait(ctx context.Context) error { return b.wait(ctx) }

// Refused is a host's refusal.
func (b Bucket) Refused() { b.refused() }

// Places are places that tests may use.
type Places struct{ *places }

// NewPlaces returns places that begin with first, and grow to most.
func NewPlaces(first, most int) Places { return Places{newPlaces(first, most)} }

// Take takes a place and returns how it is given back.
func (p Places) Take(ctx context.Context) (leave func(overloaded bool), err error) {
	place, err := p.take(ctx)
	return func(overloaded bool) { place.leave(outcome{overloaded: overloaded}) }, err
}

// State returns how many places are taken, how many wait for one, and how many there are.
func (p Places) State() (taken, waiting, limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken, p.waiting.Len(), p.limit
}

// Resolving returns o with a name server of the test's own.
func (o Options) Resolving(r *net.Resolver) Options {
	o.resolver = r
	return o
}
