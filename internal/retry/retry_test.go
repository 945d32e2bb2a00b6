package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
)

var errBroken = errors.New("broken")

func TestAttempts(t *testing.T) {
	final := func(err error) bool { return errors.Is(err, errFinal) }
	for _, tt := range []struct {
		name   string
		policy retry.Policy
		errs   []error // of the attempts; the last repeats
		want   error
		calls  int
	}{
		{"success", retry.Policy{Times: 3}, []error{nil}, nil, 1},
		{"success in the end", retry.Policy{Times: 3}, []error{errBroken, errBroken, nil}, nil, 3},
		{"the zero policy tries once", retry.Policy{}, []error{errBroken}, errBroken, 1},
		{"out of attempts", retry.Policy{Times: 3}, []error{errBroken}, errBroken, 4},
		{"final", retry.Policy{Times: 3, Final: final}, []error{errBroken, errFinal}, errFinal, 2},
		{"a negative number is none", retry.Policy{Times: -1}, []error{errBroken}, errBroken, 1},
		// An attempt's own deadline is no reason to stop.
		{"deadline of an attempt", retry.Policy{Times: 1, Final: final}, []error{context.DeadlineExceeded, nil}, nil, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, told := 0, 0
				tt.policy.Repeated = func(error, time.Duration) { told++ }
				err := retry.Do(t.Context(), tt.policy, func(context.Context) error {
					calls++
					return tt.errs[min(calls, len(tt.errs))-1]
				})
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if calls != tt.calls || told != calls-1 {
					t.Errorf("%d attempts, told of %d; want %d", calls, told, tt.calls)
				}
			})
		})
	}
}

var errFinal = errors.New("final")

func TestPausesGrowAndAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := time.Now()
		var pauses []time.Duration
		policy := retry.Policy{Times: 12, First: time.Second, Most: 10 * time.Second}
		_ = retry.Do(t.Context(), policy, func(context.Context) error {
			pauses = append(pauses, time.Since(last))
			last = time.Now()
			return errBroken
		})
		for i, base := 1, time.Second; i < len(pauses); i, base = i+1, min(2*base, 10*time.Second) {
			if p := pauses[i]; p < base/2 || p > min(base*3/2+1, 10*time.Second) {
				t.Errorf("pause %d is %s, want about %s and at most 10s", i, p, base)
			}
		}
	})
}

// asked is an error with its own idea of when to come back.
type asked time.Duration

func (a asked) Error() string             { return "slow down" }
func (a asked) RetryAfter() time.Duration { return time.Duration(a) }

func TestTheOtherSideSaysWhen(t *testing.T) {
	for _, tt := range []struct{ after, least, most time.Duration }{
		{20 * time.Second, 20 * time.Second, 20 * time.Second},
		{time.Hour, 30 * time.Second, 30 * time.Second},
		{0, 250 * time.Millisecond, 751 * time.Millisecond},
		{-time.Hour, 250 * time.Millisecond, 751 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_ = retry.Do(t.Context(), retry.Policy{Times: 1}, func(context.Context) error { return errors.Join(errBroken, asked(tt.after)) })
			if took := time.Since(start); took < tt.least || took > tt.most {
				t.Errorf("asked for %s, paused %s", tt.after, took)
			}
		})
	}
}

func TestTheContextEnds(t *testing.T) {
	enough := errors.New("enough")
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(enough)
		err := retry.Do(ctx, retry.Policy{Times: 3}, func(context.Context) error { t.Error("it was called"); return nil })
		if !errors.Is(err, enough) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("during an attempt", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		calls := 0
		err := retry.Do(ctx, retry.Policy{Times: 3}, func(context.Context) error { calls++; cancel(enough); return errBroken })
		if !errors.Is(err, enough) || !errors.Is(err, errBroken) || calls != 1 {
			t.Errorf("error %v after %d attempts", err, calls)
		}
	})
	t.Run("during an attempt that succeeds", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		if err := retry.Do(ctx, retry.Policy{}, func(context.Context) error { cancel(enough); return nil }); err != nil {
			t.Errorf("error %v", err)
		}
	})
	t.Run("during a pause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			start := time.Now()
			time.AfterFunc(time.Second, func() { cancel(enough) })
			err := retry.Do(ctx, retry.Policy{Times: 3, First: time.Minute, Most: time.Hour}, func(context.Context) error { return errBroken })
			if !errors.Is(err, enough) || !errors.Is(err, errBroken) || time.Since(start) != time.Second {
				t.Errorf("error %v after %s", err, time.Since(start))
			}
		})
	})
}

func TestParseAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		" 7 ":                           7 * time.Second,
		"0":                             0,
		"-7":                            0,
		"1.5":                           0,
		"soon":                          0,
		"99999999":                      time.Hour,
		"99999999999999999999999999999": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retry.ParseAfter(header, now); got != want {
			t.Errorf("ParseAfter(%q) = %s, want %s", header, got, want)
		}
	}
}
