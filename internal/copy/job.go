package copy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
)

// job is the copying of one action.
type job struct {
	copier *Copier
	action plan.Action
	origin registry.Source
	src    imagetypes.ImageSource
	dst    imagetypes.ImageDestination
	target registry.Target
	moved  *atomic.Int64
	read   atomic.Int64 // manifests of referrers
}

// content brings everything below the tag: the image, and beside it what refers to it.
func (j *job) content(ctx context.Context, root *Node) (referrers plan.Referrers, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := j.node(ctx, root)
		return err
	})
	if j.action.Mirror.Options.Referrers {
		g.Go(func() (err error) {
			referrers, err = j.referrers(ctx, root)
			return err
		})
	}
	return referrers, g.Wait()
}

// node brings a manifest to the destination after everything it refers to. The first
// failure that will not pass cancels what is under way beside it. Of a manifest that has
// a subject, node reports whether the registry said that it lists it as a referrer.
func (j *job) node(ctx context.Context, n *Node) (listed bool, err error) {
	return j.copier.nodesDone.do(ctx, j.contentOf(n), j.action.From.Repository, func(ctx context.Context) (bool, error) {
		if err := j.below(ctx, n); err != nil {
			return false, err
		}
		listed, err := j.write(ctx, n)
		if lacksContent(err) {
			listed, err = j.again(ctx, n, err)
		}
		return listed, err
	})
}

// below brings what n refers to.
func (j *job) below(ctx context.Context, n *Node) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, child := range n.Children {
		g.Go(func() error {
			_, err := j.node(ctx, child)
			return err
		})
	}
	for _, b := range n.Blobs {
		g.Go(func() error { return j.blob(ctx, b.Descriptor) })
	}
	return g.Wait()
}

// write stores n's manifest by its digest.
func (j *job) write(ctx context.Context, n *Node) (listed bool, err error) {
	if n.Subject == "" {
		err = registry.WriteManifest(ctx, j.dst, n.Digest.String(), n.Manifest)
	} else {
		listed, err = registry.WriteReferrer(ctx, j.dst, n.Digest, n.Subject, n.Manifest)
	}
	if err != nil {
		return false, j.targetError("write manifest to", n.Digest, err)
	}
	return listed, nil
}

// lacksContent reports whether a refusal of a manifest may mean that the registry has
// not got what it names: some say 404, some 400.
func lacksContent(err error) bool {
	return errors.Is(err, failure.ErrNotFound) || errors.Is(err, failure.ErrPermanent)
}

// again writes n once more after looking anew for everything it names. Garbage
// collectors delete untagged content, also what a run found, or brought, a moment ago.
func (j *job) again(ctx context.Context, n *Node, refusal error) (listed bool, err error) {
	j.copier.log.Warn("manifest refused, looking for what it names again", zap.Stringer("destination", j.action.To), zap.Error(refusal))
	for node := range n.all() {
		if node != n {
			j.copier.nodesDone.forgetLanded(j.contentOf(node))
		}
		for _, b := range node.Blobs {
			j.copier.blobsDone.forgetLanded(j.contentOfBlob(b.Descriptor))
		}
	}
	if err := j.below(ctx, n); err != nil {
		return false, err
	}
	return j.write(ctx, n)
}

func (j *job) contentOf(n *Node) content {
	return content{j.action.To.Repository, n.Digest, int64(len(n.Manifest.Raw))}
}

func (j *job) contentOfBlob(b ref.Descriptor) content {
	return content{j.action.To.Repository, b.Digest, b.Size}
}

// blob brings a blob to the destination, unless it is there already.
func (j *job) blob(ctx context.Context, want ref.Descriptor) error {
	_, err := j.copier.blobsDone.do(ctx, j.contentOfBlob(want), j.action.From.Repository, func(ctx context.Context) (struct{}, error) {
		var held bool
		err := limited(ctx, j.copier.blobs, func() error {
			var err error
			held, err = registry.HasBlob(ctx, j.dst, want)
			return err
		})
		if err != nil {
			return struct{}{}, j.targetError("look for blob at", want.Digest, err)
		}
		if held {
			return struct{}{}, nil
		}
		return struct{}{}, j.upload(ctx, want)
	})
	return err
}

