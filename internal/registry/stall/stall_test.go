package stall_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/stall"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := stall.New(t.Context())
		defer w.Stop()
		time.Sleep(time.Hour) // at rest nothing is awaited
		w.Await("no word", time.Minute)
		time.Sleep(59 * time.Second)
		w.Await("no word", time.Minute)
		time.Sleep(59 * time.Second)
		w.Rest()
		time.Sleep(time.Hour)
		if ctx.Err() != nil {
			t.Fatalf("it bit: %v", context.Cause(ctx))
		}
		w.Await("no answer", time.Minute)
		start := time.Now()
		<-ctx.Done()
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it bit after %s", took)
		}
		cause := context.Cause(ctx)
		if !errors.Is(cause, registry.ErrStalled) || !strings.HasPrefix(cause.Error(), "no answer for 1m0s") {
			t.Errorf("cause %v", cause)
		}
	})
}

func TestStopReleasesTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := stall.New(t.Context())
		w.Await("no word", time.Minute)
		w.Stop()
		time.Sleep(time.Hour)
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) || errors.Is(cause, registry.ErrStalled) {
			t.Errorf("cause %v", cause)
		}
	})
}

func TestCause(t *testing.T) {
	enough, other := errors.New("enough"), errors.New("other")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, w := stall.New(ctx)
	defer w.Stop()
	if got := w.Cause(other); !errors.Is(got, other) {
		t.Errorf("while all is well the cause of %v is %v", other, got)
	}
	cancel(enough)
	for err, want := range map[error]error{nil: nil, other: enough, enough: enough, context.Canceled: enough} {
		if got := w.Cause(err); !errors.Is(got, want) || (got == nil) != (want == nil) {
			t.Errorf("Cause(%v) = %v, want %v", err, got, want)
		}
	}
	// What says it already keeps its words.
	said := errors.Join(errors.New("PUT x"), enough)
	if got := w.Cause(said); got.Error() != said.Error() {
		t.Errorf("Cause(%v) = %v", said, got)
	}
}

func TestTheFirstCauseCounts(t *testing.T) {
	ctx, w := stall.New(t.Context())
	first := errors.New("first")
	w.Cancel(first)
	w.Cancel(errors.New("second"))
	w.Stop()
	if got := context.Cause(ctx); !errors.Is(got, first) {
		t.Errorf("cause %v", got)
	}
}

func TestBodyCloses(t *testing.T) {
	ctx, w := stall.New(t.Context())
	r, far := io.Pipe()
	body := w.Body(r, time.Minute)
	if err := body.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the body is open: %v", err)
	}
	if ctx.Err() == nil {
		t.Error("the watch goes on")
	}
}

// After the last byte it is the answer that is awaited, however often the end is read.
func TestReadsAtTheEndAreNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := stall.New(t.Context())
		defer w.Stop()
		r := w.Upload(strings.NewReader("all"), 3, stall.Patience{Stall: time.Second, Answer: time.Minute})
		if _, err := io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		for range 59 {
			time.Sleep(time.Second)
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("it bit early: %v", context.Cause(ctx))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if cause := context.Cause(ctx); cause == nil || !strings.HasPrefix(cause.Error(), "no answer to the last byte for 1m0s") {
			t.Errorf("cause %v", cause)
		}
	})
}

func TestAnEmptyUploadAwaitsItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := stall.New(t.Context())
		defer w.Stop()
		w.Upload(strings.NewReader(""), 0, stall.Patience{Stall: time.Second, Answer: time.Minute})
		start := time.Now()
		<-ctx.Done()
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it bit after %s", took)
		}
	})
}

// dripping gives so many bytes at once, with a pause before each.
type dripping struct {
	n     int
	every time.Duration
}

func (d dripping) Read(p []byte) (int, error) {
	time.Sleep(d.every)
	return min(d.n, len(p)), nil
}

func (dripping) Close() error { return nil }

// A few bytes now and then keep no transfer alive: less than a KiB in a second, over two
// minutes where the patience is one.
func TestCrawling(t *testing.T) {
	patience := stall.Patience{Stall: time.Minute, Answer: time.Hour}
	const size = 64 << 20
	for name, tt := range map[string]struct {
		source dripping
		taking time.Duration // of the destination, for each read
		says   string        // "" means that it is fast enough
	}{
		"a byte a second":          {dripping{1, time.Second}, 0, "the source sent"},
		"5 KiB in ten seconds":     {dripping{5 << 10, 10 * time.Second}, 0, "the source sent less than 1024 bytes a second"},
		"the destination is slow":  {dripping{5 << 10, time.Millisecond}, 10 * time.Second, "the destination took less than 1024 bytes a second"},
		"20 KiB in ten seconds":    {dripping{20 << 10, 10 * time.Second}, 0, ""},
		"the destination is quick": {dripping{20 << 10, time.Millisecond}, 10 * time.Second, ""},
	} {
		t.Run("upload/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, watch := stall.New(t.Context())
				defer watch.Stop()
				r := watch.Upload(tt.source, size, patience)
				start := time.Now()
				for ctx.Err() == nil && time.Since(start) < 10*time.Minute {
					_, _ = r.Read(make([]byte, 32<<10))
					time.Sleep(tt.taking)
				}
				judge(t, context.Cause(ctx), tt.says, time.Since(start))
			})
		})
		if tt.taking > 0 {
			tt.says = "" // a reader that is slow itself
		}
		t.Run("download/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, watch := stall.New(t.Context())
				body := watch.Body(tt.source, time.Minute)
				defer body.Close()
				start := time.Now()
				for ctx.Err() == nil && time.Since(start) < 10*time.Minute {
					_, _ = body.Read(make([]byte, 32<<10))
					time.Sleep(tt.taking)
				}
				judge(t, context.Cause(ctx), tt.says, time.Since(start))
			})
		})
	}
	faults.Covers(t, "F13")
}

// Whoever was waited for longer is to blame, not whoever's turn it is when the patience
// ends: after a minute in turns of ten and of six seconds, it is the destination's.
func TestTheSlowerSideIsToBlame(t *testing.T) {
	for says, tt := range map[string]struct{ giving, taking time.Duration }{
		"the source sent next to nothing":      {10 * time.Second, 6 * time.Second},
		"the destination took next to nothing": {6 * time.Second, 10 * time.Second},
	} {
		t.Run(says, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, watch := stall.New(t.Context())
				defer watch.Stop()
				r := watch.Upload(dripping{1, tt.giving}, 1<<20, stall.Patience{Stall: time.Minute, Answer: time.Hour})
				for ctx.Err() == nil {
					_, _ = r.Read(make([]byte, 1))
					time.Sleep(tt.taking)
				}
				judge(t, context.Cause(ctx), says, time.Minute)
			})
		})
	}
}

func judge(t *testing.T, cause error, says string, took time.Duration) {
	t.Helper()
	switch {
	case says == "" && cause != nil:
		t.Errorf("ended after %s: %v", took, cause)
	case says == "":
	case cause == nil || !errors.Is(cause, registry.ErrStalled) || !strings.Contains(cause.Error(), says):
		t.Errorf("after %s: %v, want %q", took, cause, says)
	case took > 2*time.Minute+11*time.Second:
		t.Errorf("took %s", took)
	}
}
