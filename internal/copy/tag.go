package copy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// ChangedMeanwhile says that a tag is no longer what the plan saw. Registries have no
// compare-and-swap, so a look just before the write is the best there is.
type ChangedMeanwhile struct {
	Tag        ref.Reference
	Was, IsNow ref.Digest // "" where it was, or is, absent
}

func (e *ChangedMeanwhile) Error() string {
	return fmt.Sprintf("changed meanwhile: %s was %s and is %s", e.Tag, orAbsent(e.Was), orAbsent(e.IsNow))
}

func orAbsent(d ref.Digest) string {
	if d == "" {
		return "absent"
	}
	return string(d)
}

// unsettledError says that a tag was being written and that nobody could say
// afterwards what it is.
type unsettledError struct{ err error }

func (e *unsettledError) Error() string {
	return "it is not known what the tag is now: " + e.err.Error()
}

func (e *unsettledError) Unwrap() error { return e.err }

// needsTag looks at the tag. It is false where the tag is in sync already, which
// another run may have brought about: writing what is there would only trip over
// registries that refuse even the same digest for an immutable tag. The error is
// *ChangedMeanwhile where the tag is neither that nor what the plan saw.
func (j *job) needsTag(ctx context.Context) (bool, error) {
	a := j.action
	now, err := j.target.Resolve(ctx, ref.Reference{Repository: a.To.Repository, Tag: a.To.Tag})
	if err != nil && !errors.Is(err, failure.ErrNotFound) {
		return false, j.tagError("resolve", err)
	}
	switch now.Digest {
	case a.Want:
		served, err := j.served(ctx)
		if err == nil && served != a.Want {
			err = j.misread(served)
		}
		return false, err
	case a.Have:
		return true, nil
	}
	return false, &ChangedMeanwhile{Tag: a.To, Was: a.Have, IsNow: now.Digest}
}

// tag is the second phase: with all that the root names in place it writes the root under
// its tag, and reads back what the tag then says. It reports whether it had to. A root
// that is refused for want of what it names is sent a second time at most.
func (j *job) tag(ctx context.Context, root *Node) (wrote bool, err error) {
	ctx, ended := j.piece(ctx, PieceTag, ref.Descriptor{Digest: root.Digest, Size: int64(len(root.Manifest.Raw))})
	defer func() { ended(err) }()
	for again := true; ; again = false {
		if needed, err := j.needsTag(ctx); err != nil || !needed {
			return false, err
		}
		err := registry.WriteManifest(ctx, j.dst, j.action.To.Tag, root.Manifest)
		if err == nil {
			j.stored(root)
			return true, j.settle(ctx, nil)
		}
		err = j.tagError("write tag to", err)
		switch {
		case again && lacksContent(err):
			if err := j.belowAgain(ctx, root, err); err != nil {
				return false, err
			}
		case failure.Final(err) && !errors.Is(err, failure.ErrImmutable):
			return false, err // refused
		default:
			return true, j.settle(ctx, err)
		}
	}
}

// stored notes that the root is at the destination, for images that it is a part of. Of a
// root that is about another image nobody has said whether the registry lists it, which
// is for who needs to know to ask.
func (j *job) stored(root *Node) {
	j.copier.mounts.named(j.action.To.Repository, root)
	if root.Subject == "" {
		j.copier.nodesDone.settle(j.contentOf(root), false)
	}
}

// settle finds out what came of writing the tag. Neither side of the answer is to be
// believed. A PUT that was redirected to a login page and answered there has been
// called a success; and where an answer was lost, a failure can be a success: the
// second attempt at an immutable tag is even refused. What counts is what the tag
// serves, byte for byte, also when the run has ended in the middle of the write.
func (j *job) settle(ctx context.Context, writeErr error) error {
	ctx, cancel := Outlast(ctx, LastLook)
	defer cancel()
	served, err := j.served(ctx)
	switch {
	case err != nil:
		return &unsettledError{errors.Join(writeErr, err)}
	case served == j.action.Want:
		return nil
	case writeErr != nil:
		return writeErr
	}
	return j.misread(served)
}

// served returns the digest of the bytes that the tag serves now, "" where there is no
// such tag.
func (j *job) served(ctx context.Context) (ref.Digest, error) {
	m, err := j.target.Manifest(ctx, ref.Reference{Repository: j.action.To.Repository, Tag: j.action.To.Tag})
	if errors.Is(err, failure.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", j.tagError("read back from", err)
	}
	return j.action.Want.Algorithm().FromBytes(m.Raw), nil
}

func (j *job) misread(served ref.Digest) error {
	return j.tagError("read back from", fmt.Errorf("the tag serves %s and should serve %s: %w", orAbsent(served), j.action.Want, failure.ErrCorrupt))
}

func (j *job) tagError(op string, err error) error {
	return &registry.Error{Op: op, Side: registry.SideTarget, Ref: j.action.To, Err: err}
}

// LastLook is how long a tag that was being changed is still looked at when the run has
// ended. It has to fit into what is left between SIGTERM and SIGKILL.
const LastLook = 10 * time.Second

// Outlast returns a context that goes on for the given time after ctx has ended.
func Outlast(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(grace, func() { cancel(context.Cause(ctx)) })
	})
	return lasting, func() {
		stop()
		cancel(context.Canceled)
	}
}
