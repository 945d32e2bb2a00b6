package copy

import (
	"context"
	"errors"
	"sync/atomic"

	imagetypes "go.podman.io/image/v5/types"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
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
	begun  func()       // is told when the queue knows what the image wants, and again
	read   atomic.Int64 // manifests of referrers
}

// content brings everything that has to be there before the tag: what the root names,
// and beside it what refers to the image. The root itself comes with its tag. Only where
// something refers to it, or an index names it, is it written by its digest before.
func (j *job) content(ctx context.Context, root *Node) (referrers plan.Referrers, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		defer failure.Contain(&err)
		defer j.begun()
		return j.below(ctx, root)
	})
	if j.action.Mirror.Options.Referrers {
		g.Go(func() (err error) {
			defer failure.Contain(&err)
			referrers, err = j.referrers(ctx, root)
			return err
		})
	}
	err = g.Wait()
	return referrers, err
}

// node brings a manifest to the destination after everything it refers to. The first
// failure that will not pass cancels what is under way beside it. Of a manifest that has
// a subject, node reports whether the registry said that it lists it as a referrer.
func (j *job) node(ctx context.Context, n *Node) (listed bool, err error) {
	if j.copier.nodesDone.known(j.contentOf(n)) {
		j.begun() // another image says what this one wants
	}
	return j.copier.nodesDone.do(ctx, j.contentOf(n), j.action.From.Repository, func(ctx context.Context) (bool, error) {
		if err := j.below(ctx, n); err != nil {
			return false, err
		}
		listed, err := j.write(ctx, n)
		if lacksContent(err) {
			if err := j.belowAgain(ctx, n, err); err != nil {
				return false, err
			}
			listed, err = j.write(ctx, n)
		}
		return listed, err
	})
}

// below brings what n refers to.
func (j *job) below(ctx context.Context, n *Node) error {
	if len(n.Children) == 0 {
		return j.blobs(ctx, n.Blobs)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, child := range n.Children {
		g.Go(func() (err error) {
			defer failure.Contain(&err)
			_, err = j.node(ctx, child)
			return err
		})
	}
	return g.Wait()
}

// write stores n's manifest by its digest.
func (j *job) write(ctx context.Context, n *Node) (listed bool, err error) {
	ctx, ended := j.piece(ctx, PieceManifest, ref.Descriptor{Digest: n.Digest, Size: int64(len(n.Manifest.Raw))})
	defer func() { ended(err) }()
	if n.Subject == "" {
		err = registry.WriteManifest(ctx, j.dst, n.Digest.String(), n.Manifest)
	} else {
		listed, err = registry.WriteReferrer(ctx, j.dst, n.Digest, n.Subject, n.Manifest)
	}
	if err != nil {
		return false, j.targetError("write manifest to", n.Digest, err)
	}
	j.copier.mounts.named(j.action.To.Repository, n)
	return listed, nil
}

// lacksContent reports whether a refusal of a manifest may mean that the registry has
// not got what it names: some say 404, some 400. Of a tag that is immutable it says
// nothing.
func lacksContent(err error) bool {
	return !errors.Is(err, failure.ErrImmutable) && (errors.Is(err, failure.ErrNotFound) || errors.Is(err, failure.ErrRefused))
}

// belowAgain looks anew for everything that a refused manifest names, and brings what is
// lacking. Garbage collectors delete untagged content, also what a run found, or brought,
// a moment ago.
func (j *job) belowAgain(ctx context.Context, n *Node, refusal error) error {
	j.copier.log.Warn("manifest refused, looking for what it names again", zap.String("mirror", j.action.Mirror.Name), zap.Stringer("destination", j.action.To), zap.Error(refusal))
	j.copier.vacancies.doubt(j.action.To.Repository)
	for node := range n.all() {
		if node != n {
			j.copier.nodesDone.forgetLanded(j.contentOf(node))
		}
		for _, b := range node.Blobs {
			j.copier.blobsDone.forgetLanded(j.contentOfBlob(b.Descriptor))
		}
	}
	return j.below(ctx, n)
}

// piece tells that a piece of the image begins.
func (j *job) piece(ctx context.Context, kind PieceKind, d ref.Descriptor) (context.Context, func(error)) {
	p := Piece{Kind: kind, To: j.action.To.Repository.Digested(d.Digest), Digest: d.Digest, Size: d.Size}
	if kind == PieceTag {
		p.To = j.action.To
	}
	return j.copier.opts.Events.piece(ctx, p)
}

func (j *job) contentOf(n *Node) content {
	return content{j.action.To.Repository, n.Digest, int64(len(n.Manifest.Raw))}
}

func (j *job) contentOfBlob(b ref.Descriptor) content {
	return content{j.action.To.Repository, b.Digest, b.Size}
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
