package main

import (
	"maps"
	"os"
	"os/exec"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/contest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/floor"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/verdict"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/cli"
)

// TestMain makes this test program ecr-mirror-sync as well.
func TestMain(m *testing.M) {
	if os.Getenv("ECR_MIRROR_SYNC_BENCH_PROGRAM") != "" {
		os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Exit(m.Run())
}

// testScale keeps every workload's shape with as few repositories as that takes.
const testScale = 0.01

// missed is what ecr-mirror-sync does not reach yet, by workload and goal: the most that
// it may need meanwhile. More is a change of what mirroring costs. What reaches its goal
// is to be taken off, and what comes near it to be lowered.
var missed = map[string]map[string]int64{
	"W1": {
		// Beside the least of 54: a HEAD for each of 4 tags, though a GET by tag would tell
		// the same, and for each of 12 manifests a GET of the fallback tag of its referrers,
		// which the list of tags has not, and up to 12 questions to a referrers API that
		// the host has not.
		"upstream requests": 54 + 4 + 12 + 12,
		// Tags are looked at twice until they are written (8 for 2 lists), and each repository
		// is asked for one blob (2).
		"destination requests": 110,
	},
	"W1-ecr": {
		"upstream requests": 54 + 4 + 12 + 12, // as in W1
	},
	"W1s": {
		"upstream requests":    47 + 2 + 6 + 6, // as in W1
		"destination requests": 93,             // as in W1: 4 HEAD of tags for 1 list, and 1 of a blob
	},
	"W3": {
		"upstream requests": 22 + 3 + 3, // referrers, as in W1
		// A look at the tag before it is written, and 6 HEAD of blobs where the PUT of 2 child
		// manifests could ask.
		"destination requests": 29,
	},
}

// TestCounts lets the floor and ecr-mirror-sync do every workload, in this process and
// small, and counts. Counts are the same on every machine, and so are goals for them.
func TestCounts(t *testing.T) {
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s, err := w.open(t.Context(), testScale)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.close(); err != nil {
					t.Error(err)
				}
			})
			if w.floor {
				checkFloor(t, s)
			}
			r := do(t, s, func(task contest.Task) { ours(t, w, task) })
			checkCounts(t, w.counts(s), r, missed[w.name])
		})
	}
}

// do lets one program do the scene's next task and counts what it asked for.
func do(t *testing.T, s scene, program func(contest.Task)) verdict.Run {
	t.Helper()
	task, err := s.next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	task.Dir = t.TempDir()
	for _, server := range task.Servers() {
		server.Reset()
	}
	program(task)
	r := verdict.Run{Source: task.Source.Traffic(), Target: task.Target.Traffic()}
	if err := task.Target.Check(t.Context(), task.Want); err != nil {
		t.Errorf("the destination is wrong: %v", err)
	}
	return r
}

// ours runs the program itself.
func ours(t *testing.T, w workload, task contest.Task) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	task.Plan = w.plan
	program, err := contest.Ours(self, task)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program.Path, program.Args...)
	cmd.Env = append(append(os.Environ(), program.Env...), "ECR_MIRROR_SYNC_BENCH_PROGRAM=1")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("it ended with %v: %s", err, said)
	}
}

// checkFloor holds the floor to the least there is: a floor that does more would make
// every ratio look good.
func checkFloor(t *testing.T, s scene) {
	t.Helper()
	r := do(t, s, func(task contest.Task) {
		if err := floor.Run(t.Context(), task.Answer(8, 4)); err != nil {
			t.Fatalf("the floor: %v", err)
		}
	})
	want := least(s)
	got := figures{r.Source.Requests, r.Target.Requests, r.Source.BlobBytes, r.Target.BlobBytes}
	if got != want {
		t.Errorf("the floor needs %+v, and the least is %+v: %v, %v", got, want, r.Source.Kinds, r.Target.Kinds)
	}
}

type figures struct {
	sourceRequests, targetRequests int
	sourceBytes, targetBytes       int64
}

// least is what reference implementations cannot do without.
func least(s scene) figures {
	switch s := s.(type) {
	case *cold:
		v := s.want
		lists, uploads, mounts := len(v.Repositories), 2*v.Blobs(), v.Placements()-v.Blobs()
		return figures{lists + v.Manifests() + v.Blobs(), lists + uploads + mounts + v.Manifests(), v.Bytes(), v.Bytes()}
	case *settled:
		lists, heads := len(s.want.Repositories), s.want.TagCount()
		return figures{lists + heads, heads, 0, 0}
	case *changing:
		lists, heads, lack := len(s.want.Repositories), s.want.TagCount(), s.lack
		return figures{lists + heads + lack.Manifests() + lack.Blobs(), heads + 2*lack.Blobs() + lack.Manifests(), lack.Bytes(), lack.Bytes()}
	}
	return figures{}
}

func checkCounts(t *testing.T, counts verdict.Counts, r verdict.Run, missed map[string]int64) {
	t.Helper()
	known := maps.Clone(missed)
	for _, c := range counts {
		got := c.Of(r)
		most, ratchet := known[c.What]
		delete(known, c.What)
		switch {
		case ratchet && c.Met(r):
			t.Errorf("%s: %d reaches the goal of %d: take it off the list of what is missed", c.What, got, c.Want)
		case ratchet && got > most:
			t.Errorf("%s: %d, and it was at most %d (the goal is %d); upstream %v, destination %v", c.What, got, most, c.Want, r.Source.Kinds, r.Target.Kinds)
		case !ratchet && !c.Met(r):
			t.Errorf("%s: %d, and the goal is %d; upstream %v, destination %v", c.What, got, c.Want, r.Source.Kinds, r.Target.Kinds)
		}
	}
	for what := range known {
		t.Errorf("%q is on the list of what is missed, and no goal", what)
	}
}
