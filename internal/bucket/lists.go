package bucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	specs "github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// updates is how often an object is changed anew where other runs write it at the same
// time; updateTime is how long that may take for all who wait for it.
const (
	updates    = 20
	updateTime = 2 * time.Minute
)

// A change makes the next content of an object that several writers change: nil where it
// leaves the object as it is, or absent.
type change func(ctx context.Context, now []byte) ([]byte, error)

// update changes an object such that no change of others is lost: it is written only over
// what was read.
func (b *bucket) update(ctx context.Context, o object, next change) error {
	err := errChanged
	for attempt := range updates {
		if attempt > 0 {
			if err := pause(ctx, attempt); err != nil {
				return err
			}
		}
		var now []byte
		var held info
		now, held, err = b.get(ctx, o.key, maxList)
		if err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
		if o.raw, err = next(ctx, now); err != nil || o.raw == nil || held.etag != "" && bytes.Equal(o.raw, now) {
			return err
		}
		o.is, o.fresh = held.etag, held.etag == ""
		if err = b.put(ctx, o); !errors.Is(err, errChanged) {
			return err
		}
	}
	return fmt.Errorf("%s: %w, %d times", o.key, err, updates)
}

// pause lets another writer go first.
func pause(ctx context.Context, attempt int) error {
	most := min(time.Duration(attempt)*50*time.Millisecond, time.Second)
	timer := time.NewTimer(rand.N(most)) //nolint:gosec // who waits how long is no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// list is an object that this run changes from many goroutines. Changes that come while
// one is being written are written together: some servers take one write of an object in a
// second.
type list struct {
	writing sync.Mutex
	renewed bool // under writing

	mu   sync.Mutex
	next *batch
}

// batch is changes that are written together.
type batch struct {
	renew   change // goes before the first changes of a run; nil where none has to
	changes []change
	done    chan struct{}
	err     error
}

// change makes one change, and returns when it is written. Renew, if any, goes before the
// run's first.
func (b *bucket) change(ctx context.Context, o object, renew, c change) error {
	l := b.lists.of(o.key)
	l.mu.Lock()
	mine := l.next
	if mine == nil {
		mine = &batch{renew: renew, done: make(chan struct{})}
		l.next = mine
		go l.write(context.WithoutCancel(ctx), b, o, mine)
	}
	mine.changes = append(mine.changes, c)
	l.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write writes a batch, under no caller's context: the one whose image happens to be
// cancelled must not fail the others.
func (l *list) write(ctx context.Context, b *bucket, o object, mine *batch) {
	ctx, cancel := context.WithTimeoutCause(ctx, updateTime, fmt.Errorf("%s could not be changed within %s", o.key, updateTime))
	defer cancel()
	defer close(mine.done)
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	l.next = nil
	l.mu.Unlock()
	if !l.renewed && mine.renew != nil {
		mine.changes = append([]change{mine.renew}, mine.changes...)
	}
	mine.err = b.update(ctx, o, mine.all)
	l.renewed = l.renewed || mine.err == nil
	if mine.err != nil {
		b.log.Warn("a list is not what it should be, until it is written again", zap.String("object", o.key), zap.Error(mine.err))
	}
}

// all makes the changes of a batch, one after the other.
func (m *batch) all(ctx context.Context, now []byte) (next []byte, err error) {
	next = now
	for _, c := range m.changes {
		if next, err = c(ctx, next); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// tags is the form of tags/list.
type tags struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

// enter adds a tag to the list of a repository.
func (b *bucket) enter(ctx context.Context, repo ref.Repository, tag string) error {
	return b.changeTags(ctx, repo, func(has []string) []string { return append(has, tag) })
}

// strike takes a tag off the list.
func (b *bucket) strike(ctx context.Context, repo ref.Repository, tag string) error {
	return b.changeTags(ctx, repo, func(has []string) []string {
		return slices.DeleteFunc(has, func(other string) bool { return other == tag })
	})
}

func (b *bucket) changeTags(ctx context.Context, repo ref.Repository, edit func([]string) []string) error {
	o := object{key: b.in(repo, tagList), mediaType: typeJSON, cache: b.briefly()}
	renew := func(ctx context.Context, _ []byte) ([]byte, error) { return b.tagsOf(ctx, repo) }
	return b.change(ctx, o, renew, func(_ context.Context, now []byte) ([]byte, error) {
		var written tags
		if err := json.Unmarshal(now, &written); err != nil {
			return nil, fmt.Errorf("%s is no list of tags: %w", o.key, registry.ErrPermanent)
		}
		return encodeTags(repo, edit(written.Tags))
	})
}

func encodeTags(repo ref.Repository, has []string) ([]byte, error) {
	slices.Sort(has)
	return json.Marshal(tags{Name: repo.Path, Tags: append([]string{}, slices.Compact(has)...)})
}

// tagsOf makes the list of the tags that a repository has. The first list of a run is made
// so: a run that was killed may have left a tag out, and a tool that knows no lists may
// have written others.
func (b *bucket) tagsOf(ctx context.Context, repo ref.Repository) ([]byte, error) {
	var has []string
	err := b.list(ctx, b.in(repo, manifests), func(o listed) bool {
		if tag, ok := tagOf(o.key); ok {
			has = append(has, tag)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return encodeTags(repo, has)
}

// addReferrer adds an entry to the list of what refers to subject.
func (b *bucket) addReferrer(ctx context.Context, repo ref.Repository, subject ref.Digest, entry imgspec.Descriptor) error {
	if err := b.claim(ctx, repo, b.referrersKey(repo, subject)); err != nil {
		return err
	}
	return b.changeReferrers(ctx, repo, subject, func(has []imgspec.Descriptor) []imgspec.Descriptor {
		if slices.ContainsFunc(has, func(e imgspec.Descriptor) bool { return e.Digest == entry.Digest }) {
			return has
		}
		return append(has, entry)
	})
}

func (b *bucket) changeReferrers(ctx context.Context, repo ref.Repository, subject ref.Digest, edit func([]imgspec.Descriptor) []imgspec.Descriptor) error {
	o := object{key: b.referrersKey(repo, subject), mediaType: imgspec.MediaTypeImageIndex, cache: b.briefly()}
	return b.change(ctx, o, nil, func(_ context.Context, now []byte) ([]byte, error) {
		var index imgspec.Index
		if now != nil {
			if err := json.Unmarshal(now, &index); err != nil {
				return nil, fmt.Errorf("%s is no index: %w", o.key, registry.ErrPermanent)
			}
		}
		index.Versioned, index.MediaType = specs.Versioned{SchemaVersion: 2}, imgspec.MediaTypeImageIndex
		index.Manifests = append([]imgspec.Descriptor{}, edit(index.Manifests)...)
		return json.Marshal(index)
	})
}
