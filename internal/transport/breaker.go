package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// How a breaker judges a host.
const (
	// manyFailures is how many different things must have failed in a row. One that fails
	// however often says nothing of the host.
	manyFailures = 5

	// comeback is how long a host may be away before nobody waits for it any more: a
	// registry that is restarted is back by then.
	comeback = time.Minute

	firstProbe  = time.Second // after the host was found to be down
	probesApart = 10 * time.Second

	// hopeTime is how long others wait for what comes of a request that finds out, where
	// the host has been away for longer than comeback: one that is back answers sooner.
	hopeTime = 10 * time.Second
)

// breaker notices that a host answers nobody. It then keeps requests from it, but for one
// now and then that finds out whether it is back. Those that come in the first minute
// wait for that; later ones wait for such a request that is under way, and not for long.
// Where there is none they fail at once, so that what is left of a run does not spend the
// patience of each item on a host that is gone.
type breaker struct {
	name string
	log  *zap.Logger

	mu     sync.Mutex
	failed map[string]bool // what has failed since something last went well
	last   error
	since  time.Time     // when the host was found to be down; zero while it is not
	next   time.Time     // when another request may find out
	apart  time.Duration // that one and the one after
	asked  time.Time     // when one was sent of which nothing is known yet; zero where there is none
	hope   time.Time     // until when others wait for what comes of it
	news   chan struct{} // closed when something has come of one
}

// pass returns when a request may be sent.
func (b *breaker) pass(ctx context.Context) error {
	for {
		wait, news, err := b.look()
		if err != nil || wait == 0 {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-news:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}

// look returns how long to wait before looking again, 0 where a request may be sent.
func (b *breaker) look() (wait time.Duration, news <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	switch {
	case b.since.IsZero():
		return 0, nil, nil
	case !now.Before(b.next):
		b.ask(now)
		return 0, nil, nil
	case now.Sub(b.since) < comeback:
		return min(b.next.Sub(now), b.since.Add(comeback).Sub(now)), b.news, nil
	case now.Before(b.hope):
		return min(b.next.Sub(now), b.hope.Sub(now)), b.news, nil
	}
	return 0, nil, &downError{name: b.name, since: now.Sub(b.since), last: b.last}
}

// ask notes that a request is sent that finds out. A host that lets such requests hang gives
// no new hope with each: a long run would spend its time hoping. What is as old as comeback
// was given up by whoever sent it.
func (b *breaker) ask(now time.Time) {
	b.next = now.Add(b.apart)
	b.apart = min(2*b.apart, probesApart)
	if b.asked.IsZero() || now.Sub(b.asked) >= comeback {
		b.asked, b.hope = now, now.Add(hopeTime)
	}
}

// waited reports whether an error came of a host that is down and that is waited for.
func (b *breaker) waited(err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.since.IsZero() && !registry.Final(err)
}

// answered notes that the host has answered, whatever it said.
func (b *breaker) answered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.failed)
	if b.since.IsZero() {
		return
	}
	b.log.Info("registry is back", zap.Duration("after", time.Since(b.since)))
	b.since, b.last = time.Time{}, nil
	b.tellAll()
}

// tellAll tells those who wait that something has come of a request.
func (b *breaker) tellAll() {
	b.asked, b.hope = time.Time{}, time.Time{}
	close(b.news)
	b.news = make(chan struct{})
}

// silent notes that a request for something got no answer, or none that a registry in
// order gives.
func (b *breaker) silent(what string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = err
	if !b.since.IsZero() {
		b.next = time.Now().Add(b.apart) // a request that fails after a while is a long question
		b.tellAll()
		return
	}
	if b.failed == nil {
		b.failed = map[string]bool{}
	}
	b.failed[what] = true
	if len(b.failed) < manyFailures {
		return
	}
	b.since, b.apart, b.news = time.Now(), firstProbe, make(chan struct{})
	b.next = b.since.Add(firstProbe)
	b.log.Warn("registry does not answer, waiting for it", zap.Duration("at most", comeback), zap.Error(err))
}

// downError is the answer of a host that is down, given in its place.
type downError struct {
	name  string
	since time.Duration
	last  error
}

func (e *downError) Error() string {
	return fmt.Sprintf("%s has not answered for %s, and is not asked for this any more; what it was asked last: %v",
		e.name, e.since.Round(time.Second), e.last)
}

// Unwrap returns that trying again is pointless, and none of what the last answer was: it
// was another request's.
func (*downError) Unwrap() error { return registry.ErrPermanent }

// heard tells the breaker what came of a call: silence, or an answer.
func (h *host) heard(ctx context.Context, c call, resp *http.Response, err error, used *attempt) {
	switch {
	case used.elsewhere, c.url != nil && !sameHost(c.url, h.address):
		return // a redirect, or an upload location: what another host says is no news of this one
	case err == nil && resp.StatusCode < http.StatusInternalServerError, err == nil && resp.StatusCode == http.StatusNotImplemented:
		h.breaker.answered()
	case err == nil:
		h.breaker.silent(c.what(), fmt.Errorf("%s %s: %s", c.method, redact.URL(resp.Request.URL), resp.Status))
	case unanswered(ctx, c, err):
		h.breaker.silent(c.what(), err)
	}
}

// unanswered reports whether an error may be the host's. An end of the request's context
// is the caller's, unless it is for want of an answer; and a stream that stalls may have
// its source to thank. What this machine lacks the host cannot help.
func unanswered(ctx context.Context, c call, err error) bool {
	if registry.OnSide(err) != "" || registry.Final(err) || noDescriptors(err) {
		return false
	}
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.Status >= http.StatusInternalServerError // the token service's
	}
	streams := c.method == http.MethodPut && len(c.body) == 0
	return ctx.Err() == nil || !streams && errors.Is(context.Cause(ctx), registry.ErrStalled)
}

// what names what a call is about, the same for each attempt.
func (c call) what() string {
	if c.url != nil {
		return c.method + " " + c.url.Path
	}
	return c.method + " " + c.apiPath()
}
