package soak

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// front is how a registry is reached: it can be down, and knows who is connected.
type front struct {
	t       *testing.T
	url     string
	host    string
	down    atomic.Bool
	refused atomic.Int64 // requests that came while it was down
	open    atomic.Int64 // connections
}

// startFront serves a registry until the test ends.
func startFront(t *testing.T, registry http.Handler) *front {
	t.Helper()
	f := &front{t: t}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.down.Load() {
			f.refused.Add(1)
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		registry.ServeHTTP(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			f.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			f.open.Add(-1)
		default:
		}
	}
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	f.url, f.host = server.URL, strings.TrimPrefix(server.URL, "http://")
	return f
}

// drained waits until nothing of a process that has ended is under way: all that it sent is
// in the journal, and no more will come. Connections are accepted in their order, so that
// once a new one was answered there are none of it left to accept.
func (f *front) drained(ctx context.Context) error {
	own := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, err := own.RoundTrip(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // nothing was asked of it
	for f.open.Load() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d connections to %s stay open: %w", f.open.Load(), f.host, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
