// Package dockerhub asks Docker Hub what its registry does not tell: which repositories
// a namespace has, and which ones a search finds.
//
// Two services answer. Namespaces are listed by the documented API of hub.docker.com,
// with a login where there is one. That API has no search; the one that is asked is the
// index's, which every Docker Engine uses for docker search, and which knows public
// repositories only.
// https://docs.docker.com/reference/api/hub/latest/
// https://github.com/moby/moby/blob/v1.8.3/docs/reference/api/registry_api.md#search
package dockerhub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
)

// host is Docker Hub as references and credentials write it.
const host = "docker.io"

// Limits on listings and answers, far above what Docker Hub has.
const (
	pageSize  = 100     // the most that either service gives
	maxPages  = 10_000  // of one listing
	maxAnswer = 8 << 20 // bytes
	maxError  = 64 << 10
)

// longestPause caps what a Retry-After header can cost: the API's limits are for a
// minute.
const longestPause = time.Minute

// Options says how Docker Hub is asked. The zero Options asks anonymously.
type Options struct {
	Credentials auth.Provider // asked for docker.io; nil means anonymous
	UserAgent   string

	RetryTimes     int           // attempts after the first
	RequestTimeout time.Duration // for one request; 0 means a minute

	Log *zap.Logger // nil means no logging

	// BaseURL is where both services are, for tests. Nil means where Docker Hub has
	// them.
	BaseURL *url.URL

	network http.RoundTripper // all of it, in tests; nil means the real one
}

// Client asks Docker Hub. It is safe for concurrent use; Close ends it.
type Client struct {
	opts    Options
	hub     *url.URL
	index   *url.URL
	http    *http.Client
	session session
}

// New returns a Client. It does no I/O.
func New(opts Options) *Client {
	if opts.Credentials == nil {
		opts.Credentials = auth.Anonymous{}
	}
	if opts.RequestTimeout == 0 {
		opts.RequestTimeout = time.Minute
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	if opts.network == nil {
		opts.network = newTransport()
	}
	c := &Client{
		opts:    opts,
		hub:     &url.URL{Scheme: "https", Host: "hub.docker.com"},
		index:   &url.URL{Scheme: "https", Host: "index.docker.io"},
		http:    &http.Client{Transport: opts.network, CheckRedirect: checkRedirect},
		session: newSession(),
	}
	if opts.BaseURL != nil {
		c.hub, c.index = opts.BaseURL, opts.BaseURL
	}
	return c
}

// Close drops the idle connections. The Client must not be used after.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second, Control: egress.Control}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
	}
}

// checkRedirect follows reads, a few times, on the host that was asked. A login that is
// redirected is refused by the status of the redirect: it carries a password.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case first.Method != http.MethodGet:
		return http.ErrUseLastResponse
	case len(via) > 3:
		return fmt.Errorf("more than 3 redirects: %w", failure.ErrPermanent)
	case req.URL.Scheme != first.URL.Scheme || !strings.EqualFold(req.URL.Host, first.URL.Host):
		return fmt.Errorf("redirect to %s refused: %w", redact.Line(req.URL.Scheme+"://"+req.URL.Host, redact.MaxLine), failure.ErrPermanent)
	}
	return nil
}

// request is one question, in the form that can be sent again.
type request struct {
	method string
	url    *url.URL
	token  auth.Secret // "" for anonymity
	body   []byte      // JSON
}

// errNoAnswer is the cause of a request's deadline.
var errNoAnswer = fmt.Errorf("no answer in time: %w", failure.ErrStalled)

// ask sends a request, again and again where that is worth it, and reads the answer's
// JSON into answer.
func (c *Client) ask(ctx context.Context, r request, answer any) error {
	policy := retry.Policy{
		Times: c.opts.RetryTimes,
		Most:  longestPause,
		Final: failure.Final,
		Repeated: func(err error, pause time.Duration) {
			c.opts.Log.Debug("trying again", zap.Error(err), zap.Duration("pause", pause))
		},
	}
	return retry.Do(ctx, policy, func(ctx context.Context) error { return c.once(ctx, r, answer) })
}

// once sends a request one time, under the request deadline.
func (c *Client) once(ctx context.Context, r request, answer any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.RequestTimeout, errNoAnswer)
	defer cancel()
	req, err := r.build(ctx, c.opts.UserAgent)
	if err != nil {
		return r.failed(ctx, fmt.Errorf("%w: %w", redact.Error(err), failure.ErrPermanent))
	}
	began := time.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		if named, ok := errors.AsType[*url.Error](err); ok {
			err = named.Err // which request, failed says
		}
		return r.failed(ctx, redact.Error(err))
	}
	defer resp.Body.Close()
	c.opts.Log.Debug("request", zap.String("method", r.method), zap.String("url", redact.URL(r.url)),
		zap.Int("status", resp.StatusCode), zap.Duration("took", time.Since(began)))
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return r.failed(ctx, redact.Error(err))
	case len(body) > maxAnswer:
		return r.failed(ctx, fmt.Errorf("the answer is longer than %d bytes: %w", maxAnswer, failure.ErrPermanent))
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return r.failed(ctx, fmt.Errorf("%w: %w", redact.Error(err), failure.ErrPermanent))
	}
	return nil
}

func (r request) build(ctx context.Context, userAgent string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if userAgent != "" {
		req.Header.Set("User-Agent", userAgent)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token.Reveal())
	}
	return req, nil
}

// failed names the request that err happened to; where ctx has ended, the reason for
// that is the error.
func (r request) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%s %s: %w", r.method, redact.URL(r.url), err)
}

// pathOf returns the path of a repository as references have it, from the name that
// Docker Hub lists it by: those of its own, such as nginx, are under library.
func pathOf(name string) (string, bool) {
	repo, err := ref.ParseRepository(host + "/" + name)
	return repo.Path, err == nil && repo.Host == host
}

// leftOut logs a name that cannot be a repository's. One bad name does not spoil a list.
func (c *Client) leftOut(name string) {
	c.opts.Log.Warn("left out a name that is no repository",
		zap.String("host", host), zap.String("name", redact.Line(name, redact.MaxLine)))
}
