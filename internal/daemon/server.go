package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// The server's limits. A client that is slow, or says too much, costs nobody else anything.
const (
	headerLimit   = 5 * time.Second
	requestLimit  = 30 * time.Second
	profileLimit  = 5 * time.Minute // a profile is of as many seconds as are asked for
	idleLimit     = time.Minute
	headerBytes   = 32 << 10
	shutdownLimit = 2 * time.Second
)

// ServerOptions are what a Server shows.
type ServerOptions struct {
	Board    *status.Board
	Pulse    *Pulse
	Clock    Clock
	Pprof    bool                    // whether /debug/pprof/ is there
	Handlers map[string]http.Handler // more, by their patterns, such as "/metrics"; "/" takes the place of the index
	Log      *zap.Logger
}

// A Server answers what others want to know about the program: /api/v1/status, /healthz,
// /readyz, and what its options add.
type Server struct {
	opts ServerOptions
	http *http.Server
	done chan struct{}
}

// NewServer returns a Server that listens to nobody yet.
func NewServer(o ServerOptions) *Server {
	s := &Server{opts: o, done: make(chan struct{})}
	s.http = &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerLimit,
		ReadTimeout:       requestLimit,
		IdleTimeout:       idleLimit,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          zap.NewStdLog(o.Log.Named("http").WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
	return s
}

// Listen opens an address and answers there from now on, until Close.
func (s *Server) Listen(ctx context.Context, address string) (net.Addr, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Log.Error("nobody is answered any more", zap.Error(err))
		}
	}()
	return listener.Addr(), nil
}

// Close lets requests under way end, for a moment, and stops answering.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.done
	return err
}

// Handler answers requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /api/v1/status", s.status)
	for pattern, handler := range s.opts.Handlers {
		if pattern == "/" {
			pattern = "GET /{$}"
		}
		mux.Handle(pattern, handler)
	}
	if s.opts.Handlers["/"] == nil {
		mux.HandleFunc("GET /{$}", s.index)
	}
	if s.opts.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return limited(mux)
}

// limited bounds how long an answer may take to be read.
func limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := requestLimit
		if strings.HasPrefix(r.URL.Path, "/debug/pprof/") {
			limit = profileLimit
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit)) // a recorder has none
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// health says whether the program should be left alone or started anew.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	if s.opts.Pulse.Stuck() {
		refuse(w, fmt.Sprintf("stuck: nothing got done for %s", s.opts.Pulse.Since().Round(time.Second)))
		return
	}
	say(w, "ok")
}

// ready says whether the program does its work: a configuration is in force, the first
// runs that were due at the start have begun, and nobody has asked it to end.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case !s.opts.Pulse.Began():
		refuse(w, "not yet: no configuration is in force")
	case s.opts.Board.Snapshot(s.opts.Clock.Now()).Phase == status.Draining:
		refuse(w, "no more: the program ends")
	default:
		say(w, "ok")
	}
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(s.opts.Board.Snapshot(s.opts.Clock.Now())) // the client has gone
}

// index lists what there is.
func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	paths := slices.Concat([]string{"/api/v1/status", "/healthz", "/readyz"}, slices.Collect(maps.Keys(s.opts.Handlers)))
	if s.opts.Pprof {
		paths = append(paths, "/debug/pprof/")
	}
	slices.Sort(paths)
	say(w, "ecr-mirror-sync\n\n"+strings.Join(paths, "\n"))
}

func say(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintln(w, text) // the client has gone
}

func refuse(w http.ResponseWriter, why string) {
	http.Error(w, why, http.StatusServiceUnavailable)
}
