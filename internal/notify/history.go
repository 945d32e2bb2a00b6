package notify

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// History is what one receiver was told of that is not over. It is a value: its methods
// change nothing. The zero History knows of no run, so that every failure is new.
type History struct {
	// Troubles are by the mirrors' names. The run itself, where it came to no plan, is "".
	Troubles map[string]Trouble `json:"troubles"`
}

// Trouble is a mirror that fails or drifts.
type Trouble struct {
	Event Event     `json:"event"` // Failed or Drift
	Since time.Time `json:"since"` // when a run first saw it
	Told  time.Time `json:"told"`  // when it was last told
}

// Change is what there is to tell of one mirror, or of the run itself.
type Change struct {
	Mirror string    `json:"name"` // "" for the run itself
	Event  Event     `json:"event"`
	Since  time.Time `json:"since"`  // when it began
	Repeat bool      `json:"repeat"` // it was told before, and goes on
	Counts
}

// Policy is what one receiver wants to hear.
type Policy struct {
	On      []Event       // none means every event
	Mirrors []string      // names, with * for any text; none means every mirror
	Every   time.Duration // how often trouble that goes on is told again; 0 for never
}

// Next decides what a run is to a receiver, and what the receiver knows once it was told:
// trouble that is new, that became another, or that was told Every ago; and what recovered.
// The changes are sorted, the worst first. What took no part, or was not finished, stays as
// it was known. A run that came to no plan says nothing of its mirrors.
func (h History) Next(s Seen, p Policy, now time.Time) ([]Change, History) {
	if s.Interrupted {
		return nil, h
	}
	next := History{Troubles: maps.Clone(h.Troubles)}
	if next.Troubles == nil {
		next.Troubles = map[string]Trouble{}
	}
	maps.DeleteFunc(next.Troubles, func(name string, _ Trouble) bool {
		return name != "" && (!p.concerns(name) || s.Known != nil && !s.Known(name))
	})
	var changes []Change
	tell := func(name string, c Counts) {
		if change, ok := next.step(name, c, s.Started, p, now); ok {
			changes = append(changes, change)
		}
	}
	var whole Counts
	if s.Error != "" {
		whole = Counts{Failed: 1, Reason: s.Error}
	}
	tell("", whole)
	for name, c := range s.Mirrors {
		if p.concerns(name) {
			tell(name, c)
		}
	}
	slices.SortFunc(changes, func(a, b Change) int {
		if by := a.Event.rank() - b.Event.rank(); by != 0 {
			return by
		}
		return strings.Compare(a.Mirror, b.Mirror)
	})
	return changes, next
}

// step takes in what a run says of one mirror, and reports whether that is to be told.
func (h History) step(name string, c Counts, started time.Time, p Policy, now time.Time) (Change, bool) {
	before, troubled := h.Troubles[name]
	event := c.event()
	switch {
	case event == "" && !troubled, event == "" && c.notDone > 0:
		return Change{}, false
	case event == "":
		delete(h.Troubles, name)
		return Change{Mirror: name, Event: Recovered, Since: before.Since, Counts: c}, p.wants(Recovered) && (p.wants(before.Event) || len(p.On) == 1)
	case troubled && before.Event == event:
		due := p.Every > 0 && now.Sub(before.Told) >= p.Every
		if due {
			before.Told = now.UTC()
			h.Troubles[name] = before
		}
		return Change{Mirror: name, Event: event, Since: before.Since, Repeat: true, Counts: c}, due && p.wants(event)
	}
	h.Troubles[name] = Trouble{Event: event, Since: started.UTC(), Told: now.UTC()}
	return Change{Mirror: name, Event: event, Since: started.UTC(), Counts: c}, p.wants(event)
}

// wants reports whether a receiver hears of an event. That trouble is over hears who heard
// of it, or wants to hear of recoveries alone.
func (p Policy) wants(e Event) bool { return len(p.On) == 0 || slices.Contains(p.On, e) }

func (p Policy) concerns(name string) bool {
	return len(p.Mirrors) == 0 || slices.ContainsFunc(p.Mirrors, func(pattern string) bool { return matches(pattern, name) })
}

// matches compares a name with a pattern in which * stands for any text.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(name, first) {
		return false
	}
	rest := name[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, last)
}

func (e Event) rank() int { return slices.Index([]Event{Failed, Drift, Recovered, Test}, e) }
