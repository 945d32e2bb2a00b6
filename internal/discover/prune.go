package discover

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Prune says what becomes of tags at the target that no rule wants. The zero Prune
// leaves them alone.
type Prune struct {
	On          bool
	Protect     []string      // globs naming the tags that stay, whatever the rules say
	KeepAtLeast int           // tags that the target keeps in any case
	Grace       time.Duration // how long a tag has to be unwanted before it goes; 0 means DefaultGrace
}

// DefaultGrace is time enough to notice a mistake, weekends included.
const DefaultGrace = 7 * 24 * time.Hour

// Wait returns how long a tag has to be unwanted before it is removed.
func (p Prune) Wait() time.Duration {
	if p.Grace > 0 {
		return p.Grace
	}
	return DefaultGrace
}

// Protects reports whether tag stays, whatever the rules say.
func (p Prune) Protects(tag string) bool {
	for _, glob := range p.Protect {
		if MatchGlob(glob, tag) {
			return true
		}
	}
	return false
}

const expectedGrace = "a time such as 36h or 90m, above 0"

// pruneOptions is what upstream-options understands about pruning.
func pruneOptions() []option {
	return []option{
		{name: "prune", expected: expectedBool, prune: func(v span, p *Prune) bool { return setBool(v, &p.On) }},
		{name: "protect", expected: expectedGlob, repeats: true, prune: func(v span, p *Prune) bool { return addGlob(v, &p.Protect) }},
		{name: "keep-at-least", expected: expectedNumber, prune: func(v span, p *Prune) bool { return setCount(v, &p.KeepAtLeast) }},
		{name: "grace", expected: expectedGrace, prune: func(v span, p *Prune) bool { return setGrace(v, &p.Grace) }},
	}
}

var hoursAndMinutes = regexp.MustCompile(`^[0-9]{1,6}(h|m|s)([0-9]{1,2}(m|s)){0,2}$`)

func setGrace(value span, to *time.Duration) bool {
	if !hoursAndMinutes.MatchString(value.String()) {
		return false
	}
	d, err := time.ParseDuration(value.String())
	*to = d
	return err == nil && d > 0
}

// formatPrune writes the options about pruning.
func formatPrune(p Prune) []string {
	var said []string
	if p.On {
		said = append(said, "prune=true")
	}
	for _, glob := range p.Protect {
		said = append(said, "protect="+formatGlob(glob))
	}
	if p.KeepAtLeast > 0 {
		said = append(said, "keep-at-least="+strconv.Itoa(p.KeepAtLeast))
	}
	if p.Grace > 0 {
		said = append(said, "grace="+p.Grace.String())
	}
	return said
}

// checkPrune refuses rules whose choice says nothing about what is unwanted.
// mode:higher chooses what is new, and drops again what it has brought.
func checkPrune(spec Spec, options span) error {
	if spec.Prune.On && spec.Rules.Mode == ModeHigher {
		return options.problem("mode:highest, mode:semver or newest:N beside prune=true", "prune=true with mode:higher, which wants only what is new")
	}
	return nil
}

// idlePrune remarks on options about pruning that have nothing to act on.
func idlePrune(p Prune, keys Keys) []string {
	if p.On {
		return nil
	}
	var without []string
	for _, option := range formatPrune(p) {
		without = append(without, fmt.Sprintf("%s: %s has no effect without prune=true", keys.Options, option))
	}
	return without
}
