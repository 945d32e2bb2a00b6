package ecrlocal

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Planes of an [Entry].
const (
	PlaneAPI      = "api"
	PlaneRegistry = "registry"
)

// defaultJournalSize is how many entries are kept in memory.
const defaultJournalSize = 1 << 17

// Entry is one request, as the journal remembers it.
type Entry struct {
	Time  time.Time `json:"time"`
	Plane string    `json:"plane"` // PlaneAPI or PlaneRegistry
	// Account and Region are those the request acted on; empty when it was refused before
	// that was known.
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	// Principal is the ARN of who asked, a user or the session of a role; empty where that is
	// not known.
	Principal string `json:"principal,omitempty"`
	// Op is the operation's name on the API, and one of these on the registry: ping, catalog,
	// tags-list, referrers, manifest-head, manifest-get, manifest-put, manifest-delete,
	// blob-head, blob-get, blob-delete, blob-download, mount, upload-post, upload-get,
	// upload-patch, upload-put, upload-delete, token, unknown.
	Op         string `json:"op"`
	Method     string `json:"method"`
	Path       string `json:"path"`
	Repository string `json:"repository,omitempty"`
	// Reference is the tag or digest the request names.
	Reference  string  `json:"reference,omitempty"`
	Status     int     `json:"status"` // 0 when the connection was cut without an answer
	BytesIn    int64   `json:"bytesIn"`
	BytesOut   int64   `json:"bytesOut"`
	DurationMS float64 `json:"durationMs"`
}

// journal keeps the last requests in memory and writes each to out as one line of JSON.
type journal struct {
	clock func() time.Time
	limit int

	mu      sync.Mutex
	entries []*Entry
	out     io.Writer // nil means none
	outErr  error     // the first failure to write; later lines are dropped
}

func newJournal(clock func() time.Time, limit int, out io.Writer) *journal {
	if limit <= 0 {
		limit = defaultJournalSize
	}
	return &journal{clock: clock, limit: limit, out: out}
}

// snapshot returns the entries in the order their answers began. A request is in it before
// its client can see the status, and its byte counts are never behind what a client received.
func (j *journal) snapshot() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]Entry, len(j.entries))
	for i, e := range j.entries {
		all[i] = *e
	}
	return all
}

func (j *journal) reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = nil
}

// begin starts an exchange: what the handler writes must go through it, and what it reads
// from r's body is counted. The caller calls finish when the handler is done.
func (j *journal) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{
		ResponseWriter: w,
		journal:        j,
		started:        time.Now(),
		method:         r.Method,
		entry: &Entry{
			Time:   j.clock().UTC(),
			Op:     "unknown",
			Method: r.Method,
			Path:   r.URL.Path,
		},
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &countedBody{ReadCloser: r.Body, x: x}
	}
	return x
}

// record adds e, forgetting the oldest quarter when full. The caller holds mu.
func (j *journal) record(e *Entry) {
	if len(j.entries) >= j.limit {
		j.entries = slices.Clone(j.entries[max(1, j.limit/4):])
	}
	j.entries = append(j.entries, e)
}

// exchange is one request being answered: the response writer the handlers see, the entry the
// journal will hold, and the fault to inject, if any.
type exchange struct {
	http.ResponseWriter
	journal *journal
	started time.Time
	method  string
	fault   *activeFault

	// guarded by journal.mu
	entry    *Entry
	recorded bool
}

// describe fills in what the entry says about the request.
func (x *exchange) describe(fill func(*Entry)) {
	x.journal.mu.Lock()
	defer x.journal.mu.Unlock()
	fill(x.entry)
}

// status records the answer's status before anyone can see it, and reports whether it is
// the first.
func (x *exchange) status(code int) bool {
	x.journal.mu.Lock()
	defer x.journal.mu.Unlock()
	if x.recorded {
		return false
	}
	x.recorded = true
	x.entry.Status = code
	x.journal.record(x.entry)
	return true
}

func (x *exchange) countOut(n int) {
	x.journal.mu.Lock()
	defer x.journal.mu.Unlock()
	x.entry.BytesOut += int64(n)
}

// WriteHeader implements [http.ResponseWriter].
func (x *exchange) WriteHeader(code int) {
	if x.fault.swallows() {
		return
	}
	if x.status(code) { // distribution writes some twice, of which net/http complains on standard error
		x.ResponseWriter.WriteHeader(code)
	}
}

// Write implements [http.ResponseWriter].
func (x *exchange) Write(p []byte) (int, error) {
	if x.fault.swallows() {
		return len(p), nil
	}
	x.status(http.StatusOK)
	if x.method == http.MethodHead {
		return x.ResponseWriter.Write(p)
	}
	if cut, ok := x.fault.cut(len(p)); ok {
		x.countOut(cut)
		_, _ = x.ResponseWriter.Write(p[:cut]) // the connection is about to be cut anyway
		_ = http.NewResponseController(x.ResponseWriter).Flush()
		x.fault.breakOff()
	}
	x.countOut(len(p))
	return x.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// finish completes the entry and writes its line. It runs also when the handler panics to cut
// the connection, in which case the status stays 0 unless an answer had begun.
func (x *exchange) finish(completed bool) {
	if completed {
		x.status(http.StatusOK)
	} else {
		x.status(0)
	}
	j := x.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	x.entry.DurationMS = float64(time.Since(x.started).Microseconds()) / 1000
	if j.out == nil || j.outErr != nil {
		return
	}
	line, err := json.Marshal(x.entry)
	if err == nil {
		_, err = j.out.Write(append(line, '\n'))
	}
	j.outErr = err
}

// countedBody counts what the handler reads of a request's body.
type countedBody struct {
	io.ReadCloser
	x *exchange
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.x.describe(func(e *Entry) { e.BytesIn += int64(n) })
	return n, err
}
