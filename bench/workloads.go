package main

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/content"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/contest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/stage"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/verdict"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
)

// workload is one kind of work.
type workload struct {
	name    string
	content string
	delays  []time.Duration // the networks it is measured over
	floor   bool            // whether there is a floor to compare with
	peers   bool            // whether other programs can do it
	plan    bool            // whether it ends with the plan
	tiny    bool            // whether its blobs are round trips rather than bytes
	parts   []string        // prefixes of repositories that are measured alone, from large to small
	open    func(ctx context.Context, scale float64) (scene, error)

	counts func(scene) verdict.Counts
	wall   float64 // times the floor's, at most
	peak   int64   // bytes of memory, at most; 0 for no such goal
}

func (w workload) goals(s scene) verdict.Goals {
	return verdict.Goals{Counts: w.counts(s), Wall: w.wall, Peak: w.peak}
}

// scene is a workload set up: it gives out the task of each run.
type scene interface {
	// next makes both sides what they are before a run. The task's directory is the
	// caller's to set.
	next(ctx context.Context) (contest.Task, error)
	close() error
}

const (
	near = 20 * time.Millisecond
	far  = 80 * time.Millisecond
)

func workloads() []workload {
	return []workload{
		{
			name: "W1", content: "cold, layers of 1 KB to 40 MB, half of them shared",
			delays: []time.Duration{0, near}, floor: true, peers: true,
			open: func(ctx context.Context, scale float64) (scene, error) {
				return openCold(ctx, content.Cold(scale), false)
			},
			counts: coldCounts, wall: 1.05, peak: 40 << 20,
		},
		{
			name: "W1-ecr", content: "W1 into a local ECR, which refuses mounts",
			delays: []time.Duration{0},
			open: func(ctx context.Context, scale float64) (scene, error) {
				return openCold(ctx, content.Cold(scale), true)
			},
			counts: unmountedCounts, peak: 40 << 20,
		},
		{
			name: "W1s", content: "cold, tiny blobs, none shared", tiny: true,
			delays: []time.Duration{0, near, far}, floor: true, peers: true,
			open: func(ctx context.Context, scale float64) (scene, error) {
				return openCold(ctx, content.Tiny(scale), false)
			},
			counts: coldCounts, wall: 1.05,
		},
		{
			name: "W2", content: "nothing to do",
			delays: []time.Duration{0, near}, floor: true, peers: true,
			open:   func(ctx context.Context, scale float64) (scene, error) { return openSettled(ctx, scale, false) },
			counts: settledCounts, wall: 1.05,
		},
		{
			name: "W2-ecr", content: "nothing to do at a local ECR, whose registry the floor asks tag by tag",
			delays: []time.Duration{0, near}, floor: true,
			open:   func(ctx context.Context, scale float64) (scene, error) { return openSettled(ctx, scale, true) },
			counts: settledECRCounts, wall: 0.8,
		},
		{
			name: "W3", content: "W2 with a tag of every fifth repository changed",
			delays: []time.Duration{0, near}, floor: true, peers: true,
			open: openChanging, counts: changedCounts, wall: 1.00,
		},
		{
			name: "scale", content: "the plan of many tags at a local ECR, all in sync",
			delays: []time.Duration{0}, plan: true, parts: content.ManyPrefixes[1:],
			open: openMany, counts: settledECRCounts, peak: 300 << 20,
		},
	}
}

// world is what all scenes have: two servers, and what upstream holds.
type world struct {
	scale          float64
	source, target *stage.Server
	want           *stage.Inventory
}

