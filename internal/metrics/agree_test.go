package metrics_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/metrics"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// A CronJob, which remembers reports, and a daemon, which has a board, say the same of the
// same runs, whatever came of them.
func TestMemoryAgreesWithTheBoard(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		memory, board := &metrics.Memory{}, status.NewBoard(noon)
		board.Describe([]status.Described{{Name: "web"}, {Name: "ecr/to/tagged"}}, nil, func(string) bool { return true })
		for i := range 6 {
			began := noon.Add(time.Duration(i) * time.Minute)
			r := ran(report.Run{Started: began}, someRow(random, "web", "1"), someRow(random, "web", "2"), someRow(random, "tagged", "1"))
			memory.Observe(r, began)
			board.Finished(status.Run{}, r, func(string) bool { return true })
			have, want := fmt.Sprint(memory.Mirrors()), fmt.Sprint(onBoard(board.Snapshot(began)))
			if have != want {
				t.Fatalf("seed %d, run %d:\nremembered %s\non the board %s", seed, i, have, want)
			}
		}
	}
}

// someRow is a row of which anything may have come.
func someRow(random *rand.Rand, mirror, tag string) row {
	outcomes := []row{
		{verb: plan.InSync, status: plan.StaysInSync},
		{verb: plan.Copy, status: plan.Copied},
		{verb: plan.Copy, status: plan.HasFailed},
		{verb: plan.Copy, status: plan.Pending},
		{verb: plan.Failed, status: plan.HasFailed},
		{verb: plan.Blocked, status: plan.StaysBlocked},
		{verb: plan.Drifted, status: plan.StaysDrifted},
	}
	r := outcomes[random.IntN(len(outcomes))]
	r.mirror, r.tag = mirror, tag
	return r
}

// onBoard are the mirrors of a snapshot as metrics have them.
func onBoard(s status.Snapshot) []metrics.Mirror {
	value := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return *t
	}
	var all []metrics.Mirror
	for _, m := range s.Mirrors {
		all = append(all, metrics.Mirror{
			Name: m.Name, LastRun: value(m.LastRun), LastSuccess: value(m.LastSuccess), BehindSince: value(m.BehindSince),
			FailedRuns: m.FailedRunsInARow, Tags: m.Tags,
		})
	}
	return all
}
