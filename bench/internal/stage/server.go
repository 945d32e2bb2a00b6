// Package stage is where a benchmark takes place: registries on loopback that keep
// their content in memory, wait as a distant registry would, and count.
package stage

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
)

// Server is a registry, or a local ECR, on a free port of loopback.
type Server struct {
	Host string // 127.0.0.1:PORT
	ECR  *ecrlocal.Server

	backend     backend
	http        *http.Server
	dir         string       // to be removed; "" for none
	delay       atomic.Int64 // nanoseconds
	connections atomic.Int64
}

// backend is what answers behind the delay, and keeps a journal.
type backend interface {
	http.Handler
	Journal() []ecrlocal.Entry
	ResetJournal()
	Close() error
}

// StartRegistry serves distribution's registry, which asks for no credentials and grants
// mounts.
func StartRegistry() (*Server, error) {
	dir, err := temporary()
	if err != nil {
		return nil, err
	}
	registry, err := ecrlocal.NewUpstream(ecrlocal.UpstreamOptions{Dir: dir})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return serve(registry, dir)
}

// StartECR serves a local ECR, which refuses mounts as ECR does by default, and does
// not meter operations.
func StartECR() (*Server, error) {
	local, err := ecrlocal.New(ecrlocal.Options{Throttle: ecrlocal.Throttle{Off: true}})
	if err != nil {
		return nil, err
	}
	s, err := serve(local, "")
	if err != nil {
		return nil, err
	}
	s.ECR = local
	return s, nil
}

// temporary makes a directory in memory where the machine has such a place, so that no
// disk is measured.
func temporary() (string, error) {
	parent := "/dev/shm"
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		parent = ""
	}
	return os.MkdirTemp(parent, "ecr-mirror-sync-bench-")
}

func serve(b backend, dir string) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, b.Close(), remove(dir))
	}
	s := &Server{Host: listener.Addr().String(), backend: b, dir: dir}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.answer),
		ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			s.connections.Add(1)
			return context.WithValue(ctx, freshKey{}, new(atomic.Bool))
		},
	}
	go s.http.Serve(listener) //nolint:errcheck // it ends when the server is closed
	return s, nil
}

// Close stops the server and forgets its content.
func (s *Server) Close() error {
	return errors.Join(s.http.Close(), s.backend.Close(), remove(s.dir))
}

func remove(dir string) error {
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}

// URL is the server's origin.
func (s *Server) URL() string { return "http://" + s.Host }

// SetDelay makes every request wait, before its body is read, as if the server were that
// round trip away. The first request of a connection waits three times as long: TCP and
// TLS would have needed two round trips before it. How much a connection carries is not
// limited.
func (s *Server) SetDelay(d time.Duration) { s.delay.Store(int64(d)) }

// freshKey finds in a request's context whether its connection was used before.
type freshKey struct{}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	if d := time.Duration(s.delay.Load()); d > 0 {
		if used, ok := r.Context().Value(freshKey{}).(*atomic.Bool); ok && !used.Swap(true) {
			d *= 3
		}
		time.Sleep(d)
	}
	s.backend.ServeHTTP(w, r)
}

// Traffic is what a server was asked.
type Traffic struct {
	Requests    int            `json:"requests"`
	Kinds       map[string]int `json:"kinds"`
	BlobBytes   int64          `json:"blobBytes"` // moved in or out, of blobs alone
	Connections int            `json:"connections"`
}

// Traffic returns what was asked since Reset. Its kinds are those of the journal; what
// was refused as unauthorized, and mounts that were refused, are kinds of their own.
func (s *Server) Traffic() Traffic {
	t := Traffic{Kinds: map[string]int{}, Connections: int(s.connections.Load())}
	for _, e := range s.backend.Journal() {
		t.Requests++
		t.Kinds[kind(e)]++
		switch e.Op {
		case "blob-get", "blob-download":
			t.BlobBytes += e.BytesOut
		case "upload-post", "upload-patch", "upload-put", "mount":
			t.BlobBytes += e.BytesIn
		}
	}
	return t
}

func kind(e ecrlocal.Entry) string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return e.Op + " 401"
	case e.Op == "mount" && e.Status == http.StatusAccepted:
		return "mount refused"
	}
	return e.Op
}

// Writes is how many requests were to change something.
func (t Traffic) Writes() int {
	n := 0
	for kind, count := range t.Kinds {
		for _, write := range []string{"manifest-put", "mount", "upload-", "-delete", "Put", "Create"} {
			if strings.Contains(kind, write) {
				n += count
				break
			}
		}
	}
	return n
}

// Reset begins to count anew.
func (s *Server) Reset() {
	s.backend.ResetJournal()
	s.connections.Store(0)
}
