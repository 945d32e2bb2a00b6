// Package floor is the least that mirroring can be: a program that knows the answer
// and only does what has to be done, with nothing checked, hashed, retried or reported.
// It sets the mark that ecr-mirror-sync is measured against.
//
// It knows which tags are wanted and which of them changed, that the destination has
// nothing of what changed but the blobs that are named as held, and that it grants
// mounts. So it never asks the destination about a blob. It lists tags and reads
// manifests like everybody, because their bytes have to be written. Each blob moves
// once, the largest that is known first: its GET streams into a POST and a PUT, which
// is opened beside it. Other repositories mount it when it is there. Manifests follow
// as soon as what they name is there, children before their index.
package floor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Answer is what the floor knows, and how much it does at once. It travels as JSON.
type Answer struct {
	Source, Target string // origins: http://127.0.0.1:5000
	Authorization  string // for the target; "" for none
	Repositories   []Repository
	Held           map[ref.Digest]int64 // blobs that the target has in the repository that wants them

	Small   int // requests without a blob at once, on each side
	Streams int // blobs at once
}

// Repository is what is wanted of a repository.
type Repository struct {
	Name    string
	Compare []string // tags of which both sides' digests are asked
	Copy    []string // tags to copy
}

// Run does the least.
func Run(ctx context.Context, a Answer) error {
	connections := &http.Transport{MaxIdleConnsPerHost: 2 * (a.Small + a.Streams), ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10, DisableCompression: true}
	defer connections.CloseIdleConnections()
	f := &floor{
		answer:  a,
		client:  &http.Client{Transport: connections},
		sources: semaphore.NewWeighted(int64(a.Small)),
		targets: semaphore.NewWeighted(int64(a.Small)),
		queue:   newQueue(),
		moved:   map[ref.Digest]*move{},
		mounted: map[placement]*move{},
	}
	movers, moving := errgroup.WithContext(ctx)
	for range a.Streams {
		movers.Go(func() error { return f.work(moving) })
	}
	g, ctx := errgroup.WithContext(moving)
	for _, r := range a.Repositories {
		g.Go(func() error { return f.repository(ctx, r) })
	}
	err := g.Wait()
	f.queue.close()
	return errors.Join(err, movers.Wait())
}

type floor struct {
	answer           Answer
	client           *http.Client
	sources, targets *semaphore.Weighted
	queue            *queue

	mu      sync.Mutex
	moved   map[ref.Digest]*move
	mounted map[placement]*move
}

// move is a blob on its way to its first repository, or to another one.
type move struct {
	blob v1.Descriptor
	repo string
	done chan struct{} // closed when it is there
}

type placement struct {
	repo   string
	digest ref.Digest
}

func (f *floor) repository(ctx context.Context, r Repository) error {
	g, ctx := errgroup.WithContext(ctx)
	if len(r.Compare) == 0 { // what is there is not known tag by tag
		g.Go(func() error {
			return f.ask(ctx, http.MethodGet, f.answer.Target, r.Name, "tags/list", http.StatusOK, http.StatusNotFound)
		})
	}
	if err := f.ask(ctx, http.MethodGet, f.answer.Source, r.Name, "tags/list", http.StatusOK); err != nil {
		return err
	}
	for _, tag := range r.Compare {
		g.Go(func() error {
			return f.ask(ctx, http.MethodHead, f.answer.Source, r.Name, "manifests/"+tag, http.StatusOK)
		})
		g.Go(func() error {
			return f.ask(ctx, http.MethodHead, f.answer.Target, r.Name, "manifests/"+tag, http.StatusOK, http.StatusNotFound)
		})
	}
	for _, tag := range r.Copy {
		g.Go(func() error { return f.manifest(ctx, r.Name, tag) })
	}
	return g.Wait()
}

