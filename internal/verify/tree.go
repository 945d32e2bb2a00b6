package verify

import (
	"context"
	"fmt"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// tree is a manifest with all that it leads to. How many referrers may still stand above
// one another belongs to it, and only ever gets less: lists of referrers are claims, and
// may lead in a circle. Manifests cannot, where their bytes have their digests.
type tree struct {
	digest    ref.Digest
	size      int64      // that its index says, -1 where none does
	depth     int        // indexes above it
	referrals int        // 0 where referrers do not matter
	subject   ref.Digest // that it was listed as a referrer of, "" where it was not
}

// manifest checks a tree, once for all images that have it; what was hashed counts for
// whom it was looked at. Its error is that it could not be looked at: somebody else may
// look again.
func (r *Repository) manifest(ctx context.Context, t tree, moved func(int)) (plan.Inspection, error) {
	var hashed int64
	found, err := r.trees.do(ctx, t, func() (plan.Inspection, error) {
		found := r.look(ctx, t, moved)
		err := found.Err
		hashed, found.Hashed, found.Err = found.Hashed, 0, nil
		return found, err
	})
	found.Hashed = hashed
	return found, err
}

func (r *Repository) look(ctx context.Context, t tree, moved func(int)) plan.Inspection {
	at := r.at.Digested(t.digest)
	served, lost, err := r.read(ctx, at, "manifest", t.digest)
	if err != nil || lost != nil {
		return r.outcome(lost, err)
	}
	if got := t.digest.Algorithm().FromBytes(served.Raw); got != t.digest {
		return damaged("manifest", t.digest, fmt.Sprintf("its bytes are %s", got))
	}
	if size := int64(len(served.Raw)); t.size >= 0 && size != t.size {
		return damaged("manifest", t.digest, fmt.Sprintf("its index says %d bytes and it has %d", t.size, size))
	}
	parsed, err := manifest.Parse(served.Raw, served.MediaType)
	if err != nil {
		return plan.Inspection{Err: r.readError("read manifest from", at, err)}
	}
	if t.subject != "" && (parsed.Subject == nil || parsed.Subject.Digest != t.subject) {
		return plan.Inspection{} // it is about something else, and nobody asked about that
	}
	found := r.below(ctx, t, parsed, moved)
	if t.referrals > 0 {
		found = found.And(r.about(ctx, t, moved))
	}
	return found
}

// below checks what a manifest names.
func (r *Repository) below(ctx context.Context, t tree, parsed manifest.Manifest, moved func(int)) plan.Inspection {
	if len(parsed.Children) > 0 && t.depth >= maxDepth {
		err := fmt.Errorf("more than %d indexes above one another: %w", maxDepth, failure.ErrUnsupported)
		return plan.Inspection{Err: r.readError("read manifest from", r.at.Digested(t.digest), err)}
	}
	children := all(len(parsed.Children), func(i int) plan.Inspection {
		child := parsed.Children[i]
		return together(r.manifest(ctx, tree{child.Digest, child.Size, t.depth + 1, t.referrals, ""}, moved))
	})
	blobs := all(len(parsed.Blobs), func(i int) plan.Inspection {
		if parsed.Blobs[i].Foreign {
			return plan.Inspection{} // it is where its URLs say
		}
		return r.blob(ctx, parsed.Blobs[i].Descriptor, moved)
	})
	return children.And(blobs)
}

// about checks what refers to a manifest: what the registry lists, and what is kept under
// tags that are named after it. The list of a registry without the referrers API is one
// of those.
func (r *Repository) about(ctx context.Context, t tree, moved func(int)) plan.Inspection {
	subject := r.at.Digested(t.digest)
	tags := r.listed(ctx).about(t.digest)
	var listed []ref.Descriptor
	err := r.ask(ctx, func() (err error) {
		if tags.fallback {
			listed, err = r.place.Referrers(ctx, subject)
		} else {
			listed, err = registry.AskReferrers(ctx, r.place, subject)
		}
		return err
	})
	problem, err := r.verdict(ctx, "list referrers of", subject, err)
	if err != nil {
		return plan.Inspection{Err: err}
	}
	var found plan.Inspection
	if problem != "" && problem != "missing" {
		found = damaged("referrers", t.digest, problem)
	}
	found = found.And(all(len(listed), func(i int) plan.Inspection {
		return together(r.manifest(ctx, tree{listed[i].Digest, -1, 0, t.referrals - 1, t.digest}, moved))
	}))
	return found.And(all(len(tags.names), func(i int) plan.Inspection { return r.derived(ctx, tags.names[i], t.referrals-1, moved) }))
}

// derived checks what a tag leads to that is named after a digest. That there is none is
// no damage: it may be only guessed.
func (r *Repository) derived(ctx context.Context, tag string, referrals int, moved func(int)) plan.Inspection {
	at := r.at.Tagged(tag)
	var d ref.Descriptor
	err := r.ask(ctx, func() (err error) {
		d, err = r.place.Resolve(ctx, at)
		return err
	})
	problem, err := r.verdict(ctx, "resolve", at, err)
	switch {
	case err != nil:
		return plan.Inspection{Err: err}
	case problem == "missing":
		return r.absent(ctx, tag)
	case problem != "":
		return damaged("tag", "", tag+": "+problem)
	}
	return r.tag(ctx, tag, d.Digest).And(together(r.manifest(ctx, tree{d.Digest, -1, 0, referrals, ""}, moved)))
}

// together puts what was found and why not everything was looked at into one.
func together(found plan.Inspection, err error) plan.Inspection {
	if err != nil {
		found.Err = err
	}
	return found
}
