// Package library moves content through containers/image's own docker transport.
//
// It is what --transport library selects, a fall-back for registries that the native
// transport does not get on with. It keeps the seam between the copy engine and the
// transports honest, since the same walk passes through both. And trust policies that
// need signatures are judged over its sources: the library reads sigstore signatures
// from no others.
//
// Questions (what does a tag point at, which tags are there) still go through the
// native transport. The library answers them with one client, one token and one
// connection for each question, and its error for an absent tag cannot be told from
// others.
//
// What the library lacks is put round it here: deadlines, stall protection, repetition,
// and a fresh client after a failure. What cannot be put round it is a look at where it
// sends credentials: it follows a registry that opens uploads on another host.
package library

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
)

// Options says how the library reaches registries. The zero Options does so
// anonymously and over verified TLS.
type Options struct {
	Credentials auth.Provider // nil means anonymous
	UserAgent   string

	// Settings returns what is particular about a host; nil means nothing is. The
	// library keeps no limits, and shows a client certificate to every host that asks
	// for one on the way: storage and token services, too.
	Settings func(host string) registry.Settings

	RetryTimes     int           // attempts after the first, for everything but blob streams
	RequestTimeout time.Duration // for one request that carries no blob; 0 means a minute
	Stall          time.Duration // without a byte moving, for blob streams; 0 means a minute
}

func (o Options) withDefaults() Options {
	if o.Credentials == nil {
		o.Credentials = auth.Anonymous{}
	}
	if o.Settings == nil {
		o.Settings = func(string) registry.Settings { return registry.Settings{} }
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = time.Minute
	}
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	return o
}

// errNoAnswer is the cause of a request's deadline.
var errNoAnswer = fmt.Errorf("no answer in time: %w", registry.ErrStalled)

// question repeats f, which carries no blob, each time under the request deadline.
func (o Options) question(ctx context.Context, f func(context.Context) error) error {
	return retry.Do(ctx, retry.Policy{Times: o.RetryTimes, Final: registry.Final}, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, o.RequestTimeout, errNoAnswer)
		defer cancel()
		err := f(ctx)
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", cause, err)
		}
		return err
	})
}

// Target asks through the registry.Target it embeds, and moves content through the
// library. It is safe for concurrent use; Close ends it.
type Target struct {
	registry.Target
	opts Options

	mu      sync.Mutex
	sources map[ref.Repository]*source
}

var (
	_ registry.Target          = (*Target)(nil)
	_ registry.Snapshotter     = (*Target)(nil)
	_ registry.ManifestsReader = (*Target)(nil)
	_ registry.TagDeleter      = (*Target)(nil)
	_ registry.ReferrersAsker  = (*Target)(nil)
)

// New returns a Target that asks through questions.
func New(questions registry.Target, opts Options) *Target {
	return &Target{Target: questions, opts: opts.withDefaults(), sources: map[ref.Repository]*source{}}
}

// Close closes every source that was opened.
func (t *Target) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, s := range t.sources {
		errs = append(errs, s.session.close())
	}
	return errors.Join(errs...)
}

// AskReferrers passes the embedded target's ability on.
func (t *Target) AskReferrers(ctx context.Context, subject ref.Reference) ([]ref.Descriptor, error) {
	return registry.AskReferrers(ctx, t.Target, subject)
}

// Manifest reads by digest through the library, and by tag through the embedded
// target: a tag is read only to see what it says now, and a library source answers
// with what it said when it was opened.
func (t *Target) Manifest(ctx context.Context, r ref.Reference) (registry.Manifest, error) {
	if r.Digest == "" {
		return t.Target.Manifest(ctx, r)
	}
	raw, mediaType, err := t.source(r.Repository).manifest(ctx, r.Digest)
	if err != nil {
		return registry.Manifest{}, err
	}
	return registry.Manifest{MediaType: mediaType, Raw: raw}, nil
}

// source returns the one library source of a repository.
func (t *Target) source(repo ref.Repository) *source {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.sources[repo]
	if !ok {
		s = newSource(repo, t.opts)
		t.sources[repo] = s
	}
	return s
}

