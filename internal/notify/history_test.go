package notify_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/notify"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func hour(n int) time.Time { return start.Add(time.Duration(n) * time.Hour) }

// run is a report of a run that began at an hour, from lines such as "web:1 failed".
func run(at int, lines ...string) report.Report {
	var p plan.Plan
	var done []plan.Result
	for _, line := range lines {
		var name, status string
		_, _ = fmt.Sscan(line, &name, &status)
		name, tag, _ := strings.Cut(name, ":")
		repo := ref.Repository{Host: "example.com", Path: "copies/" + name}
		a := plan.Action{Mirror: &discover.Mirror{Name: name, Target: repo, Origin: discover.Origin{Kind: "file", Place: "m.yaml:3"}}, To: repo.Tagged(tag)}
		a.Verb = map[string]plan.Verb{"failed": plan.Update, "blocked": plan.Blocked, "drifted": plan.Drifted, "in-sync": plan.InSync, "not-done": plan.Update}[status]
		s := map[string]plan.Status{"failed": plan.HasFailed, "blocked": plan.StaysBlocked, "drifted": plan.StaysDrifted, "in-sync": plan.StaysInSync, "not-done": plan.Pending}[status]
		p.Actions = append(p.Actions, a)
		done = append(done, plan.Result{Action: a, Status: s, Reason: "because of " + status})
	}
	return report.FromResults(report.Run{Started: hour(at)}, p, done)
}

