package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// question is one kind of request that is repeated.
type question struct {
	name   string
	answer http.HandlerFunc // what success is
	ask    func(ctx context.Context, t *testing.T, c *transport.Client) error
}

var questions = []question{
	{"manifest HEAD", manifest, func(ctx context.Context, _ *testing.T, c *transport.Client) error {
		_, err := c.Resolve(ctx, repo.Tagged("1.0"))
		return err
	}},
	{"manifest GET", manifest, func(ctx context.Context, _ *testing.T, c *transport.Client) error {
		_, err := c.Manifest(ctx, repo.Digested(rawSum))
		return err
	}},
	{"manifest PUT", created, func(ctx context.Context, t *testing.T, c *transport.Client) error {
		t.Helper()
		return put(ctx, t, c, "1.0")
	}},
	{
		"tags", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"tags":["a"]}`) },
		func(ctx context.Context, _ *testing.T, c *transport.Client) error {
			for _, err := range c.Tags(ctx, repo) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	},
	{"blob HEAD", refuse(200, "", ""), func(ctx context.Context, t *testing.T, c *transport.Client) error {
		t.Helper()
		dst, err := c.OpenDestination(ctx, repo)
		if err != nil {
			t.Fatal(err)
		}
		_, err = registry.HasBlob(ctx, dst, blobDesc)
		return err
	}},
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	faults.Covers(t, "F14", "F15")
	faults := map[string]http.HandlerFunc{"reset": hangUp, "truncated": truncated}
	for _, status := range []int{408, 429, 500, 502, 503, 504} {
		faults[fmt.Sprint(status)] = refuse(status, "", "")
	}
	for _, q := range questions {
		for fault, broken := range faults {
			if fault == "truncated" && (strings.HasSuffix(q.name, "HEAD") || strings.HasSuffix(q.name, "PUT")) {
				continue // answers whose body nobody reads
			}
			t.Run(q.name+"/"+fault, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					j := w.serve(host, inTurn(broken, broken, q.answer))
					if err := q.ask(t.Context(), t, w.client(transport.Options{RetryTimes: 2})); err != nil {
						t.Error(err)
					}
					if n := len(j.all()); n != 3 {
						t.Errorf("%d requests, want 3", n)
					}
				})
			})
		}
	}
}

func TestAttemptsAreCounted(t *testing.T) {
	for _, q := range questions {
		for _, times := range []int{0, 1, 4} {
			t.Run(fmt.Sprintf("%s/%d", q.name, times), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					j := w.serve(host, refuse(503, "", ""))
					err := q.ask(t.Context(), t, w.client(transport.Options{RetryTimes: times}))
					if err == nil || registry.Final(err) {
						t.Errorf("error %v, want one that may pass", err)
					}
					if n := len(j.all()); n != 1+times {
						t.Errorf("%d requests, want %d", n, 1+times)
					}
				})
			})
		}
	}
}

func TestWhatStaysIsNotTriedAgain(t *testing.T) {
	faults.Covers(t, "F21")
	for status, kind := range map[int]error{
		400: registry.ErrPermanent, 401: registry.ErrDenied, 403: registry.ErrDenied, 404: registry.ErrNotFound,
		405: registry.ErrUnsupported, 409: registry.ErrPermanent, 416: registry.ErrPermanent, 501: registry.ErrUnsupported,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j := w.serve(host, refuse(status, "CODE", "words"))
				c := w.client(transport.Options{RetryTimes: 5})
				_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
				wantKind(t, err, kind)
				wantKind(t, put(t.Context(), t, c, "1.0"), kind)
				if n := len(j.all()); n != 2 {
					t.Errorf("%d requests, want 2", n)
				}
			})
		})
	}
}

func TestAHostThatIsGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, err := w.client(transport.Options{RetryTimes: 1}).Manifest(t.Context(), repo.Tagged("1.0"))
		if err == nil || registry.Final(err) || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), host) {
			t.Errorf("error %v", err)
		}
	})
}

func TestTheWholeHostPauses(t *testing.T) {
	faults.Covers(t, "F17")
	tests := []struct {
		name        string
		status      int
		header      string
		least, most time.Duration // that another request waits
	}{
		{"seconds", 429, "20", 20 * time.Second, 22 * time.Second},
		{"service unavailable", 503, "20", 20 * time.Second, 22 * time.Second},
		{"absurd", 429, "86400", time.Minute, 66 * time.Second},
		{"a date in a thousand years", 429, "Fri, 02 Jan 3026 03:04:15 GMT", time.Minute, 66 * time.Second},
		{"negative", 429, "-20", 0, 0},
		{"none", 429, "", 0, 0},
		// Absence is no reason to rest, whatever the registry says.
		{"not throttled", 404, "20", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				j := w.serve(host, inTurn(with("Retry-After", tt.header, refuse(tt.status, "", "")), manifest))
				c := w.client(transport.Options{RequestTimeout: 10 * time.Second}) // less than the pause
				_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
				if err == nil {
					t.Fatal("no error")
				}
				start := time.Now()
				// A deadline that ran through the pause made a failure of each of these.
				var wait sync.WaitGroup
				for range 8 {
					wait.Go(func() {
						if _, err := c.Manifest(t.Context(), repo.Digested(rawSum)); err != nil {
							t.Error(err)
						}
					})
				}
				wait.Wait()
				took := time.Since(start)
				if took < tt.least.Truncate(time.Second) || took > tt.most {
					t.Errorf("waited %s, want %s to %s", took, tt.least, tt.most)
				}
				if n := len(j.all()); n != 9 {
					t.Errorf("%d requests, want 9", n)
				}
			})
		})
	}
}

func TestUploadsKeepThePauseToo(t *testing.T) {
	faults.Covers(t, "F17")
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, inTurn(with("Retry-After", "40", refuse(429, "", "")), store(location, take(new([]byte)))))
		c := w.client(transport.Options{Stall: 5 * time.Second, RequestTimeout: 5 * time.Second})
		if _, err := c.Manifest(t.Context(), repo.Tagged("1.0")); err == nil {
			t.Fatal("no error")
		}
		start := time.Now()
		// The pause is no stall, and no part of a request's deadline.
		if err := upload(t, c, blobDesc, content(blob)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start).Round(time.Second); took < 40*time.Second {
			t.Errorf("took %s: it did not wait", took)
		}
		if diff := cmp.Diff([]string{"GET /v2/team/app/manifests/1.0", uploads, "PUT " + location}, j.whats()); diff != "" {
			t.Errorf("requests (-want +got)\n%s", diff)
		}
	})
}

func TestCancelDuringAPause(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, with("Retry-After", "60", refuse(429, "", "")))
		c := w.client(transport.Options{RetryTimes: 5})
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(enough) })
		start := time.Now()
		_, err := c.Manifest(ctx, repo.Tagged("1.0"))
		if !errors.Is(err, enough) || !errors.Is(err, registry.ErrThrottled) {
			t.Errorf("error %v, want the cause, and what the trouble was", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("returned after %s", took)
		}
		// Another one waits for the host's pause.
		ctx, cancel = context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(enough) })
		if _, err := c.Manifest(ctx, repo.Tagged("1.0")); !errors.Is(err, enough) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != 2*time.Second || len(j.all()) != 1 {
			t.Errorf("returned after %s and %d requests", took, len(j.all()))
		}
	})
}

func TestACancelledContextSendsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, manifest)
		c := w.client(transport.Options{RetryTimes: 5})
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(enough)
		for _, q := range questions {
			if err := q.ask(ctx, t, c); !errors.Is(err, enough) {
				t.Errorf("%s: %v", q.name, err)
			}
		}
		if err := uploadIn(ctx, t, c, blobDesc, content(blob)); !errors.Is(err, enough) {
			t.Errorf("upload: %v", err)
		}
		if n := len(j.all()); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestARequestWithoutAnAnswer(t *testing.T) {
	faults.Covers(t, "F11")
	inWorld(t, func(t *testing.T, w *world) {
		j := w.serve(host, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		c := w.client(transport.Options{RetryTimes: 1, RequestTimeout: 10 * time.Second})
		start := time.Now()
		_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
		wantKind(t, err, registry.ErrStalled)
		if !strings.Contains(err.Error(), "GET http://"+host) {
			t.Errorf("error %q does not say what was asked", err)
		}
		if took := time.Since(start); len(j.all()) != 2 || took < 20*time.Second || took > 22*time.Second {
			t.Errorf("%d requests in %s", len(j.all()), took)
		}
	})
}

// A place held through a retry's pause, or a deadline that runs while a request waits for
// a place, turns one slow answer into failures elsewhere.
func TestPlacesAreForRequestsUnderWay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/broken") {
				rw.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			time.Sleep(8 * time.Second)
			manifest(rw, r)
		})
		c := w.client(transport.Options{SmallRequests: 1, RetryTimes: 5, RequestTimeout: 10 * time.Second})
		var wait sync.WaitGroup
		wait.Go(func() {
			if _, err := c.Manifest(t.Context(), repo.Tagged("broken")); err == nil {
				t.Error("no error")
			}
		})
		start := time.Now()
		for range 4 {
			wait.Go(func() {
				if _, err := c.Manifest(t.Context(), repo.Tagged("slow")); err != nil {
					t.Error(err)
				}
				// Four in turn, and hardly anything for the one that pauses.
				if took := time.Since(start); took > 34*time.Second {
					t.Errorf("took %s", took)
				}
			})
		}
		wait.Wait()
	})
}
