package model

import "fmt"

// moves returns everything that can happen next.
func (w World) moves(s state) []move {
	var all []move
	if s.moves > 0 {
		after := s
		after.moves--
		after.upstream = 3 - s.upstream
		all = append(all, move{name: fmt.Sprintf("upstream moves to %d", after.upstream), after: after})
	}
	all = append(all, w.collects(s)...)
	for i := range s.runs {
		all = append(all, w.steps(s, i)...)
	}
	return all
}

// collects returns what the registry's garbage collector can do.
func (w World) collects(s state) []move {
	kept := objects(0)
	if s.tag != 0 {
		kept = whole(s.tag.root())
	}
	after := s
	switch {
	case s.marking:
		after.stored &= s.marked
		after.marking, after.marked = false, 0
		return []move{{name: "collector sweeps", after: after}}
	case s.collections == 0:
		return nil
	case w.Collector == AtOnce:
		after.collections--
		after.stored &= kept
		return []move{{name: "collector removes what no tag leads to", after: after}}
	default:
		after.collections--
		after.marking, after.marked = true, kept
		return []move{{name: "collector marks", after: after}}
	}
}

// steps returns what run i can do next, and what can befall it.
func (w World) steps(s state, i int) []move {
	r := s.runs[i]
	var all []move
	to := func(name string, change func(*state, *run)) {
		after := s
		change(&after, &after.runs[i])
		m := move{name: fmt.Sprintf("the run at %v: %s", r.at, name), after: after}
		if lost := s.stored &^ after.stored; lost != 0 {
			m.wrong = fmt.Sprintf("I7: a run removed %08b", lost)
		}
		if after.runs[i].at == succeeded && r.at != succeeded {
			m.wrong = w.success(after, after.runs[i])
		}
		if after.runs[i].at == write && r.at != write && s.tag != r.have {
			m.wrong = "I10: a run is about to replace what its plan had not seen"
		}
		if after.tag != s.tag && after.tag != r.want {
			m.wrong = "I2: a run wrote what it had not planned"
		}
		all = append(all, m)
	}
	switch r.at {
	case idle:
		w.plan(to)
	case content:
		w.content(s, r, to)
	case look:
		w.look(to)
	case write:
		w.write(s, r, to)
	case readBack:
		to("readBack", func(s *state, r *run) { r.at = outcome(s.tag == r.want, failed) })
	default: // ended
		if r.left > 0 {
			to("begins anew", func(_ *state, r *run) { *r = run{left: r.left - 1} })
		}
		return all
	}
	if s.crashes > 0 && r.at != idle {
		to("crashes", func(s *state, r *run) { s.crashes--; *r = run{at: failed, left: r.left} })
	}
	return all
}

// success returns the rule that a run breaks by calling itself successful now.
func (w World) success(s state, r run) string {
	switch {
	case s.tag != r.want:
		return fmt.Sprintf("I11: success, and the tag says %d and not %d", s.tag, r.want)
	case whole(r.want.root())&^s.stored != 0:
		return "I11: success, and the image is not whole"
	}
	return ""
}

// outcome is where a run ends.
func outcome(good bool, otherwise step) step {
	if good {
		return succeeded
	}
	return otherwise
}

// taking adds a move that changes the state and the run as change does.
type taking func(name string, change func(*state, *run))

// plan resolves both sides once.
func (w World) plan(to taking) {
	to("plans", func(s *state, r *run) {
		r.want, r.have = s.upstream, s.tag
		switch {
		case r.have == r.want:
			r.at = succeeded
		case w.Sabotage == TagFirst:
			r.at = look
		default:
			r.at = content
		}
	})
}

// content brings what is not known to be there, in any order: blobs are looked for and
// uploaded, children are written after what they name.
func (w World) content(s state, r run, to taking) {
	lacking := whole(r.want.root()) &^ r.want.root() &^ r.there
	if lacking == 0 {
		to("has brought everything", func(_ *state, r *run) {
			r.at = look
			if w.Sabotage == TagFirst {
				r.at = readBack
			}
		})
	}
	for _, o := range each(lacking) {
		switch {
		case o&blobs != 0:
			to(fmt.Sprintf("brings blob %08b", o), func(s *state, r *run) { s.stored |= o; r.there |= o })
		case refersTo(o)&^r.there == 0:
			w.put(s, o, fmt.Sprintf("writes child %08b", o), to, func(_ *state, r *run) { r.there |= o })
		}
	}
}

// put writes a manifest. A registry that checks may refuse it, and then the run looks for
// everything again, once.
func (w World) put(s state, manifest objects, name string, to taking, then func(*state, *run)) {
	if w.Strict && refersTo(manifest)&^s.stored != 0 {
		to(name+", refused", func(_ *state, r *run) {
			if r.again {
				r.at = failed
				return
			}
			r.at, r.again, r.there = content, true, 0
		})
		return
	}
	to(name, func(s *state, r *run) { s.stored |= manifest; then(s, r) })
}

// look sees whether the tag is still what the plan saw.
func (w World) look(to taking) {
	to("looks", func(s *state, r *run) {
		switch {
		case w.Sabotage == NoLook || s.tag == r.have:
			r.at = write
		default:
			r.at = outcome(s.tag == r.want, blocked)
		}
	})
}

// write puts the root under its tag.
func (w World) write(s state, r run, to taking) {
	want := r.want
	if w.Sabotage == ResolveAgain {
		want = s.upstream
	}
	w.put(s, want.root(), fmt.Sprintf("writes tag %d", want), to, func(s *state, r *run) {
		s.tag = want
		switch w.Sabotage {
		case NoReadBack:
			r.at = succeeded
		case TagFirst:
			r.at = content
		default:
			r.at = readBack
		}
	})
	if s.lost > 0 {
		to("loses the tag's write, and believes nothing", func(s *state, r *run) {
			s.lost--
			r.at = readBack
			if w.Sabotage == NoReadBack {
				r.at = succeeded
			}
		})
	}
}
