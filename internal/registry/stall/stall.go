// Package stall ends transfers in which nothing moves. Neither net/http nor the image
// library does: a registry that stops reading or sending in the middle of a blob holds
// a worker for ever.
package stall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// A Watch ends a context when what it waits for does not come. It begins at rest, and
// may be used by several goroutines.
type Watch struct {
	ctx    context.Context //nolint:containedctx // its cause tells a stall from other ends
	cancel context.CancelCauseFunc
	timer  *time.Timer

	mu      sync.Mutex
	waiting wait
}

// wait is what a Watch waits for and for how long. Where two take turns, such as the sides
// of an upload, each has its time; the one with more of it is to blame. The one whose turn
// it happens to be when the patience ends is not: it may have had a moment, after a source
// that took a second for each byte.
type wait struct {
	patient   time.Duration
	now, then suspect // whose turn it is, and whose it was before
	since     time.Time
}

type suspect struct {
	what string
	took time.Duration // in its earlier turns
}

// turn returns the wait in which it is the turn of what.
func (w wait) turn(what string, at time.Time) wait {
	w.now.took += at.Sub(w.since)
	w.since = at
	if w.now.what != what {
		w.now, w.then = suspect{what, w.then.took}, w.now
	}
	return w
}

func (w wait) culprit(at time.Time) string {
	if w.then.took > w.now.took+at.Sub(w.since) {
		return w.then.what
	}
	return w.now.what
}

// New returns a Watch over the context that comes with it. Stop releases both.
func New(ctx context.Context) (context.Context, *Watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &Watch{ctx: ctx, cancel: cancel}
	w.timer = time.AfterFunc(time.Hour, w.bite)
	w.timer.Stop()
	return ctx, w
}

func (w *Watch) bite() {
	w.mu.Lock()
	what, patient := w.waiting.culprit(time.Now()), w.waiting.patient
	w.mu.Unlock()
	w.cancel(fmt.Errorf("%s for %s: %w", what, patient, registry.ErrStalled))
}

// Await ends the context with ErrStalled unless Await or Rest is called in time. What
// completes the sentence "… for a minute", such as "no answer".
func (w *Watch) Await(what string, patient time.Duration) {
	w.mu.Lock()
	w.waiting = wait{patient: patient, now: suspect{what: what}, since: time.Now()}
	w.mu.Unlock()
	w.timer.Reset(patient)
}

// suspect names another culprit and gives it no more time.
func (w *Watch) suspect(what string) {
	w.mu.Lock()
	w.waiting = w.waiting.turn(what, time.Now())
	w.mu.Unlock()
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

	pace   pace
	taking time.Time     // when the last read ended: the destination's time since
	giving time.Duration // of the pace's window, in which the source was waited for
}

// Read reads on. After the last byte the watch stays: what was read is then on its way,
// and not yet taken.
func (u *upload) Read(p []byte) (int, error) {
	if u.left <= 0 {
		return u.r.Read(p)
	}
	began := time.Now()
	u.watch.suspect(slowGiver)
	n, err := u.r.Read(p)
	u.left -= int64(n)
	u.moved += n
	if slow := u.crawls(began, n); slow != nil && err == nil {
		u.watch.Cancel(slow)
		return n, slow
	}
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

// crawls returns an error where too little has moved for too long, of whichever side was
// waited for longer.
func (u *upload) crawls(began time.Time, n int) error {
	now := time.Now()
	taken := time.Duration(0)
	if !u.taking.IsZero() {
		taken = began.Sub(u.taking)
	}
	u.taking = now
	given := now.Sub(began)
	u.giving += given
	waited, giving := u.pace.waited+taken+given, u.giving
	window, slow := u.pace.add(taken+given, n, u.patience.Stall)
	if !window {
		return nil
	}
	u.giving = 0
	if !slow {
		return nil
	}
	if giving > waited/2 {
		return crawl("the source sent", waited)
	}
	return crawl("the destination took", waited)
}

// slowest is how many bytes must move in a second, on average over a window of twice the
// patience. Less would hold a worker for days, and whoever does so on purpose for ever.
const slowest = 1 << 10

// pace is what moved in a window.
type pace struct {
	waited time.Duration
	moved  int64
}

// add counts n bytes that were waited for so long. At the end of a window it says so, and
// whether that was too slow.
func (p *pace) add(waited time.Duration, n int, patience time.Duration) (window, slow bool) {
	p.waited += waited
	p.moved += int64(n)
	if p.waited < 2*patience {
		return false, false
	}
	slow = float64(p.moved) < slowest*p.waited.Seconds()
	*p = pace{}
	return true, slow
}

func crawl(who string, waited time.Duration) error {
	return fmt.Errorf("%s less than %d bytes a second for %s: %w", who, slowest, waited.Round(time.Second), registry.ErrStalled)
}

// Body returns body, each read of which has patience to bring a byte, and all of them
// together not for ever: less than a KiB in a second, over twice the patience, is a stall
// too. A reader that is slow itself does not count. Closing it stops w.
func (w *Watch) Body(body io.ReadCloser, patience time.Duration) io.ReadCloser {
	return &download{watch: w, body: body, patience: patience}
}

type download struct {
	watch    *Watch
	body     io.ReadCloser
	patience time.Duration
	pace     pace
}

func (d *download) Read(p []byte) (int, error) {
	began := time.Now()
	d.watch.Await("the source sent nothing", d.patience)
	n, err := d.body.Read(p)
	d.watch.Rest()
	waited := time.Since(began)
	if _, slow := d.pace.add(waited, n, d.patience); slow && err == nil {
		err = crawl("the source sent", 2*d.patience)
		d.watch.Cancel(err)
		return n, err
	}
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
