package cli

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/notify"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/s3store"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/state"
)

// notices tells receivers of runs. Nil tells nobody.
type notices struct {
	receivers []notify.Receiver
	name      string      // of the command, in the state; of the shard, too
	store     state.Store // nil keeps nothing
	location  string      // of the store
	log       *zap.Logger
}

// notices returns who is told of a command's runs: nil where nobody is, and for a dry run,
// which is none.
func (f *notifyFlags) notices(c *command, name string) (*notices, error) {
	if !f.asked {
		return nil, nil
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	receivers, err := f.all(c.settled.file.Config)
	if err != nil || len(receivers) == 0 || c.run.dryRun {
		return nil, err
	}
	if shard := c.shard.String(); shard != "" {
		name += " " + shard
	}
	n := &notices{receivers: receivers, name: name, location: f.state, log: c.log}
	if f.state != "" && !strings.HasPrefix(f.state, "s3:") {
		n.store = state.File(f.state)
	}
	return n, nil
}

// reach opens a state in a bucket, once there is a session with AWS.
func (n *notices) reach(w *wiring) {
	if n == nil || !strings.HasPrefix(n.location, "s3:") {
		return
	}
	if at, err := s3store.ParseLocation(n.location); err == nil {
		n.store = s3store.New(w.session.Config(), at)
	}
}

// ended tells of the only run of a process. A mistake of whoever typed is told to him alone,
// and a run that a signal ended says nothing.
func (n *notices) ended(ctx context.Context, r report.Report, err error, began time.Time) {
	if _, mistake := errors.AsType[usageError](err); n == nil || mistake || wasInterrupted(ctx) {
		return
	}
	seen := notify.Of(r)
	if err != nil && r.Kind == "" {
		seen = notify.Broken(err, began)
	}
	n.tell(context.WithoutCancel(ctx), nil, seen)
}

// tell tells of one run, and returns what receivers know then: it is what the state says
// they knew, or else what is given. That it cannot be told or kept is a warning.
func (n *notices) tell(ctx context.Context, known notify.Memory, seen notify.Seen) notify.Memory {
	memory, version, readable := n.recall(ctx)
	if n.store != nil && readable {
		known = memory[n.name]
	}
	next, err := notify.Tell(ctx, n.receivers, known, seen, time.Now())
	if err != nil {
		n.log.Warn("not everybody was told of this run", zap.Error(err))
	}
	if n.store != nil && readable {
		n.keep(ctx, memory, version, next)
	}
	return next
}

// recall reads the state. One that cannot be read is left as it is.
func (n *notices) recall(ctx context.Context) (all notify.State, version string, ok bool) {
	if n.store == nil {
		return nil, "", false
	}
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	data, version, err := n.store.Read(ctx)
	if err == nil {
		all, err = notify.ParseState(data)
	}
	if err != nil {
		n.log.Warn("what receivers were told is not known: the state is left as it is: mend it, or remove it to begin anew", zap.String("state", n.location), zap.Error(err))
	}
	return all, version, err == nil
}

// keep writes the state, again where another command or shard came between.
func (n *notices) keep(ctx context.Context, all notify.State, version string, next notify.Memory) {
	for range 10 {
		all[n.name] = next
		data, err := all.Encode()
		if err == nil {
			err = n.write(ctx, data, version)
		}
		if err == nil {
			return
		}
		if !errors.Is(err, state.ErrChanged) {
			n.log.Warn("what receivers were told is not kept: they may be told again", zap.String("state", n.location), zap.Error(err))
			return
		}
		var ok bool
		if all, version, ok = n.recall(ctx); !ok {
			return
		}
	}
	n.log.Warn("what receivers were told is not kept: others write it all the time", zap.String("state", n.location))
}

func (n *notices) write(ctx context.Context, data []byte, version string) error {
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	return n.store.Write(ctx, data, version)
}

// teller tells of the runs of a daemon, one after the other, while the next run goes on.
type teller struct {
	queue chan notice
	done  sync.WaitGroup
	log   *zap.Logger
}

// notice is a run to tell of, and to whom.
type notice struct {
	to   *notices
	seen notify.Seen
}

// waiting is how many runs may wait to be told of: receivers that do not answer take
// notify.SendTime each.
const waiting = 16

func newTeller(log *zap.Logger) *teller {
	t := &teller{queue: make(chan notice, waiting), log: log}
	t.done.Go(func() {
		var known notify.Memory
		for one := range t.queue {
			known = one.to.tell(context.Background(), known, one.seen)
		}
	})
	return t
}

// tell never waits: the next run is not to be late because nobody listens.
func (t *teller) tell(to *notices, seen notify.Seen) {
	if to == nil {
		return
	}
	select {
	case t.queue <- notice{to, seen}:
	default:
		t.log.Warn("nobody is told of this run: receivers are too slow")
	}
}

// close waits until the last run is told of, but not for long.
func (t *teller) close() {
	close(t.queue)
	told := make(chan struct{})
	go func() {
		t.done.Wait()
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(pushTime):
		t.log.Warn("not everybody was told of the last runs: receivers are too slow")
	}
}

// seen is what a run of the daemon says. Mirrors without rows want nothing, and have it.
func (d *due) seen(r report.Report, err error, began time.Time) notify.Seen {
	if err != nil {
		seen := notify.Broken(err, began)
		seen.Interrupted = r.Interrupted
		return seen
	}
	var took []string
	for _, m := range d.found {
		if !d.rested[m.Name] {
			took = append(took, m.Name)
		}
	}
	seen := notify.Of(r, took...)
	known := map[string]bool{}
	for _, m := range d.board.Snapshot(began).Mirrors {
		known[m.Name] = true
	}
	seen.Known = func(name string) bool { return known[name] }
	return seen
}
