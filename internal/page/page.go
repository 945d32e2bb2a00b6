// Package page shows people what a daemon knows about itself: one HTML page that needs
// nothing from elsewhere, and no JavaScript. It is a reading of status.Snapshot, as
// /api/v1/status and the metrics are.
package page

import (
	"bytes"
	"cmp"
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

var (
	//go:embed status.html
	statusHTML string
	//go:embed style.css
	styleCSS string
)

// State is how a mirror stands, in one word.
type State string

// The states. A mirror that has several has the first.
const (
	Failing State = "failing" // the last run could not bring some of it
	Blocked State = "blocked" // something of it waits for a person
	Behind  State = "behind"  // upstream is known to differ
	Waiting State = "waiting" // no run has seen it yet
	InSync  State = "in sync"
)

// States returns all of them, the most urgent first.
func States() []State { return []State{Failing, Blocked, Behind, Waiting, InSync} }

// StateOf tells how a mirror stands.
func StateOf(m status.Mirror) State {
	switch {
	case m.Tags.Failed > 0:
		return Failing
	case m.Tags.Blocked > 0:
		return Blocked
	case m.BehindSince != nil:
		return Behind
	case m.LastRun == nil:
		return Waiting
	}
	return InSync
}

// Query is what somebody wants to see. The zero Query is everything.
type Query struct {
	Text    string // in a mirror's name, upstreams, destinations or errors, whatever the case
	State   State  // "" for all
	Refresh int    // seconds until the page is loaded again, 0 for never
}

// MostMirrors is how many mirrors a page shows. The most urgent come first, and a search
// finds the others.
const MostMirrors = 500

// Renderer renders pages. It is safe for concurrent use.
type Renderer struct {
	status *template.Template
	style  template.CSS
}

// New returns a Renderer.
func New() (*Renderer, error) {
	t, err := template.New("status").Funcs(functions()).Parse(statusHTML)
	if err != nil {
		return nil, err
	}
	return &Renderer{status: t, style: template.CSS(styleCSS)}, nil //nolint:gosec // the program's own
}

// Status writes the page of a snapshot. Nothing is written where it returns an error of
// its own; else the error is w's.
func (r *Renderer) Status(w io.Writer, s status.Snapshot, q Query) error {
	var page bytes.Buffer
	if err := r.status.Execute(&page, view(s, q, r.style)); err != nil {
		return err
	}
	_, err := page.WriteTo(w)
	return err
}

// shown is what the template gets.
type shown struct {
	status.Snapshot

	Style   template.CSS
	Query   Query
	States  []tally
	Mirrors []mirror // hides the Snapshot's: those that were asked for
	Matched int      // of which Mirrors are the first
}

type mirror struct {
	status.Mirror

	State State
}

// tally is how many mirrors have a state.
type tally struct {
	State State
	Count int
}

func view(s status.Snapshot, q Query, style template.CSS) shown {
	v := shown{Snapshot: s, Query: q, Style: style}
	counts := map[State]int{}
	for _, m := range s.Mirrors {
		state := StateOf(m)
		counts[state]++
		if (q.State == "" || q.State == state) && mentions(m, q.Text) {
			v.Mirrors = append(v.Mirrors, mirror{m, state})
		}
	}
	for _, state := range States() {
		v.States = append(v.States, tally{state, counts[state]})
	}
	slices.SortStableFunc(v.Mirrors, func(a, b mirror) int {
		return cmp.Compare(slices.Index(States(), a.State), slices.Index(States(), b.State))
	})
	v.Matched = len(v.Mirrors)
	v.Mirrors = v.Mirrors[:min(v.Matched, MostMirrors)]
	return v
}

// mentions reports whether a mirror has to do with a text.
func mentions(m status.Mirror, text string) bool {
	text = strings.ToLower(strings.TrimSpace(text))
	places := slices.Concat([]string{m.Name}, m.Upstreams, m.Destinations)
	for _, e := range m.Errors {
		places = append(places, e.Reason)
	}
	return text == "" || slices.ContainsFunc(places, func(s string) bool { return strings.Contains(strings.ToLower(s), text) })
}

func (s State) class() string { return strings.ReplaceAll(string(s), " ", "-") }

func functions() template.FuncMap {
	return template.FuncMap{
		"class":  State.class,
		"ago":    func(now time.Time, then *time.Time) string { return ago(now, then) },
		"until":  func(now time.Time, then *time.Time) string { return until(now, then) },
		"since":  func(now time.Time, then time.Time) string { return span(now.Sub(then)) },
		"exact":  func(t *time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"moment": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"stamp":  func(t *time.Time) string { return t.UTC().Format(time.RFC3339) },
		"took":   func(ms int64) string { return span(time.Duration(ms) * time.Millisecond) },
		"size":   size,
		"join":   func(s []string) string { return strings.Join(s, ", ") },
	}
}
