// Package faultreg makes registries fail on purpose. A Registry stands in front of any
// registry's handler, in memory, on disk or a local ECR with its control plane, and
// applies an Action to the requests that its Rules choose: the third PATCH is cut, the
// first manifest that is written by tag is stored and the answer lost. All other requests
// reach the registry untouched, and all of them are in the journal.
//
// It does not judge what a registry holds afterwards; that is package walker's.
package faultreg

import (
	"net/http"
	"slices"
	"sync"
)

// A Rule says which requests fail, and how. The zero value of a field asks nothing of a
// request; Do is needed.
type Rule struct {
	Kind       Kind
	Repository string
	Match      func(Entry) bool

	Nth   int // the first of the requests above that fails, from 1; 0 means 1
	Times int // how many from there on; 0 means one, -1 all

	Do Action
}

// Registry is a registry that fails by rules. It is safe for concurrent use.
type Registry struct {
	next http.Handler

	mu      sync.Mutex
	rules   []*counted
	journal []Entry
	died    chan struct{} // closed when the registry is killed

	underWay int
	quiet    sync.Cond // nothing is under way
}

// counted is a rule and how many requests it has chosen from.
type counted struct {
	Rule
	hits int
}

// New returns a Registry in front of next that does not fail yet.
func New(next http.Handler) *Registry {
	g := &Registry{next: next, died: make(chan struct{})}
	g.quiet.L = &g.mu
	return g
}

// Inject adds rules. Of several that a request meets the first is applied, and only that
// one counts it.
func (g *Registry) Inject(rules ...Rule) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range rules {
		g.rules = append(g.rules, &counted{Rule: r})
	}
}

// Kill is the death of the registry's process, and of all its clients' for what a registry
// sees of them: no request that arrives from now on reaches it. What stalls is let go.
func (g *Registry) Kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.dead() {
		close(g.died)
	}
}

func (g *Registry) dead() bool {
	select {
	case <-g.died:
		return true
	default:
		return false
	}
}

// Heal forgets all rules and lets a registry that was killed answer again.
func (g *Registry) Heal() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rules = nil
	if g.dead() {
		g.died = make(chan struct{})
	}
}

// Settle waits for the end of the requests under way, whose clients may have left long
// ago. Those that arrive meanwhile are waited for, too: a client that was cut off may have sent one
// that the server only reads now.
func (g *Registry) Settle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.underWay > 0 {
		g.quiet.Wait()
	}
}

// under counts a request as under way until the function it returns is called.
func (g *Registry) under() (over func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.underWay++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.underWay--; g.underWay == 0 {
			g.quiet.Broadcast()
		}
	}
}

// Journal returns the requests so far, in the order of their arrival.
func (g *Registry) Journal() []Entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.journal)
}

// Forget empties the journal.
func (g *Registry) Forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.journal = nil
}

// ServeHTTP applies the rules to a request.
func (g *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer g.under()()
	entry := describe(r)
	action, died := g.note(&entry)
	answer := &status{ResponseWriter: w}
	x := &Exchange{ResponseWriter: answer, Request: r, Entry: entry, next: g.next, died: died}
	defer func() { g.answered(entry.N, answer.code) }()
	if action == nil {
		g.next.ServeHTTP(answer, r)
		return
	}
	action(x)
}

// note writes a request down and returns what is to be done with it; nil means nothing.
func (g *Registry) note(e *Entry) (Action, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e.N = 1
	if n := len(g.journal); n > 0 {
		e.N = g.journal[n-1].N + 1
	}
	action := g.choose(*e)
	e.Failed = action != nil
	g.journal = append(g.journal, *e)
	return action, g.died
}

func (g *Registry) choose(e Entry) Action {
	if g.dead() {
		return Reset()
	}
	for _, r := range g.rules {
		if !r.about(e) {
			continue
		}
		r.hits++
		first := max(r.Nth, 1)
		if r.hits >= first && (r.Times < 0 || r.hits < first+max(r.Times, 1)) {
			return r.Do
		}
		return nil
	}
	return nil
}

func (r *counted) about(e Entry) bool {
	return (r.Kind == "" || r.Kind == e.Kind) &&
		(r.Repository == "" || r.Repository == e.Repository) &&
		(r.Match == nil || r.Match(e))
}

// answered completes a request's entry, unless it was forgotten meanwhile.
func (g *Registry) answered(n, code int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.journal {
		if g.journal[i].N == n {
			g.journal[i].Status = code
			return
		}
	}
}

// status remembers the status of an answer.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	if s.code == 0 || s.code < 200 {
		s.code = code
		s.ResponseWriter.WriteHeader(code)
	}
}

func (s *status) Write(b []byte) (int, error) {
	if s.code == 0 {
		s.code = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
