package registry

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// eachAtOnce bounds the requests that Snapshot and ReadManifests have under way for
// one repository of a source without bulk answers. The source's own limits come on
// top.
const eachAtOnce = 32

// resolveEach is Snapshot for a source that answers for one tag at a time.
func resolveEach(ctx context.Context, s Source, repo ref.Repository, tags []string) (map[string]ref.Descriptor, error) {
	return each(ctx, tags, func(ctx context.Context, tag string) (ref.Descriptor, error) {
		return s.Resolve(ctx, repo.Tagged(tag))
	})
}

// readEach is ReadManifests for a source that answers for one manifest at a time.
func readEach(ctx context.Context, s Source, repo ref.Repository, digests []ref.Digest) (map[ref.Digest]Manifest, error) {
	return each(ctx, digests, func(ctx context.Context, d ref.Digest) (Manifest, error) {
		return s.Manifest(ctx, repo.Digested(d))
	})
}

// each asks for every key at once, within a bound, and leaves out what is absent. The
// first failure ends the asking, and there is then no answer at all: a caller must not
// take half of one for the whole.
func each[K comparable, V any](ctx context.Context, keys []K, ask func(context.Context, K) (V, error)) (map[K]V, error) {
	var mu sync.Mutex
	found := make(map[K]V, len(keys))
	g, asking := errgroup.WithContext(ctx)
	g.SetLimit(eachAtOnce)
	for _, key := range keys {
		if asking.Err() != nil {
			break
		}
		g.Go(func() error {
			v, err := ask(asking, key)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			found[key] = v
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // before the first question
		return nil, context.Cause(ctx)
	}
	return found, nil
}
