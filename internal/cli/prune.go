package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/prune"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/s3store"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/state"
)

// pruneFlags say how much may be removed from destinations, and where it is remembered
// since when tags are unwanted. Which mirrors are pruned is for their rules to say.
type pruneFlags struct {
	max   int
	share string
	state string
}

func (f *pruneFlags) register(flags *pflag.FlagSet) {
	flags.IntVar(&f.max, "prune-max", 0, "remove at most `N` tags in a run that no rule wants any more, from repositories that ask for it (upstream-options=prune=true); if it would be more, none goes (0: report only)")
	flags.StringVar(&f.share, "prune-max-share", "0%", "remove at most this `SHARE` of a repository's tags, such as 10%; if it would be more, none of them goes (0%: report only)")
	flags.StringVar(&f.state, "state", "", "`FILE` or s3://BUCKET/KEY that remembers since when tags are unwanted; without it pruning only reports")
}

// fill takes from the file what neither flags nor environment say. copy, which has none
// of the flags, prunes nothing whatever the file says.
func (f *pruneFlags) fill(file config.Pruning, changed func(string) bool) {
	if f.share == "" {
		return
	}
	if !changed("prune-max") {
		f.max = file.Max
	}
	if !changed("prune-max-share") && file.MaxShare != "" {
		f.share = file.MaxShare
	}
	if !changed("state") {
		f.state = file.State
	}
}

// check refuses what no run can mean.
func (f *pruneFlags) check() error {
	if f.max < 0 {
		return usageErrorf("--prune-max %d: expected 0 or more", f.max)
	}
	if _, err := f.limits(); err != nil {
		return err
	}
	if strings.HasPrefix(f.state, "s3:") {
		if _, err := s3store.ParseLocation(f.state); err != nil {
			return usageErrorf("--state: %w", err)
		}
	}
	return nil
}

func (f *pruneFlags) limits() (prune.Limits, error) {
	if f.share == "" {
		return prune.Limits{}, nil
	}
	share, err := prune.ParseShare(f.share)
	if err != nil {
		return prune.Limits{}, usageErrorf("--prune-max-share: %w", err)
	}
	return prune.Limits{Max: f.max, Share: share}, nil
}

// memory is the state of a run, and where it is kept. A nil memory keeps nothing.
type memory struct {
	store state.Store
	name  string
	now   time.Time
	err   error // why nothing could be remembered
}

// open reads the state, and takes this shard's part of what all may remove. That it cannot be read is no failure of the run: what depends on
// it is only reported then.
func (f *pruneFlags) open(ctx context.Context, w *wiring) (*memory, mirror.Pruning) {
	limits, _ := f.limits() // checked before
	limits.Max = w.opts.shard.Part(limits.Max)
	pruning := mirror.Pruning{Limits: limits, Now: time.Now()}
	if f.state == "" {
		return nil, pruning
	}
	m := &memory{name: f.state, now: pruning.Now, store: state.File(f.state)}
	if at, err := s3store.ParseLocation(f.state); err == nil {
		m.store = s3store.New(w.session.Config(), at)
	}
	before, err := state.Load(ctx, m.store)
	if err != nil {
		m.err = err
		return m, pruning
	}
	pruning.State = &before
	return m, pruning
}

// warnings are the remarks for the report about a state that could not be read.
func (m *memory) warnings() []string {
	if m == nil || m.err == nil {
		return nil
	}
	return []string{fmt.Sprintf("--state %s: %v; nothing is pruned, and it is left as it is: mend it, or remove it to begin anew", m.name, m.err)}
}

// keepTime bounds the writing of the state. It has to fit into what is left between
// SIGTERM and SIGKILL.
const keepTime = 10 * time.Second

// keep writes down what the run saw, also when the run has ended before its time. It
// returns the remarks for the report.
func (m *memory) keep(ctx context.Context, observed []state.Observation) []string {
	if m == nil || m.err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	err := state.Update(ctx, m.store, func(s state.State) state.State { return s.Observe(observed, m.now) })
	if err != nil {
		return []string{fmt.Sprintf("--state %s: %v; what this run saw will have to be seen again before anything is pruned", m.name, err)}
	}
	return nil
}
