package copy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	specs "github.com/opencontainers/image-spec/specs-go"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// enlistTimes is how often the fallback tag is written before somebody else, who writes
// it as well, is let win.
const enlistTimes = 3

// entryOf is a manifest as a list of referrers has it: all of it is from the manifest's
// own bytes, and nothing from what upstream's list says.
func entryOf(d ref.Digest, m manifest.Manifest, from registry.Manifest) imgspec.Descriptor {
	return imgspec.Descriptor{
		MediaType: m.MediaType, Digest: d, Size: int64(len(from.Raw)),
		ArtifactType: m.Kind(), Annotations: m.Annotations,
	}
}

// enlist makes the destination's list of a subject's referrers have the given ones,
// about which the registry has said nothing: it does not know of subjects, and then the
// list is an index under a tag, for clients to keep.
func (j *job) enlist(ctx context.Context, subject ref.Digest, referrers []*Node) error {
	if len(referrers) == 0 {
		return nil
	}
	tag := j.action.To.Repository.Tagged(registry.ReferrersTag(subject))
	at := func(err error) error {
		return &registry.Error{Op: "list referrers at", Side: registry.SideTarget, Ref: tag, Err: err}
	}
	listed, err := j.target.Referrers(ctx, j.action.To.Repository.Digested(subject))
	if err != nil {
		return at(err)
	}
	if hasAll(listed, referrers) {
		return nil
	}
	for range enlistTimes {
		if err = j.writeFallback(ctx, tag, referrers); err == nil || !errors.Is(err, errOverwritten) {
			break
		}
	}
	if err != nil {
		return at(err)
	}
	return nil
}

// hasAll reports whether a list of referrers has all of the given ones.
func hasAll(listed []ref.Descriptor, referrers []*Node) bool {
	for _, n := range referrers {
		if !slices.ContainsFunc(listed, func(d ref.Descriptor) bool { return d.Digest == n.Digest }) {
			return false
		}
	}
	return true
}

var errOverwritten = fmt.Errorf("somebody else wrote the tag at the same time: %w", failure.ErrCorrupt)

// writeFallback adds referrers to the index under the fallback tag, and reads back what
// the tag then says. Registries have no compare-and-swap.
func (j *job) writeFallback(ctx context.Context, tag ref.Reference, referrers []*Node) error {
	index, err := j.readFallback(ctx, tag)
	if err != nil {
		return err
	}
	if !add(&index, referrers) {
		return nil
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := registry.WriteManifest(ctx, j.dst, tag.Tag, registry.Manifest{MediaType: imgspec.MediaTypeImageIndex, Raw: raw}); err != nil {
		return err
	}
	if index, err = j.readFallback(ctx, tag); err != nil {
		return err
	}
	if add(&index, referrers) {
		return errOverwritten
	}
	return nil
}

// readFallback reads the index under the fallback tag, an empty one where there is no
// such tag.
func (j *job) readFallback(ctx context.Context, tag ref.Reference) (imgspec.Index, error) {
	empty := imgspec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: imgspec.MediaTypeImageIndex}
	m, err := j.target.Manifest(ctx, tag)
	if errors.Is(err, failure.ErrNotFound) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	parsed, err := manifest.Parse(m.Raw, m.MediaType)
	if err != nil {
		return empty, err
	}
	if parsed.MediaType != imgspec.MediaTypeImageIndex {
		return empty, fmt.Errorf("the tag holds no list of referrers but %s: %w", parsed.MediaType, failure.ErrUnsupported)
	}
	index := empty
	err = json.Unmarshal(m.Raw, &index)
	return index, err
}

// add appends to an index the referrers that it lacks, sorted as they come, and reports
// whether there were any. What others have listed stays as it is.
func add(index *imgspec.Index, referrers []*Node) bool {
	added := false
	for _, n := range referrers {
		if !slices.ContainsFunc(index.Manifests, func(e imgspec.Descriptor) bool { return e.Digest == n.Digest }) {
			index.Manifests = append(index.Manifests, n.entry)
			added = true
		}
	}
	return added
}
