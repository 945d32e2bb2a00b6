package dockerhub

import "net/http"

// Over returns o with a network of the test's own in place of the real one.
func (o Options) Over(network http.RoundTripper) Options {
	o.network = network
	return o
}

// Limits that tests go to the edge of.
const (
	MaxPages  = maxPages
	MaxAnswer = maxAnswer
)

// Names for what has no other way in.
var (
	Follow = follow
	PathOf = pathOf
)
