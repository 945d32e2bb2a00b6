// Package transport speaks the OCI distribution protocol over HTTP. It knows registries
// and nothing of ECR or of mirroring, and offers what containers/image's interfaces
// want (types.ImageSource, types.ImageDestination) beside them.
//
// It exists because the library's own docker transport cannot share connections and
// tokens between repositories, cannot be given an http.Transport, and takes five round
// trips for a blob where two do (docs/adr/0001). Here one Client serves the whole
// process with one connection pool, one token cache and one set of limits for each
// registry host.
package transport

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
)

// Options tunes a Client. The zero Options reads public registries anonymously.
type Options struct {
	Credentials auth.Provider // nil means anonymous

	// Settings returns what is particular about a host, as references write it. Nil
	// means nothing is. Hosts on loopback may always do without TLS, as in Docker.
	Settings func(host string) registry.Settings

	UserAgent string

	RetryTimes     int           // attempts after the first, for everything but blob streams
	RequestTimeout time.Duration // for one request that carries no blob; 0 means a minute
	Stall          time.Duration // without a byte moving, for blob streams; 0 means a minute

	// The most that a host is asked at once. How much it is asked indeed adapts to it,
	// for each kind of request by itself.
	SmallRequests int // requests without a blob, for a host whose Settings do not say; 0 means 128
	BlobStreams   int // blobs read, and blobs written, likewise; 0 means 256

	// Quota returns what a host grants in a second. Nil means that no limits are known. It
	// is called once for each host.
	Quota func(host string) registry.Quota

	Observer Observer      // nil means none
	Tracer   Tracer        // nil means none
	Egress   egress.Policy // where traffic may go besides public addresses

	Log *zap.Logger // nil means no logging

	// Of the network, in tests; nil means the real one.
	dial     dialer        // all of it
	resolver *net.Resolver // what names lead to
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Client talks to registries. It is safe for concurrent use; Close ends it.
type Client struct {
	opts   Options
	quotas quotasByScope
	room   room
	bulk   bulk
	mu     sync.Mutex
	hosts  map[string]*host
}

// New returns a Client. It does no I/O.
func New(opts Options) *Client {
	if opts.Credentials == nil {
		opts.Credentials = auth.Anonymous{}
	}
	if opts.Settings == nil {
		opts.Settings = func(string) registry.Settings { return registry.Settings{} }
	}
	if opts.RequestTimeout == 0 {
		opts.RequestTimeout = time.Minute
	}
	if opts.Stall == 0 {
		opts.Stall = time.Minute
	}
	if opts.SmallRequests == 0 {
		opts.SmallRequests = 128
	}
	if opts.BlobStreams == 0 {
		opts.BlobStreams = 256
	}
	if opts.Quota == nil {
		opts.Quota = func(string) registry.Quota { return registry.Quota{} }
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	c := &Client{opts: opts, hosts: map[string]*host{}}
	c.room.log, c.room.idle = opts.Log, c.closeIdle
	return c
}

// Close drops the idle connections of every host and lets its workers go. The Client
// must not be used after.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		h.http.CloseIdleConnections()
		h.workers.end()
	}
	return nil
}

// closeIdle drops the idle connections of every host.
func (c *Client) closeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		h.http.CloseIdleConnections()
	}
}

// host returns the one host of that name, made at first use.
func (c *Client) host(name string) (*host, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h, ok := c.hosts[name]; ok {
		return h, nil
	}
	h, err := newHost(name, c.opts, c.quotas.of(name, c.opts.Quota(name)), c.dialling)
	if err != nil {
		return nil, err
	}
	c.hosts[name] = h
	return h, nil
}

// dialling returns dial as all connections are made.
func (c *Client) dialling(dial dialer) dialer { return c.bulk.dialling(c.room.dialling(dial)) }

// headers every registry request carries.
func (o Options) header() http.Header {
	if o.UserAgent == "" {
		return nil
	}
	return http.Header{"User-Agent": {o.UserAgent}}
}
