package copy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

var (
	here  = ref.Repository{Host: "here", Path: "app"}
	there = ref.Repository{Host: "there", Path: "app"}
)

func TestFlightsDoWorkOnce(t *testing.T) {
	var fs flights[string, int]
	var worked atomic.Int32
	var g sync.WaitGroup
	for range 50 {
		g.Go(func() {
			got, err := fs.do(t.Context(), "work", here, func(context.Context) (int, error) {
				worked.Add(1)
				return 7, nil
			})
			if got != 7 || err != nil {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
	g.Wait()
	if worked.Load() != 1 {
		t.Errorf("worked %d times", worked.Load())
	}
}

// lead starts a flight whose leader waits for its context to end and fails then with
// err, or with the cause of the end where err is nil. Waiters must run in the same
// bubble.
func lead(ctx context.Context, fs *flights[string, string], from ref.Repository, err error) {
	go func() {
		_, _ = fs.do(ctx, "work", from, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			if err != nil {
				return "", err
			}
			return "", context.Cause(ctx)
		})
	}()
	synctest.Wait()
}

// An image whose own layer is missing cancels what it had under way, with that absence
// as the cause. Another image that waited for one of those other layers used to be told
// that its layer was missing.
func TestWaiterTakesOverFromCancelledLeader(t *testing.T) {
	for _, cause := range []error{
		context.Canceled,
		errors.New("not copied within --timeout 1s"),
		fmt.Errorf("a sibling's layer: %w", failure.ErrNotFound),
	} {
		synctest.Test(t, func(t *testing.T) {
			var fs flights[string, string]
			ctx, cancel := context.WithCancelCause(t.Context())
			lead(ctx, &fs, here, nil)
			go func() {
				synctest.Wait()
				cancel(cause)
			}()
			got, err := fs.do(t.Context(), "work", here, func(context.Context) (string, error) { return "done", nil })
			if got != "done" || err != nil {
				t.Errorf("leader ended by %v: got %q, %v", cause, got, err)
			}
		})
	}
}

func TestWaiterTakesOverWhatMayPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fs flights[string, string]
		release := make(chan struct{})
		go func() {
			_, _ = fs.do(t.Context(), "work", here, func(context.Context) (string, error) {
				<-release
				return "", errors.New("connection reset")
			})
		}()
		synctest.Wait()
		go func() {
			synctest.Wait()
			close(release)
		}()
		got, err := fs.do(t.Context(), "work", here, func(context.Context) (string, error) { return "done", nil })
		if got != "done" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// A final failure is shared by those who read from the same upstream, and by nobody
// else: what one upstream lacks another may have.
func TestFinalFailuresAreSharedByUpstream(t *testing.T) {
	for from, want := range map[ref.Repository]string{here: "", there: "done"} {
		synctest.Test(t, func(t *testing.T) {
			var fs flights[string, string]
			release := make(chan struct{})
			go func() {
				_, _ = fs.do(t.Context(), "work", here, func(context.Context) (string, error) {
					<-release
					return "", failure.ErrNotFound
				})
			}()
			synctest.Wait()
			go func() {
				synctest.Wait()
				close(release)
			}()
			got, err := fs.do(t.Context(), "work", from, func(context.Context) (string, error) { return "done", nil })
			if got != want || (want == "") != errors.Is(err, failure.ErrNotFound) {
				t.Errorf("from %s: got %q, %v", from, got, err)
			}
		})
	}
}

func TestWaiterLeavesWithItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fs flights[string, string]
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		lead(ctx, &fs, here, nil)
		mine, stop := context.WithTimeoutCause(t.Context(), time.Second, errors.New("my own time is up"))
		defer stop()
		_, err := fs.do(mine, "work", here, func(context.Context) (string, error) { return "done", nil })
		if err == nil || err.Error() != "my own time is up" {
			t.Errorf("got %v", err)
		}
	})
}

func TestFailedWorkIsDoneAgain(t *testing.T) {
	var fs flights[string, string]
	cut := errors.New("cut")
	for i, step := range []struct {
		from    ref.Repository
		outcome error
		want    error
	}{
		{here, cut, cut},
		{here, failure.ErrNotFound, failure.ErrNotFound},
		{here, nil, failure.ErrNotFound}, // it was final: nobody asks there again
		{there, cut, cut},
		{there, nil, nil},
		{here, errors.New("never asked for"), nil},
	} {
		got, err := fs.do(t.Context(), "work", step.from, func(context.Context) (string, error) { return "done", step.outcome })
		if !errors.Is(err, step.want) || err == nil && got != "done" {
			t.Errorf("step %d: %q, %v", i, got, err)
		}
	}
}

func TestForgetLanded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fs flights[string, string]
		fs.forgetLanded("work") // there is none
		ctx, cancel := context.WithCancel(t.Context())
		lead(ctx, &fs, here, nil)
		fs.forgetLanded("work")
		if _, leads := fs.join("work", here); leads {
			t.Error("a flight in the air was forgotten")
		}
		cancel()
		synctest.Wait()
		if _, err := fs.do(t.Context(), "work", here, func(context.Context) (string, error) { return "", nil }); err != nil {
			t.Fatal(err)
		}
		fs.forgetLanded("work")
		if _, leads := fs.join("work", here); !leads {
			t.Error("a landed flight was not forgotten")
		}
	})
}

func TestForgetfulFlightsForget(t *testing.T) {
	fs := flights[string, int]{forgetful: true}
	for want := range 3 {
		got, err := fs.do(t.Context(), "work", here, func(context.Context) (int, error) { return want, nil })
		if got != want || err != nil {
			t.Errorf("got %d, %v, want %d", got, err, want)
		}
	}
}

// What outlasts a run ends some time after it, and carries on its reason.
func TestOutlast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reason := errors.New("SIGTERM")
		ctx, cancel := context.WithCancelCause(t.Context())
		lasting, stop := Outlast(ctx, 10*time.Second)
		defer stop()
		time.Sleep(time.Hour)
		if lasting.Err() != nil {
			t.Fatal("ended while the run went on")
		}
		cancel(reason)
		time.Sleep(9 * time.Second)
		if lasting.Err() != nil {
			t.Error("ended too soon")
		}
		time.Sleep(2 * time.Second)
		if !errors.Is(context.Cause(lasting), reason) {
			t.Errorf("cause %v", context.Cause(lasting))
		}
	})
}
