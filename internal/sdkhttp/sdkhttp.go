// Package sdkhttp gives the AWS SDK's clients connections that can be closed.
//
// The SDK's BuildableClient hides its connections: those that nothing uses any more stay
// for 90 seconds, and a program that makes clients again and again, as a daemon does for
// every configuration it reads, piles them up.
package sdkhttp

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/sdkbody"
)

// WhileLoading returns a client to load an AWS configuration with. Parts of the credential
// chain keep it, or a copy with a patience of their own, for good. They ask once an hour,
// and so it keeps no connection at all.
func WhileLoading() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.DisableKeepAlives = true })
}

// Client sends requests as the SDK's own client does, over connections of its own. It is
// safe for concurrent use. Close ends it.
type Client struct {
	pool   *http.Transport
	kept   sdkbody.Client // over connections of the pool
	single sdkbody.Client // over one connection for each request
	closed atomic.Bool
}

// New returns a Client that is like loaded, which is the client of a configuration that was
// loaded with WhileLoading: with its timeout, and with what loading has added to it, such as
// AWS_CA_BUNDLE. Where adjust is not nil, it changes the transport.
func New(loaded aws.HTTPClient, adjust func(*http.Transport)) (*Client, error) {
	like, ok := loaded.(*awshttp.BuildableClient)
	if !ok {
		return nil, fmt.Errorf("no connections can be made as %T makes them", loaded)
	}
	pool := like.GetTransport()
	pool.DisableKeepAlives = false
	if adjust != nil {
		adjust(pool)
	}
	single := pool.Clone()
	single.DisableKeepAlives = true
	over := func(t *http.Transport) sdkbody.Client {
		return sdkbody.Plain(&http.Client{Transport: t, Timeout: like.GetTimeout(), CheckRedirect: redirect})
	}
	return &Client{pool: pool, kept: over(pool), single: over(single)}, nil
}

// Do sends a request.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	if c.closed.Load() {
		return c.single.Do(r)
	}
	return c.kept.Do(r)
}

// Close closes the connections that nothing uses, and the others as soon as that is so of
// them. Whoever still has to send something can: each request then has a connection of its
// own.
func (c *Client) Close() {
	c.closed.Store(true)
	c.pool.CloseIdleConnections()
}

// redirect follows those redirects that keep the method, as the SDK does. Credentials stay
// with the host they were for: net/http sees to the headers it knows.
func redirect(r *http.Request, via []*http.Request) error {
	switch r.Response.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return http.ErrUseLastResponse
	}
	if len(via) >= mostRedirects {
		return fmt.Errorf("more than %d redirects", mostRedirects)
	}
	if r.URL.Host != via[len(via)-1].URL.Host {
		r.Header.Del("X-Amz-Security-Token")
	}
	return nil
}

const mostRedirects = 10
