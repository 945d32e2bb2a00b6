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