// manifest brings a manifest after everything it names.
func (f *floor) manifest(ctx context.Context, repo, identifier string) error {
	raw, mediaType, err := f.read(ctx, repo, identifier)
	if err != nil {
		return err
	}
	var m struct {
		Manifests []v1.Descriptor
		Config    *v1.Descriptor
		Layers    []v1.Descriptor
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("manifest %s of %s: %w", identifier, repo, err)
	}
	g, below := errgroup.WithContext(ctx)
	for _, child := range m.Manifests {
		g.Go(func() error { return f.manifest(below, repo, string(child.Digest)) })
	}
	if m.Config != nil {
		for _, blob := range append(m.Layers, *m.Config) {
			g.Go(func() error { return f.blob(below, repo, blob) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return f.small(ctx, f.targets, f.request(http.MethodPut, f.answer.Target+"/v2/"+repo+"/manifests/"+identifier, raw, mediaType), http.StatusCreated)
}

// blob returns when repo has the blob.
func (f *floor) blob(ctx context.Context, repo string, blob v1.Descriptor) error {
	if _, held := f.answer.Held[blob.Digest]; held {
		return nil
	}
	f.mu.Lock()
	first, known := f.moved[blob.Digest]
	if !known {
		first = &move{blob: blob, repo: repo, done: make(chan struct{})}
		f.moved[blob.Digest] = first
		f.queue.push(first)
	}
	mount, mounting := f.mounted[placement{repo, blob.Digest}]
	if first.repo != repo && !mounting {
		mount = &move{done: make(chan struct{})}
		f.mounted[placement{repo, blob.Digest}] = mount
	}
	f.mu.Unlock()
	if err := wait(ctx, first); err != nil || first.repo == repo {
		return err
	}
	if mounting {
		return wait(ctx, mount)
	}
	query := url.Values{"mount": {string(blob.Digest)}, "from": {first.repo}}
	err := f.small(ctx, f.targets, f.request(http.MethodPost, f.answer.Target+"/v2/"+repo+"/blobs/uploads/?"+query.Encode(), nil, ""), http.StatusCreated)
	if err != nil {
		return err
	}
	close(mount.done)
	return nil
}

func wait(ctx context.Context, m *move) error {
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// work moves blobs, one after the other, until there are no more.
func (f *floor) work(ctx context.Context) error {
	for {
		m, ok := f.queue.pop()
		if !ok {
			return nil
		}
		if err := f.move(ctx, m); err != nil {
			return fmt.Errorf("blob %s: %w", m.blob.Digest, err)
		}
		close(m.done)
	}
}

// move streams one blob, opening both sides at once.
func (f *floor) move(ctx context.Context, m *move) error {
	var location *url.URL
	g, opening := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		location, err = f.do(opening, f.request(http.MethodPost, f.answer.Target+"/v2/"+m.repo+"/blobs/uploads/", nil, ""), http.StatusAccepted)
		return err
	})
	from, err := f.open(ctx, f.request(http.MethodGet, f.answer.Source+"/v2/"+m.repo+"/blobs/"+string(m.blob.Digest), nil, ""), http.StatusOK)
	if err == nil {
		defer from.Close()
	}
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	query := location.Query()
	query.Set("digest", string(m.blob.Digest))
	location.RawQuery = query.Encode()
	put := f.request(http.MethodPut, location.String(), nil, "application/octet-stream")
	put.Body, put.ContentLength = from, m.blob.Size
	_, err = f.do(ctx, put, http.StatusCreated)
	return err
}

func (f *floor) read(ctx context.Context, repo, identifier string) (raw []byte, mediaType string, err error) {
	if err := f.sources.Acquire(ctx, 1); err != nil {
		return nil, "", err
	}
	defer f.sources.Release(1)
	body, err := f.open(ctx, f.request(http.MethodGet, f.answer.Source+"/v2/"+repo+"/manifests/"+identifier, nil, ""), http.StatusOK)
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	raw, err = io.ReadAll(body)
	return raw, body.mediaType, err
}

// ask sends a request of which only the status counts.
func (f *floor) ask(ctx context.Context, method, origin, repo, path string, statuses ...int) error {
	places := f.sources
	if origin == f.answer.Target {
		places = f.targets
	}
	return f.small(ctx, places, f.request(method, origin+"/v2/"+repo+"/"+path, nil, ""), statuses...)
}

// small is do when there is a place for it.
func (f *floor) small(ctx context.Context, places *semaphore.Weighted, req *http.Request, statuses ...int) error {
	if err := places.Acquire(ctx, 1); err != nil {
		return err
	}
	defer places.Release(1)
	_, err := f.do(ctx, req, statuses...)
	return err
}

// do sends a request, reads the answer to its end, and returns the location it names.
func (f *floor) do(ctx context.Context, req *http.Request, statuses ...int) (*url.URL, error) {
	body, err := f.open(ctx, req, statuses...)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, body)
	return body.location, errors.Join(err, body.Close())
}

// body is an answer.
type body struct {
	io.ReadCloser
	mediaType string
	location  *url.URL // nil for none
}

// open sends a request and insists on the status of the answer.
func (f *floor) open(ctx context.Context, req *http.Request, statuses ...int) (*body, error) {
	if f.answer.Authorization != "" && req.URL.Scheme+"://"+req.URL.Host == f.answer.Target {
		req.Header.Set("Authorization", f.answer.Authorization)
	}
	resp, err := f.client.Do(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if !slices.Contains(statuses, resp.StatusCode) {
		return nil, errors.Join(fmt.Errorf("%s %s answered %s", req.Method, req.URL.Path, resp.Status), resp.Body.Close())
	}
	location, _ := resp.Location() // few answers have one
	return &body{resp.Body, resp.Header.Get("Content-Type"), location}, nil
}
