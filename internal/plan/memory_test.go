package plan_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// many is what is gathered of a large run: every text is a memory of its own, as those
// are that come from registries.
func many(mirrors, tags int) [][]plan.Wanted {
	digest := func(m, t int) ref.Digest { return ref.Digest(fmt.Sprintf("sha256:%032x%032x", m, t)) }
	wanted := make([][]plan.Wanted, mirrors)
	for m := range wanted {
		mirror := mirrorTo(fmt.Sprintf("123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirrors/app-%d", m))
		mirror.Origin = discover.Origin{Kind: discover.FromResourceTags, Place: mirror.Target.String(), Region: "eu-west-1"}
		for t := range tags {
			tag := fmt.Sprintf("1.%d.%d", m, t)
			wanted[m] = append(wanted[m], plan.Wanted{Mirror: mirror, Tag: tag, Source: tag, Upstream: digest(m, t), Have: digest(m, t)})
		}
	}
	return wanted
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A plan of a hundred thousand tags fits beside everything else into 300 MiB. It takes
// half a kilobyte for each, 160 bytes of which are the two digests.
func TestMemoryOfAPlan(t *testing.T) {
	const mirrors, tags, ceiling = 400, 50, 600
	before := inUse()
	p := plan.Build(many(mirrors, tags), nil, nil)
	each := (inUse() - before) / (mirrors * tags)
	t.Logf("%d bytes a tag", each)
	if len(p.Actions) != mirrors*tags || each > ceiling {
		t.Errorf("%d actions of %d bytes each, and %d bytes are to be enough", len(p.Actions), each, ceiling)
	}
	runtime.KeepAlive(p)
}

// Sorting and deciding write no texts: for what is in sync a plan is one allocation.
func TestBuildAllocates(t *testing.T) {
	wanted := many(20, 50)
	if n := testing.AllocsPerRun(5, func() { _ = plan.Build(wanted, nil, nil) }); n > 10 {
		t.Errorf("%.0f allocations for a plan of 1000 tags", n)
	}
}
