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
	MaxTagsPage = maxTagsPage
	TagPages    = tagPages
)

// Names for what has no other way in.
var (
	APIAddress = apiAddress
	RetryAfter = retryAfter
	NextLink   = nextLink
)
