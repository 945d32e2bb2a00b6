package floor

import (
	"bytes"
	"container/heap"
	"io"
	"net/http"
	"net/url"
	"sync"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// queue hands out what is to be moved, the largest first.
type queue struct {
	mu     sync.Mutex
	more   sync.Cond
	moves  moves
	closed bool
}

func newQueue() *queue {
	q := &queue{}
	q.more.L = &q.mu
	return q
}

func (q *queue) push(m *move) {
	q.mu.Lock()
	defer q.mu.Unlock()
	heap.Push(&q.moves, m)
	q.more.Signal()
}

// pop waits for something to move. It is false when there will be nothing any more.
func (q *queue) pop() (*move, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.moves) == 0 {
		if q.closed {
			return nil, false
		}
		q.more.Wait()
	}
	m, ok := heap.Pop(&q.moves).(*move)
	return m, ok
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.moves = nil
	q.more.Broadcast()
}

// moves is a heap of the largest.
type moves []*move

func (m moves) Len() int           { return len(m) }
func (m moves) Less(i, j int) bool { return m[i].blob.Size > m[j].blob.Size }
func (m moves) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *moves) Push(x any)        { *m = append(*m, x.(*move)) } //nolint:forcetypeassert // nothing else is pushed

func (m *moves) Pop() any {
	last := len(*m) - 1
	x := (*m)[last]
	*m = (*m)[:last]
	return x
}

// acceptAll names the types of manifests: distribution answers with another one, or 404,
// to who does not accept what it has.
const acceptAll = v1.MediaTypeImageIndex + ", " + v1.MediaTypeImageManifest

// request makes a request to a URL that this package has put together or been given by
// a registry.
func (f *floor) request(method, target string, body []byte, contentType string) *http.Request {
	at, err := url.Parse(target)
	if err != nil {
		panic(err) // origins come from the benchmark, names from its content
	}
	req := &http.Request{Method: method, URL: at, Host: at.Host, Header: http.Header{"Accept": {acceptAll}}}
	if body != nil {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req
}
