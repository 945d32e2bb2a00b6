package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// shutdownGrace is how long requests may take to finish once the program is told to stop.
const shutdownGrace = 5 * time.Second

// site is something to serve, and where.
type site struct {
	address string                                     // to listen on; port 0 picks a free one
	at      func(address string) (http.Handler, error) // what is served, given where clients find it
	ready   string                                     // the line that says where that is, with a %s for the URL
}

// handledBy is at for a handler that need not know where it is.
func handledBy(h http.Handler) func(string) (http.Handler, error) {
	return func(string) (http.Handler, error) { return h, nil }
}

// listenAndServe serves every site until ctx ends, then lets requests finish for a while. It
// prints the sites' lines once all of them accept connections.
func listenAndServe(ctx context.Context, stdout io.Writer, sites ...site) error {
	listeners := make([]net.Listener, len(sites))
	handlers := make([]http.Handler, len(sites))
	var lines strings.Builder
	for i, s := range sites {
		var err error
		if listeners[i], err = (&net.ListenConfig{}).Listen(ctx, "tcp", s.address); err != nil {
			return err
		}
		defer listeners[i].Close() // it is closed already unless a later site fails
		if handlers[i], err = s.at(public(listeners[i].Addr())); err != nil {
			return err
		}
		fmt.Fprintf(&lines, s.ready+"\n", "http://"+reachable(listeners[i].Addr()))
	}
	if _, err := io.WriteString(stdout, lines.String()); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range sites {
		g.Go(func() error { return serve(ctx, listeners[i], handlers[i]) })
	}
	return g.Wait()
}

// serve serves one handler until ctx ends.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return server.Close() // whoever is still there is cut off
	}
	return nil
}

// reachable is an address as a client on this machine dials it.
func reachable(addr net.Addr) string {
	if port, everywhere := unspecified(addr); everywhere {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr.String()
}

// public is an address as it is told to clients. One that listens everywhere has no host:
// each client knows the one by which it came.
func public(addr net.Addr) string {
	if port, everywhere := unspecified(addr); everywhere {
		return ":" + port
	}
	return addr.String()
}

// unspecified reports whether addr stands for every address of the machine.
func unspecified(addr net.Addr) (port string, everywhere bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return "", false
	}
	return strconv.Itoa(tcp.Port), true
}
