package verdict_test

import (
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/stage"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/verdict"
)

func asked(requests int) verdict.Run {
	return verdict.Run{Source: stage.Traffic{Requests: requests, BlobBytes: int64(requests)}}
}

func TestCount(t *testing.T) {
	tests := []struct {
		name  string
		count verdict.Count
		got   int
		met   bool
	}{
		{"at most, less", verdict.SourceRequests(10), 9, true},
		{"at most, as many", verdict.SourceRequests(10), 10, true},
		{"at most, more", verdict.SourceRequests(10), 11, false},
		{"exactly", verdict.SourceBytes(10), 10, true},
		{"exactly, less", verdict.SourceBytes(10), 9, false},
		{"exactly, more", verdict.SourceBytes(10), 11, false},
	}
	for _, test := range tests {
		if met := test.count.Met(asked(test.got)); met != test.met {
			t.Errorf("%s: met is %v", test.name, met)
		}
	}
}

// workload has one run for each pair of walls, of the floor and of ecr-mirror-sync.
func workload(walls ...[2]float64) verdict.Workload {
	w := verdict.Workload{Entrants: []verdict.Entrant{{Name: verdict.Floor}, {Name: verdict.Ours}}}
	for _, pair := range walls {
		for i, wall := range pair {
			w.Entrants[i].Runs = append(w.Entrants[i].Runs, verdict.Run{Wall: wall, CPU: wall, RSS: 30 << 20})
		}
	}
	return w
}

// The lower end of the interval decides about time, the worst run about counts and
// memory, and a run that does not count is paired with nothing.
func TestJudge(t *testing.T) {
	met := func(w verdict.Workload, goals verdict.Goals) string {
		var met []string
		for _, g := range w.Judge(goals) {
			if g.Met {
				met = append(met, g.What)
			}
		}
		return strings.Join(met, ", ")
	}
	noisy := workload([2]float64{1, 1.0}, [2]float64{1, 1.2}, [2]float64{1, 1.3})
	if got := met(noisy, verdict.Goals{Wall: 1.05, Peak: 40 << 20}); got != "wall, CPU, peak memory" {
		t.Errorf("what may be as fast meets %q", got)
	}
	slow := workload([2]float64{1, 1.3}, [2]float64{1, 1.4}, [2]float64{1, 1.5})
	if got := met(slow, verdict.Goals{Wall: 1.05, Peak: 20 << 20}); got != "" {
		t.Errorf("what is slow and large meets %q", got)
	}
	slow.Entrants[1].Runs[0].Problem = "cut off"
	slow.Entrants[1].Runs[0].Wall = 0.1
	if got := met(slow, verdict.Goals{Wall: 1.05}); got != "" {
		t.Errorf("a run that was cut off counts: %q", got)
	}
	counted := workload([2]float64{1, 1}, [2]float64{1, 1})
	counted.Entrants[1].Runs[0].Source.Requests = 11
	if got := met(counted, verdict.Goals{Counts: verdict.Counts{verdict.SourceRequests(10)}}); got != "" {
		t.Errorf("a run with too many requests is passed over: %q", got)
	}
	if got := met(verdict.Workload{}, verdict.Goals{Counts: verdict.Counts{verdict.NoWrites()}, Wall: 1, Peak: 1}); got != "" {
		t.Errorf("without a run it meets %q", got)
	}
}

func TestLinear(t *testing.T) {
	if g := verdict.Linear([]int{100, 400}, []float64{1, 4.1}); !g.Met {
		t.Errorf("a little more than linear: %+v", g)
	}
	if g := verdict.Linear([]int{100, 400}, []float64{1, 6}); g.Met {
		t.Errorf("half as much again: %+v", g)
	}
}
