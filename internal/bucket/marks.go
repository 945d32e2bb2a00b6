package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// marks are what is known of a repository's content that no tag leads to. They are kept in
// the bucket, where all runs see them: one run may be about to free what another has just
// found and is about to refer to.
//
// Whoever is about to rely on an object that is marked takes the mark away first; whoever
// frees objects first moves their marks to Freeing. Both write over exactly what they have
// read, so that for each object one of them comes first, and the other sees it.
type marks struct {
	APIVersion string          `json:"apiVersion"`
	Marked     map[string]mark `json:"unreferenced"` // by key
	Freeing    freeing         `json:"freeing,omitzero"`
}

// mark says of an object since when nothing leads to it.
type mark struct {
	Since    time.Time `json:"since"`
	Modified time.Time `json:"modified"` // the object's, then: one that was written again waits anew
}

// freeing are the objects that a run is removing. It has until then: if it was killed, the
// others go on after that.
type freeing struct {
	Until time.Time `json:"until"`
	Keys  []string  `json:"keys"`
}

const marksVersion = "ecr-mirror-sync.io/unreferenced/v1"

// Times of the protocol. A run looks at the marks again when what it knows is markAge old,
// so an object that it relies on without a look at its mark was marked no longer ago.
const (
	markAge     = 10 * time.Minute
	freeingTime = 15 * time.Minute
	leastDelay  = 24 * time.Hour
)

// marksSeen are the marks of a repository as the run saw them last.
type marksSeen struct {
	mu    sync.Mutex
	at    time.Time // zero for never
	marks marks
}

func parseMarks(raw []byte) (marks, error) {
	m := marks{APIVersion: marksVersion, Marked: map[string]mark{}}
	if raw == nil {
		return m, nil
	}
	if err := json.Unmarshal(raw, &m); err != nil || m.APIVersion != marksVersion {
		return m, fmt.Errorf("what is known of unreferenced content is not %s: %w", marksVersion, registry.ErrPermanent)
	}
	return m, nil
}

// concerns reports whether anything is said of a key.
func (m marks) concerns(key string) bool {
	_, marked := m.Marked[key]
	return marked || slices.Contains(m.Freeing.Keys, key)
}

// busy reports whether a run is removing something.
func (m marks) busy(now time.Time) bool {
	return len(m.Freeing.Keys) > 0 && now.Before(m.Freeing.Until)
}

// errBeingFreed passes: in a moment the object is gone, and can be written again.
var errBeingFreed = errors.New("another run is removing the object just now, since nothing referred to it")

// claim is called before anything relies on an object: it stays from then on.
func (b *bucket) claim(ctx context.Context, repo ref.Repository, key string) error {
	seen := b.marks.of(repo.Path)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	now := b.opts.Now()
	if seen.at.IsZero() || now.Sub(seen.at) > markAge {
		if err := b.look(ctx, repo, seen, now); err != nil {
			return err
		}
	}
	if !seen.marks.concerns(key) {
		return nil
	}
	seen.at = time.Time{}
	return b.changeMarks(ctx, repo, func(m *marks) error {
		if slices.Contains(m.Freeing.Keys, key) && m.busy(now) {
			return errBeingFreed
		}
		delete(m.Marked, key)
		m.Freeing.Keys = slices.DeleteFunc(m.Freeing.Keys, func(other string) bool { return other == key })
		return nil
	})
}

func (b *bucket) look(ctx context.Context, repo ref.Repository, seen *marksSeen, now time.Time) error {
	raw, _, err := b.get(ctx, b.marksKey(repo), maxList)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	m, err := parseMarks(raw)
	if err != nil {
		return err
	}
	seen.at, seen.marks = now, m
	return nil
}

// changeMarks changes the marks of a repository.
func (b *bucket) changeMarks(ctx context.Context, repo ref.Repository, edit func(*marks) error) error {
	o := object{key: b.marksKey(repo), mediaType: typeJSON, cache: "no-store"}
	return b.update(ctx, o, func(_ context.Context, now []byte) ([]byte, error) {
		m, err := parseMarks(now)
		if err != nil {
			return nil, err
		}
		if err := edit(&m); err != nil {
			return nil, err
		}
		if now == nil && len(m.Marked) == 0 && len(m.Freeing.Keys) == 0 {
			return nil, nil
		}
		return json.MarshalIndent(m, "", " ")
	})
}