func (w *world) close() error {
	var errs []error
	for _, s := range []*stage.Server{w.source, w.target} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

func (w *world) task() contest.Task {
	return contest.Task{Source: w.source, Target: w.target, Want: w.want}
}

// openSource serves repositories as upstream.
func openSource(ctx context.Context, scale float64, repositories []content.Repository) (*world, error) {
	w := &world{scale: scale}
	var err error
	if w.source, err = stage.StartRegistry(); err != nil { //nolint:contextcheck // it outlives ctx, until close
		return nil, err
	}
	if w.want, err = w.source.Fill(ctx, repositories); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// openTarget starts the other side, empty. At an ECR, repositories with resource tags
// say what they mirror.
func (w *world) openTarget(ecr bool) (err error) {
	if !ecr {
		w.target, err = stage.StartRegistry()
		return err
	}
	if w.target, err = stage.StartECR(); err != nil {
		return err
	}
	for _, name := range w.want.Repositories {
		tags := map[string]string{"upstream-image": w.source.Host + "/" + name, "upstream-tags": "v+"} // content.TagPattern
		if err := w.target.ECR.CreateRepository(name, ecrlocal.RepositoryOptions{Tags: tags}); err != nil {
			return err
		}
	}
	return nil
}

// cold is W1 and W1s: every run begins with an empty target.
type cold struct {
	*world
	ecr bool
}

func openCold(ctx context.Context, repositories []content.Repository, ecr bool) (scene, error) {
	w, err := openSource(ctx, 0, repositories)
	return &cold{w, ecr}, err
}

func (c *cold) next(context.Context) (contest.Task, error) {
	if c.target != nil {
		target := c.target
		c.target = nil
		if err := target.Close(); err != nil {
			return contest.Task{}, err
		}
	}
	err := c.openTarget(c.ecr) //nolint:contextcheck // it outlives ctx, until close
	return c.task(), err
}

// coldCounts: upstream, a list for each repository, every manifest, and every blob once.
// At the destination a list for each repository, POST and PUT for every blob, a mount
// for every other place of it, every manifest, and beside the floor a read-back for
// every tag.
func coldCounts(s scene) verdict.Counts {
	v := s.(*cold).want //nolint:forcetypeassert // as opened
	mounts := v.Placements() - v.Blobs()
	return verdict.Counts{
		verdict.SourceBytes(v.Bytes()),
		verdict.TargetBytes(v.Bytes()),
		verdict.SourceRequests(len(v.Repositories) + v.Manifests() + v.Blobs()),
		verdict.TargetRequests(len(v.Repositories) + 2*v.Blobs() + mounts + v.Manifests() + v.TagCount()),
	}
}

// unmountedCounts: every blob still comes once, however often it is uploaded.
func unmountedCounts(s scene) verdict.Counts {
	v := s.(*cold).want //nolint:forcetypeassert // as opened
	return verdict.Counts{
		verdict.SourceBytes(v.Bytes()),
		verdict.TargetBytes(v.PlacedBytes()),
		verdict.SourceRequests(len(v.Repositories) + v.Manifests() + v.Blobs()),
		verdict.TargetKind("GetAuthorizationToken", 1),
	}
}

// settled is W2: both sides stay as they are.
type settled struct{ *world }

func openSettled(ctx context.Context, scale float64, ecr bool) (scene, error) {
	w, err := openBoth(ctx, scale, content.Settled(scale), ecr)
	return &settled{w}, err
}

// openMany is the scale workload.
func openMany(ctx context.Context, scale float64) (scene, error) {
	w, err := openBoth(ctx, scale, content.Many(scale), true)
	return &settled{w}, err
}

// tagsUnder counts the tags of the repositories under a prefix.
func tagsUnder(s scene, prefix string) int {
	tags := 0
	for repository, of := range s.(*settled).want.Tags { //nolint:forcetypeassert // as opened
		if prefix == "" || strings.HasPrefix(repository, prefix+"/") {
			tags += len(of)
		}
	}
	return tags
}

func openBoth(ctx context.Context, scale float64, repositories []content.Repository, ecr bool) (*world, error) {
	w, err := openSource(ctx, scale, repositories)
	if err != nil {
		return nil, err
	}
	if err = w.openTarget(ecr); err == nil { //nolint:contextcheck // it outlives ctx, until close
		_, err = w.target.Fill(ctx, repositories)
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (s *settled) next(context.Context) (contest.Task, error) {
	t := s.task()
	t.Change = &stage.Inventory{} // nothing
	return t, nil
}

// settledCounts: a HEAD for every tag on both sides, and upstream the lists.
func settledCounts(s scene) verdict.Counts {
	v := s.(*settled).want //nolint:forcetypeassert // as opened
	return verdict.Counts{
		verdict.NoWrites(),
		verdict.SourceKind("manifest-head", v.TagCount()),
		verdict.SourceRequests(len(v.Repositories) + v.TagCount()),
		verdict.TargetRequests(v.TagCount()),
	}
}

// settledECRCounts: the ECR is asked repository by repository.
func settledECRCounts(s scene) verdict.Counts {
	v := s.(*settled).want //nolint:forcetypeassert // as opened
	return verdict.Counts{
		verdict.NoWrites(),
		verdict.SourceKind("manifest-head", v.TagCount()),
		verdict.SourceRequests(len(v.Repositories) + v.TagCount()),
		verdict.TargetKind("ListImages", len(v.Repositories)),
		verdict.TargetKind("manifest-head", 0),
	}
}

// changing is W3: before every run upstream changes the same tags again, so that the
// target is always one change behind.
type changing struct {
	*world
	generation   int
	change, lack *stage.Inventory
}

func openChanging(ctx context.Context, scale float64) (scene, error) {
	w, err := openBoth(ctx, scale, content.Settled(scale), false)
	return &changing{world: w}, err
}

func (c *changing) next(ctx context.Context) (contest.Task, error) {
	c.generation++
	before := stage.Count(content.Changed(c.scale, c.generation-1))
	c.change = stage.Count(content.Changed(c.scale, c.generation))
	c.lack = c.change.Without(before)
	if _, err := c.source.Fill(ctx, content.Changed(c.scale, c.generation)); err != nil {
		return contest.Task{}, err
	}
	for repository, tags := range c.change.Tags {
		maps.Copy(c.want.Tags[repository], tags)
	}
	t := c.task()
	t.Change, t.Old = c.change, before
	return t, nil
}

// changedCounts: as W2, and then every new manifest and blob. Beside the floor, one
// question for every image of a changed index may be asked, and one read-back for every
// tag.
func changedCounts(s scene) verdict.Counts {
	c := s.(*changing) //nolint:forcetypeassert // as opened
	tags, changed := c.want.TagCount(), c.change.TagCount()
	images := c.lack.Manifests() - changed
	return verdict.Counts{
		verdict.SourceBytes(c.lack.Bytes()),
		verdict.TargetBytes(c.lack.Bytes()),
		verdict.SourceRequests(len(c.want.Repositories) + tags + c.lack.Manifests() + c.lack.Blobs()),
		verdict.TargetRequests(tags + 2*c.lack.Blobs() + c.lack.Manifests() + images + changed),
	}
}
