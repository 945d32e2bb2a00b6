package copy_test

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/copy"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/library"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// TestMain makes the property tests here shorter than usual, where nobody asked for a
// number: each example is a run between two registries.
func TestMain(m *testing.M) {
	flag.Parse()
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := flag.Set("rapid.checks", "30"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, ecrlocaltest.IgnoreRegistryGoroutine())
}

var (
	amd64 = ref.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = ref.Platform{OS: "linux", Architecture: "arm64"}
)

// place is a registry that takes part in a test.
type place struct {
	url, host string
	handler   http.Handler // what serves it, for what goes round the wire
	server    interface {
		Journal() []ecrlocal.Entry
		ResetJournal()
		FailNext(op string, n int, f ecrlocal.Fault)
	}
	username, password string

	log *writeLog
}

// writeLog is what was written to a place, in the order in which the requests ended. A
// place's journal names upload sessions; this names what they were for.
type writeLog struct {
	mu      sync.Mutex
	clock   int
	written []write
}

// write is one successful PUT of a blob or a manifest.
type write struct {
	name       string // the digest of a blob, or the digest or tag of a manifest
	begin, end int    // by the log's clock, which counts beginnings and ends
}

func (l *writeLog) tick() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	return l.clock
}

// statusWriter remembers the status of an answer, the first one: a registry whose client
// has left answers twice.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// handler logs the writes that next performs.
func (l *writeLog) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("digest")
		if before, reference, ok := strings.Cut(r.URL.Path, "/manifests/"); ok && before != "" {
			name = reference
		}
		if r.Method != http.MethodPut || name == "" {
			next.ServeHTTP(w, r)
			return
		}
		begin, answer := l.tick(), &statusWriter{ResponseWriter: w}
		next.ServeHTTP(answer, r)
		if answer.status == http.StatusCreated {
			end := l.tick()
			l.mu.Lock()
			defer l.mu.Unlock()
			l.written = append(l.written, write{name, begin, end})
		}
	})
}

func (l *writeLog) all() []write {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.written)
}

// forget forgets the requests a place has had.
func (p *place) forget() {
	p.server.ResetJournal()
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.log.written = nil
}

// wrote returns how often a blob, manifest or tag was written.
func (p *place) wrote(name string) int {
	n := 0
	for _, w := range p.log.all() {
		if w.name == name {
			n++
		}
	}
	return n
}

func (p *place) auth() []imagetest.Auth {
	if p.username == "" {
		return nil
	}
	return []imagetest.Auth{imagetest.Basic(p.username, p.password)}
}

// distribution is a plain registry.
func distribution(t *testing.T) *place {
	t.Helper()
	r := ecrlocaltest.StartRegistry(t)
	return logged(t, &place{handler: r.Upstream, server: r.Upstream})
}

// logged serves a place with a log of its writes.
func logged(t *testing.T, p *place) *place {
	t.Helper()
	p.log = &writeLog{}
	p.handler = p.log.handler(p.handler)
	return between(t, p, func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
}

// ecr is a local ECR with the given repositories.
func ecr(t *testing.T, repositories ...string) *place {
	t.Helper()
	return ecrWith(t, ecrlocal.RepositoryOptions{}, repositories...)
}

func ecrWith(t *testing.T, opts ecrlocal.RepositoryOptions, repositories ...string) *place {
	t.Helper()
	r := ecrlocaltest.Start(t)
	for _, name := range repositories {
		if err := r.CreateRepository(name, opts); err != nil {
			t.Fatal(err)
		}
	}
	return logged(t, &place{handler: r.Server, server: r.Server, username: "AWS", password: r.Password("", "")})
}

// between puts a handler in front of a place: requests come to it, and it decides
// whether they go on.
func between(t *testing.T, p *place, handle func(w http.ResponseWriter, r *http.Request, next http.Handler)) *place {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, p.handler) }))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	front := *p
	front.url, front.host = server.URL, strings.TrimPrefix(server.URL, "http://")
	return &front
}

// world is an upstream, a destination and a way between them.
type world struct {
	t        *testing.T
	up, down *place
	endpoint registry.Target
}

// newWorld connects two places by the native transport. Change may be nil.
func newWorld(t *testing.T, up, down *place, change func(*transport.Options)) *world {
	t.Helper()
	opts := transport.Options{Credentials: auth.Static{
		up.host:   {Username: up.username, Password: auth.Secret(up.password)},
		down.host: {Username: down.username, Password: auth.Secret(down.password)},
	}}
	if change != nil {
		change(&opts)
	}
	client := transport.New(opts)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{t: t, up: up, down: down, endpoint: client}
}

