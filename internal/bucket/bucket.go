// Package bucket keeps images in a bucket of S3, or of whatever speaks S3's API, laid out
// so that a server of plain files is a registry to pull from:
//
//	v2/                              what clients ask first
//	v2/NAME/blobs/DIGEST
//	v2/NAME/manifests/DIGEST
//	v2/NAME/manifests/TAG            after everything it needs
//	v2/NAME/tags/list
//	v2/NAME/referrers/DIGEST         what refers to the manifest
//
// Objects carry the Content-Type and the Cache-Control that clients and caches need.
// docs/s3.md says what the server in front has to add.
package bucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Options tunes a Target.
type Options struct {
	// Config is AWS as the run sees it: who asks, in which Region, what the environment
	// and the profile say.
	Config aws.Config

	// Settings returns what is particular about a bucket, by the host of its
	// repositories. Nil means nothing is.
	Settings func(host string) Settings

	RetryTimes int // attempts after the first, for everything but blobs that are streamed

	Log *zap.Logger      // nil means no logging
	Now func() time.Time // nil means the system's clock

	tuning tuning // for tests
}

// Settings are how one bucket is reached and written to. The zero Settings is a bucket of
// S3 in whichever Region, under the identity of the run.
type Settings struct {
	Endpoint  string // a URL; "" is AWS, or R2
	Region    string
	PathStyle *bool  // nil: where Endpoint is given
	Bucket    string // the name at the server; "" is the name in the host
	Folder    string // before v2/, without slashes at its ends

	AccessKey, SecretKey string // instead of the run's identity
	Profile              string // instead of the run's identity
	Role                 string // the ARN of a role to assume first

	ACL          string // a canned ACL; "" sends none
	StorageClass string // of blobs
	KMSKey       string
	MaxAge       time.Duration // for which caches may keep what can change; 0 means a minute

	SmallRequests int // requests without a blob at once; 0 means 64
	BlobStreams   int // blobs on their way at once; 0 means 32
}

// tuning is what tests make smaller.
type tuning struct {
	single int64 // the largest blob that is sent as a whole, in bytes
	part   int64 // the size of parts of larger blobs
}

// Sizes of uploads. What is sent as a whole is streamed and needs no memory; parts are
// held until S3 has them, so that one that is lost does not cost the rest.
const (
	defaultSingle = 128 << 20
	defaultPart   = 8 << 20
	mostParts     = 10_000
)

// Limits of requests at once to one bucket.
const (
	defaultSmallRequests = 64
	defaultBlobStreams   = 32
	inPartsAtOnce        = 2 // blobs that are sent in parts, each of which holds partsAtOnce parts in memory
	partsAtOnce          = 3
)

// Target is the buckets that a run writes to. It is safe for concurrent use.
type Target struct {
	opts    Options
	opening singleflight.Group

	mu    sync.Mutex
	known map[string]*bucket
	close []func()
}

var (
	_ registry.Target     = (*Target)(nil)
	_ registry.TagDeleter = (*Target)(nil)
	_ registry.Freer      = (*Target)(nil)
)

// New returns a Target. It does no I/O; Close ends it.
func New(opts Options) *Target {
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	if opts.Settings == nil {
		opts.Settings = func(string) Settings { return Settings{} }
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.tuning.single = cmp.Or(opts.tuning.single, defaultSingle)
	opts.tuning.part = cmp.Or(opts.tuning.part, defaultPart)
	return &Target{opts: opts, known: map[string]*bucket{}}
}

// Close closes the connections that nothing uses.
func (t *Target) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, closing := range t.close {
		closing()
	}
	t.close = nil
	return nil
}

// bucket is one bucket, as all repositories in it share it.
type bucket struct {
	host     string
	name     string // at the server
	settings Settings
	opts     Options
	client   client
	log      *zap.Logger

	small, streams, inParts *semaphore.Weighted

	based   once // whether v2/ is there
	lists   keyed[list]
	marks   keyed[marksSeen]
	replace sync.Map // keys whose object is not what its name says
}

// openingLimit bounds a call that several callers wait for.
const openingLimit = time.Minute

// bucket returns the bucket that host names, and finds out where it is when it is first
// asked for.
func (t *Target) bucket(ctx context.Context, host string) (*bucket, error) {
	t.mu.Lock()
	b, ok := t.known[host]
	t.mu.Unlock()
	if ok {
		return b, nil
	}
	done := t.opening.DoChan(host, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openingLimit)
		defer cancel()
		return t.open(ctx, host)
	})
	select {
	case r := <-done:
		b, _ := r.Val.(*bucket) // open's own result
		return b, r.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (t *Target) open(ctx context.Context, host string) (*bucket, error) {
	settings, name, err := located(host, t.opts.Settings(host))
	if err != nil {
		return nil, err
	}
	c, closing, err := connect(ctx, t.opts, settings, name)
	if err != nil {
		closing()
		return nil, fmt.Errorf("bucket %s: %w", host, err)
	}
	b := &bucket{
		host: host, name: name, settings: settings, opts: t.opts, client: c,
		log:     t.opts.Log.With(zap.String("bucket", host)),
		small:   semaphore.NewWeighted(int64(cmp.Or(settings.SmallRequests, defaultSmallRequests))),
		streams: semaphore.NewWeighted(int64(cmp.Or(settings.BlobStreams, defaultBlobStreams))),
		inParts: semaphore.NewWeighted(inPartsAtOnce),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[host] = b
	t.close = append(t.close, closing)
	return b, nil
}

// located fills in what the host says of a bucket: its name, and for R2 where it is.
func located(host string, s Settings) (Settings, string, error) {
	scheme := ref.Repository{Host: host}.Scheme()
	place := strings.TrimPrefix(host, scheme+"://")
	switch scheme {
	case ref.SchemeS3:
		return s, cmp.Or(s.Bucket, place), nil
	case ref.SchemeR2:
		account, name, _ := strings.Cut(place, "/")
		s.Endpoint = cmp.Or(s.Endpoint, "https://"+account+".r2.cloudflarestorage.com")
		return s, name, nil
	}
	return s, "", fmt.Errorf("%s is no bucket: %w", host, registry.ErrUnsupported)
}

// limited does something within one of the bucket's limits.
func limited(ctx context.Context, limit *semaphore.Weighted, do func() error) error {
	if err := limit.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer limit.Release(1)
	return do()
}

// once does something until it has worked, one at a time.
type once struct {
	mu   sync.Mutex
	done bool
}

func (o *once) do(f func() error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return nil
	}
	err := f()
	o.done = err == nil
	return err
}

// keyed holds a value for each key, made when it is first asked for.
type keyed[T any] struct {
	mu     sync.Mutex
	values map[string]*T
}

func (k *keyed[T]) of(key string) *T {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.values == nil {
		k.values = map[string]*T{}
	}
	v, ok := k.values[key]
	if !ok {
		v = new(T)
		k.values[key] = v
	}
	return v
}

// checkReference refuses what could leave its place in the layout.
func checkReference(r ref.Reference) error {
	if r.Digest != "" {
		return checkDigest(r.Digest)
	}
	if !ref.ValidTag(r.Tag) {
		return fmt.Errorf("%s names no image: %w", r, registry.ErrPermanent)
	}
	return nil
}

func checkDigest(d ref.Digest) error {
	if _, err := ref.ParseDigest(string(d)); err != nil {
		return errors.Join(err, registry.ErrPermanent)
	}
	return nil
}
