package transport_test

import (
	"context"
	"errors"
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

// A daemon lives longer than an outage. The first that ask after a long one wait for what
// comes of the one request that finds out: they once failed, and their mirrors rested.
func TestAHostThatComesBackLate(t *testing.T) {
	for name, took := range map[string]time.Duration{"quick": 0, "slow at first": 9 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := w.client(transport.Options{})
				askMany(t.Context(), c, repo, 100)
				time.Sleep(5 * time.Minute)
				w.serve(host, func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(took)
					manifest(w, r)
				})
				for i, err := range askMany(t.Context(), c, repo, 100) {
					if err != nil {
						t.Errorf("item %d: %v", i, err)
					}
				}
			})
		})
	}
}

// Hope costs little: where the host is still away, those who waited fail as soon as that is
// known, and where it lets the question hang, they do not wait for it to end.
func TestAHostThatIsStillDown(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		first   time.Duration // until all but the one that asks have failed
		all     time.Duration // that many later ones take, one after the other in each of their groups
	}{
		"refused":   {nil, 0, 0},
		"5xx":       {refuse(503, "", ""), 0, 0},
		"5xx, late": {func(w http.ResponseWriter, _ *http.Request) { time.Sleep(3 * time.Second); w.WriteHeader(503) }, 3 * time.Second, 3 * time.Second},
		"hangs":     {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 10 * time.Second, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c := w.client(transport.Options{RequestTimeout: 30 * time.Second})
				askMany(t.Context(), c, repo, 100)
				time.Sleep(5 * time.Minute)
				if tt.handler != nil {
					w.serve(host, tt.handler)
				}
				start, inTime := time.Now(), 0
				var wg sync.WaitGroup
				var mu sync.Mutex
				for i := range 30 {
					wg.Go(func() {
						_, err := c.Manifest(t.Context(), repo.Tagged(fmt.Sprint("w", i)))
						mu.Lock()
						defer mu.Unlock()
						if time.Since(start) <= tt.first && errors.Is(err, registry.ErrPermanent) {
							inTime++
						}
					})
				}
				wg.Wait()
				if inTime < 28 { // one asks, and another one where that is still under way
					t.Errorf("%d of 30 have failed after %s", inTime, tt.first)
				}
				start = time.Now()
				askMany(t.Context(), c, repo, 2000)
				if took := time.Since(start); took > tt.all {
					t.Errorf("2000 took %s", took)
				}
			})
		})
	}
}

// Whoever gave up while asking takes nobody's hope with him for good.
func TestTheOneThatAsksGivesUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.client(transport.Options{})
		askMany(t.Context(), c, repo, 100)
		time.Sleep(5 * time.Minute)
		hangs := make(chan struct{})
		w.serve(host, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-hangs:
				manifest(w, r)
			case <-r.Context().Done():
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		askMany(ctx, c, repo, 1)
		close(hangs)
		time.Sleep(time.Hour)
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
