// Package retry repeats operations that may succeed the next time, with growing,
// jittered pauses. What is worth repeating is the caller's judgement, given once in a
// Policy.
package retry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Policy says how often and how patiently to repeat. The zero Policy tries once.
type Policy struct {
	Times int           // attempts after the first; 0 means none
	First time.Duration // the pause before the second attempt; 0 means half a second
	Most  time.Duration // the longest pause; 0 means 30 seconds

	// Final reports that err will not go away. Nil means that every error may.
	Final func(err error) bool

	// Repeated is told of each failure that will be tried again, with the pause before
	// it. Nil is silence.
	Repeated func(err error, pause time.Duration)
}

// After is implemented by errors that carry the other side's own idea of when to come
// back (Retry-After). The pause is at least that, and at most Policy.Most.
type After interface {
	error
	RetryAfter() time.Duration
}

// ParseAfter reads a Retry-After header, seconds or a date. Nonsense is no wish, and no
// wish is for more than an hour of seconds.
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func ParseAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(strings.TrimSpace(header)); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 3600)) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// Do calls f until it succeeds, fails for good, runs out of attempts, or ctx ends. It
// returns f's last error; where ctx ended, an error that is ctx's cause as well. Under a
// context that has ended it does not call f at all.
func Do(ctx context.Context, p Policy, f func(ctx context.Context) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var pauses *backoff.ExponentialBackOff // made when something has failed, which is rare
	for attempt := 0; ; attempt++ {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return interrupted(ctx, err)
		}
		if attempt >= p.Times || (p.Final != nil && p.Final(err)) {
			return err
		}
		if pauses == nil {
			pauses = p.pauses()
		}
		pause := pauses.NextBackOff()
		if asked, ok := errors.AsType[After](err); ok {
			pause = max(pause, asked.RetryAfter())
		}
		pause = min(pause, pauses.MaxInterval)
		if p.Repeated != nil {
			p.Repeated(err, pause)
		}
		if !sleep(ctx, pause) {
			return interrupted(ctx, err)
		}
	}
}

func (p Policy) pauses() *backoff.ExponentialBackOff {
	pauses := backoff.NewExponentialBackOff()
	pauses.Multiplier = 2
	pauses.InitialInterval = cmp.Or(p.First, 500*time.Millisecond)
	pauses.MaxInterval = cmp.Or(p.Most, 30*time.Second)
	return pauses
}

// interrupted says why ctx ended, and what was the matter when it did.
func interrupted(ctx context.Context, last error) error {
	cause := context.Cause(ctx)
	if errors.Is(last, cause) {
		return last
	}
	return fmt.Errorf("%w; before that: %w", cause, last)
}

// sleep waits and reports whether ctx was still live at the end of it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
