package verdict

import (
	"fmt"
	"math"
	"strings"
)

// A Count is a goal for what can be counted in one run: the same in every run, on
// whatever machine.
type Count struct {
	What   string
	Want   int64
	AtMost bool // less is right as well
	Of     func(Run) int64
}

// Counts are several of them.
type Counts []Count

// Met reports whether a run is as it should be.
func (c Count) Met(r Run) bool {
	got := c.Of(r)
	return got == c.Want || c.AtMost && got < c.Want
}

// judge looks at all runs and tells of the one that is furthest from the goal.
func (c Count) judge(runs []Run) Goal {
	want := fmt.Sprint(c.Want)
	if c.AtMost {
		want = "<= " + want
	}
	g := Goal{What: c.What, Want: want, Got: "no run", Met: len(runs) > 0}
	worst := int64(-1)
	for _, r := range runs {
		g.Met = g.Met && c.Met(r)
		if got := c.Of(r); worst < 0 || distance(got, c) > distance(worst, c) {
			worst = got
			g.Got = fmt.Sprint(got)
		}
	}
	return g
}

func distance(got int64, c Count) int64 {
	if got < c.Want {
		if c.AtMost {
			return 0
		}
		return c.Want - got
	}
	return got - c.Want
}

// SourceRequests bounds all requests upstream.
func SourceRequests(most int) Count {
	return Count{"upstream requests", int64(most), true, func(r Run) int64 { return int64(r.Source.Requests) }}
}

// TargetRequests bounds all requests at the destination.
func TargetRequests(most int) Count {
	return Count{"destination requests", int64(most), true, func(r Run) int64 { return int64(r.Target.Requests) }}
}

// SourceBytes is what comes from upstream of blobs.
func SourceBytes(exactly int64) Count {
	return Count{"upstream blob bytes", exactly, false, func(r Run) int64 { return r.Source.BlobBytes }}
}

// TargetBytes is what goes to the destination of blobs.
func TargetBytes(exactly int64) Count {
	return Count{"destination blob bytes", exactly, false, func(r Run) int64 { return r.Target.BlobBytes }}
}

// SourceKind is the number of upstream requests of one kind.
func SourceKind(kind string, exactly int) Count {
	return Count{"upstream " + kind, int64(exactly), false, func(r Run) int64 { return int64(r.Source.Kinds[kind]) }}
}

// TargetKind is the number of requests of one kind at the destination.
func TargetKind(kind string, exactly int) Count {
	return Count{"destination " + kind, int64(exactly), false, func(r Run) int64 { return int64(r.Target.Kinds[kind]) }}
}

// NoWrites is that nobody is written to.
func NoWrites() Count {
	return Count{"writes", 0, false, func(r Run) int64 { return int64(r.Source.Writes() + r.Target.Writes()) }}
}

// Goals are what a workload has to reach.
type Goals struct {
	Counts Counts
	Wall   float64 // times the floor's; 0 for no such goal
	Peak   int64   // bytes of memory; 0 for no such goal
}

// cpuPerGigabyte is what hashing may cost beside 1.2 times the floor, which does not
// hash, in seconds.
const (
	cpuRatio       = 1.2
	cpuPerGigabyte = 0.6
)

// Judge compares the workload's runs with the goals.
func (w Workload) Judge(goals Goals) []Goal {
	ours := w.entrant(Ours)
	var judged []Goal
	for _, c := range goals.Counts {
		judged = append(judged, c.judge(ours))
	}
	if goals.Wall > 0 {
		judged = append(judged, w.judgeWall(goals.Wall), w.judgeCPU())
	}
	if goals.Peak > 0 {
		most := 0.0
		for _, r := range ours {
			most = max(most, peak(r))
		}
		judged = append(judged, Goal{"peak memory", "<= " + mebibytes(float64(goals.Peak)), mebibytes(most), most > 0 && most <= float64(goals.Peak)})
	}
	return judged
}

// judgeWall holds the lower end of the interval against the goal.
func (w Workload) judgeWall(most float64) Goal {
	ratios := Ratios(w.pairs(Ours, Floor, wall))
	low, high := Interval(ratios)
	return Goal{
		What: "wall", Want: fmt.Sprintf("<= %.2f x floor", most),
		Got: fmt.Sprintf("%.2f [%.2f-%.2f] in %d rounds", Median(ratios), low, high, len(ratios)),
		Met: len(ratios) > 0 && low <= most,
	}
}

func (w Workload) judgeCPU() Goal {
	ours, floors := w.pairs(Ours, Floor, cpu)
	moved := 0.0
	for _, r := range w.entrant(Ours) {
		moved = max(moved, float64(r.Source.BlobBytes)/1e9)
	}
	most := cpuRatio*Median(floors) + cpuPerGigabyte*moved
	return Goal{
		What: "CPU", Want: fmt.Sprintf("<= %.2f s (%.1f x floor + %.1f s/GB)", most, cpuRatio, cpuPerGigabyte),
		Got: fmt.Sprintf("%.2f s", Median(ours)), Met: len(ours) > 0 && Median(ours) <= most,
	}
}

// Linear judges whether the time of runs follows their size: sizes and seconds are those
// of the same runs, from the smallest.
func Linear(sizes []int, seconds []float64) Goal {
	const most = 1.15
	first, final := seconds[0]/float64(sizes[0]), seconds[len(seconds)-1]/float64(sizes[len(sizes)-1])
	var got []string
	for i := range sizes {
		got = append(got, fmt.Sprintf("%d: %.2f s", sizes[i], seconds[i]))
	}
	ratio := final / first
	return Goal{
		What: "time for a tag", Want: fmt.Sprintf("<= %.2f x that of a quarter of the tags", most),
		Got: fmt.Sprintf("%.2f (%s)", ratio, strings.Join(got, ", ")), Met: !math.IsNaN(ratio) && ratio <= most,
	}
}

func mebibytes(bytes float64) string { return fmt.Sprintf("%.0f MiB", bytes/(1<<20)) }
