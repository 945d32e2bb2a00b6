// Package verify looks at images where they were mirrored to, and finds what is missing
// or is not what its digest says. It reads what a client reads that pulls the image, and
// compares nothing with upstream: that is package plan's. It writes nothing.
//
// It shares no code with package copy, so that neither believes the other's mistakes.
package verify

import (
	"context"
	"errors"
	"fmt"

	imagetypes "go.podman.io/image/v5/types"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Limits of a run. The endpoints limit the requests at one host; these bound what is under
// way at all, and so the memory: streams are hashed as they come.
const (
	questionsAtOnce = 64
	streamsAtOnce   = 8
	partsAtOnce     = 8 // of one manifest
	maxDepth        = 8 // indexes above an image
	maxReferrals    = 4 // referrers above one another
)

// Checker checks images. It is safe for concurrent use.
type Checker struct {
	deep      bool
	questions *semaphore.Weighted
	streams   *semaphore.Weighted
}

// New returns a Checker. A deep one reads all bytes of all blobs and hashes them; another
// one hashes manifests, and asks of blobs whether they are there and how large they are.
func New(deep bool) *Checker {
	return &Checker{deep: deep, questions: semaphore.NewWeighted(questionsAtOnce), streams: semaphore.NewWeighted(streamsAtOnce)}
}

// Repository checks the images of one repository, and looks at what they share once. It
// remembers what it has looked at until it is closed: memory follows the largest
// repositories, not their number.
type Repository struct {
	checker *Checker
	at      ref.Repository
	place   registry.Source
	content imagetypes.ImageSource
	names   memo[struct{}, *names]
	trees   memo[tree, plan.Inspection]
	blobs   memo[ref.Descriptor, plan.Inspection]
}

// Open returns the checks of one repository at place. Whoever opened it closes it.
func (c *Checker) Open(ctx context.Context, place registry.Source, at ref.Repository) (*Repository, error) {
	content, err := place.OpenSource(ctx, at)
	if err != nil {
		return nil, &registry.Error{Op: "open", Side: registry.SideTarget, Ref: ref.Reference{Repository: at}, Err: err}
	}
	return &Repository{checker: c, at: at, place: place, content: content}, nil
}

// Close ends the checks.
func (r *Repository) Close() error { return r.content.Close() }

// Image is what to check.
type Image struct {
	Tag       string
	Digest    ref.Digest // what the tag is known to mean, "" where it is absent
	Referrers bool       // whether what refers to the image is checked, too

	Moved func(n int) // is told of bytes that are hashed; nil is not
}

// Check looks at an image as it is reached by its tag: at its manifests, its blobs, and
// what refers to it. What several images share is counted as hashed for one of them.
//
// Of a tag that is absent it tells only whether the registry lists it all the same. The
// Err of what it returns is the end of ctx, or that the repository could not be read.
func (r *Repository) Check(ctx context.Context, img Image) plan.Inspection {
	if img.Moved == nil {
		img.Moved = func(int) {}
	}
	found := plan.Inspection{Deep: r.checker.deep}
	if img.Digest == "" {
		return found.And(r.absent(ctx, img.Tag))
	}
	found = found.And(r.tag(ctx, img.Tag, img.Digest))
	left := 0
	if img.Referrers {
		left = maxReferrals
	}
	below, err := r.manifest(ctx, tree{digest: img.Digest, size: -1, referrals: left}, img.Moved)
	if err != nil {
		below.Err = err
	}
	found = found.And(below)
	if ctx.Err() != nil {
		found.Err = context.Cause(ctx)
	}
	return found
}

// absent finds tags that the registry lists and serves no manifest for.
func (r *Repository) absent(ctx context.Context, tag string) plan.Inspection {
	names := r.listed(ctx)
	if err := ctx.Err(); err != nil {
		return plan.Inspection{Err: context.Cause(ctx)}
	}
	if names.known && names.all[tag] {
		return damaged("tag", "", fmt.Sprintf("the registry lists %s and has no manifest for it", tag))
	}
	return plan.Inspection{}
}

// tag reads a tag as a client does, and holds what it gets to the digest that the tag is
// known to mean.
func (r *Repository) tag(ctx context.Context, tag string, want ref.Digest) plan.Inspection {
	at := r.at.Tagged(tag)
	m, lost, err := r.read(ctx, at, "tag", want)
	if err != nil || lost != nil {
		return r.outcome(lost, err)
	}
	got := want.Algorithm().FromBytes(m.Raw)
	if got == want {
		return plan.Inspection{}
	}
	now, err := r.place.Resolve(ctx, at)
	switch {
	case err != nil:
		return plan.Inspection{Err: r.readError("resolve", at, err)}
	case now.Digest != want:
		return plan.Inspection{Err: fmt.Errorf("%s changed meanwhile: it was %s and is %s; verify again", at, want, now.Digest)}
	}
	return damaged("tag", want, fmt.Sprintf("it serves bytes of %s", got))
}

func (r *Repository) outcome(lost *plan.Damage, err error) plan.Inspection {
	if lost != nil {
		return plan.Inspection{Damage: []plan.Damage{*lost}}
	}
	return plan.Inspection{Err: err}
}

func damaged(what string, d ref.Digest, problem string) plan.Inspection {
	return plan.Inspection{Damage: []plan.Damage{{Digest: d, What: what, Problem: problem}}}
}

// read reads a manifest. Lost says that the registry does not serve it.
func (r *Repository) read(ctx context.Context, at ref.Reference, what string, want ref.Digest) (m registry.Manifest, lost *plan.Damage, err error) {
	err = r.ask(ctx, func() (err error) {
		m, err = r.place.Manifest(ctx, at)
		return err
	})
	problem, err := r.verdict(ctx, "read manifest from", at, err)
	if problem != "" {
		lost = &plan.Damage{Digest: want, What: what, Problem: problem}
	}
	return m, lost, err
}

// verdict tells content that is damaged from a registry that cannot be asked. An answer
// that is neither the content nor a refusal is the content's doing where the registry
// answers other questions: some have no other word for a manifest that they cannot read.
func (r *Repository) verdict(ctx context.Context, op string, at ref.Reference, err error) (problem string, _ error) {
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, failure.ErrNotFound):
		return "missing", nil
	case errors.Is(err, failure.ErrCorrupt):
		return err.Error(), nil
	case errors.Is(err, failure.ErrDenied) || errors.Is(err, failure.ErrThrottled) || !r.answers(ctx):
		return "", r.readError(op, at, err)
	}
	return "unreadable: " + err.Error(), nil
}

// answers reports whether the registry answers a question about the repository right now.
func (r *Repository) answers(ctx context.Context) bool {
	for _, err := range r.place.Tags(ctx, r.at) {
		return err == nil
	}
	return ctx.Err() == nil
}

func (r *Repository) readError(op string, at ref.Reference, err error) error {
	return &registry.Error{Op: op, Side: registry.SideTarget, Ref: at, Err: err}
}

// ask asks a small question when there is a place for it.
func (r *Repository) ask(ctx context.Context, question func() error) error {
	return limited(ctx, r.checker.questions, question)
}

func limited(ctx context.Context, places *semaphore.Weighted, f func() error) error {
	if err := places.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer places.Release(1)
	return f()
}

// all checks n parts side by side, all of them whatever is wrong with some.
func all(n int, check func(i int) plan.Inspection) plan.Inspection {
	parts := make([]plan.Inspection, n)
	var g errgroup.Group
	g.SetLimit(partsAtOnce)
	for i := range n {
		g.Go(func() error {
			parts[i] = check(i)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	var found plan.Inspection
	for _, part := range parts {
		found = found.And(part)
	}
	return found
}
