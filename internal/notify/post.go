package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
)

// How patient a delivery is. A receiver's whole delivery is bounded by its context.
const (
	attempts    = 4
	attemptTime = 8 * time.Second
	firstPause  = time.Second
)

// poster posts to one address. The address may be a secret, as Slack's is: no error names
// more of it than the host.
type poster struct {
	url    *url.URL
	client *http.Client
	pause  func(ctx context.Context, d time.Duration) error
}

// newPoster returns a poster to an absolute URL. It follows no redirect: a signed message,
// or one whose address is the secret, is for whom the operator named. Private addresses are
// the operator's to name, and those of clouds' metadata services nobody's.
func newPoster(address string, plainAllowed func(host string) bool) (*poster, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("expected a URL such as https://hooks.example.com/mirror") // not quoted: it may be a secret
	case u.Scheme == "http" && !plainAllowed(u.Hostname()):
		return nil, errors.New("expected an https URL: this one is a secret itself")
	}
	dialer := &net.Dialer{Timeout: attemptTime, Control: egress.Control}
	return &poster{
		url: u,
		client: &http.Client{
			Timeout:       attemptTime,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		pause: pause,
	}, nil
}

func anyHost(string) bool { return true }

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// post sends a body of JSON, again where the network or the receiver gave way. headers are
// asked for anew each time.
func (p *poster) post(ctx context.Context, body []byte, headers func(http.Header)) error {
	wait := firstPause
	for attempt := 1; ; attempt++ {
		again, after, err := p.once(ctx, body, headers)
		if err == nil || !again || attempt == attempts {
			return err
		}
		if p.pause(ctx, max(wait, after)) != nil {
			return err
		}
		wait *= 2
	}
}

// once reports whether another attempt could be better, and how long the receiver asks to
// be left alone.
func (p *poster) once(ctx context.Context, body []byte, headers func(http.Header)) (again bool, after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url.String(), bytes.NewReader(body))
	if err != nil {
		return false, 0, errors.New("the URL cannot be asked")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ecr-mirror-sync")
	if headers != nil {
		headers(req.Header)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // the outer one quotes the URL
		}
		return true, 0, fmt.Errorf("post to %s: %w", p.url.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	switch resp.StatusCode / 100 {
	case 2:
		return false, 0, nil
	case 3:
		return false, 0, fmt.Errorf("post to %s: status %d: redirects are not followed: name where it leads to", p.url.Host, resp.StatusCode)
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	after = min(time.Duration(max(seconds, 0))*time.Second, attemptTime)
	again = resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
	return again, after, fmt.Errorf("post to %s: status %d", p.url.Host, resp.StatusCode)
}
