// Package stall ends transfers in which nothing moves. Neither net/http nor the image
// library does: a registry that stops reading or sending in the middle of a blob holds
// a worker for ever.
package stall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// A Watch ends a context when what it waits for does not come. It begins at rest, and
// may be used by several goroutines.
type Watch struct {
	ctx     context.Context //nolint:containedctx // its cause tells a stall from other ends
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	waiting atomic.Pointer[wait]
}

// wait is what a Watch waits for and for how long.
type wait struct {
	what    string
	patient time.Duration
}

// New returns a Watch over the context that comes with it. Stop releases both.
func New(ctx context.Context) (context.Context, *Watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &Watch{ctx: ctx, cancel: cancel}
	w.waiting.Store(&wait{})
	w.timer = time.AfterFunc(time.Hour, w.bite)
	w.timer.Stop()
	return ctx, w
}

func (w *Watch) bite() {
	now := w.waiting.Load()
	w.cancel(fmt.Errorf("%s for %s: %w", now.what, now.patient, registry.ErrStalled))
}

// Await ends the context with ErrStalled unless Await or Rest is called in time. What
// completes the sentence "… for a minute", such as "no answer".
func (w *Watch) Await(what string, patient time.Duration) {
	w.waiting.Store(&wait{what, patient})
	w.timer.Reset(patient)
}

// suspect names another culprit and gives it no more time.
func (w *Watch) suspect(what string) {
	w.waiting.Store(&wait{what, w.waiting.Load().patient})
}

// Rest waits for nothing until the next Await.
func (w *Watch) Rest() { w.timer.Stop() }

// Cancel ends the context because of err. The first of several causes counts.
func (w *Watch) Cancel(err error) { w.cancel(err) }

// Stop ends the Watch and its context.
func (w *Watch) Stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// Cause names why the context ended in place of an error that came of it. Where the
// context is live, or err says as much already, it returns err.
func (w *Watch) Cause(err error) error {
	if err == nil || w.ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(w.ctx); !errors.Is(err, cause) {
		return cause
	}
	return err
}

// Patience says how long the parts of an upload may take.
type Patience struct {
	Stall  time.Duration // in which next to nothing moves
	Answer time.Duration // between the last byte and the answer: completing a large blob is slow
}

// trickle is how many bytes must move within Patience.Stall. One byte a minute is a
// stall too: it would hold a worker for years.
const trickle = 4 << 10

// Upload returns r, which has size bytes, as something to upload under w. A read means
// that the other side has taken what was read before, so a stall of either side shows.
func (w *Watch) Upload(r io.Reader, size int64, p Patience) io.Reader {
	if size == 0 {
		w.Await(noAnswer, p.Answer)
	} else {
		w.Await(slowTaker, p.Stall)
	}
	return &upload{watch: w, r: r, left: size, patience: p}
}

// What an upload waits for.
const (
	slowGiver = "the source sent next to nothing"
	slowTaker = "the destination took next to nothing"
	noAnswer  = "no answer to the last byte"
)

type upload struct {
	watch    *Watch
	r        io.Reader
	left     int64
	moved    int // bytes since the last sign of life
	patience Patience
}

// Read reads on. After the last byte the watch stays: what was read is then on its way,
// and not yet taken.
func (u *upload) Read(p []byte) (int, error) {
	if u.left <= 0 {
		return u.r.Read(p)
	}
	u.watch.suspect(slowGiver)
	n, err := u.r.Read(p)
	u.left -= int64(n)
	u.moved += n
	switch {
	case u.left <= 0:
		u.watch.Await(noAnswer, u.patience.Answer)
	case u.moved >= trickle:
		u.moved = 0
		u.watch.Await(slowTaker, u.patience.Stall)
	default:
		u.watch.suspect(slowTaker)
	}
	return n, err
}

// Body returns body, each read of which has patience to bring a byte. Closing it stops w.
func (w *Watch) Body(body io.ReadCloser, patience time.Duration) io.ReadCloser {
	return &download{watch: w, body: body, patience: patience}
}

type download struct {
	watch    *Watch
	body     io.ReadCloser
	patience time.Duration
}

func (d *download) Read(p []byte) (int, error) {
	d.watch.Await("the source sent nothing", d.patience)
	n, err := d.body.Read(p)
	d.watch.Rest()
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.watch.Cause(err)
	}
	return n, err
}

func (d *download) Close() error {
	err := d.body.Close()
	d.watch.Stop()
	return err
}
