package verify

import (
	"context"
	"sync"
)

// memo remembers what came of work, and lets it be done once however many need it at the
// same time. Work that failed is done again by the next who needs it. The zero memo is
// empty.
type memo[K comparable, V any] struct {
	mu   sync.Mutex
	work map[K]*work[V]
}

type work[V any] struct {
	done  chan struct{}
	value V // these are set before done is closed
	err   error
}

// do returns the outcome under key, f's or an earlier one.
func (m *memo[K, V]) do(ctx context.Context, key K, f func() (V, error)) (V, error) {
	for {
		w, leads := m.join(key)
		if leads {
			w.value, w.err = f()
			if w.err != nil {
				m.forget(key)
			}
			close(w.done)
			return w.value, w.err
		}
		select {
		case <-w.done:
		case <-ctx.Done():
			return w.none(), context.Cause(ctx)
		}
		if w.err == nil {
			return w.value, nil
		}
	}
}

func (*work[V]) none() (none V) { return none }

func (m *memo[K, V]) join(key K) (w *work[V], leads bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w, ok := m.work[key]; ok {
		return w, false
	}
	if m.work == nil {
		m.work = map[K]*work[V]{}
	}
	w = &work[V]{done: make(chan struct{})}
	m.work[key] = w
	return w, true
}

func (m *memo[K, V]) forget(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.work, key)
}
