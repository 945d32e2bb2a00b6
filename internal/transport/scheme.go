package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// security says what of TLS a host may do without.
func (o Options) security(name string) registry.Security {
	said := o.Settings(name).Security
	if said == registry.Verified && IsLoopback(name) {
		return registry.Insecure
	}
	return said
}

// IsLoopback reports whether a registry host is this machine by its name alone.
func IsLoopback(name string) bool {
	bare := name
	if h, _, err := net.SplitHostPort(name); err == nil {
		bare = h
	}
	if bare == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(bare, "[]"))
	return err == nil && ip.IsLoopback()
}

// scheme finds out once whether a host speaks TLS. A failure is not kept. The question
// is asked under no caller's context: one that gives up does not fail the others who
// wait.
type scheme struct {
	probe   func(context.Context) (string, error)
	flights singleflight.Group
	mu      sync.Mutex
	known   string
}

// probeTime bounds one probe: several connections, with their timeouts.
const probeTime = 20 * time.Second

func (s *scheme) get(ctx context.Context) (string, error) {
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if known != "" {
		return known, nil
	}
	flight := s.flights.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTime)
		defer cancel()
		found, err := s.probe(ctx)
		if err == nil {
			s.mu.Lock()
			s.known = found
			s.mu.Unlock()
		}
		return found, err
	})
	select {
	case r := <-flight:
		return r.Val.(string), r.Err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// probeScheme returns "https" for every host but those that may be insecure. These are
// asked: over TLS, and where that does not come about, in plain text, without
// credentials. A host that may not be insecure never becomes plain text, however its
// TLS breaks.
func (h *host) probeScheme(ctx context.Context) (string, error) {
	switch h.opts.security(h.name) {
	case registry.Verified, registry.Unverified:
		return "https", nil
	case registry.Plain:
		return "http", nil
	case registry.Insecure:
	}
	_, err := h.ping(ctx, "https")
	switch {
	case err == nil:
		return "https", nil
	case errors.Is(err, http.ErrSchemeMismatch):
		return "http", nil
	}
	// A server that hangs up on a handshake, or listens on port 80 alone.
	status, plainErr := h.ping(ctx, "http")
	if plainErr == nil && (status == http.StatusOK || status == http.StatusUnauthorized) {
		return "http", nil
	}
	return "", fmt.Errorf("connecting to %s: %w", h.name, redact.Error(err))
}

// ping returns the status of a registry's base endpoint itself: where it redirects to is
// another host's matter.
func (h *host) ping(ctx context.Context, scheme string) (int, error) {
	base := url.URL{Scheme: scheme, Host: h.address, Path: "/v2/"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String(), http.NoBody)
	if err != nil {
		return 0, err
	}
	maps.Copy(req.Header, h.opts.header())
	stay := http.Client{Transport: h.http.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := stay.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	drain(resp.Body)
	return resp.StatusCode, nil
}
