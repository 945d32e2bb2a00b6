package transport_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// descriptors are those that a process may have for its connections.
type descriptors struct {
	free atomic.Int64
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// take dials, if there is a descriptor.
func (d *descriptors) take(ctx context.Context, network, address string) (net.Conn, error) {
	if d.free.Add(-1) < 0 {
		d.free.Add(1)
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		d.free.Add(1)
		return nil, err
	}
	return &descriptor{Conn: conn, free: sync.OnceFunc(func() { d.free.Add(1) })}, nil
}

// descriptor is a connection that has one of them.
type descriptor struct {
	net.Conn
	free func()
}

func (d *descriptor) Close() error { d.free(); return d.Conn.Close() }

// Connections that nobody uses make room. Those to a destination were once kept, and
// upstream was said not to answer.
func TestFewConnections(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		hosts := []ref.Repository{{Host: "one.test", Path: "team/app"}, {Host: "two.test", Path: "team/app"}, {Host: "three.test", Path: "team/app"}}
		slow := func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(10 * time.Millisecond)
			manifest(w, r)
		}
		for _, repo := range hosts {
			w.serve(repo.Host+":80", slow)
		}
		core, logs := observer.New(zap.InfoLevel)
		few := &descriptors{dial: w.dial}
		few.free.Store(2)
		c := transport.New(transport.Options{Settings: everywhere(registry.Settings{Security: registry.Plain}), Log: zap.New(core)}.Over(few.take))
		t.Cleanup(func() { _ = c.Close() })

		var wg sync.WaitGroup
		start := time.Now()
		for range 3 {
			for _, repo := range hosts {
				wg.Go(func() {
					for i, err := range askMany(t.Context(), c, repo, 20) {
						if err != nil {
							t.Errorf("%s, item %d: %v", repo.Host, i, err)
						}
					}
				})
			}
		}
		wg.Wait()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("180 questions of 10 ms took %s with two connections", took)
		}
		if all := logs.All(); len(all) != 1 || !strings.Contains(all[0].Message, "ulimit -n") {
			t.Errorf("it logged %v", all)
		}
		faults.Covers(t, "F83")
	})
}

// A process that has no descriptor at all says what to do, and of no registry that it does
// not answer.
func TestNoConnections(t *testing.T) {
	for name, want := range map[string]error{
		"socket": &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.ENFILE)},
		// The resolver drops all of an error but its words.
		"resolver": &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "dial udp 192.0.2.1:53: socket: " + syscall.EMFILE.Error(), Name: host}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.serve(host, manifest)
				var none atomic.Bool
				none.Store(true)
				core, logs := observer.New(zap.InfoLevel)
				dial := func(ctx context.Context, network, address string) (net.Conn, error) {
					if none.Load() {
						return nil, want
					}
					return w.dial(ctx, network, address)
				}
				opts := transport.Options{Settings: everywhere(registry.Settings{Security: registry.Plain}), Log: zap.New(core)}
				c := transport.New(opts.Over(dial))
				t.Cleanup(func() { _ = c.Close() })
				start := time.Now()
				for i, err := range askMany(t.Context(), c, repo, 20) {
					if !strings.Contains(err.Error(), "too many open files") || !strings.Contains(err.Error(), "ulimit -n") || registry.Final(err) {
						t.Errorf("item %d: %v", i, err)
					}
				}
				if took := time.Since(start); took > time.Minute {
					t.Errorf("took %s", took)
				}
				if all := logs.All(); len(all) != 1 || !strings.Contains(all[0].Message, "ulimit -n") {
					t.Errorf("it logged %v", all)
				}

				ended, end := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { end(errors.New("enough")) })
				if _, err := c.Manifest(ended, repo.Tagged("v1")); err == nil || time.Since(start) > time.Minute {
					t.Errorf("a question that was withdrawn: %v", err)
				}
				none.Store(false)
				if _, err := c.Manifest(t.Context(), repo.Tagged("v1")); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
