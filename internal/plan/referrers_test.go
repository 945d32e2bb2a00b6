package plan_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
)

func TestReferrersBecause(t *testing.T) {
	tests := []struct {
		name      string
		referrers plan.Referrers
		want      string
	}{
		{"none", plan.Referrers{}, "upstream moved"},
		{"one", plan.Referrers{Mirrored: 1}, "upstream moved; with 1 referrer"},
		{"several, some left out", plan.Referrers{Mirrored: 2, LeftOut: 1}, "upstream moved; with 2 referrers; without 1 referrer of upstream's index, which the platforms are selected from"},
		{"one missing", plan.Referrers{Incomplete: []string{"a: refused"}}, "upstream moved; incomplete: a: refused"},
		{"several missing", plan.Referrers{Mirrored: 1, Incomplete: []string{"a: refused", "b: gone", "c: gone"}}, "upstream moved; with 1 referrer; incomplete: a: refused, and 2 more"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.referrers.Because("upstream moved"); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			if incomplete := test.referrers.Err() != nil; incomplete != (len(test.referrers.Incomplete) > 0) {
				t.Errorf("Err is %v", test.referrers.Err())
			}
		})
	}
}

// What refers to an image decides whether it is complete, and never whether its tag is
// written.
func TestComplete(t *testing.T) {
	inSync := plan.Action{Verb: plan.InSync, Reason: "same digest", Want: "sha256:a", Have: "sha256:a"}
	tests := []struct {
		name   string
		found  plan.Comparison
		verb   plan.Verb
		status plan.Status
		reason string
	}{
		{"none", plan.Comparison{}, plan.InSync, plan.StaysInSync, "same digest"},
		{"the same", plan.Comparison{Referrers: plan.Referrers{Mirrored: 1}}, plan.InSync, plan.StaysInSync, "same digest; with 1 referrer"},
		{
			"not known",
			plan.Comparison{Referrers: plan.Referrers{Incomplete: []string{"a: refused"}}},
			plan.InSync, plan.StaysInSync, "same digest; incomplete: a: refused",
		},
		{"missing", plan.Comparison{Missing: 1}, plan.Update, plan.Planned, "same digest; 1 of 1 referrer missing at destination"},
		{
			"some missing",
			plan.Comparison{Missing: 1, Referrers: plan.Referrers{Mirrored: 2, Incomplete: []string{"a: refused"}}},
			plan.Update, plan.Planned, "same digest; 1 of 3 referrers missing at destination; incomplete: a: refused",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := inSync.Complete(test.found)
			if a.Verb != test.verb || a.OnlyReferrers() != (test.verb == plan.Update) {
				t.Errorf("verb %s, only referrers %t", a.Verb, a.OnlyReferrers())
			}
			if r := plan.Unchanged(a); r.Status != test.status || r.Reason != test.reason {
				t.Errorf("%s: %q\nwant %s: %q", r.Status, r.Reason, test.status, test.reason)
			}
		})
	}
	moved := plan.Action{Verb: plan.Update, Want: "sha256:b", Have: "sha256:a"}
	if moved.OnlyReferrers() {
		t.Error("a tag that moves is taken for one that stays")
	}
}
