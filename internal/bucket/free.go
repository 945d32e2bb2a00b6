package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Free marks what no tag of repo leads to, and removes what was marked at least delay ago,
// a day where that is less: a copy that is under way has it to itself so long. Where
// anything cannot be read, nothing is removed.
func (t *Target) Free(ctx context.Context, repo ref.Repository, delay time.Duration) (registry.Freed, error) {
	b, err := t.bucket(ctx, repo.Host)
	if err != nil {
		return registry.Freed{}, err
	}
	s := sweep{bucket: b, repo: repo, now: b.opts.Now().UTC(), delay: max(delay, leastDelay)}
	if err := s.look(ctx); err != nil {
		return registry.Freed{}, err
	}
	return s.free(ctx)
}

// sweep is one freeing of a repository.
type sweep struct {
	bucket *bucket
	repo   ref.Repository
	now    time.Time
	delay  time.Duration

	loose map[string]listed // by key: what nothing leads to
}

// look lists the repository's content, and only then walks from its tags: what was written
// in between is not in the list.
func (s *sweep) look(ctx context.Context) error {
	s.loose = map[string]listed{}
	for _, kind := range []string{manifests, blobs, referrers} {
		err := s.bucket.list(ctx, s.bucket.in(s.repo, kind), func(o listed) bool {
			if lastDigest(o.key) != "" {
				s.loose[o.key] = o
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	if len(s.loose) == 0 {
		return nil
	}
	var tags []string
	err := s.bucket.list(ctx, s.bucket.in(s.repo, manifests), func(o listed) bool {
		if tag, ok := tagOf(o.key); ok {
			tags = append(tags, tag)
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, tag := range tags {
		if err := s.tag(ctx, tag); err != nil {
			return fmt.Errorf("what %s leads to: %w", s.repo.Tagged(tag), err)
		}
	}
	return nil
}

// tag keeps what a tag leads to.
func (s *sweep) tag(ctx context.Context, tag string) error {
	m, err := s.bucket.manifest(ctx, s.repo.Tagged(tag))
	if errors.Is(err, registry.ErrNotFound) {
		return nil // removed since
	}
	if err != nil {
		return err
	}
	return s.content(ctx, m)
}

// manifest keeps a manifest and what it leads to. One that is absent leads nowhere.
func (s *sweep) manifest(ctx context.Context, d ref.Digest) error {
	key := s.bucket.in(s.repo, manifests+string(d))
	if _, loose := s.loose[key]; !loose {
		return nil // kept already, or not there
	}
	delete(s.loose, key)
	m, err := s.bucket.manifest(ctx, s.repo.Digested(d))
	if err != nil {
		return err
	}
	return s.content(ctx, m)
}

// content keeps what a manifest names, and what refers to it.
func (s *sweep) content(ctx context.Context, m registry.Manifest) error {
	parsed, err := manifest.Parse(m.Raw, m.MediaType)
	if err != nil {
		return err
	}
	for _, blob := range parsed.Blobs {
		delete(s.loose, s.bucket.blobKey(s.repo, blob.Digest))
	}
	for _, child := range parsed.Children {
		if err := s.manifest(ctx, child.Digest); err != nil {
			return err
		}
	}
	// A tag's manifest is there under its digest, too.
	own := digest.FromBytes(m.Raw)
	if err := s.manifest(ctx, own); err != nil {
		return err
	}
	return s.referrers(ctx, own)
}

// referrers keeps what refers to a manifest that is kept, and the list of it.
func (s *sweep) referrers(ctx context.Context, subject ref.Digest) error {
	key := s.bucket.referrersKey(s.repo, subject)
	if _, loose := s.loose[key]; !loose {
		return nil
	}
	delete(s.loose, key)
	raw, _, err := s.bucket.get(ctx, key, maxList)
	if err != nil {
		return err
	}
	var index imgspec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return fmt.Errorf("%s is no index: %w", key, registry.ErrPermanent)
	}
	for _, e := range index.Manifests {
		if err := s.manifest(ctx, e.Digest); err != nil {
			return err
		}
	}
	return nil
}

// free marks what is loose, and removes what has been so for long enough.
func (s *sweep) free(ctx context.Context) (registry.Freed, error) {
	var due []string
	waiting := 0
	err := s.bucket.changeMarks(ctx, s.repo, func(m *marks) error {
		due, waiting = nil, 0
		if m.busy(s.now) {
			waiting = len(m.Marked)
			return nil // another run is at it
		}
		due = s.mark(m)
		waiting = len(m.Marked)
		return nil
	})
	if err != nil || len(due) == 0 {
		return registry.Freed{Waiting: waiting}, err
	}
	freed, err := s.remove(ctx, due)
	freed.Waiting = waiting
	// Also when the run has ended: until then, nobody can write these objects.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	return freed, errors.Join(err, s.bucket.changeMarks(ctx, s.repo, func(m *marks) error {
		m.Freeing = freeing{}
		return nil
	}))
}

// mark brings the marks up to date, and returns the keys that are due, whose marks are moved
// to Freeing.
func (s *sweep) mark(m *marks) (due []string) {
	before := m.Marked
	m.Marked, m.Freeing = map[string]mark{}, freeing{}
	for key, o := range s.loose {
		known, marked := before[key]
		switch {
		case !marked || !known.Modified.Equal(o.modified.UTC()):
			m.Marked[key] = mark{Since: s.now.Truncate(time.Second), Modified: o.modified.UTC()}
		case s.now.Sub(known.Since) < s.delay:
			m.Marked[key] = known
		default:
			due = append(due, key)
		}
	}
	slices.SortFunc(due, func(a, b string) int { return strings.Compare(s.order(a), s.order(b)) })
	if len(due) > 0 {
		m.Freeing = freeing{Until: s.now.Add(freeingTime).Truncate(time.Second), Keys: due}
	}
	return due
}

// order removes manifests before the blobs they name.
func (s *sweep) order(key string) string {
	if strings.Contains(key, blobs) {
		return "1" + key
	}
	return "0" + key
}

// removesAtOnce bounds the objects that are removed beside one another.
const removesAtOnce = 16

// remove removes what is due, within the time that the marks promise, as far as it was not
// written again by somebody who knows no marks.
func (s *sweep) remove(ctx context.Context, due []string) (freed registry.Freed, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, freeingTime/2, errors.New("freeing took too long, and goes on in the next run"))
	defer cancel()
	gone := make([]bool, len(due))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(removesAtOnce)
	for i, key := range due {
		g.Go(func() error {
			held, err := s.bucket.head(ctx, key)
			if errors.Is(err, registry.ErrNotFound) {
				return nil
			}
			if err != nil || !held.modified.Truncate(time.Second).Equal(s.loose[key].modified.Truncate(time.Second)) {
				return err
			}
			err = s.bucket.remove(ctx, key)
			gone[i] = err == nil
			return err
		})
	}
	err = g.Wait()
	for i, key := range due {
		if gone[i] {
			freed.Objects++
			freed.Bytes += s.loose[key].size
		}
	}
	return freed, err
}
