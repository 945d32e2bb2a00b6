package faultreg

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Server is a Registry that serves plain HTTP on a free port of 127.0.0.1.
type Server struct {
	*Registry
	URL  string // http://127.0.0.1:PORT
	Host string // 127.0.0.1:PORT

	http *httptest.Server
}

// Start serves a Registry in front of next until the test ends.
func Start(tb testing.TB, next http.Handler) *Server {
	tb.Helper()
	g := New(next)
	server := httptest.NewServer(g)
	tb.Cleanup(func() {
		g.Kill()
		server.CloseClientConnections()
		server.Close()
	})
	return &Server{Registry: g, URL: server.URL, Host: strings.TrimPrefix(server.URL, "http://"), http: server}
}

// Kill is Registry.Kill, and cuts the connections that there are: what is under way may
// still reach the registry, but its answers reach nobody.
func (s *Server) Kill() {
	s.Registry.Kill()
	s.http.CloseClientConnections()
}

// Hangup closes the connections that there are, as a peer does that has had enough of idle
// ones.
func (s *Server) Hangup() { s.http.CloseClientConnections() }

// Stop ends the server: nobody listens at its address any more.
func (s *Server) Stop() {
	s.Kill()
	s.http.Close()
}
