// Package model is the writing of a tag in small, for walking through everything that can
// happen to it: one repository and one tag, an upstream with two versions that share a layer and
// a child manifest, two runs at once, crashes, lost answers, a garbage collector, and an
// upstream that moves. It is small enough to be looked at whole, in every order.
//
// What the real copier does is in internal/copy (job.go, tag.go); the names of the steps here
// are those of its functions. The model says whether the order of the steps is right; the
// crash sweeps say whether the program keeps to it.
package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// objects is a set of what a registry can hold.
type objects uint8

// Two versions of an image: each an index of two children. Child b is the same in both, and
// all children share a layer.
const (
	layer  objects = 1 << iota // shared by all children
	layer1                     // of child a1 alone
	layer2
	a1
	a2
	b
	root1
	root2

	blobs = layer | layer1 | layer2
)

// refersTo is what a manifest names directly, which is all that registries check.
func refersTo(manifest objects) objects {
	switch manifest {
	case a1:
		return layer | layer1
	case a2:
		return layer | layer2
	case b:
		return layer
	case root1:
		return a1 | b
	case root2:
		return a2 | b
	default:
		return 0 // a blob
	}
}

// whole is a manifest with everything below it.
func whole(manifest objects) objects {
	set := manifest
	for _, child := range each(refersTo(manifest)) {
		set |= whole(child)
	}
	return set
}

// each returns the members of a set.
func each(set objects) []objects {
	var members []objects
	for o := objects(1); o != 0; o <<= 1 {
		if set&o != 0 {
			members = append(members, o)
		}
	}
	return members
}

// version is what a tag says: 0 is no tag.
type version uint8

func (v version) root() objects { return [...]objects{0, root1, root2}[v] }

// step is where a run stands.
type step uint8

const (
	idle step = iota
	content
	look
	write
	readBack
	succeeded
	failed
	blocked
)

func (s step) String() string {
	return [...]string{"idle", "content", "look", "write", "readBack", "succeeded", "failed", "blocked"}[s]
}

// run is one run of the program: what it planned, and what it believes.
type run struct {
	at    step
	want  version
	have  version // what the tag was for the plan
	there objects // what the run takes for present
	again bool    // whether a refusal has made it look anew
	left  uint8   // runs that follow
}

// state is everything at one moment. It is comparable: a state is looked at once.
type state struct {
	stored   objects
	tag      version
	upstream version
	runs     [2]run
	marked   objects // by a collector that has marked and not swept yet
	marking  bool

	// How often each of these can still happen.
	moves, crashes, lost, collections uint8
}

// World says what is being modelled.
type World struct {
	Strict bool // the registry refuses manifests whose direct references it lacks

	// Collector is what the registry's garbage collector does: nothing; remove at one moment all that no
	// tag leads to; or mark at one moment what tags lead to and sweep the rest at a later one.
	Collector Collector

	// Sabotage leaves a rule of the copier out, for finding out whether the model would notice.
	Sabotage Sabotage

	Before version // what the tag is at the beginning

	Budget Budget
}

// Budget is how often each of the things that nobody asked for can happen.
type Budget struct {
	Moves, Crashes, Lost, Collections, Again uint8 // Again is how many runs follow each of the first two
}

// Collector is a kind of garbage collector.
type Collector uint8

// What collectors do.
const (
	NoCollector Collector = iota
	AtOnce
	MarkThenSweep
)

// Sabotage is a rule of the copier that is left out.
type Sabotage uint8

// What can be left out.
const (
	None         Sabotage = iota
	TagFirst              // the tag is written before the content
	NoLook                // the tag is not looked at just before it is written
	NoReadBack            // what the registry answers to the write is believed
	ResolveAgain          // the version is looked up again for the write
)

// Broken is a state that must not be, and how it came about.
type Broken struct {
	Rule  string
	Trace []string
}

func (e *Broken) Error() string { return e.Rule + ":\n  " + strings.Join(e.Trace, "\n  ") }

// move is something that happens: the state after it, and a word for it.
type move struct {
	name  string
	after state
	wrong string // the rule that it breaks, if any
}

// Explore walks through everything that can happen in w and returns how many states there
// are. Its error is a *Broken for a shortest way to a state that must not be.
func Explore(w World) (states int, err error) {
	first := state{tag: w.Before, upstream: 1, moves: w.Budget.Moves, crashes: w.Budget.Crashes, lost: w.Budget.Lost}
	if w.Collector != NoCollector {
		first.collections = w.Budget.Collections
	}
	if w.Before != 0 {
		first.stored = whole(w.Before.root())
	}
	for i := range first.runs {
		first.runs[i].left = w.Budget.Again
	}
	type origin struct {
		from state
		name string
	}
	came := map[state]origin{first: {}}
	queue := []state{first}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for _, m := range w.moves(s) {
			m.after = m.after.ordered()
			_, known := came[m.after]
			if !known {
				came[m.after] = origin{s, m.name}
				queue = append(queue, m.after)
			}
			if m.wrong == "" {
				m.wrong = w.check(m.after)
			}
			if m.wrong != "" {
				trace := []string{m.name}
				for at := s; at != first; at = came[at].from {
					trace = append(trace, came[at].name)
				}
				slices.Reverse(trace)
				return len(came), &Broken{m.wrong, trace}
			}
		}
	}
	return len(came), nil
}

// ordered returns a state that is as good as s: which of two runs is called the first makes
// no difference.
func (s state) ordered() state {
	if s.runs[0].less(s.runs[1]) {
		s.runs[0], s.runs[1] = s.runs[1], s.runs[0]
	}
	return s
}

func (r run) less(other run) bool {
	return cmp.Or(cmp.Compare(r.at, other.at), cmp.Compare(r.there, other.there), cmp.Compare(r.want, other.want),
		cmp.Compare(r.have, other.have), cmp.Compare(r.left, other.left)) < 0
}

// check returns the invariant that a state breaks.
func (w World) check(s state) string {
	if s.tag != 0 && whole(s.tag.root())&^s.stored != 0 {
		return fmt.Sprintf("I1: the tag says %d and %08b is missing", s.tag, whole(s.tag.root())&^s.stored)
	}
	return ""
}
