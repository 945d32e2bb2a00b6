package copy

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// maxKept bounds the manifests a Library keeps, in bytes: those of a thousand images
// for many platforms. A run that plans more than that reads some of them twice, and
// its memory does not follow the number of images.
const maxKept = 64 << 20

// Library reads manifests from one side, each once for all tags and images of a
// repository that share it, and keeps the most recent ones for the copying that
// follows. It is safe for concurrent use.
type Library struct {
	side     registry.Side
	reads    *semaphore.Weighted
	configs  *semaphore.Weighted
	reading  flights[origin, registry.Manifest]
	listing  flights[origin, []ref.Descriptor] // of referrers
	cosigned flights[origin, []ref.Reference]

	mu     sync.Mutex
	listed map[ref.Repository]map[string]bool // tags that are derived from digests
	kept   shelf
	read   int
}

// origin is a manifest in the repository it is read from. The same digest elsewhere is
// read again: that it exists there, and may be read, is part of the answer.
type origin struct {
	repo   ref.Repository
	digest ref.Digest
}

// NewLibrary returns an empty Library of upstream's manifests that has at most atOnce
// requests under way.
func NewLibrary(atOnce int) *Library { return newLibrary(atOnce, maxKept) }

func newLibrary(atOnce int, keep int64) *Library {
	return &Library{
		side:    registry.SideSource,
		reads:   semaphore.NewWeighted(int64(max(atOnce, 1))),
		configs: semaphore.NewWeighted(configsAtOnce),
		reading: flights[origin, registry.Manifest]{forgetful: true},
		kept:    shelf{limit: keep, order: list.New(), at: map[origin]*list.Element{}},
	}
}

// Manifest returns the manifest of from's digest, from from's repository. Its bytes
// have that digest. From's tag plays no part: what it means was decided when it was
// resolved.
func (l *Library) Manifest(ctx context.Context, src registry.Source, from ref.Reference) (registry.Manifest, error) {
	key := origin{from.Repository, from.Digest}
	return l.reading.do(ctx, key, from.Repository, func(ctx context.Context) (registry.Manifest, error) {
		if m, ok := l.find(key); ok {
			return m, nil
		}
		var m registry.Manifest
		err := limited(ctx, l.reads, func() error {
			var err error
			m, err = fetch(ctx, src, from.Repository.Digested(from.Digest))
			return err
		})
		if err != nil {
			return registry.Manifest{}, &registry.Error{Op: "read manifest from", Side: l.side, Ref: from, Err: err}
		}
		l.keep(key, m)
		return m, nil
	})
}

// fetch reads a manifest and holds it to its digest.
func fetch(ctx context.Context, src registry.Source, from ref.Reference) (registry.Manifest, error) {
	m, err := src.Manifest(ctx, from)
	if err != nil {
		return registry.Manifest{}, err
	}
	if got := from.Digest.Algorithm().FromBytes(m.Raw); got != from.Digest {
		return registry.Manifest{}, fmt.Errorf("it came as %s: %w", got, failure.ErrCorrupt)
	}
	return m, nil
}

// Read returns how many manifests have been read.
func (l *Library) Read() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read
}

func (l *Library) find(key origin) (registry.Manifest, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.find(key)
}

func (l *Library) keep(key origin, m registry.Manifest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read++
	l.kept.add(key, m)
}

// shelf keeps the manifests used last, up to a number of bytes.
type shelf struct {
	limit, bytes int64
	order        *list.List // of volume, the one used last in front
	at           map[origin]*list.Element
}

type volume struct {
	key      origin
	manifest registry.Manifest
}

func (s *shelf) find(key origin) (registry.Manifest, bool) {
	e, ok := s.at[key]
	if !ok {
		return registry.Manifest{}, false
	}
	s.order.MoveToFront(e)
	return e.Value.(volume).manifest, true //nolint:forcetypeassert // add puts in nothing else
}

func (s *shelf) add(key origin, m registry.Manifest) {
	s.at[key] = s.order.PushFront(volume{key, m})
	s.bytes += int64(len(m.Raw))
	for s.bytes > s.limit {
		oldest := s.order.Remove(s.order.Back()).(volume) //nolint:forcetypeassert // add puts in nothing else
		delete(s.at, oldest.key)
		s.bytes -= int64(len(oldest.manifest.Raw))
	}
}
