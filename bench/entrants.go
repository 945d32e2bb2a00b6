package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/contest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/measure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/verdict"
)

// entrant is a program that takes part.
type entrant struct {
	name    string
	skipped string // why it does not
	rounds  int
	program func(contest.Task) (measure.Program, error)
}

// entrants are the programs that can do a workload, the floor first.
func (b *bench) entrants(w workload, delay time.Duration) []entrant {
	var all []entrant
	if w.floor {
		all = append(all, entrant{name: verdict.Floor, rounds: b.rounds, program: func(t contest.Task) (measure.Program, error) {
			return contest.Floor([]string{b.self, "floor"}, t, b.small, b.floorStreams(w, delay))
		}})
	}
	all = append(all, b.ours(verdict.Ours, "", w))
	for _, part := range w.parts {
		all = append(all, b.ours(verdict.Ours+" sync --prefix "+part, part, w))
	}
	if w.peers && delay < far {
		for _, name := range b.peers {
			all = append(all, peer(name, b.peerRounds))
		}
	}
	return all
}

func (b *bench) ours(name, prefix string, w workload, args ...string) entrant {
	return entrant{name: name, rounds: b.rounds, program: func(t contest.Task) (measure.Program, error) {
		t.Plan, t.Prefix = w.plan, prefix
		p, err := contest.Ours(b.binary, t)
		p.Args = append(append(p.Args, b.args...), args...)
		return p, err
	}}
}

// floorStreams is what was found best: `bench --only W1,W1s --floor-streams N` tells.
func (b *bench) floorStreams(w workload, delay time.Duration) int {
	switch {
	case b.streams > 0:
		return b.streams
	case w.tiny:
		return 256
	case delay > 0:
		return 64
	}
	return 16
}

// peer is another program, where it is installed.
func peer(name string, rounds int) entrant {
	programs := map[string]func(string, contest.Task) (measure.Program, error){
		"regsync": contest.Regsync, "crane": contest.Crane, "skopeo": contest.Skopeo,
	}
	program, known := programs[name]
	path, err := exec.LookPath(name)
	switch {
	case !known:
		return entrant{name: name, skipped: "skipped: it is not known how to call it"}
	case err != nil:
		return entrant{name: name, skipped: "skipped: it is not installed"}
	}
	return entrant{name: name, rounds: rounds, program: func(t contest.Task) (measure.Program, error) { return program(path, t) }}
}

// linear judges the workload whose parts were measured as well.
func linear(m verdict.Workload, s scene, parts []string) verdict.Goal {
	var sizes []int
	var seconds []float64
	for _, e := range slices.Backward(m.Entrants) {
		prefix := strings.TrimPrefix(strings.TrimPrefix(e.Name, verdict.Ours), " sync --prefix ")
		sizes, seconds = append(sizes, tagsUnder(s, prefix)), append(seconds, m.Wall(e.Name))
	}
	if len(sizes) != len(parts)+1 {
		panic(fmt.Sprintf("%d parts were measured, and there are %d", len(sizes)-1, len(parts)))
	}
	return verdict.Linear(sizes, seconds)
}
