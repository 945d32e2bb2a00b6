package verdict

import (
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/stage"
)

// Report is all that a benchmark found out. It is written as JSON.
type Report struct {
	Command   string     `json:"command"`
	Began     time.Time  `json:"began"`
	Version   string     `json:"version"` // of ecr-mirror-sync
	Machine   string     `json:"machine"`
	Load      string     `json:"load"` // of the machine, when the benchmark began; "" where unknown
	Scale     float64    `json:"scale"`
	Workloads []Workload `json:"workloads"`
}

// Workload is one workload over one network.
type Workload struct {
	Name     string        `json:"name"`
	Content  string        `json:"content"`
	Delay    time.Duration `json:"delayNanoseconds"` // of every request
	Entrants []Entrant     `json:"entrants"`
	Goals    []Goal        `json:"goals"`
}

// Names of the entrants that goals speak of.
const (
	Floor = "floor"
	Ours  = "ecr-mirror-sync"
)

// Entrant is a program and its runs, in the order of the rounds.
type Entrant struct {
	Name    string `json:"name"`
	Skipped string `json:"skipped,omitempty"` // why there are no runs
	Runs    []Run  `json:"runs,omitempty"`
}

// Run is one run.
type Run struct {
	Wall    float64       `json:"wallSeconds"`
	CPU     float64       `json:"cpuSeconds"`
	RSS     int64         `json:"peakBytes"`
	Source  stage.Traffic `json:"source"`
	Target  stage.Traffic `json:"target"`
	Problem string        `json:"problem,omitempty"` // why it does not count
}

// Goal is what was to be reached, and what was.
type Goal struct {
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"`
	Met  bool   `json:"met"`
}

// entrant returns the runs that went well of the entrant of that name.
func (w Workload) entrant(name string) []Run {
	var good []Run
	for _, e := range w.Entrants {
		for _, r := range e.Runs {
			if e.Name == name && r.Problem == "" {
				good = append(good, r)
			}
		}
	}
	return good
}

// Wall is the median time of an entrant's runs.
func (w Workload) Wall(name string) float64 { return Median(all(w.entrant(name), wall)) }

func wall(r Run) float64 { return r.Wall }
func cpu(r Run) float64  { return r.CPU }
func peak(r Run) float64 { return float64(r.RSS) }

func all(runs []Run, of func(Run) float64) []float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	return values
}

// pairs returns the values of two entrants in the rounds that went well for both.
func (w Workload) pairs(a, b string, of func(Run) float64) (first, second []float64) {
	var as, bs []Run
	for _, e := range w.Entrants {
		switch e.Name {
		case a:
			as = e.Runs
		case b:
			bs = e.Runs
		}
	}
	for i := range min(len(as), len(bs)) {
		if as[i].Problem == "" && bs[i].Problem == "" {
			first, second = append(first, of(as[i])), append(second, of(bs[i]))
		}
	}
	return first, second
}
