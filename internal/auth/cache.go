package auth

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"
)

const (
	// fetchLimit bounds one fetch, whoever waits for it.
	fetchLimit = time.Minute
	// renewalLimit bounds a renewal while the old credential still is good: those who
	// wait for it could go on with that.
	renewalLimit = 15 * time.Second
	// renewalPause is how long a renewal that failed is let be. Without it every
	// request to the registry would begin with another that fails.
	renewalPause = time.Minute
	// shortestLife is assumed of a credential that is said to have expired when it was
	// issued, as it seems to a clock that is hours fast, or whose end nobody says.
	shortestLife = 15 * time.Minute
)

// Issued is a credential that somebody issues for a while.
type Issued struct {
	Credential Credential
	Expires    time.Time // the zero Time where the issuer does not say
}

// A Cache keeps one credential that is issued for a while: it is fetched when it is first
// needed, again when half of its life is over, and again when it was refused. Who asks
// while it is being fetched waits for that one fetch. Where a renewal fails while the old
// credential still is good, the old one serves. A Cache is safe for concurrent use.
type Cache struct {
	opts     CacheOptions
	fetching singleflight.Group

	mu      sync.Mutex
	held    Issued
	fetched time.Time // when, the zero Time where nothing is held
	rested  time.Time // no renewal before it, because one failed
}

// CacheOptions are what a Cache works with.
type CacheOptions struct {
	// Fetch gets a credential. Anonymity is one, too: nothing is asked for while it lasts.
	Fetch func(context.Context) (Issued, error)
	Now   func() time.Time // the clock, nil for the system's
	Log   *zap.Logger      // nil for none
}

// NewCache returns a Cache that holds nothing yet.
func NewCache(o CacheOptions) *Cache {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Cache{opts: o}
}

// Credential returns what is held, fetching it where it is due.
func (c *Cache) Credential(ctx context.Context) (Credential, error) {
	if held, serves := c.current(); serves {
		return held, nil
	}
	if ctx.Err() != nil {
		return Credential{}, context.Cause(ctx)
	}
	flight := c.fetching.DoChan("", func() (any, error) {
		return c.renew(context.WithoutCancel(ctx)) // who gives up does not fail the others
	})
	select {
	case r := <-flight:
		cred, _ := r.Val.(Credential) // renew's own result
		return cred, r.Err
	case <-ctx.Done():
		return Credential{}, context.Cause(ctx)
	}
}

// Refused drops cred, unless another is held by now.
func (c *Cache) Refused(cred Credential) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held.Credential == cred {
		c.held, c.fetched = Issued{}, time.Time{}
	}
}

// Expires returns when what is held ends, the zero Time where nothing is.
func (c *Cache) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held.Expires
}

// current returns what is held, and whether it serves without asking.
func (c *Cache) current() (Credential, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.opts.Now()
	half := c.fetched.Add(c.held.Expires.Sub(c.fetched) / 2)
	return c.held.Credential, c.good(now) && (now.Before(half) || now.Before(c.rested))
}

// good reports whether what is held has not ended. The caller holds mu.
func (c *Cache) good(now time.Time) bool { return !c.fetched.IsZero() && now.Before(c.held.Expires) }

// renew fetches a credential and keeps it, unless another call has done so since the
// caller looked.
func (c *Cache) renew(ctx context.Context) (Credential, error) {
	held, serves := c.current()
	if serves {
		return held, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience())
	defer cancel()
	issued, err := c.opts.Fetch(ctx)

	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.opts.Now()
	switch {
	case err == nil:
		if !issued.Expires.After(now) {
			issued.Expires = now.Add(shortestLife)
		}
		c.held, c.fetched = issued, now
	case c.good(now):
		c.rested = now.Add(renewalPause)
		c.opts.Log.Warn("a credential could not be renewed; the old one is still good",
			zap.Time("expires", c.held.Expires), zap.Error(err))
	default:
		return Credential{}, err
	}
	return c.held.Credential, nil
}

// patience is how long a fetch may take.
func (c *Cache) patience() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.good(c.opts.Now()) {
		return renewalLimit
	}
	return fetchLimit
}
