package report_test

import (
	"runtime"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// scale is a writer that looks how much memory is in use while the second half of a
// report is written.
type scale struct {
	whole, written int
	most           uint64
	looks          int
}

func (s *scale) Write(p []byte) (int, error) {
	s.written += len(p)
	if s.written > s.whole*(s.looks+1)/4 {
		s.looks++
		s.most = max(s.most, inUse())
	}
	return len(p), nil
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Writing a report holds a row or two, not all of them: a run may have a hundred
// thousand, a kilobyte each.
func TestWritingHoldsNoRows(t *testing.T) {
	const rows, ceiling = 2_000, 400 // bytes a row, of which all would be more than a thousand
	a := action(plan.InSync, "nginx", "mirrors/nginx", "1.27", "same digest")
	p := plan.Plan{Actions: make([]plan.Action, rows)}
	for i := range p.Actions {
		p.Actions[i] = a
	}
	r := report.FromPlan(run(), p)
	for _, f := range report.Formats() {
		s := &scale{whole: len(write(t, r, f, report.Options{Width: 120}))}
		before := inUse()
		if err := report.Write(s, r, f, report.Options{Width: 120}); err != nil {
			t.Fatal(err)
		}
		held := int64(s.most) - int64(before)
		if f == report.Markdown {
			held -= int64(s.whole) // which is bounded, and written at once
		}
		t.Logf("%s: %d bytes a row", f, held/rows)
		if s.looks == 0 || held > rows*ceiling {
			t.Errorf("%s: writing holds %d bytes a row, after %d looks", f, held/rows, s.looks)
		}
	}
	runtime.KeepAlive(p)
}
