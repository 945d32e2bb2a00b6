package transport_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// askMany asks for n tags at once, and returns the errors.
func askMany(ctx context.Context, c *transport.Client, repo ref.Repository, n int) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = c.Manifest(ctx, repo.Tagged(fmt.Sprint("v", i))) })
	}
	wg.Wait()
	return errs
}

// A host that fails for ever costs a run a minute, not a minute for each item; others go
// on meanwhile.
func TestAHostThatStaysDown(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"refused":            nil,
		"5xx for ever":       refuse(503, "", ""),
		"hangs up":           hangUp,
		"never sends header": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var dead *journal
				if handler != nil {
					dead = w.serve(host, handler)
				}
				w.serve("other.test:5000", manifest)
				c := w.client(transport.Options{RetryTimes: 5, RequestTimeout: 10 * time.Second})
				other := ref.Repository{Host: "other.test:5000", Path: "team/app"}

				start := time.Now()
				for i, err := range askMany(t.Context(), c, repo, 200) {
					if err == nil || i > 20 && !strings.Contains(err.Error(), "503") && !strings.Contains(err.Error(), host) {
						t.Errorf("item %d: %v", i, err)
					}
				}
				if took := time.Since(start); took > 2*time.Minute {
					t.Errorf("200 items took %s", took)
				}
				if dead != nil && len(dead.all()) > 300 {
					t.Errorf("%d requests to a dead host", len(dead.all()))
				}

				_, _ = c.Manifest(t.Context(), repo.Tagged("probe")) // may be the one that finds out
				start = time.Now()
				_, err := c.Manifest(t.Context(), repo.Tagged("late"))
				wantKind(t, err, registry.ErrPermanent)
				if took := time.Since(start); took != 0 || !strings.Contains(err.Error(), "registry.test:5000 has not answered for") {
					t.Errorf("error %q after %s", err, took)
				}
				for _, err := range askMany(t.Context(), c, other, 10) {
					if err != nil {
						t.Error(err)
					}
				}
				faults.Covers(t, "F16", "F27")
			})
		})
	}
}

func TestAHostThatComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		time.AfterFunc(30*time.Second, func() { w.serve(host, manifest) })
		c := w.client(transport.Options{RetryTimes: 1})
		start := time.Now()
		for i, err := range askMany(t.Context(), c, repo, 100) {
			if err != nil {
				t.Errorf("item %d: %v", i, err)
			}
		}
		if took := time.Since(start); took > 45*time.Second {
			t.Errorf("took %s", took)
		}
		faults.Covers(t, "F26")
	})
}

// A daemon lives longer than an outage.
func TestAHostThatComesBackLate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.client(transport.Options{})
		askMany(t.Context(), c, repo, 100)
		time.Sleep(5 * time.Minute)
		w.serve(host, manifest)
		for i, err := range askMany(t.Context(), c, repo, 1) {
			if err != nil {
				t.Errorf("item %d: %v", i, err)
			}
		}
		for i, err := range askMany(t.Context(), c, repo, 100) {
			if err != nil {
				t.Errorf("item %d: %v", i, err)
			}
		}
	})
}

// What a host refuses is an answer, and what one item meets is not the host's state.
func TestAnswersAreNoSilence(t *testing.T) {
	flaky := 0
	for name, handler := range map[string]http.HandlerFunc{
		"absent":    refuse(404, "NAME_UNKNOWN", "no such repository"),
		"denied":    refuse(401, "UNAUTHORIZED", "no"),
		"forbidden": refuse(403, "DENIED", "no"),
		"throttled": refuse(429, "", ""),
		"4 in 5": func(w http.ResponseWriter, _ *http.Request) {
			if flaky++; flaky%5 == 0 {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.WriteHeader(http.StatusInternalServerError)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j := w.serve(host, handler)
				c := w.client(transport.Options{})
				const n = 50
				for i := range n {
					_, _ = c.Manifest(t.Context(), repo.Tagged(fmt.Sprint("v", i)))
				}
				if got := len(j.all()); got != n {
					t.Errorf("%d requests, want %d", got, n)
				}
			})
		})
	}
	t.Run("one item", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			j := w.serve(host, refuse(500, "", ""))
			_, err := w.client(transport.Options{RetryTimes: 20}).Manifest(t.Context(), repo.Tagged("1.0"))
			if err == nil || len(j.all()) != 21 {
				t.Errorf("error %v after %d requests", err, len(j.all()))
			}
		})
	})
}

// Nobody who gives up waits for a host.
func TestWaitingForAHostEndsWithTheContext(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.client(transport.Options{RetryTimes: 9})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		start := time.Now()
		for _, err := range askMany(ctx, c, repo, 100) {
			if err == nil {
				t.Error("no error")
			}
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("took %s", took)
		}
	})
}
