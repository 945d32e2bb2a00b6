package transport

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// longestPause caps what a Retry-After header can cost.
const longestPause = time.Minute

// pause is the rest that a throttling host asked for; all its requests keep it.
type pause struct {
	mu  sync.Mutex
	end time.Time
}

// keep makes the pause last for d from now, unless it lasts longer already.
func (p *pause) keep(d time.Duration) {
	end := time.Now().Add(min(d, longestPause))
	p.mu.Lock()
	defer p.mu.Unlock()
	if end.After(p.end) {
		p.end = end
	}
}

func (p *pause) rest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.end)
}

// wait returns when the pause is over. Those who waited do not all go at the same
// moment: that would be the burst the host complained of.
func (p *pause) wait(ctx context.Context) error {
	for rest := p.rest(); rest > 0; rest = p.rest() {
		timer := time.NewTimer(rest + rand.N(rest/10+1)) //nolint:gosec // jitter is no secret
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
	return nil
}
