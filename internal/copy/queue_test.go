package copy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

// diary notes which errands are done, in which order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// blobOf is a blob of a name and a size.
func blobOf(name string, size int64) blobID { return blobID{digest.FromString(name), size} }

// noting is an errand that notes its name when it is done.
func (d *diary) noting(name string, size int64) *errand {
	return &errand{blob: blobOf(name, size), do: func(context.Context) error {
		d.note(name)
		return nil
	}}
}

// busy fills a queue with errands that end when release is called. It returns when they
// are under way, and must be called in a bubble.
func busy(ctx context.Context, q *queue, name string) (release func()) {
	ended := make(chan struct{})
	var batch []*errand
	for i := range errandsAtOnce {
		batch = append(batch, &errand{blob: blobOf(fmt.Sprint(name, i), 1), do: func(context.Context) error {
			<-ended
			return nil
		}})
	}
	go func() { _ = q.run(ctx, batch) }() // they do not fail
	synctest.Wait()
	return func() { close(ended) }
}

func TestQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := blobOf("shared", 5)
		q := newQueue(func(b blobID) sharing { return sharing{several: b == shared} })
		release := busy(t.Context(), q, "busy")
		var d diary
		finished := make(chan error, 2)
		go func() {
			finished <- q.run(t.Context(), []*errand{d.noting("small", 1), d.noting("large", 100), d.noting("middle", 50)})
		}()
		synctest.Wait()
		go func() {
			finished <- q.run(t.Context(), []*errand{d.noting("shared", 5), d.noting("another middle", 50)})
		}()
		synctest.Wait()
		q.mu.Lock()
		var order []string
		for len(q.waiting) > 0 {
			e := q.pop()
			_ = e.do(t.Context()) // which notes its name
			e.of.done <- nil
		}
		order, d.lines = d.lines, nil
		q.mu.Unlock()
		if diff := inOrder(order, "shared", "large", "middle", "another middle", "small"); diff != "" {
			t.Error(diff)
		}
		release()
		for range 2 {
			if err := <-finished; err != nil {
				t.Error(err)
			}
		}
	})
}

func inOrder(got []string, want ...string) string { return cmp.Diff(want, got) }

// The first of those who want the same blob goes alone, and what it brought lets all the
// others go side by side. Where it failed, the next one goes alone.
func TestQueueLetsOneGoAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(func(blobID) sharing { return sharing{} })
		var d diary
		steps := make(chan error)
		ask := func(name string) <-chan error {
			ended := make(chan error, 1)
			go func() {
				ended <- q.run(t.Context(), []*errand{{blob: blobOf("b", 1), do: func(context.Context) error {
					d.note(name)
					return <-steps
				}}})
			}()
			synctest.Wait()
			return ended
		}
		first, second, third, fourth := ask("first"), ask("second"), ask("third"), ask("fourth")
		if diff := inOrder(d.lines, "first"); diff != "" {
			t.Fatal(diff)
		}
		lost := errors.New("lost")
		steps <- lost
		if err := <-first; !errors.Is(err, lost) {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if diff := inOrder(d.lines, "first", "second"); diff != "" {
			t.Fatal(diff)
		}
		steps <- nil
		synctest.Wait()
		slices.Sort(d.lines[2:])
		if diff := inOrder(d.lines, "first", "second", "fourth", "third"); diff != "" {
			t.Fatal(diff)
		}
		late := ask("late") // goes beside them
		if len(d.lines) != 5 {
			t.Errorf("it waits: %v", d.lines)
		}
		for range 3 {
			steps <- nil
		}
		for _, ended := range []<-chan error{second, third, fourth, late} {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// The first error of a batch is what it ends with. What has begun is told, and what has
// not never begins, wherever it waits.
func TestQueueDropsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(func(blobID) sharing { return sharing{} })
		release := busy(t.Context(), q, "busy")
		var d diary
		theirs := make(chan error, 1)
		go func() { theirs <- q.run(t.Context(), []*errand{d.noting("wanted by both", 1)}) }()
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		mine := make(chan error, 1)
		go func() {
			mine <- q.run(ctx, []*errand{d.noting("mine", 10), d.noting("wanted by both", 1), d.noting("mine, too", 5)})
		}()
		synctest.Wait()
		over := errors.New("over")
		cancel(over)
		if err := <-mine; !errors.Is(err, over) { // though nothing has ended yet
			t.Errorf("got %v", err)
		}
		release()
		if err := <-theirs; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if diff := inOrder(d.lines, "wanted by both"); diff != "" {
			t.Error(diff)
		}
		if len(q.waiting)+len(q.parked)+q.active != 0 {
			t.Errorf("%d wait, %d are parked and %d under way", len(q.waiting), len(q.parked), q.active)
		}
	})
}

// An image that ends lets go of a blob that others wait behind.
func TestQueueHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(func(blobID) sharing { return sharing{} })
		release := busy(t.Context(), q, "busy")
		var d diary
		ctx, cancel := context.WithCancel(t.Context())
		mine, theirs := make(chan error, 1), make(chan error, 1)
		go func() { mine <- q.run(ctx, []*errand{d.noting("mine", 1)}) }()
		synctest.Wait()
		e := d.noting("theirs", 1)
		e.blob = blobOf("mine", 1)
		go func() { theirs <- q.run(t.Context(), []*errand{e}) }()
		synctest.Wait()
		cancel()
		if err := <-mine; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		release()
		if err := <-theirs; err != nil {
			t.Error(err)
		}
		if diff := inOrder(d.lines, "theirs"); diff != "" {
			t.Error(diff)
		}
	})
}

// What rests until its next attempt keeps nobody waiting, and counts again when it wakes.
func TestQueueGoesOnWhileOneRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(func(blobID) sharing { return sharing{} })
		release := busy(t.Context(), q, "busy")
		var d diary
		done := make(chan error, 1)
		go func() { done <- q.run(t.Context(), []*errand{d.noting("next", 1)}) }()
		synctest.Wait()
		if len(d.lines) != 0 {
			t.Fatal("it did not wait")
		}
		q.rest()
		if err := <-done; err != nil || len(d.lines) != 1 {
			t.Errorf("%v, %v", d.lines, err)
		}
		synctest.Wait()
		q.wake()
		if q.active != errandsAtOnce {
			t.Errorf("%d are under way", q.active)
		}
		release()
		synctest.Wait()
		if q.active != 0 {
			t.Errorf("%d are under way in the end", q.active)
		}
	})
}

// There is room for another image while few errands wait, and for whoever's time is up.
func TestQueueRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(func(blobID) sharing { return sharing{} })
		q.room(t.Context())
		release := busy(t.Context(), q, "busy")
		q.room(t.Context()) // nobody waits yet
		again := busy(t.Context(), q, "more")
		impatient, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		q.room(impatient)
		if impatient.Err() == nil {
			t.Error("there was room")
		}
		room := make(chan struct{})
		go func() {
			q.room(t.Context())
			close(room)
		}()
		synctest.Wait()
		select {
		case <-room:
			t.Error("there was room")
		default:
		}
		release()
		<-room
		again()
	})
}
