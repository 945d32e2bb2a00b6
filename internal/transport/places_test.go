package transport_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// service is a registry of a certain capacity: it takes so long for an answer, works on
// so many at once, and refuses what is under way beyond that.
type service struct {
	answer  http.HandlerFunc
	takes   time.Duration
	works   chan struct{} // nil means that it works on all of them
	refuses atomic.Int64  // more than this many at once, 0 means never

	refused atomic.Int64

	mu     sync.Mutex
	inside int64
	most   int64 // at once, since the last look
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.come(1)
	defer s.come(-1)
	if limit := s.refuses.Load(); limit > 0 && now > limit {
		s.refused.Add(1)
		time.Sleep(s.takes)
		refuse(http.StatusTooManyRequests, "TOOMANYREQUESTS", "Rate exceeded")(w, r)
		return
	}
	if s.works != nil {
		s.works <- struct{}{}
		defer func() { <-s.works }()
	}
	time.Sleep(s.takes)
	s.answer(w, r)
}

// come counts who is inside.
func (s *service) come(n int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inside += n
	s.most = max(s.most, s.inside)
	return s.inside
}

// ask lets workers ask for manifests until so many were answered, and reports what the
// service saw at once meanwhile.
func (s *service) ask(t *testing.T, c *transport.Client, workers, times int) int64 {
	t.Helper()
	s.most = 0
	var left atomic.Int64
	left.Store(int64(times))
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := c.Resolve(t.Context(), repo.Tagged("1.0")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return s.most
}

// A registry that is far away answers as many as it is asked in the same time.
func TestMoreAreAskedAtOnceWhileItHelps(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: manifest, takes: 80 * time.Millisecond}
		w.serve(host, s.ServeHTTP)
		c := w.client(transport.Options{SmallRequests: 256})
		if most := s.ask(t, c, 400, 3000); most != 256 {
			t.Errorf("%d at once, and 256 would have helped", most)
		}
	})
}

// At first each round of answers doubles the number: of 500, 64 and 128 go by before 256
// are under way. Where a round more went by each time, small images of a far registry were
// brought before there were many.
func TestTheNumberDoublesWithEachRoundAtFirst(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: manifest, takes: 80 * time.Millisecond}
		w.serve(host, s.ServeHTTP)
		c := w.client(transport.Options{SmallRequests: 256})
		if most := s.ask(t, c, 400, 500); most != 256 {
			t.Errorf("%d at once after 200 answers, want 256", most)
		}
	})
}

// More requests at a registry that works on 16 of them only wait there, and each holds
// memory and a connection.
func TestNoMoreAreAskedAtOnceThanHelp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: manifest, takes: 20 * time.Millisecond, works: make(chan struct{}, 16)}
		w.serve(host, s.ServeHTTP)
		c := w.client(transport.Options{SmallRequests: 512})
		if most := s.ask(t, c, 700, 5000); most > 128 {
			t.Errorf("%d at once, though twice the first 64 brought nothing", most)
		}
	})
}

// Halving once for what is refused together, and rising by an eighth, keeps close to what
// a registry allows without ever giving up a request.
func TestFewerAreAskedAtOnceWhereThatIsTooMuch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: manifest, takes: 50 * time.Millisecond}
		s.refuses.Store(20)
		w.serve(host, s.ServeHTTP)
		c := w.client(transport.Options{RetryTimes: 8})
		s.ask(t, c, 200, 1000) // finds out
		s.refused.Store(0)
		most := s.ask(t, c, 200, 2000)
		if most > 24 {
			t.Errorf("%d at once where 20 are allowed", most)
		}
		if n := s.refused.Load(); n > 100 {
			t.Errorf("%d of 2000 requests were refused", n)
		}

		s.refuses.Store(0)
		if most := s.ask(t, c, 200, 8000); most != 128 {
			t.Errorf("%d at once when everything was allowed again, want 128", most)
		}
	})
}

// PutImage is what ECR throttles, and reading goes on meanwhile.
func TestOneKindBeingThrottledSlowsNoOther(t *testing.T) {
	faults.Covers(t, "F58")
	inWorld(t, func(t *testing.T, w *world) {
		s := &service{answer: manifest, takes: 50 * time.Millisecond}
		w.serve(host, func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				refuse(http.StatusTooManyRequests, "TOOMANYREQUESTS", "")(rw, r)
				return
			}
			s.ServeHTTP(rw, r)
		})
		c := w.client(transport.Options{})
		for range 10 {
			if err := put(t.Context(), t, c, "1.0"); !errors.Is(err, registry.ErrThrottled) {
				t.Fatal(err)
			}
		}
		if most := s.ask(t, c, 100, 100); most != 64 {
			t.Errorf("%d reads at once after writes were throttled, want the first 64", most)
		}
	})
}

