package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

const (
	datesAtOnce = 16 // images looked at side by side for one mirror
	maxNesting  = 4  // indexes within indexes
)

// A dater finds out when a mirror's upstream images were created. That costs a HEAD for
// each tag, and for each digest among them the manifests down to one image and its
// config.
type dater struct {
	runner *Runner
	mirror *discover.Mirror
	src    registry.Source
}

func (r *Runner) dater(m *discover.Mirror) dater {
	if r.Offline {
		held := *m
		held.Upstream = m.Target
		return dater{runner: r, mirror: &held, src: r.targetOf(m)}
	}
	return dater{runner: r, mirror: m, src: r.Places.Source(plan.Action{Mirror: m, From: ref.Reference{Repository: m.Upstream}})}
}

// created returns when the images of tags were created, by tag. One that does not say,
// or that upstream lists and does not have, is left out. Whatever else keeps a time from
// being known is an error: without it the rules would choose others.
func (d dater) created(ctx context.Context, tags []string) (map[string]time.Time, error) {
	digests, err := d.resolve(ctx, tags)
	if err != nil {
		return nil, fmt.Errorf("newest by creation time: %w", err)
	}
	times, err := d.date(ctx, digests)
	if err != nil {
		return nil, fmt.Errorf("newest by creation time: %w", err)
	}
	created := make(map[string]time.Time, len(tags))
	for i, tag := range tags {
		if t := times[digests[i]]; !t.IsZero() {
			created[tag] = t
		}
	}
	return created, nil
}

// resolve returns the digests of tags, "" for one that upstream does not have.
func (d dater) resolve(ctx context.Context, tags []string) ([]ref.Digest, error) {
	digests := make([]ref.Digest, len(tags))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(datesAtOnce)
	for i, tag := range tags {
		g.Go(func() error {
			desc, err := d.src.Resolve(ctx, d.mirror.Upstream.Tagged(tag))
			digests[i] = desc.Digest
			return unlessAbsent(err)
		})
	}
	return digests, g.Wait()
}

// date returns the creation times of images, each of which is read once however many
// tags it has. The zero time stands for an image that does not say.
func (d dater) date(ctx context.Context, digests []ref.Digest) (map[ref.Digest]time.Time, error) {
	slots := make(map[ref.Digest]*time.Time)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(datesAtOnce)
	for _, digest := range digests {
		if _, begun := slots[digest]; begun || digest == "" {
			continue
		}
		slot := new(time.Time)
		slots[digest] = slot
		g.Go(func() (err error) {
			*slot, err = d.manifest(ctx, digest, maxNesting)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	times := make(map[ref.Digest]time.Time, len(slots))
	for digest, slot := range slots {
		times[digest] = *slot
	}
	return times, nil
}

// manifest returns when the image under a manifest was created: what its config says, or
// else the annotation nearest to it. Of an index that is one of its images.
func (d dater) manifest(ctx context.Context, digest ref.Digest, nesting int) (time.Time, error) {
	served, err := d.runner.library.Manifest(ctx, d.src, d.mirror.Upstream.Digested(digest))
	if err != nil {
		return time.Time{}, unlessAbsent(err)
	}
	m, err := manifest.Parse(served.Raw, served.MediaType)
	if err != nil {
		return time.Time{}, unlessAbsent(err)
	}
	var created time.Time
	switch child, ok := d.child(m); {
	case !m.Index:
		created, err = d.config(ctx, m.Blobs[0].Descriptor)
	case ok && nesting > 0:
		if created, err = d.manifest(ctx, child.Digest, nesting-1); created.IsZero() {
			created = annotated(child.Annotations)
		}
	}
	if created.IsZero() {
		created = annotated(m.Annotations)
	}
	return created, err
}

// child returns the image of an index that is looked at: that of the first platform the
// mirror asks for, or the first there is.
func (d dater) child(m manifest.Manifest) (manifest.Child, bool) {
	wanted := d.mirror.Platforms.Keep
	if one := d.mirror.Platforms.One; one != nil {
		wanted = []ref.Platform{*one}
	}
	for _, p := range wanted {
		if child, err := m.One(p); err == nil {
			return child, true
		}
	}
	return m.FirstImage()
}

// config returns the time in an image's config. Artifacts have configs of other types.
func (d dater) config(ctx context.Context, config ref.Descriptor) (time.Time, error) {
	if config.MediaType != imgspec.MediaTypeImageConfig && config.MediaType != manifest.MediaTypeDockerConfig {
		return time.Time{}, nil
	}
	raw, err := d.runner.library.Config(ctx, d.src, d.mirror.Upstream, config)
	if err != nil {
		return time.Time{}, unlessAbsent(err)
	}
	var image struct {
		Created string `json:"created"`
	}
	_ = json.Unmarshal(raw, &image) // what is no JSON says no time
	return meant(image.Created), nil
}

// unlessAbsent drops the errors after which a creation time is known not to be there:
// what is missing upstream, and what no image is.
func unlessAbsent(err error) error {
	if errors.Is(err, failure.ErrNotFound) || errors.Is(err, failure.ErrUnsupported) {
		return nil
	}
	return err
}

func annotated(annotations map[string]string) time.Time {
	return meant(annotations[imgspec.AnnotationCreated])
}

// meant returns the time that a text says, zero where it says none. Builds that are to
// be reproducible write one from before there were containers: 1970 for most, 1980 for
// buildpacks.
func meant(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 2000 {
		return time.Time{}
	}
	return t
}
