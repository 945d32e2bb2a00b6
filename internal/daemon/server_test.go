package daemon

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// serving is a Server under test.
type serving struct {
	*fakeClock
	board  *status.Board
	pulse  *Pulse
	server *Server
}

func newServing(change func(*ServerOptions)) *serving {
	s := &serving{fakeClock: newFakeClock()}
	s.board, s.pulse = status.NewBoard(s.Now()), NewPulse(s)
	o := ServerOptions{Board: s.board, Pulse: s.pulse, Clock: s.fakeClock, Log: zap.NewNop()}
	if change != nil {
		change(&o)
	}
	s.server = NewServer(o)
	return s
}

func (s *serving) get(t *testing.T, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.server.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return w.Code, w.Body.String()
}

// F92: being alive and being ready are two things, and one who is stuck is not alive.
func TestHealth(t *testing.T) {
	s := newServing(nil)
	expect := func(when, path string, want int, says string) {
		t.Helper()
		if code, text := s.get(t, http.MethodGet, path); code != want || !strings.Contains(text, says) {
			t.Errorf("%s %s says %d %q, want %d %q", when, path, code, text, want, says)
		}
	}
	expect("before the configuration", "/healthz", 200, "ok")
	expect("before the configuration", "/readyz", 503, "not yet")
	s.pulse.Beat()
	expect("at work", "/healthz", 200, "ok")
	expect("at work", "/readyz", 200, "ok")
	s.pass(14 * time.Minute)
	expect("in a long run", "/healthz", 200, "ok")
	s.pass(2 * time.Minute)
	expect("stuck", "/healthz", 503, "stuck: nothing got done for 16m0s")
	s.pulse.Beat()
	expect("at work again", "/healthz", 200, "ok")
	s.board.Enter(status.Draining, s.Now())
	expect("draining", "/healthz", 200, "ok")
	expect("draining", "/readyz", 503, "no more")
	faults.Covers(t, "F92")
}

func TestStatus(t *testing.T) {
	s := newServing(nil)
	s.board.Loaded([]string{"mirrors.yaml"}, s.Now())
	code, text := s.get(t, http.MethodGet, "/api/v1/status")
	var shown status.Snapshot
	if err := json.Unmarshal([]byte(text), &shown); err != nil || code != 200 {
		t.Fatalf("%d %s: %v", code, text, err)
	}
	if shown.APIVersion != status.APIVersion || shown.Kind != status.Kind || shown.Config.Files[0] != "mirrors.yaml" || shown.Mirrors == nil || shown.Runs == nil {
		t.Errorf("it says %s", text)
	}
}

func TestWhatThereIs(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "mine") })
	with := newServing(func(o *ServerOptions) {
		o.Handlers, o.Pprof = map[string]http.Handler{"/metrics": echo, "/": echo}, true
	})
	without := newServing(nil)
	tests := []struct {
		of           *serving
		method, path string
		code         int
		says         string
	}{
		{without, "GET", "/", 200, "/api/v1/status\n/healthz\n/readyz\n"},
		{without, "GET", "/metrics", 404, ""},
		{without, "GET", "/debug/pprof/", 404, ""},
		{without, "GET", "/" + strings.Repeat("x", 10000), 404, ""},
		{without, "POST", "/healthz", 405, ""},
		{with, "GET", "/", 200, "mine"},
		{with, "GET", "/metrics", 200, "mine"},
		{with, "GET", "/debug/pprof/", 200, "goroutine"},
		{with, "GET", "/elsewhere", 404, ""},
	}
	for _, test := range tests {
		if code, text := test.of.get(t, test.method, test.path); code != test.code || !strings.Contains(text, test.says) {
			t.Errorf("%s %.20s says %d %q, want %d %q", test.method, test.path, code, text, test.code, test.says)
		}
	}
}

// F92: a client that sends its request in drips keeps a connection, and nobody waiting.
func TestSlowClient(t *testing.T) {
	s := newServing(nil)
	address, err := s.server.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow, err := new(net.Dialer).DialContext(t.Context(), "tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprint(slow, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	quick, err := new(net.Dialer).DialContext(t.Context(), "tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer quick.Close()
	fmt.Fprint(quick, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	line, err := bufio.NewReader(quick).ReadString('\n')
	if err != nil || !strings.Contains(line, "200") {
		t.Fatalf("beside a slow client: %q, %v", line, err)
	}
	if _, err := s.server.Listen(t.Context(), address.String()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("at an address that is taken: %v", err)
	}
	began := time.Now()
	if err := s.server.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	if took := time.Since(began); took > headerLimit-time.Second {
		t.Errorf("the slow client held the end up for %s", took)
	}
	if s.server.http.ReadHeaderTimeout != headerLimit || s.server.http.MaxHeaderBytes != headerBytes {
		t.Error("requests have no limits")
	}
	faults.Covers(t, "F92")
}
