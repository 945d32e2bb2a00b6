package copy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
)

// blobs brings the blobs of one manifest, those that are not there yet when the queue
// comes to them.
func (j *job) blobs(ctx context.Context, all []manifest.Blob) error {
	var batch []*errand
	for _, b := range all {
		if _, there := j.copier.blobsDone.outcome(j.contentOfBlob(b.Descriptor)); !there {
			batch = append(batch, &errand{
				blob: j.contentOfBlob(b.Descriptor).blob(),
				do:   func(ctx context.Context) error { return j.blob(ctx, b.Descriptor) },
			})
		}
	}
	if len(batch) > 0 {
		defer j.sampleAhead(ctx)()
	}
	wait := j.copier.queue.want(ctx, batch)
	j.begun()
	return wait()
}

// blob brings a blob to the destination, once for all images there that have it.
//
// A blob may come by way of another image's upstream, or of another repository of the
// destination's registry. It is the same blob, by its digest; and that this image may
// be read where it comes from is proven before: its manifest, which names the blob, was
// read from there with this action's own credentials.
func (j *job) blob(ctx context.Context, want ref.Descriptor) error {
	_, err := j.copier.blobsDone.do(ctx, j.contentOfBlob(want), j.action.From.Repository, func(ctx context.Context) (struct{}, error) {
		ctx, ended := j.piece(ctx, PieceBlob, want)
		err := j.obtain(ctx, want)
		ended(err)
		if err == nil {
			j.copier.spool.brought(j.contentOfBlob(want))
		}
		return struct{}{}, err
	})
	return err
}

// obtain sees to it that the destination has a blob.
func (j *job) obtain(ctx context.Context, want ref.Descriptor) error {
	known, at := j.copier.mounts, j.contentOfBlob(want)
	tookOver := known.tookOver(at)
	if j.damaged(want.Digest) {
		known.missing(at, tookOver)
		return j.upload(ctx, want, nil)
	}
	if from, ok := known.sure(at); ok {
		return j.mount(ctx, want, from)
	}
	held, err := j.holds(ctx, want)
	switch {
	case err != nil:
		return err
	case held:
		known.found(at)
		return nil
	}
	known.missing(at, tookOver)
	return j.spread(ctx, want)
}

// has asks whether the destination holds a blob.
func (j *job) has(ctx context.Context, want ref.Descriptor) (held bool, err error) {
	held, err = registry.HasBlob(ctx, j.dst, want)
	if err != nil {
		return false, j.targetError("look for blob at", want.Digest, err)
	}
	return held, nil
}

// spread brings a blob that the destination lacks. Where its registry may grant mounts,
// one repository at a time uploads it and the others wait to mount it from there. They
// wait for nothing else, and for no manifest: two images of which each waited for a
// manifest of the other would wait for ever.
func (j *job) spread(ctx context.Context, want ref.Descriptor) error {
	known, at := j.copier.mounts, j.contentOfBlob(want)
	if !registry.CanMount(j.dst) {
		j.copier.queue.decided(at.repo.Host)
		return j.upload(ctx, want, nil)
	}
	if from, ok := known.source(at); ok {
		return j.mount(ctx, want, from)
	}
	if !known.worthWaiting(at.repo.Host) {
		return j.upload(ctx, want, nil)
	}
	holder, err := known.uploads.do(ctx, at.spot(), j.action.From.Repository, func(ctx context.Context) (ref.Repository, error) {
		return at.repo, j.upload(ctx, want, nil)
	})
	if err != nil || holder == at.repo {
		return err
	}
	if from, ok := known.source(at); ok {
		return j.mount(ctx, want, from)
	}
	return j.upload(ctx, want, nil)
}

// mount takes a blob over from another repository of the destination's registry. A
// refusal is no failure: it opens an upload session, as a rule, and the blob is uploaded.
func (j *job) mount(ctx context.Context, want ref.Descriptor, from mountSource) error {
	session, err := registry.MountBlob(ctx, j.dst, want, from.repo)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	granted := err == nil && session == nil
	if granted || err == nil || failure.Final(err) {
		j.copier.mounts.answered(j.contentOfBlob(want), from, granted)
		if j.copier.mounts.decided(j.action.To.Repository.Host) {
			j.copier.queue.decided(j.action.To.Repository.Host)
		}
	}
	if granted {
		return nil
	}
	j.copier.log.Debug("blob not mounted", zap.String("mirror", j.action.Mirror.Name), zap.Stringer("destination", j.action.To), zap.String("digest", string(want.Digest)),
		zap.Stringer("from", from.repo), zap.Error(err))
	return j.upload(ctx, want, session)
}

// upload brings one blob, from the beginning at each attempt: a broken upload session
// cannot be told how much of it to keep. No place among the run's blobs is held while
// waiting for the next attempt, so that a registry that is down does not keep the
// others waiting. Where there is an upload session already, the first attempt uses it.
func (j *job) upload(ctx context.Context, want ref.Descriptor, session registry.BlobUploader) error {
	corrupt, resting := 0, false
	wake := func() {
		if resting {
			resting = false
			j.copier.queue.wake()
		}
	}
	defer wake()
	policy := retry.Policy{
		Times: j.copier.opts.RetryTimes,
		// Wrong bytes may be a cache's or a network's. The same again are the source's.
		Final: func(err error) bool { return corrupt > 1 || failure.Final(err) },
		Repeated: func(err error, pause time.Duration) {
			j.copier.log.Warn("copying a blob again", zap.String("mirror", j.action.Mirror.Name), zap.Stringer("destination", j.action.To), zap.String("digest", string(want.Digest)),
				zap.Duration("pause", pause), zap.Error(err))
			if repeated := j.copier.opts.Events.Repeated; repeated != nil {
				repeated(ctx, err, pause)
			}
			resting = true
			j.copier.queue.rest()
		},
	}
	err := retry.Do(ctx, policy, func(ctx context.Context) error {
		wake()
		err := j.stream(ctx, want, session)
		session = nil
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

// stream stores one blob at the destination, once, from upstream or from what another
// upload of the run has kept of it. That it does not stand still for ever is the
// endpoints' care.
func (j *job) stream(ctx context.Context, want ref.Descriptor, session registry.BlobUploader) error {
	return j.copier.spool.feed(ctx, feed{
		at:     j.contentOfBlob(want),
		from:   j.action.From.Repository,
		open:   func(ctx context.Context) (io.ReadCloser, error) { return j.open(ctx, want) },
		moved:  j.progress,
		mounts: j.copier.mounts.grants,
		store: func(open registry.Opener) error {
			return limited(ctx, j.copier.streams, func() error {
				if once := session; once != nil {
					session = nil
					return once.UploadBlob(ctx, want, open)
				}
				if j.damaged(want.Digest) {
					return registry.ReplaceBlob(ctx, j.dst, want, open)
				}
				return registry.UploadBlob(ctx, j.dst, want, open)
			})
		},
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
	return &sourceReader{ReadCloser: verify(body, want, j.progress), wrap: func(err error) error { return j.sourceError(want.Digest, err) }}, nil
}

// progress tells of bytes on their way to the destination.
func (j *job) progress(n int) {
	if j.copier.opts.Events.Moved != nil {
		j.copier.opts.Events.Moved(j.action, n)
	}
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
