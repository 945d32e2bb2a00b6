package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// APIVersion names the schema of a Message's JSON. A field is never renamed and never
// changes its meaning within a version; new fields may appear.
const APIVersion = "ecr-mirror-sync.io/notification/v1"

// MaxMirrors is how many mirrors a message names, at most.
const MaxMirrors = 20

// Message is what one receiver is told of one run. Its JSON form is documented output
// (docs/notifications.md): lists are never null, times are in UTC.
type Message struct {
	APIVersion string         `json:"apiVersion"`
	ID         string         `json:"id"`      // the same for every attempt to deliver it
	Time       time.Time      `json:"time"`    // when it was made
	Events     []Event        `json:"events"`  // what happened, the worst first, each once
	Summary    string         `json:"summary"` // one line for people
	Started    time.Time      `json:"runStarted"`
	Outcome    status.Outcome `json:"runOutcome"`  // "" for a test
	Error      string         `json:"error"`       // why there was no whole run, "" where there was one
	Mirrors    []Change       `json:"mirrors"`     // MaxMirrors at most
	More       int            `json:"moreMirrors"` // that are not among them
}

// NewMessage puts the changes of a run, of which there is one at least, into a message.
func NewMessage(id string, s Seen, changes []Change, now time.Time) Message {
	m := Message{APIVersion: APIVersion, ID: id, Time: now.UTC(), Started: s.Started.UTC(), Outcome: s.Outcome, Error: s.Error, Mirrors: []Change{}}
	count := map[Event]int{}
	for _, c := range changes {
		if !slices.Contains(m.Events, c.Event) {
			m.Events = append(m.Events, c.Event)
		}
		switch {
		case c.Mirror == "":
		case len(m.Mirrors) == MaxMirrors:
			m.More++
			count[c.Event]++
		default:
			c.Mirror = short(c.Mirror)
			m.Mirrors = append(m.Mirrors, c)
			count[c.Event]++
		}
	}
	m.Summary = summary(changes, count)
	return m
}

// TestMessage says nothing but that it has arrived.
func TestMessage(id string, now time.Time) Message {
	return Message{APIVersion: APIVersion, ID: id, Time: now.UTC(), Started: now.UTC(), Events: []Event{Test}, Summary: "ecr-mirror-sync: a test, nothing has happened", Mirrors: []Change{}}
}

// summary says what happened in one line: "ecr-mirror-sync: 2 mirrors fail, 1 mirror
// recovered".
func summary(changes []Change, count map[Event]int) string {
	var parts []string
	if i := slices.IndexFunc(changes, func(c Change) bool { return c.Mirror == "" }); i >= 0 {
		parts = append(parts, map[Event]string{Failed: "the run failed", Recovered: "runs come to their end again"}[changes[i].Event])
	}
	for _, each := range []struct {
		event     Event
		one, many string
	}{{Failed, "fails", "fail"}, {Drift, "has drifted", "have drifted"}, {Recovered, "recovered", "recovered"}} {
		switch n := count[each.event]; n {
		case 0:
		case 1:
			parts = append(parts, "1 mirror "+each.one)
		default:
			parts = append(parts, fmt.Sprintf("%d mirrors %s", n, each.many))
		}
	}
	return "ecr-mirror-sync: " + strings.Join(parts, ", ")
}

// Text is the message for people, a line for each mirror.
func (m Message) Text() string {
	return strings.Join(append([]string{m.Summary}, m.lines()...), "\n")
}

// lines are what follows the summary.
func (m Message) lines() []string {
	var lines []string
	if m.Error != "" {
		lines = append(lines, m.Error)
	}
	for _, c := range m.Mirrors {
		lines = append(lines, c.line())
	}
	if m.More > 0 {
		lines = append(lines, fmt.Sprintf("and %s more", human.Count(m.More, "mirror")))
	}
	return lines
}

func (c Change) line() string {
	text := c.Mirror + ": " + string(c.Event)
	if c.Event == Recovered {
		return text + ", after trouble since " + c.Since.Format(time.RFC3339)
	}
	if c.Repeat {
		text += " since " + c.Since.Format(time.RFC3339)
	}
	return text + ", " + c.numbers() + "; " + c.Reason
}

func (c Counts) numbers() string {
	var parts []string
	for _, each := range []struct {
		n    int
		what string
	}{{c.Failed, "failed"}, {c.Blocked, "blocked"}, {c.Drifted, "drifted"}, {c.Missing, "missing"}, {c.Damaged, "damaged"}} {
		if each.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", each.n, each.what))
		}
	}
	return strings.Join(parts, ", ")
}
