package ecrlocal

import (
	"maps"
	"net/http"
	"sync"
)

// Fault is something that goes wrong with a request on purpose. With only Status set the
// request is refused with it, in the error format of the face it came to, and nothing is done.
type Fault struct {
	// Repository limits the fault to requests that name this repository; "" means any.
	Repository string
	// Match limits the fault further; nil means no further limit.
	Match func(Entry) bool

	// Status, Code and Message are the refusal. Code defaults to "InternalFailure" on the API
	// and "UNKNOWN" on the registry. Header is added to it (for instance Retry-After).
	Status  int
	Code    string
	Message string
	Header  http.Header

	// Late does the work first and then answers with the refusal, or with Drop: the effect
	// happened and the answer was lost.
	Late bool
	// Drop cuts the connection without an answer.
	Drop bool
	// CutAfter, when positive, lets the request succeed but cuts the connection after that
	// many bytes of the response body.
	CutAfter int64
	// Hold, when not nil, keeps the request waiting until the channel is closed or the client
	// goes away: before it is handled, or after CutAfter bytes if that is set.
	Hold <-chan struct{}
}

// faults is the list of faults waiting for their requests.
type faults struct {
	mu      sync.Mutex
	waiting []*waitingFault
}

type waitingFault struct {
	op    string
	left  int
	fault Fault
}

// failNext arms f for the next n requests of op.
func (fs *faults) failNext(op string, n int, f Fault) {
	if n <= 0 {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.waiting = append(fs.waiting, &waitingFault{op: op, left: n, fault: f})
}

// take returns the first armed fault that applies to e, or nil.
func (fs *faults) take(e Entry) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i, w := range fs.waiting {
		if w.op != e.Op || (w.fault.Repository != "" && w.fault.Repository != e.Repository) ||
			(w.fault.Match != nil && !w.fault.Match(e)) {
			continue
		}
		if w.left--; w.left == 0 {
			fs.waiting = append(fs.waiting[:i:i], fs.waiting[i+1:]...)
		}
		return &w.fault
	}
	return nil
}

// activeFault is a fault at work in one exchange. A nil one does nothing.
type activeFault struct {
	Fault
	gone    <-chan struct{} // closed when the client goes away
	written int64
	lost    bool // the handler's answer is being thrown away
}

func (f *activeFault) swallows() bool { return f != nil && f.lost }

// cut reports whether the connection is to be cut within the next n bytes, and after how many.
func (f *activeFault) cut(n int) (int, bool) {
	if f == nil || f.CutAfter <= 0 {
		return 0, false
	}
	if f.written+int64(n) < f.CutAfter {
		f.written += int64(n)
		return 0, false
	}
	return int(f.CutAfter - f.written), true
}

// breakOff cuts the connection, after holding it if the fault says so. It does not return.
func (f *activeFault) breakOff() {
	f.hold()
	panic(http.ErrAbortHandler)
}

func (f *activeFault) hold() {
	if f.Hold == nil {
		return
	}
	select {
	case <-f.Hold:
	case <-f.gone:
	}
}

// inject looks for a fault for this exchange and applies it. It reports whether the handler
// should go on; when it should not, refuse has been called. The returned function is to be
// called after the handler.
func (fs *faults) inject(x *exchange, r *http.Request, refuse func(*Fault)) (after func(), proceed bool) {
	var entry Entry
	x.describe(func(e *Entry) { entry = *e })
	fault := fs.take(entry)
	if fault == nil {
		return func() {}, true
	}
	f := &activeFault{Fault: *fault, gone: r.Context().Done()}
	answer := func() {
		if f.Drop {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(x.Header(), f.Header)
		refuse(&f.Fault)
	}
	switch {
	case f.Late:
		f.lost = true
		x.fault = f
		return func() { clear(x.Header()); f.lost = false; answer() }, true
	case f.CutAfter > 0:
		x.fault = f
		return func() {}, true
	case f.Hold != nil:
		f.hold()
		if f.Status == 0 && !f.Drop {
			return func() {}, true
		}
	}
	answer()
	return nil, false
}