// throughLibrary moves the content by containers/image's own transport instead.
func (w *world) throughLibrary() *world {
	w.t.Helper()
	target := library.New(w.endpoint, library.Options{
		Credentials: auth.Static{
			w.up.host:   {Username: w.up.username, Password: auth.Secret(w.up.password)},
			w.down.host: {Username: w.down.username, Password: auth.Secret(w.down.password)},
		},
		Settings: func(host string) registry.Settings {
			if transport.IsLoopback(host) {
				return registry.Settings{Security: registry.Insecure}
			}
			return registry.Settings{}
		},
	})
	w.t.Cleanup(func() {
		if err := target.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.endpoint = target
	return w
}

// Source and Target make the world the copy.Places of a run.
func (w *world) Source(plan.Action) registry.Source { return w.endpoint }
func (w *world) Target(plan.Action) registry.Target { return w.endpoint }

// push brings an image to a place, and forgets the requests that took.
func (w *world) push(p *place, repo, tag string, node imagetest.Node) {
	w.t.Helper()
	push(w.t, p, repo, tag, node)
	p.forget()
}

func push(t *testing.T, p *place, repo, tag string, node imagetest.Node) {
	t.Helper()
	if _, err := imagetest.Push(context.Background(), nil, p.url, repo, tag, node, p.auth()...); err != nil {
		t.Fatal(err)
	}
}

// action is what a plan would say of an image in an upstream repository whose tag is
// absent at the destination, in a repository and under a tag of the same names.
func (w *world) action(repo, tag string, node imagetest.Node) plan.Action {
	from := ref.Repository{Host: w.up.host, Path: repo}.Tagged(tag)
	from.Digest = node.Digest()
	return plan.Action{
		Verb: plan.Copy, From: from, Want: node.Digest(), Reason: "missing at destination",
		To:     ref.Repository{Host: w.down.host, Path: repo}.Tagged(tag),
		Mirror: &discover.Mirror{},
	}
}

// update makes a an action on a tag that has a digest already.
func update(a plan.Action, have imagetest.Node) plan.Action {
	a.Verb, a.Have, a.Reason = plan.Update, have.Digest(), "upstream moved"
	return a
}

// run carries out actions, as a run of its own.
func (w *world) run(ctx context.Context, opts copy.Options, actions ...plan.Action) []plan.Result {
	w.t.Helper()
	copier := copy.New(w, copy.NewLibrary(16), opts)
	results := copier.Run(ctx, plan.Plan{Actions: actions})
	if err := copier.Close(); err != nil {
		w.t.Error(err)
	}
	if len(results) != len(actions) {
		w.t.Fatalf("%d results of %d actions", len(results), len(actions))
	}
	for i, r := range results {
		if r.Action.To != actions[i].To {
			w.t.Fatalf("result %d is about %s instead of %s", i, r.Action.To, actions[i].To)
		}
	}
	return results
}

// expect fails the test unless a result has a status, with a reason.
func expect(t *testing.T, r plan.Result, want plan.Status, reasons ...string) {
	t.Helper()
	if r.Status != want {
		t.Fatalf("%s is %s: %s; want %s", r.Action.To, r.Status, r.Reason, want)
	}
	if r.Reason == "" {
		t.Errorf("%s is %s without a reason", r.Action.To, r.Status)
	}
	for _, reason := range reasons {
		if !strings.Contains(r.Reason, reason) {
			t.Errorf("the reason %q does not say %q", r.Reason, reason)
		}
	}
}

// judge fails the test unless the destination's team/app serves exactly node under the
// tag, everything below it included, and upstream's the same.
func (w *world) judge(tag string, node imagetest.Node) {
	w.t.Helper()
	mirrored := w.walk(w.down, "team/app", tag)
	if mirrored.Root != node.Digest() {
		w.t.Errorf("%s is %s, want %s", tag, mirrored.Root, node.Digest())
	}
	if err := walker.Same(w.walk(w.up, "team/app", string(node.Digest())), mirrored); err != nil {
		w.t.Errorf("%s: %v", tag, err)
	}
}

func (w *world) walk(p *place, repo, reference string) walker.Report {
	w.t.Helper()
	report, err := walker.Check(context.Background(), walker.Options{
		Base: p.url, Repository: repo, Reference: reference, Username: p.username, Password: p.password, Deep: true,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// absent fails the test unless the destination's team/app has no such tag.
func (w *world) absent(tag string) {
	w.t.Helper()
	_, err := walker.Check(context.Background(), walker.Options{
		Base: w.down.url, Repository: "team/app", Reference: tag, Username: w.down.username, Password: w.down.password,
	})
	if !errors.Is(err, walker.ErrNotFound) {
		w.t.Errorf("%s is there: %v", tag, err)
	}
}

// count returns how many requests of op a place has had, for the references if any are
// given.
func count(p *place, op string, references ...string) int {
	n := 0
	for _, e := range p.server.Journal() {
		if e.Op == op && (len(references) == 0 || slices.Contains(references, e.Reference)) {
			n++
		}
	}
	return n
}

// writes are the requests that can change a registry.
func writes(p *place) []string {
	var lines []string
	for _, e := range p.server.Journal() {
		if e.Plane == ecrlocal.PlaneRegistry && e.Method != http.MethodGet && e.Method != http.MethodHead {
			lines = append(lines, e.Method+" "+e.Path)
		}
	}
	return lines
}

// signal is something that happens once and can be waited for.
type signal struct {
	once sync.Once
	done chan struct{}
}

func newSignal() *signal { return &signal{done: make(chan struct{})} }

func (s *signal) send() { s.once.Do(func() { close(s.done) }) }