func told(changes []notify.Change) string {
	var all []string
	for _, c := range changes {
		text := c.Mirror + " " + string(c.Event)
		if c.Repeat {
			text += " still"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// What a receiver is told through a series of runs, one each hour, and again every three.
func TestWhatARunIs(t *testing.T) {
	interrupted := notify.Of(run(0, "web:1 failed"))
	interrupted.Interrupted = true
	gone := notify.Of(run(0, "api:1 in-sync"))
	gone.Known = func(name string) bool { return name == "api" }
	tests := []struct {
		name   string
		policy notify.Policy
		runs   []notify.Seen
		want   []string
	}{
		{
			"fails, goes on, is told again, recovers",
			notify.Policy{Every: 3 * time.Hour},
			seen("web:1 in-sync", "web:1 failed", "web:1 failed", "web:1 failed", "web:1 failed", "web:1 failed", "web:1 in-sync", "web:1 in-sync"),
			[]string{"", "web failed", "", "", "web failed still", "", "web recovered", ""},
		},
		{"never again", notify.Policy{}, seen("web:1 failed", "web:1 failed", "web:1 failed"), []string{"web failed", "", ""}},
		{"blocked waits for a person", notify.Policy{}, seen("web:1 blocked", "web:1 failed"), []string{"web failed", ""}},
		{
			"drift, then failure, then drift",
			notify.Policy{},
			seen("web:1 drifted", "web:1 failed", "web:1 drifted", "web:1 in-sync"),
			[]string{"web drift", "web failed", "web drift", "web recovered"},
		},
		{
			"one message for all tags, worst first",
			notify.Policy{},
			[]notify.Seen{notify.Of(run(0, "a:1 drifted", "web:1 failed", "web:2 failed", "b:1 failed", "c:1 in-sync"))},
			[]string{"b failed, web failed, a drift"},
		},
		{"on failed alone", notify.Policy{On: []notify.Event{notify.Failed}}, seen("web:1 failed", "web:1 in-sync", "web:1 drifted"), []string{"web failed", "", ""}},
		{
			"recoveries of drift are not for who hears of failures",
			notify.Policy{On: []notify.Event{notify.Failed, notify.Recovered}},
			seen("web:1 drifted", "web:1 in-sync", "web:1 failed", "web:1 in-sync"),
			[]string{"", "", "web failed", "web recovered"},
		},
		{"recoveries alone", notify.Policy{On: []notify.Event{notify.Recovered}}, seen("web:1 failed", "web:1 in-sync"), []string{"", "web recovered"}},
		{
			"other mirrors",
			notify.Policy{Mirrors: []string{"team/*", "*bb"}},
			[]notify.Seen{notify.Of(run(0, "web:1 failed", "team/x:1 failed", "web:2 failed", "bb:1 failed", "team:1 failed"))},
			[]string{"bb failed, team/x failed"},
		},
		{"not done is no recovery", notify.Policy{}, seen("web:1 failed", "web:1 not-done", "web:1 in-sync"), []string{"web failed", "", "web recovered"}},
		{"who takes no part stays", notify.Policy{}, seen("web:1 failed", "api:1 in-sync", "web:1 failed", "web:1 in-sync"), []string{"web failed", "", "", "web recovered"}},
		{"wants nothing any more", notify.Policy{}, []notify.Seen{notify.Of(run(0, "web:1 failed")), notify.Of(run(1), "web")}, []string{"web failed", "web recovered"}},
		{"is there no more", notify.Policy{}, []notify.Seen{notify.Of(run(0, "web:1 failed")), gone, notify.Of(run(2, "web:1 failed"))}, []string{"web failed", "", "web failed"}},
		{"a signal says nothing", notify.Policy{}, []notify.Seen{interrupted, notify.Of(run(1, "web:1 in-sync"))}, []string{"", ""}},
		{
			"no plan",
			notify.Policy{Mirrors: []string{"x"}},
			[]notify.Seen{notify.Broken(fmt.Errorf("denied"), hour(0)), notify.Broken(fmt.Errorf("denied"), hour(1)), notify.Of(run(2))},
			[]string{" failed", "", " recovered"},
		},
		{
			"no plan says nothing of mirrors",
			notify.Policy{},
			[]notify.Seen{notify.Of(run(0, "web:1 failed")), notify.Broken(fmt.Errorf("denied"), hour(1)), notify.Of(run(2, "web:1 failed"))},
			[]string{"web failed", " failed", " recovered"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var h notify.History
			for i, s := range test.runs {
				var changes []notify.Change
				changes, h = h.Next(s, test.policy, hour(i))
				if have := told(changes); have != test.want[i] {
					t.Errorf("run %d: told %q, want %q", i, have, test.want[i])
				}
			}
		})
	}
}

func seen(lines ...string) []notify.Seen {
	var all []notify.Seen
	for i, line := range lines {
		all = append(all, notify.Of(run(i, line)))
	}
	return all
}

// A History is a value: deciding twice comes to the same.
func TestNextChangesNothing(t *testing.T) {
	_, h := notify.History{}.Next(notify.Of(run(0, "web:1 failed")), notify.Policy{}, hour(0))
	for range 2 {
		if changes, _ := h.Next(notify.Of(run(1, "web:1 in-sync")), notify.Policy{}, hour(1)); told(changes) != "web recovered" {
			t.Fatalf("told %q", told(changes))
		}
	}
}

// What registries choose is in no message as it is, and no message grows with the tags.
func TestMessagesAreBoundedAndHarmless(t *testing.T) {
	var lines []string
	for i := range 50 {
		lines = append(lines, fmt.Sprintf("m%02d:1 failed", i), fmt.Sprintf("m%02d:2 failed", i))
	}
	r := run(0, lines...)
	s := notify.Of(r)
	for name, c := range s.Mirrors {
		c.Reason = notify.Broken(fmt.Errorf("%s", "\x1b[31m<!channel>\n\u202e"+strings.Repeat("x", 5000)), start).Error
		s.Mirrors[name] = c
	}
	changes, _ := notify.History{}.Next(s, notify.Policy{}, hour(0))
	m := notify.NewMessage("id", s, changes, hour(0))
	if len(m.Mirrors) != notify.MaxMirrors || m.More != 30 || m.Summary != "ecr-mirror-sync: 50 mirrors fail" || m.Mirrors[0].Failed != 2 {
		t.Errorf("%d mirrors and %d more: %s", len(m.Mirrors), m.More, m.Summary)
	}
	if text := m.Text(); strings.ContainsAny(text, "\x1b\u202e") || len(text) > 20_000 || strings.Count(text, "\n") != 21 {
		t.Errorf("%d bytes, %d lines: %.300q", len(text), strings.Count(text, "\n"), text)
	}
}
