package copy

import (
	"cmp"
	"context"
	"sync"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// vacancies are the destination repositories in which the plan has found none of its
// tags. They hold no blobs, as a rule, and need not be asked for each. One that an
// interrupted run has left half filled, or that holds tags which nobody wants now, is
// found out by one blob, its sample: that is asked for, and only where it is missing are
// the others taken for missing, too. It is brought before all others. So where anything is
// there, the sample is, and a run that is continued brings nothing twice but what was
// under way. Being wrong costs an upload and nothing else.
type vacancies struct {
	samples flights[ref.Repository, sampled]

	mu    sync.Mutex
	repos map[ref.Repository]*vacancy
}

// sampled is what became of a repository's sample.
type sampled struct{ held, brought bool }

// vacancy is a vacant repository.
type vacancy struct {
	from   ref.Repository // the upstream of all that is to come
	mixed  bool           // there are several: which of them has a blob is not known
	sample ref.Descriptor // the smallest blob of what is to come, as far as that is known
	err    error          // why the sample could not be brought, until somebody is told
}

// expect tells which repositories are vacant, before the run begins. Their samples are
// read from the manifests that planning has left in the library.
func (v *vacancies) expect(ctx context.Context, library *Library, p plan.Plan) {
	repos := map[ref.Repository]*vacancy{}
	for _, a := range p.Actions {
		known, seen := repos[a.To.Repository]
		switch {
		case a.Verb != plan.Copy:
			repos[a.To.Repository] = nil
		case !seen:
			repos[a.To.Repository] = &vacancy{from: a.From.Repository}
		case known != nil && known.from != a.From.Repository:
			known.mixed = true
		}
	}
	for _, a := range p.Actions {
		known := repos[a.To.Repository]
		if known == nil || known.mixed {
			continue
		}
		if root, err := Root(ctx, library, onShelf{}, a); err == nil {
			known.consider(root)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.repos = repos
}

// consider makes the smallest blob the sample, which is soonest there. Empty ones are
// none: some registries take no empty blobs.
func (v *vacancy) consider(root *Node) {
	for node := range root.all() {
		for _, b := range node.Blobs {
			smaller := cmp.Or(cmp.Compare(b.Size, v.sample.Size), cmp.Compare(b.Digest, v.sample.Digest)) < 0
			if b.Size > 0 && (v.sample.Digest == "" || smaller) {
				v.sample = b.Descriptor
			}
		}
	}
}

// holds reports whether the destination holds a blob, by asking where it has to be asked.
func (j *job) holds(ctx context.Context, want ref.Descriptor) (bool, error) {
	to := j.action.To.Repository
	sample, vacant := j.copier.vacancies.sampleOf(to)
	if !vacant {
		return j.has(ctx, want)
	}
	known := sample.Digest != ""
	if !known {
		sample = want // which is only asked for
	}
	first, err := j.sampled(ctx, sample, known)
	switch {
	case err != nil:
		return false, err
	case first.held:
		return j.has(ctx, want)
	}
	if sample.Digest != want.Digest {
		return false, nil
	}
	return first.brought, j.copier.vacancies.failure(to)
}

// sampled asks for the sample of the destination repository, once in a run, and brings it
// where it is missing and to be brought.
func (j *job) sampled(ctx context.Context, sample ref.Descriptor, bring bool) (sampled, error) {
	return j.copier.vacancies.samples.do(ctx, j.action.To.Repository, j.action.From.Repository, func(ctx context.Context) (sampled, error) {
		tookOver := j.copier.mounts.tookOver(j.contentOfBlob(sample))
		held, err := j.has(ctx, sample)
		if err != nil || held || !bring {
			return sampled{held: held}, err
		}
		if !tookOver && j.copier.mounts.tookOver(j.contentOfBlob(sample)) {
			return sampled{brought: true}, nil // its own errand has mounted it meanwhile
		}
		j.copier.mounts.missing(j.contentOfBlob(sample), tookOver)
		return j.bringFirst(ctx, sample)
	})
}

// sampleAhead begins with the sample before the queue comes to what the image wants. As many
// errands as may be under way once waited for the samples of a few repositories, and kept
// those from going of which the others waited. Wait returns when the sample is seen to;
// what came of it is told to whoever asks what the repository holds.
func (j *job) sampleAhead(ctx context.Context) (wait func()) {
	sample, vacant := j.copier.vacancies.sampleOf(j.action.To.Repository)
	if !vacant || sample.Digest == "" || j.copier.vacancies.samples.known(j.action.To.Repository) {
		return func() {}
	}
	var g sync.WaitGroup
	g.Go(func() { _, _ = j.sampled(ctx, sample, true) })
	return g.Wait
}

// bringFirst brings a repository's sample, which may be another image's. That it cannot be
// brought is for whoever wants it for itself, and who comes first: it was that one's
// attempt. It waits for nothing that waits for a sample.
func (j *job) bringFirst(ctx context.Context, sample ref.Descriptor) (sampled, error) {
	err := j.spread(ctx, sample)
	if ctx.Err() != nil {
		return sampled{}, context.Cause(ctx)
	}
	if err != nil {
		j.copier.vacancies.fail(j.action.To.Repository, err)
	}
	return sampled{brought: err == nil}, nil
}

// fail keeps why a sample could not be brought.
func (v *vacancies) fail(repo ref.Repository, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if known := v.repos[repo]; known != nil {
		known.err = err
	}
}

// failure returns that once, and nil from then on.
func (v *vacancies) failure(repo ref.Repository) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.repos[repo]
	if known == nil {
		return nil
	}
	err := known.err
	known.err = nil
	return err
}

// sampleOf returns the sample of a vacant repository. Where it is not known, whatever is
// asked for first has to do.
func (v *vacancies) sampleOf(repo ref.Repository) (sample ref.Descriptor, vacant bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if known := v.repos[repo]; known != nil {
		return known.sample, true
	}
	return ref.Descriptor{}, false
}

// doubt notes that a repository is to be asked for each blob from now on.
func (v *vacancies) doubt(repo ref.Repository) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.repos, repo)
}
