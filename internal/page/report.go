package page

import (
	"bytes"
	"cmp"
	"html/template"
	"io"
	"slices"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// How much of a report a page shows. The most urgent rows come first; the longest copies
// stand in the timeline.
const (
	MostRows = 5000
	MostBars = 200
)

// Report writes the page of one run. Nothing is written where it returns an error of its
// own; else the error is w's.
func (r *Renderer) Report(w io.Writer, run report.Report) error {
	var page bytes.Buffer
	if err := r.report.Execute(&page, reported(run, r.style)); err != nil {
		return err
	}
	_, err := page.WriteTo(w)
	return err
}

// result is what the template gets.
type result struct {
	Run      report.Report
	Style    template.CSS
	Tallies  []statusTally
	Rows     []row
	All      int // rows of the report, of which Rows are the first
	Timeline timeline
}

type row struct {
	report.Row

	Class string
}

// statusTally is how many rows have a status.
type statusTally struct {
	Status report.Status
	Class  string
	Count  int
}

// timeline is a picture of when each copy was under way.
type timeline struct {
	Bars   []bar
	Of     int // copies, of which Bars are the longest
	Height int
	Ticks  []tick
}

// bar is one copy. Lengths are in the picture's units.
type bar struct {
	X, Y, Width  float64
	TextY        float64 // the label's baseline
	EndMs        int64
	Label, Class string
	Row          report.Row
}

type tick struct {
	X     float64
	Label string
}

// The picture, in its own units.
const (
	pictureWidth = 1000
	barHeight    = 14
	barPitch     = 20
	labelWidth   = 360
)

func reported(run report.Report, style template.CSS) result {
	v := result{Run: run, Style: style, All: run.Rows.Len()}
	counts := map[report.Status]int{}
	var copies []report.Row
	for _, r := range run.Rows.All() {
		counts[r.Status]++
		v.Rows = append(v.Rows, row{r, classOf(r.Status)})
		if r.DurationMs > 0 && (r.Status == report.StatusCopied || r.Status == report.StatusUpdated || r.Status == report.StatusFailed) {
			copies = append(copies, r)
		}
	}
	for status, n := range counts {
		v.Tallies = append(v.Tallies, statusTally{status, classOf(status), n})
	}
	slices.SortFunc(v.Tallies, func(a, b statusTally) int {
		return cmp.Or(cmp.Compare(urgency(a.Class), urgency(b.Class)), cmp.Compare(a.Status, b.Status))
	})
	slices.SortStableFunc(v.Rows, func(a, b row) int { return cmp.Compare(urgency(a.Class), urgency(b.Class)) })
	v.Rows = v.Rows[:min(len(v.Rows), MostRows)]
	v.Timeline = draw(copies, run.Totals.ElapsedMs)
	return v
}

// classOf is how a status looks, as the states of mirrors do.
func classOf(s report.Status) string {
	switch s {
	case report.StatusFailed, report.StatusDamaged:
		return Failing.class()
	case report.StatusBlocked, report.StatusMissing:
		return Blocked.class()
	case report.StatusDrifted, report.StatusNotDone, report.StatusStale:
		return Behind.class()
	case report.StatusCopied, report.StatusUpdated, report.StatusPruned, report.StatusRepaired, report.StatusWouldCopy, report.StatusWouldUpdate, report.StatusWouldPrune:
		return "changed"
	case report.StatusInSync, report.StatusPresent, report.StatusVerified, report.StatusListed, report.StatusLeftOut:
		return InSync.class()
	}
	return Failing.class() // no doubt may look well
}

func urgency(class string) int {
	return slices.Index([]string{Failing.class(), Blocked.class(), Behind.class(), "changed", InSync.class()}, class)
}

// draw puts the longest copies below each other, in the order in which they were begun.
func draw(copies []report.Row, elapsedMs int64) timeline {
	t := timeline{Of: len(copies)}
	slices.SortStableFunc(copies, func(a, b report.Row) int { return cmp.Compare(b.DurationMs, a.DurationMs) })
	copies = copies[:min(len(copies), MostBars)]
	slices.SortStableFunc(copies, func(a, b report.Row) int { return cmp.Compare(a.StartedMs, b.StartedMs) })
	for _, r := range copies {
		elapsedMs = max(elapsedMs, r.StartedMs+r.DurationMs, 1)
	}
	scale := float64(pictureWidth-labelWidth) / float64(max(elapsedMs, 1))
	for i, r := range copies {
		t.Bars = append(t.Bars, bar{
			X: labelWidth + float64(r.StartedMs)*scale, Y: float64(i*barPitch + barPitch), Width: max(1, float64(r.DurationMs)*scale),
			TextY: float64(i*barPitch + barPitch + barHeight - 3), EndMs: r.StartedMs + r.DurationMs,
			Label: clipped(r.Destination + ":" + r.Tag), Class: classOf(r.Status), Row: r,
		})
	}
	t.Height = (len(copies) + 2) * barPitch
	for part := range 5 {
		at := elapsedMs * int64(part) / 4
		t.Ticks = append(t.Ticks, tick{labelWidth + float64(at)*scale, seconds(at)})
	}
	return t
}

// clipped is the end of a name, which tells repositories apart better than its beginning.
func clipped(name string) string {
	const most = 48
	runes := []rune(name)
	if len(runes) <= most {
		return name
	}
	return "…" + string(runes[len(runes)-most+1:])
}
