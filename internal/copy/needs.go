package copy

import (
	"context"
	"errors"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// needs are the blobs that more than one destination repository wants in a run, with the
// repositories that are still to get them. What is not there is wanted once at most, as
// far as anybody knows.
type needs struct {
	by      map[blobID]map[ref.Repository]bool
	of      map[ref.Repository][]blobID
	actions map[ref.Repository]int // still to be carried out
}

// needsOf reads what a plan's actions want from the manifests that planning has left in
// the library. It asks nobody: where manifests are no longer kept, nothing is known.
func needsOf(ctx context.Context, library *Library, p plan.Plan) needs {
	n := needs{by: map[blobID]map[ref.Repository]bool{}, of: map[ref.Repository][]blobID{}, actions: map[ref.Repository]int{}}
	for _, a := range p.Actions {
		if a.Verb.Writes() {
			n.actions[a.To.Repository]++
		}
	}
	if len(n.actions) < 2 {
		return needs{}
	}
	for _, a := range p.Actions {
		if !a.Verb.Writes() {
			continue
		}
		if root, err := Root(ctx, library, onShelf{}, a); err == nil {
			n.add(root, a.To.Repository)
		}
	}
	n.keepShared()
	return n
}

// onShelf is a source of manifests that has none: who reads a library with it gets what
// the library keeps.
type onShelf struct{ registry.Source }

var errNotKept = errors.New("not kept")

func (onShelf) Manifest(context.Context, ref.Reference) (registry.Manifest, error) {
	return registry.Manifest{}, errNotKept
}

func (n needs) add(root *Node, repo ref.Repository) {
	for node := range root.all() {
		for _, b := range node.Blobs {
			id := blobID{b.Digest, b.Size}
			if n.by[id] == nil {
				n.by[id] = map[ref.Repository]bool{}
			}
			n.by[id][repo] = true
		}
	}
}

// keepShared forgets what one repository alone wants.
func (n needs) keepShared() {
	for id, repos := range n.by {
		if len(repos) < 2 {
			delete(n.by, id)
			continue
		}
		for repo := range repos {
			n.of[repo] = append(n.of[repo], id)
		}
	}
}

// others reports whether a repository other than at's is still to get the blob, and will
// not mount it.
func (n needs) others(at content, mounts func(host string) bool) bool {
	for repo := range n.by[at.blob()] {
		if repo != at.repo && (repo.Host != at.repo.Host || !mounts(repo.Host)) {
			return true
		}
	}
	return false
}

// met notes that repo needs a blob no more, and reports whether nobody does now.
func (n needs) met(id blobID, repo ref.Repository) (last bool) {
	repos, shared := n.by[id]
	if !shared || !repos[repo] {
		return false
	}
	delete(repos, repo)
	if len(repos) == 0 {
		delete(n.by, id)
	}
	return len(repos) == 0
}

// finished notes that an action on repo has been carried out, however well, and returns
// the blobs that nobody needs any more because it was repo's last.
func (n needs) finished(repo ref.Repository) (over []blobID) {
	if n.actions[repo] > 1 {
		n.actions[repo]--
		return nil
	}
	for _, id := range n.of[repo] {
		if n.met(id, repo) {
			over = append(over, id)
		}
	}
	delete(n.of, repo)
	return over
}
