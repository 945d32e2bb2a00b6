package copy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// cosignTags are the tags under which cosign keeps the signatures, the attestations and
// the SBOM of a manifest, where it does not make them referrers.
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
func cosignTags(d ref.Digest) []string {
	base := strings.Replace(d.String(), ":", "-", 1)
	tags := []string{base + ".sig", base + ".att", base + ".sbom"}
	return slices.DeleteFunc(tags, func(tag string) bool { return !ref.ValidTag(tag) })
}

// Listed tells the library all tags of an upstream repository, where a run has listed
// them anyway. It spares the questions about cosign's tags.
func (l *Library) Listed(repo ref.Repository, tags []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listed == nil {
		l.listed = map[ref.Repository]map[string]bool{}
	}
	derived := map[string]bool{}
	for _, tag := range tags {
		if strings.HasPrefix(tag, "sha") {
			derived[tag] = true
		}
	}
	l.listed[repo] = derived
}

// mayHave reports whether upstream may have a tag, as far as it has been listed.
func (l *Library) mayHave(repo ref.Repository, tag string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	listed, known := l.listed[repo]
	return !known || listed[tag]
}

// CosignTags returns those of cosign's tags for subject that upstream has, each with its
// digest: one HEAD for each of three, or for each that is known to be there. Upstream is
// asked once, however many destinations the answer is for.
func (l *Library) CosignTags(ctx context.Context, src registry.Source, subject ref.Reference) ([]ref.Reference, error) {
	key := origin{subject.Repository, subject.Digest}
	return l.cosigned.do(ctx, key, subject.Repository, func(ctx context.Context) ([]ref.Reference, error) {
		tags := slices.DeleteFunc(cosignTags(subject.Digest), func(tag string) bool { return !l.mayHave(subject.Repository, tag) })
		there := make([]ref.Reference, len(tags))
		g, ctx := errgroup.WithContext(ctx)
		for i, tag := range tags {
			g.Go(func() (err error) {
				there[i], err = l.resolve(ctx, src, subject.Repository.Tagged(tag))
				return err
			})
		}
		err := g.Wait()
		return slices.DeleteFunc(there, func(r ref.Reference) bool { return r.Digest == "" }), err
	})
}

// resolve returns a tag with its digest, none where there is no such tag.
func (l *Library) resolve(ctx context.Context, src registry.Source, tag ref.Reference) (ref.Reference, error) {
	err := limited(ctx, l.reads, func() error {
		d, err := src.Resolve(ctx, tag)
		tag.Digest = d.Digest
		return err
	})
	switch {
	case errors.Is(err, failure.ErrNotFound):
		return ref.Reference{}, nil
	case err != nil:
		return ref.Reference{}, &registry.Error{Op: "resolve", Side: registry.SideSource, Ref: tag, Err: err}
	}
	return tag, nil
}

// cosign brings what upstream keeps about a manifest under cosign's tags, tags included,
// once in a run. Its errors are those of bringing the subject, and the end of ctx.
func (j *job) cosign(ctx context.Context, subject *Node) (plan.Referrers, error) {
	key := referral{j.action.From.Repository, j.contentOf(subject)}
	return j.copier.cosigned.do(ctx, key, key.from, func(ctx context.Context) (plan.Referrers, error) {
		tags, err := j.copier.library.CosignTags(ctx, j.origin, key.from.Digested(subject.Digest))
		if err != nil {
			return missing(ctx, subject.Digest, err)
		}
		return j.together(ctx, len(tags), func(ctx context.Context, i int) (plan.Referrers, error) {
			lacking, err := j.bringTag(ctx, subject, tags[i])
			switch {
			case err != nil:
				return plan.Referrers{}, err
			case lacking != nil:
				return missing(ctx, tags[i].Digest, lacking)
			}
			return plan.Referrers{Mirrored: 1}, nil
		})
	})
}

// bringTag copies what one of cosign's tags points at, and then the tag.
func (j *job) bringTag(ctx context.Context, subject *Node, tag ref.Reference) (lacking, err error) {
	if j.grant(1) == 0 {
		return fmt.Errorf("%s: no more than %d referrers are mirrored with an image: %w", tag.Tag, maxReferrers, failure.ErrUnsupported), nil
	}
	n, lacking := j.readTree(ctx, tag.Digest)
	if lacking != nil {
		return lacking, nil
	}
	if lacking, err = j.beside(ctx, subject, n); lacking != nil || err != nil {
		return lacking, err
	}
	if _, lacking = j.node(ctx, n); lacking == nil {
		lacking = j.tagCosign(ctx, tag.Tag, n)
	}
	return lacking, nil
}

// tagCosign lets one of cosign's tags at the destination point at n, and reads it back.
// What somebody has signed at the destination is never taken away: a tag is moved only
// to what has all that it has.
func (j *job) tagCosign(ctx context.Context, tag string, n *Node) error {
	to := j.action.To.Repository.Tagged(tag)
	at := func(op string, err error) error {
		return &registry.Error{Op: op, Side: registry.SideTarget, Ref: to, Err: err}
	}
	held, err := j.target.Manifest(ctx, to)
	switch {
	case errors.Is(err, failure.ErrNotFound):
	case err != nil:
		return at("read manifest from", err)
	case n.Digest.Algorithm().FromBytes(held.Raw) == n.Digest:
		return nil
	case !includes(n, held):
		return at("write tag to", fmt.Errorf("the tag holds what upstream's does not, and is left as it is: %w", failure.ErrImmutable))
	}
	if err := registry.WriteManifest(ctx, j.dst, tag, n.Manifest); err != nil {
		return at("write tag to", err)
	}
	if held, err = j.target.Manifest(ctx, to); err != nil {
		return at("read back from", err)
	}
	if got := n.Digest.Algorithm().FromBytes(held.Raw); got != n.Digest {
		return at("read back from", fmt.Errorf("the tag serves %s and should serve %s: %w", got, n.Digest, failure.ErrCorrupt))
	}
	return nil
}

// includes reports whether n has every layer of a manifest, which is how cosign adds to
// what it has signed.
func includes(n *Node, held registry.Manifest) bool {
	parsed, err := manifest.Parse(held.Raw, held.MediaType)
	if err != nil || parsed.Index {
		return false
	}
	return !slices.ContainsFunc(parsed.Blobs[1:], func(layer manifest.Blob) bool {
		return !slices.ContainsFunc(n.Blobs, func(b manifest.Blob) bool { return b.Digest == layer.Digest })
	})
}
