package transport

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	orasauth "oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/certs"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// host is everything shared by the requests to one registry: connections, tokens,
// limits and the pause a throttling registry asked for.
type host struct {
	name    string // as references write it: docker.io
	address string // where its API is: registry-1.docker.io
	opts    Options
	log     *zap.Logger

	http   *http.Client
	auth   *orasauth.Client
	tokens *tokens
	scheme scheme

	workers    *workers // for small requests
	operations operations
	pause      pause
	breaker    breaker

	noReferrers  atomic.Bool // the host has shown that it does not know the referrers API
	referrersAPI firstQuestion
}

func newHost(name string, opts Options, granted quotas, dialling func(dialer) dialer) (*host, error) {
	address := apiAddress(name)
	settings := opts.Settings(name)
	opts.SmallRequests = cmp.Or(settings.SmallRequests, opts.SmallRequests)
	opts.BlobStreams = cmp.Or(settings.BlobStreams, opts.BlobStreams)
	connections, err := newConnections(name, address, opts, dialling)
	if err != nil {
		return nil, err
	}
	h := &host{
		name:       name,
		address:    address,
		opts:       opts,
		log:        opts.Log.With(zap.String("host", name)),
		http:       &http.Client{CheckRedirect: checkRedirect, Transport: privateRealms{connections, connections.heardBy(opts.Observer)}},
		tokens:     newTokens(name, address, opts.Credentials, opts.RequestTimeout),
		workers:    newWorkers(opts.SmallRequests),
		operations: newOperations(opts, granted),
	}
	h.breaker.name, h.breaker.log = name, h.log
	h.scheme.probe = h.probeScheme
	h.auth = &orasauth.Client{Client: h.http, Header: opts.header(), Cache: h.tokens, Credential: h.tokens.Credential}
	return h, nil
}

// answerTime bounds the wait between the last byte of a blob and the first byte of the
// answer. Completing a large upload is slow on registries that assemble parts, so this
// is several times a small request's own deadline.
func answerTime(opts Options) time.Duration { return 5 * opts.RequestTimeout }

// apiAddress returns where a registry's API is. Docker Hub is the one registry whose
// references name another host.
func apiAddress(name string) string {
	if name == "docker.io" {
		return "registry-1.docker.io"
	}
	return name
}

// connections are those of one registry's requests, some of which go to other hosts:
// redirects, token services, upload locations. That a registry's own certificate need
// not be verified, or that it may see a client certificate, says nothing about them.
type connections struct {
	name     string // of the registry, as references write it
	address  string
	security func(host string) registry.Security

	tokenService string // that the operator named, HOST or HOST:PORT; "" for none

	home    *http.Transport // to the registry itself
	strict  *http.Transport // to others
	lenient *http.Transport // to others that may be insecure themselves

	tracer Tracer // nil where nobody follows
	guard  *egress.Guard
}

func newConnections(name, address string, opts Options, dialling func(dialer) dialer) (*connections, error) {
	settings := opts.Settings(name)
	config, err := certs.Config(name, settings)
	if err != nil {
		return nil, err
	}
	others := config.Clone()
	others.Certificates = nil
	config.InsecureSkipVerify = opts.security(name).AnyCertificate() // named by the operator, or loopback, as Docker allows
	unverified := others.Clone()
	unverified.InsecureSkipVerify = true
	guard := &egress.Guard{Policy: opts.Egress, Registry: name, Address: address, Resolver: opts.resolver}
	c := &connections{
		name:     name,
		address:  address,
		security: opts.security,

		tokenService: settings.TokenService,

		tracer:  opts.Tracer,
		guard:   guard,
		home:    newTransport(config, opts, guard, dialling),
		strict:  newTransport(others, opts, guard, dialling),
		lenient: newTransport(unverified, opts, guard, dialling),
	}
	guard.Kin = func(host string) bool { return c.trusts(&url.URL{Host: host}) }
	return c, nil
}

func newTransport(config *tls.Config, opts Options, guard *egress.Guard, dialling func(dialer) dialer) *http.Transport {
	proxy, dial := guard.Proxy, dialer(guard.DialContext)
	if opts.dial != nil {
		proxy, dial = nil, opts.dial
	}
	return &http.Transport{
		Proxy:               proxy,
		DialContext:         dialling(dial),
		TLSClientConfig:     config,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		// Go's default of two idle connections for each host makes every burst of
		// requests a burst of TCP and TLS handshakes.
		MaxIdleConnsPerHost:    opts.SmallRequests + opts.BlobStreams,
		MaxResponseHeaderBytes: 1 << 20,
		DisableCompression:     true, // digests are of the bytes as they are stored
		// One HTTP/2 connection is one TCP window for all blob streams together.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// RoundTrip sends a request over the connections that its host may have. That one host
// may speak plain HTTP does not let it name another that sees a credential in the clear.
func (c *connections) RoundTrip(req *http.Request) (*http.Response, error) {
	if c.tracer == nil {
		return c.roundTrip(req)
	}
	return c.followed(req)
}

func (c *connections) roundTrip(req *http.Request) (*http.Response, error) {
	if err := c.checkRealm(req); err != nil {
		return nil, err
	}
	if req.URL.Scheme != "https" && carriesCredential(req) && !c.mayBePlain(req.URL) {
		return nil, fmt.Errorf("a credential would go to %s in plain text, which is for hosts that are named for it, with plainHTTP or --insecure-registry: %w",
			redact.Line(req.URL.Host, redact.MaxLine), registry.ErrPermanent)
	}
	if sameHost(req.URL, c.address) {
		return c.home.RoundTrip(req)
	}
	through := c.strict
	if c.security(req.URL.Host).AnyCertificate() {
		through = c.lenient
	}
	resp, err := through.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%s that %s names: %w", namedBy(req), c.name, err)
	}
	return resp, nil
}

// namedBy says what named the host of a request that does not go to the registry itself.
func namedBy(req *http.Request) string {
	switch {
	case req.Context().Value(tokenRequestKey{}) != nil:
		return "the token service"
	case req.Response != nil:
		return "the redirect"
	}
	return "the upload location"
}

// mayBePlain reports whether the host of u was named for plain HTTP, or is on loopback.
func (c *connections) mayBePlain(u *url.URL) bool {
	if sameHost(u, c.address) {
		return c.security(c.name).MayBePlain()
	}
	return c.security(u.Host).MayBePlain()
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (c *connections) CloseIdleConnections() {
	for _, t := range []*http.Transport{c.home, c.strict, c.lenient} {
		t.CloseIdleConnections()
	}
}

// maxRedirects is enough for every registry known: one hop to the storage, or two.
const maxRedirects = 5

// checkRedirect follows reads only, and never from TLS to plain text. A write that is
// redirected is answered by the redirect itself, which is then an error: following it
// would turn the PUT into a GET, and a login page's 200 into a success.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	attemptOf(req.Context()).elsewhere = true
	switch {
	case first.Method != http.MethodGet && first.Method != http.MethodHead:
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects: %w", maxRedirects, registry.ErrPermanent)
	case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("redirect from https to %s refused: %w", req.URL.Scheme, registry.ErrPermanent)
	}
	return nil
}
