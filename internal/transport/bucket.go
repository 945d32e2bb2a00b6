package transport

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// bucket paces requests of one kind to what a host grants in a second, for all workers
// together. Others may use the same grant, of which a run knows nothing until it is
// refused: then the pace halves, and rises again by a twentieth for each second without
// a refusal.
type bucket struct {
	tokens *rate.Limiter
	most   rate.Limit

	mu      sync.Mutex
	changed time.Time
}

// How buckets pace. What may go out at once is what a second grants, which saves short
// runs from waiting at all; of what is granted sparingly it is half, as much as an image
// of a few platforms needs.
const (
	longestBurst = 100
	sparing      = 10   // in a second
	slowest      = 16   // the share of the whole that refusals leave at the least: a sixteenth
	recovery     = 0.05 // of the whole, each second
)

// newBucket returns what paces to perSecond requests, nil for 0.
func newBucket(perSecond float64) *bucket {
	if perSecond <= 0 {
		return nil
	}
	burst := min(longestBurst, int(perSecond))
	if perSecond < sparing {
		burst = min(burst, sparing/2)
	}
	return &bucket{tokens: rate.NewLimiter(rate.Limit(perSecond), max(1, burst)), most: rate.Limit(perSecond)}
}

// wait returns when one more request may be sent. A nil bucket lets everything pass. Its
// error is ctx's cause.
func (b *bucket) wait(ctx context.Context) error {
	if b == nil {
		return nil
	}
	b.recover()
	return causeOf(ctx, b.tokens.Wait(ctx))
}

func (b *bucket) recover() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.tokens.Limit()
	if seconds := time.Since(b.changed).Seconds(); now < b.most && seconds >= 1 {
		b.tokens.SetLimit(min(b.most, now+b.most*rate.Limit(recovery*seconds)))
		b.changed = time.Now()
	}
}

// refused makes the pace slower: once for the refusals of a second, which are of the
// same burst.
func (b *bucket) refused() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.changed) < time.Second {
		return
	}
	b.tokens.SetLimit(max(b.most/slowest, b.tokens.Limit()/2))
	b.changed = time.Now()
}