// OpenSource returns the source through which repo's manifests are read. Closing it does
// nothing: it belongs to t. Blobs can be read once a manifest was read by digest.
func (t *Target) OpenSource(_ context.Context, repo ref.Repository) (imagetypes.ImageSource, error) {
	named, err := unknownDigest(repo)
	if err != nil {
		return nil, err
	}
	return &sharedSource{source: t.source(repo), name: named}, nil
}

// Snapshot and ReadManifests pass on abilities that embedding the interface hides.
func (t *Target) Snapshot(ctx context.Context, repo ref.Repository, tags []string) (map[string]ref.Descriptor, error) {
	return registry.Snapshot(ctx, t.Target, repo, tags)
}

// ReadManifests reads manifests through the embedded target.
func (t *Target) ReadManifests(ctx context.Context, repo ref.Repository, digests []ref.Digest) (map[ref.Digest]registry.Manifest, error) {
	return registry.ReadManifests(ctx, t.Target, repo, digests)
}

// CreateRepository and what belongs to it are the embedded target's, too.
func (t *Target) CreateRepository(ctx context.Context, repo ref.Repository, settings provision.Settings) (bool, error) {
	return registry.CreateRepository(ctx, t.Target, repo, settings)
}

// CanCreateRepository asks the embedded target.
func (t *Target) CanCreateRepository(repo ref.Repository) bool {
	return registry.CanCreateRepository(t.Target, repo)
}

// Differences asks the embedded target.
func (t *Target) Differences(ctx context.Context, repo ref.Repository, want provision.Settings) ([]provision.Difference, error) {
	return registry.Differences(ctx, t.Target, repo, want)
}

// Reconcile changes a setting through the embedded target.
func (t *Target) Reconcile(ctx context.Context, repo ref.Repository, want provision.Settings, d provision.Difference) error {
	return registry.Reconcile(ctx, t.Target, repo, want, d)
}

// DeleteTag removes a tag through the embedded target: the library's own way removes the
// manifest, with all its tags.
func (t *Target) DeleteTag(ctx context.Context, r ref.Reference) error {
	return registry.DeleteTag(ctx, t.Target, r)
}

// LastTagDeletes asks the embedded target.
func (t *Target) LastTagDeletes(repo ref.Repository) (bool, error) {
	return registry.LastTagDeletes(t.Target, repo)
}

// OpenDestination opens repo with an unknown digest: in that form the library's
// destination keeps no state between manifests and can be shared.
func (t *Target) OpenDestination(ctx context.Context, repo ref.Repository) (imagetypes.ImageDestination, error) {
	return newDestination(ctx, repo, t.opts)
}

// OpenImage opens the library's source for one image, with the identity that trust
// policies know it by. Whoever opened it closes it.
func OpenImage(ctx context.Context, r ref.Reference, opts Options) (imagetypes.ImageSource, error) {
	name, err := Name(r)
	if err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	var opened imagetypes.ImageSource
	err = opts.question(ctx, func(ctx context.Context) error {
		src, cred, err := opts.openSource(ctx, name, r.Repository)
		opened = src
		return opts.translate(ctx, r.Repository, cred, err)
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Name returns r as the library names images: by digest where it has one.
func Name(r ref.Reference) (imagetypes.ImageReference, error) {
	if r.Digest != "" {
		r.Tag = ""
	}
	named, err := reference.ParseNormalizedNamed(r.String())
	if err != nil {
		return nil, fmt.Errorf("reference %s: %w: %w", r, err, registry.ErrPermanent)
	}
	return docker.NewReference(named)
}

// unknownDigest returns repo as the library names a repository without tag or digest.
func unknownDigest(repo ref.Repository) (imagetypes.ImageReference, error) {
	named, err := reference.ParseNormalizedNamed(repo.String())
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w: %w", repo, err, registry.ErrPermanent)
	}
	return docker.NewReferenceUnknownDigest(named)
}
