package mirror

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/prune"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// spare keeps the images that are needed for something else, where they would be deleted
// with their last tag. Manifests are read only for that.
func (r *Runner) spare(ctx context.Context, decided []prune.Decision, views []prune.View) {
	going := make(map[ref.Repository]map[ref.Digest]string)
	for _, d := range decided {
		if to := d.Action.To; d.Deletes {
			if going[to.Repository] == nil {
				going[to.Repository] = make(map[ref.Digest]string)
			}
			going[to.Repository][d.Action.Have] = to.Tag
		}
	}
	for _, v := range views {
		repo := v.Mirror.Target
		if going[repo] == nil || v.Listing == nil {
			continue
		}
		n := needs{
			target: r.Places.Target(plan.Action{Mirror: v.Mirror, To: ref.Reference{Repository: repo}}),
			repo:   repo, going: going[repo], seen: make(map[ref.Digest]bool), needed: make(map[ref.Digest]string),
		}
		err := n.find(ctx, v.Listing.Held)
		prune.Spare(decided, repo, n.needed, err)
		delete(going, repo)
	}
}

// needs finds out for what the images of one repository are needed that are to go.
type needs struct {
	target registry.Target
	repo   ref.Repository
	going  map[ref.Digest]string // the images that are to go, and one of their tags
	seen   map[ref.Digest]bool
	needed map[ref.Digest]string // the answer: for what
}

// find reads what all tags of the repository point at, and the indexes below.
func (n *needs) find(ctx context.Context, held map[string]ref.Digest) error {
	read := maps.Clone(n.going)
	for _, tag := range slices.Sorted(maps.Keys(held)) {
		if d := held[tag]; read[d] == "" && !n.isAbout(tag) {
			read[d] = tag
		}
	}
	for len(read) > 0 {
		found, err := registry.ReadManifests(ctx, n.target, n.repo, slices.Collect(maps.Keys(read)))
		if err != nil {
			return &registry.Error{Op: "read manifests of", Side: registry.SideTarget, Ref: ref.Reference{Repository: n.repo}, Err: err}
		}
		below := make(map[ref.Digest]string)
		for d, m := range found {
			if err := n.note(d, read[d], m, below); err != nil {
				return err
			}
		}
		read = below
	}
	return nil
}

// isAbout reports whether a tag stands for something that was made for an image which
// goes, such as its signature: that does not need the image.
func (n *needs) isAbout(tag string) bool {
	for d := range n.going {
		if strings.HasPrefix(tag, d.Algorithm().String()+"-"+d.Encoded()) {
			return true
		}
	}
	return false
}

// note writes down what a manifest needs, and adds the indexes that it names to below.
func (n *needs) note(d ref.Digest, tag string, served registry.Manifest, below map[ref.Digest]string) error {
	n.seen[d] = true
	m, err := manifest.Parse(served.Raw, served.MediaType)
	if err != nil {
		return fmt.Errorf("%s: %w", n.repo.Tagged(tag), err)
	}
	_, goes := n.going[d]
	switch {
	case m.Subject == nil:
	case goes:
		n.needed[d] = "it refers to " + string(m.Subject.Digest)
	default:
		n.needed[m.Subject.Digest] = tag + " refers to it"
	}
	for _, child := range m.Children {
		n.needed[child.Digest] = tag + " is an index with it"
		if !n.seen[child.Digest] && !isSingleImage(child.MediaType) {
			below[child.Digest] = tag
		}
	}
	return nil
}
