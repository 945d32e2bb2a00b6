package auth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
)

// issuer issues numbered passwords.
type issuer struct {
	life time.Duration // of each, 0 for one whose end nobody says
	slow time.Duration // how long it takes

	mu     sync.Mutex
	issued int
	err    error
}

func (i *issuer) fetch(ctx context.Context) (auth.Issued, error) {
	select {
	case <-time.After(i.slow):
	case <-ctx.Done():
		return auth.Issued{}, context.Cause(ctx)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return auth.Issued{}, i.err
	}
	i.issued++
	issued := auth.Issued{Credential: auth.Credential{Username: "u", Password: auth.Secret(fmt.Sprint("p", i.issued))}}
	if i.life > 0 {
		issued.Expires = time.Now().Add(i.life)
	}
	return issued, nil
}

func (i *issuer) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

func TestACacheRenewsAtHalfLife(t *testing.T) {
	for _, tt := range []struct {
		name       string
		life, wait time.Duration
		want       string
	}{
		{"at once", time.Hour, 0, "p1"},
		{"before half of its life", time.Hour, 29 * time.Minute, "p1"},
		{"after half of its life", time.Hour, 31 * time.Minute, "p2"},
		{"after its end", time.Hour, 2 * time.Hour, "p2"},
		{"no end, soon", 0, 7 * time.Minute, "p1"},
		{"no end, later", 0, 8 * time.Minute, "p2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := auth.NewCache(auth.CacheOptions{Fetch: (&issuer{life: tt.life}).fetch})
				wantPassword(t, c, "p1")
				time.Sleep(tt.wait)
				wantPassword(t, c, tt.want)
			})
		})
	}
}

func wantPassword(t *testing.T, c *auth.Cache, want string) auth.Credential {
	t.Helper()
	got, err := c.Credential(t.Context())
	if err != nil || got.Password.Reveal() != want {
		t.Errorf("password %q, %v; want %q", got.Password.Reveal(), err, want)
	}
	return got
}

func TestACacheFetchesOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{life: time.Hour, slow: time.Second}
		c := auth.NewCache(auth.CacheOptions{Fetch: from.fetch})
		var workers sync.WaitGroup
		for range 20 {
			workers.Go(func() { wantPassword(t, c, "p1") })
		}
		workers.Wait()
		first := wantPassword(t, c, "p1")
		for range 20 { // who was refused with the first one says so late
			workers.Go(func() {
				c.Refused(first)
				wantPassword(t, c, "p2")
			})
		}
		workers.Wait()
		c.Refused(first)
		wantPassword(t, c, "p2")
	})
}

func TestAWorkerThatGivesUpDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := auth.NewCache(auth.CacheOptions{Fetch: (&issuer{life: time.Hour, slow: 10 * time.Second}).fetch})
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var workers sync.WaitGroup
		workers.Go(func() {
			if _, err := c.Credential(hurried); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
		synctest.Wait()
		workers.Go(func() { wantPassword(t, c, "p1") })
		workers.Wait()
	})
}

func TestARenewalThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{life: time.Hour}
		c := auth.NewCache(auth.CacheOptions{Fetch: from.fetch})
		wantPassword(t, c, "p1")
		from.fail(errBroken)
		time.Sleep(40 * time.Minute)
		wantPassword(t, c, "p1") // still good
		from.fail(nil)
		wantPassword(t, c, "p1") // and not asked for with every request
		time.Sleep(2 * time.Minute)
		wantPassword(t, c, "p2")
		from.fail(errBroken)
		time.Sleep(time.Hour)
		if got, err := c.Credential(t.Context()); !errors.Is(err, errBroken) || !got.Anonymous() {
			t.Errorf("after its end: %v, %v", got, err)
		}
	})
}

func TestARenewalThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{life: time.Hour}
		c := auth.NewCache(auth.CacheOptions{Fetch: from.fetch})
		wantPassword(t, c, "p1")
		from.slow = 24 * time.Hour
		time.Sleep(40 * time.Minute)
		start := time.Now()
		wantPassword(t, c, "p1")
		if waited := time.Since(start); waited > 15*time.Second {
			t.Errorf("a good credential kept its user waiting for %s", waited)
		}
		time.Sleep(time.Hour)
		start = time.Now()
		if _, err := c.Credential(t.Context()); err == nil || time.Since(start) > time.Minute {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
	})
}

// That there is no credential is known for a while, too.
func TestACacheKeepsAnonymity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := auth.NewCache(auth.CacheOptions{Fetch: func(context.Context) (auth.Issued, error) {
			asked++
			return auth.Issued{Expires: time.Now().Add(10 * time.Minute)}, nil
		}})
		for range 3 {
			if got, err := c.Credential(t.Context()); err != nil || !got.Anonymous() {
				t.Errorf("%v, %v", got, err)
			}
		}
		if asked != 1 || c.Expires() != time.Now().Add(10*time.Minute) {
			t.Errorf("asked %d times, until %s", asked, c.Expires())
		}
		time.Sleep(11 * time.Minute)
		_, _ = c.Credential(t.Context())
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}
