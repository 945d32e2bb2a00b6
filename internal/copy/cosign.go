package copy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
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
				defer failure.Contain(&err)
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
		return ref.Reference{}, &registry.Error{Op: "resolve", Side: l.side, Ref: tag, Err: err}
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
		return j.bringTags(ctx, subject, tags)
	})
}

// bringTags copies cosign's tags about a subject.
func (j *job) bringTags(ctx context.Context, subject *Node, tags []ref.Reference) (plan.Referrers, error) {
	return together(ctx, len(tags), func(ctx context.Context, i int) (plan.Referrers, error) {
		lacking, err := j.bringTag(ctx, subject, tags[i])
		switch {
		case err != nil:
			return plan.Referrers{}, err
		case lacking != nil:
			return missing(ctx, tags[i].Digest, lacking)
		}
		return plan.Referrers{Mirrored: 1}, nil
	})
}

// bringTag copies what one of cosign's tags points at, and then the tag.
func (j *job) bringTag(ctx context.Context, subject *Node, tag ref.Reference) (lacking, err error) {
	if grant(&j.read, 1) == 0 {
		return fmt.Errorf("%s: no more than %d referrers are mirrored with an image: %w", tag.Tag, maxReferrers, failure.ErrUnsupported), nil
	}
	n, lacking := j.readTree(ctx, subject, tag.Digest)
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
// to what has all that it has, and stays where it has all that n has, and more.
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
	case n.Digest.Algorithm().FromBytes(held.Raw) == n.Digest, includes(held, n.Manifest):
		return nil
	case !includes(n.Manifest, held):
		return at("write tag to", errOthers)
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

// errOthers refuses to move a tag that would lose something by it.
var errOthers = fmt.Errorf("the tag holds what upstream's does not, and is left as it is: %w", failure.ErrImmutable)

// includes reports whether a manifest of cosign's has every layer that another has,
// which is how cosign adds to what it has signed. Layers differ also where only their
// annotations do: there the signature is.
func includes(m, other registry.Manifest) bool {
	has, isImage := layersOf(m)
	wanted, otherIsImage := layersOf(other)
	return isImage && otherIsImage && !slices.ContainsFunc(wanted, func(w imgspec.Descriptor) bool {
		return !slices.ContainsFunc(has, func(h imgspec.Descriptor) bool {
			return h.Digest == w.Digest && maps.Equal(h.Annotations, w.Annotations)
		})
	})
}

func layersOf(m registry.Manifest) (layers []imgspec.Descriptor, isImage bool) {
	parsed, err := manifest.Parse(m.Raw, m.MediaType)
	if err != nil || parsed.Index {
		return nil, false
	}
	var image imgspec.Manifest
	err = json.Unmarshal(m.Raw, &image)
	return image.Layers, err == nil
}
