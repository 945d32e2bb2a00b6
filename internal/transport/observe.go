package transport

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// Observer hears of every request that is put on the wire, redirects and requests for
// tokens included. Its methods are called by many goroutines and return at once.
type Observer interface {
	// Answered tells for which registry a request was made, as references write it, what
	// kind it is of, and the status and header of the answer; 0 and nil where there was
	// none. The header may be neither changed nor kept.
	Answered(host, operation string, status int, header http.Header)

	// Throttled tells that a registry found a request one too many.
	Throttled(host string)

	// Read tells how many bytes of a blob came, once they are read or given up.
	Read(bytes int64)
}

// The kinds of requests that an Observer is told of.
const (
	opPing          = "ping"
	opToken         = "token"
	opManifestRead  = "manifest_read"
	opManifestWrite = "manifest_write"
	opDelete        = "delete"
	opList          = "list" // of repositories, tags, referrers
	opBlobQuestion  = "blob_question"
	opBlobRead      = "blob_read"
	opUploadStart   = "upload_start" // or a mount
	opBlobWrite     = "blob_write"
)

// observed is connections that an Observer hears of.
type observed struct {
	*connections
	observer Observer
}

// heardBy returns connections of whose requests an observer hears, if there is one.
func (c *connections) heardBy(o Observer) http.RoundTripper {
	if o == nil {
		return c
	}
	return observed{c, o}
}

// RoundTrip implements http.RoundTripper.
func (o observed) RoundTrip(req *http.Request) (*http.Response, error) {
	kind := kindOf(req, o.address)
	resp, err := o.connections.RoundTrip(req)
	if err != nil {
		o.observer.Answered(o.name, kind, 0, nil)
		return nil, err
	}
	o.observer.Answered(o.name, kind, resp.StatusCode, resp.Header)
	if resp.StatusCode == http.StatusTooManyRequests {
		o.observer.Throttled(o.name)
	}
	if kind == opBlobRead && resp.StatusCode == http.StatusOK {
		resp.Body = &countedBody{ReadCloser: resp.Body, observer: o.observer}
	}
	return resp, nil
}

// kindOf tells what a request is for, by its method and path. What goes elsewhere than to
// the registry is for a token, or it is a blob's bytes.
func kindOf(req *http.Request, address string) string {
	path := req.URL.Path
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	switch {
	case req.Context().Value(tokenRequestKey{}) != nil:
		return opToken
	case req.Method == http.MethodDelete:
		return opDelete
	case req.Method == http.MethodPost:
		return opUploadStart
	case strings.Contains(path, "/manifests/"):
		if reads {
			return opManifestRead
		}
		return opManifestWrite
	case !reads:
		return opBlobWrite
	case strings.HasSuffix(path, "/tags/list"), strings.HasSuffix(path, "/_catalog"), strings.Contains(path, "/referrers/"):
		return opList
	case path == "/v2/":
		return opPing
	case req.Method == http.MethodHead && sameHost(req.URL, address):
		return opBlobQuestion
	}
	return opBlobRead
}

// countedBody tells how much was read of it when it is closed.
type countedBody struct {
	io.ReadCloser
	observer Observer
	read     atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// Close may be called again.
func (b *countedBody) Close() error {
	b.observer.Read(b.read.Swap(0))
	return b.ReadCloser.Close()
}