// upload brings one blob, from the beginning at each attempt: a broken upload session
// cannot be told how much of it to keep. No place among the run's blobs is held while
// waiting for the next attempt, so that a registry that is down does not keep the
// others waiting.
func (j *job) upload(ctx context.Context, want ref.Descriptor) error {
	corrupt := 0
	policy := retry.Policy{
		Times: j.copier.opts.RetryTimes,
		// Wrong bytes may be a cache's or a network's. The same again are the source's.
		Final: func(err error) bool { return corrupt > 1 || failure.Final(err) },
		Repeated: func(err error, pause time.Duration) {
			j.copier.log.Warn("copying a blob again", zap.Stringer("destination", j.action.To), zap.String("digest", string(want.Digest)),
				zap.Duration("pause", pause), zap.Error(err))
		},
	}
	err := retry.Do(ctx, policy, func(ctx context.Context) error {
		err := limited(ctx, j.copier.blobs, func() error { return j.stream(ctx, want) })
		if errors.Is(err, failure.ErrCorrupt) {
			corrupt++
		}
		return err
	})
	if err == nil {
		j.moved.Add(want.Size)
		return nil
	}
	switch {
	case corrupt > 1:
		err = finalError{err}
	case want.Size == 0 && errors.Is(err, failure.ErrPermanent):
		// ECR, for one, and its words are that "the upload has no parts".
		err = fmt.Errorf("the registry takes no empty blobs: %w", err)
	}
	return j.targetError("copy blob to", want.Digest, err)
}

// finalError makes an error one that trying again will not mend, for everyone who wants
// the same from the same upstream.
type finalError struct{ error }

func (e finalError) Unwrap() []error { return []error{e.error, failure.ErrPermanent} }

// stream moves one blob from source to destination, once. That it does not stand still
// for ever is the endpoints' care.
func (j *job) stream(ctx context.Context, want ref.Descriptor) error {
	return registry.UploadBlob(ctx, j.dst, want, func(ctx context.Context) (io.ReadCloser, error) {
		return j.open(ctx, want)
	})
}

// open starts reading a blob from the source, verified on the way.
func (j *job) open(ctx context.Context, want ref.Descriptor) (io.ReadCloser, error) {
	body, size, err := j.src.GetBlob(ctx, imagetypes.BlobInfo{Digest: want.Digest, Size: want.Size, MediaType: want.MediaType}, none.NoCache)
	if err != nil {
		return nil, j.sourceError(want.Digest, err)
	}
	if size >= 0 && size != want.Size {
		err := fmt.Errorf("it has %d bytes and its manifest says %d: %w", size, want.Size, failure.ErrCorrupt)
		return nil, errors.Join(j.sourceError(want.Digest, err), body.Close())
	}
	moved := func(n int) {
		if j.copier.opts.Events.Moved != nil {
			j.copier.opts.Events.Moved(j.action, n)
		}
	}
	return &sourceReader{ReadCloser: verify(body, want, moved), wrap: func(err error) error { return j.sourceError(want.Digest, err) }}, nil
}

// sourceReader says of every error in a stream that it is the source's. An error of the
// source passes through the destination's client and would look like its own.
type sourceReader struct {
	io.ReadCloser
	wrap func(error) error
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // readers return io.EOF bare, and a wrapped one is no end
		err = r.wrap(err)
	}
	return n, err
}

func (j *job) sourceError(d ref.Digest, err error) error {
	if registry.OnSide(err) != "" {
		return err
	}
	return &registry.Error{Op: "read blob from", Side: registry.SideSource, Ref: j.action.From.Repository.Digested(d), Err: err}
}

func (j *job) targetError(op string, d ref.Digest, err error) error {
	if registry.OnSide(err) != "" {
		return err
	}
	return &registry.Error{Op: op, Side: registry.SideTarget, Ref: j.action.To.Repository.Digested(d), Err: err}
}
