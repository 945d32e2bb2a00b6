package plan_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

const (
	old   = ref.Digest("sha256:1111111111111111111111111111111111111111111111111111111111111111")
	newer = ref.Digest("sha256:2222222222222222222222222222222222222222222222222222222222222222")
)

// found is an action on a tag that holds have and is to hold want.
func found(verb plan.Verb, have, want ref.Digest, err error) plan.Action {
	repo := ref.Repository{Host: "quay.io", Path: "org/app"}
	return plan.Action{
		Verb: verb, Have: have, Want: want, Err: err, Reason: "as planned", Mirror: &discover.Mirror{},
		From: ref.Reference{Repository: repo, Tag: "1", Digest: want},
		To:   ref.Repository{Host: "ecr.example", Path: "app"}.Tagged("1"),
	}
}

func TestVerdict(t *testing.T) {
	damage := []plan.Damage{{Digest: old, What: "blob", Problem: "missing"}}
	outage := errors.New("no answer")
	refused := plan.ErrForbidden
	incomplete := found(plan.InSync, old, old, nil)
	incomplete.Compared = &plan.Comparison{Referrers: plan.Referrers{Incomplete: []string{"one"}}}
	tests := []struct {
		name   string
		action plan.Action
		found  plan.Inspection
		want   plan.Status
		reason string
	}{
		{"well", found(plan.InSync, old, old, nil), plan.Inspection{}, plan.Verified, "complete; as planned"},
		{"well, to the last byte", found(plan.InSync, old, old, nil), plan.Inspection{Deep: true}, plan.Verified, "complete, every byte hashed; as planned"},
		{"not compared", found(plan.Present, old, old, nil), plan.Inspection{}, plan.Verified, "complete; not compared with upstream"},
		{"absent, and not compared", found(plan.Present, "", "", nil), plan.Inspection{}, plan.Missing, "missing at destination"},
		{"absent", found(plan.Copy, "", old, nil), plan.Inspection{}, plan.Missing, "missing at destination"},
		{"repository absent", found(plan.Blocked, "", old, failure.ErrNotFound), plan.Inspection{}, plan.Missing, "as planned"},
		{"upstream absent", found(plan.Blocked, old, "", failure.ErrNotFound), plan.Inspection{}, plan.StaysBlocked, "as planned"},
		{"moved", found(plan.Update, old, newer, nil), plan.Inspection{}, plan.StaysDrifted, "as planned"},
		{"left alone", found(plan.Drifted, old, newer, nil), plan.Inspection{}, plan.StaysDrifted, "as planned"},
		{"immutable", found(plan.Blocked, old, newer, nil), plan.Inspection{}, plan.StaysDrifted, "as planned"},
		{"referrers missing", found(plan.Update, old, old, nil), plan.Inspection{}, plan.StaysDrifted, "as planned"},
		{"referrers not known", incomplete, plan.Inspection{}, plan.StaysDrifted, "incomplete: one"},
		{"upstream does not answer", found(plan.Failed, old, "", outage), plan.Inspection{}, plan.HasFailed, "as planned"},
		{"destination does not answer", found(plan.InSync, old, old, nil), plan.Inspection{Err: outage}, plan.HasFailed, "not verified: no answer"},
		{"refused", found(plan.InSync, old, old, nil), plan.Inspection{Refused: refused}, plan.StaysBlocked, "not allowed"},
		{"damaged", found(plan.InSync, old, old, nil), plan.Inspection{Damage: damage}, plan.Damaged, "blob " + string(old) + ": missing"},
		{"damaged and moved", found(plan.Update, old, newer, nil), plan.Inspection{Damage: damage}, plan.Damaged, "; as planned"},
		{"damaged, refused, and not to be read", found(plan.InSync, old, old, nil), plan.Inspection{Damage: damage, Err: outage, Refused: refused}, plan.Damaged, "missing"},
		{"damaged, and upstream does not answer", found(plan.Failed, old, "", outage), plan.Inspection{Damage: damage}, plan.Damaged, "; as planned"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := plan.Verdict(test.action, test.found)
			if r.Status != test.want || !strings.Contains(r.Reason, test.reason) {
				t.Errorf("%s: %q", r.Status, r.Reason)
			}
			if r.Inspected == nil {
				t.Error("it does not say what was found")
			}
		})
	}
}

func TestVerdictOfAWholeMirror(t *testing.T) {
	a := plan.MirrorStopped(&discover.Mirror{}, failure.ErrDenied)
	if r := plan.Verdict(a, plan.Inspection{}); r.Status != plan.StaysBlocked || r.Inspected != nil {
		t.Errorf("%+v", r)
	}
}

func TestMend(t *testing.T) {
	selected := found(plan.Drifted, old, newer, nil)
	selected.Mirror = &discover.Mirror{Platforms: discover.Platforms{Keep: []ref.Platform{{OS: "linux", Architecture: "amd64"}}}}
	tests := []struct {
		name   string
		action plan.Action
		ok     bool
		mends  bool
		want   ref.Digest
	}{
		{"in sync", found(plan.InSync, old, old, nil), true, true, old},
		{"referrers missing", found(plan.Update, old, old, nil), true, true, old},
		{"upstream moved", found(plan.Update, old, newer, nil), true, false, newer},
		{"listed and absent", found(plan.Copy, "", newer, nil), true, false, newer},
		{"left alone", found(plan.Drifted, old, newer, nil), true, true, old},
		{"immutable", found(plan.Blocked, old, newer, nil), true, true, old},
		{"selected from what is not known", selected, false, false, newer},
		{"not compared", found(plan.Present, old, old, nil), false, false, old},
		{"upstream does not answer", found(plan.Failed, old, "", nil), false, false, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, ok := test.action.Mend()
			if ok != test.ok || a.Mends != test.mends || a.Want != test.want || a.OnlyReferrers() && ok {
				t.Errorf("%v %+v", ok, a)
			}
			if ok && a.Mends && (a.From.Digest != a.Want || a.Have != a.Want) {
				t.Errorf("from %s, to hold %s and holding %s", a.From, a.Want, a.Have)
			}
		})
	}
}
