package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Receiver is somebody who is told.
type Receiver struct {
	Name   string
	Policy Policy
	Sender Sender
}

// SendTime bounds what is done about one run.
const SendTime = 20 * time.Second

// Tell tells each receiver what a run is to it, all at once, within SendTime. What it
// returns is what they know now: who could not be told will be told with the next run. The
// error names those, and shows no secret.
func Tell(ctx context.Context, receivers []Receiver, known Memory, s Seen, now time.Time) (Memory, error) {
	ctx, cancel := context.WithTimeout(ctx, SendTime)
	defer cancel()
	after := make([]History, len(receivers))
	errs := make([]error, len(receivers))
	var group sync.WaitGroup
	for i, r := range receivers {
		group.Go(func() { after[i], errs[i] = r.tell(ctx, known[r.Name], s, now) })
	}
	group.Wait()
	next := Memory{}
	for i, r := range receivers {
		next[r.Name] = after[i]
	}
	return next, errors.Join(errs...)
}

func (r Receiver) tell(ctx context.Context, h History, s Seen, now time.Time) (History, error) {
	changes, next := h.Next(s, r.Policy, now)
	if len(changes) == 0 {
		return next, nil
	}
	if err := r.Sender.Send(ctx, NewMessage(rand.Text(), s, changes, now)); err != nil {
		return h, fmt.Errorf("notify %s: %w", r.Name, err)
	}
	return next, nil
}

// SendTest sends a test to one receiver.
func (r Receiver) SendTest(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, SendTime)
	defer cancel()
	if err := r.Sender.Send(ctx, TestMessage(rand.Text(), now)); err != nil {
		return fmt.Errorf("notify %s: %w", r.Name, err)
	}
	return nil
}