// The reads of a throttled upstream are not the destination's fault.
func TestAThrottledSourceDoesNotSlowTheDestination(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.serve(host, inTurn(refuse(http.StatusAccepted, "", "")))
		c := w.client(transport.Options{BlobStreams: 8})
		dst, err := c.OpenDestination(t.Context(), repo)
		if err != nil {
			t.Fatal(err)
		}
		throttled := &registry.Error{Op: "read blob from", Side: registry.SideSource, Ref: repo.Digested(rawSum), Err: registry.ErrThrottled}
		refusing := func(context.Context) (io.ReadCloser, error) { return nil, throttled }
		for range 10 {
			_ = registry.UploadBlob(t.Context(), dst, blobDesc, refusing)
		}
		if n := c.UploadsAtOnce(host); n != 8 {
			t.Errorf("%d uploads at once, want all 8", n)
		}
		throttled.Side = registry.SideTarget
		_ = registry.UploadBlob(t.Context(), dst, blobDesc, refusing)
		if n := c.UploadsAtOnce(host); n != 4 {
			t.Errorf("%d uploads at once after the destination's own refusal, want 4", n)
		}
	})
}

// The ten PutImage in a second are an account's in a Region, under whichever name.
func TestHostsOfOneScopeShareItsQuota(t *testing.T) {
	faults.Covers(t, "F58")
	const other = "fips.example:5000"
	for name, c := range map[string]struct {
		scopes map[string]string
		want   time.Duration
	}{
		"shared":    {map[string]string{host: "account", other: "account"}, 10 * time.Second},
		"their own": {map[string]string{}, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(host, created)
				w.serve(other, created)
				client := w.client(transport.Options{Quota: func(host string) registry.Quota {
					return registry.Quota{Scope: c.scopes[host], ManifestWrites: 1}
				}})
				began := time.Now()
				var all sync.WaitGroup
				for _, at := range []string{host, other} {
					all.Go(func() {
						for range 6 {
							if err := putTo(t.Context(), t, client, ref.Repository{Host: at, Path: repo.Path}.Tagged("1.0")); err != nil {
								t.Error(err)
							}
						}
					})
				}
				all.Wait()
				// The first of each bucket goes at once.
				if took := time.Since(began).Round(time.Second); took != c.want && took != c.want+time.Second {
					t.Errorf("12 writes of one a second took %s, want about %s", took, c.want)
				}
			})
		})
	}
}

// Somebody else pushes to the account too: what AWS publishes is not what is left.
func TestARefusedPaceHalvesAndRecovers(t *testing.T) {
	faults.Covers(t, "F58")
	synctest.Test(t, func(t *testing.T) {
		b := transport.NewBucket(8)
		pace := func(n int) time.Duration {
			began := time.Now()
			for range n {
				if err := b.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(began) / time.Duration(n)
		}
		pace(5) // the burst
		if got := pace(8); got != time.Second/8 {
			t.Errorf("one each %s, want 8 in a second", got)
		}
		b.Refused()
		b.Refused() // of the same second
		if got := pace(4); got != time.Second/4 {
			t.Errorf("one each %s after a refusal, want 4 in a second", got)
		}
		for range 30 {
			time.Sleep(time.Second)
			_ = b.Wait(t.Context())
		}
		pace(5)
		if got := pace(8); got != time.Second/8 {
			t.Errorf("one each %s half a minute later, want 8 in a second again", got)
		}
	})
}

// Whatever becomes of those who wait, no place is lost, and none is given twice.
func TestPlacesAreNeitherLostNorDoubled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 8).Draw(t, "most")
		p := transport.NewPlaces(rapid.IntRange(1, 8).Draw(t, "first"), most)
		var inside atomic.Int64
		var all sync.WaitGroup
		for range rapid.IntRange(1, 40).Draw(t, "workers") {
			impatient := rapid.IntRange(0, 3).Draw(t, "impatient") == 0
			overloaded := rapid.IntRange(0, 9).Draw(t, "overloaded") == 0
			all.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				if impatient {
					go cancel()
				}
				leave, err := p.Take(ctx)
				if err != nil {
					if !impatient {
						t.Errorf("a patient worker got no place: %v", err)
					}
					return
				}
				if n := inside.Add(1); n > int64(most) {
					t.Errorf("%d inside, of %d places at most", n, most)
				}
				inside.Add(-1)
				leave(overloaded)
				leave(overloaded)
			})
		}
		all.Wait()
		if taken, waiting, _ := p.State(); taken != 0 || waiting != 0 {
			t.Errorf("in the end %d places are taken and %d wait", taken, waiting)
		}
	})
}

// A worker that gives up just when it is let in gives its place to the next.
func TestAPlaceIsPassedOnByWhoGaveUp(t *testing.T) {
	for range 50 { // a select of two that are ready takes either
		synctest.Test(t, func(t *testing.T) {
			p := transport.NewPlaces(1, 1)
			leave, err := p.Take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			go func() {
				if leave, err := p.Take(ctx); err == nil {
					leave(false)
				}
			}()
			synctest.Wait()
			leave(false)
			giveUp()
			synctest.Wait()
			if taken, _, _ := p.State(); taken != 0 {
				t.Fatal("the place is lost")
			}
		})
	}
}

// Eight requests that were under way together are refused together.
func TestRefusalsOfOneMomentHalveOnce(t *testing.T) {
	p := transport.NewPlaces(8, 8)
	var leaves []func(bool)
	for range 8 {
		leave, err := p.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	for _, leave := range leaves {
		leave(true)
	}
	if _, _, limit := p.State(); limit != 4 {
		t.Errorf("%d places are left of 8, want 4", limit)
	}
	leave, err := p.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leave(true)
	if _, _, limit := p.State(); limit != 2 {
		t.Errorf("%d places are left of 4 after the next refusal, want 2", limit)
	}
}
