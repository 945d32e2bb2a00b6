package copy

import (
	"context"
	"errors"
	"maps"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// needs are the blobs that more than one destination repository wants in a run, with the
// repositories that are still to get them. What is not there is wanted once at most, as
// far as anybody knows. What refers to images is only known when it is read.
type needs struct {
	by       map[blobID]map[ref.Repository]bool
	of       map[ref.Repository][]blobID
	actions  map[ref.Repository]int             // still to be carried out
	subjects map[origin]map[ref.Repository]bool // who wants what refers to a manifest, where several do
}

func newNeeds() needs {
	return needs{
		by: map[blobID]map[ref.Repository]bool{}, of: map[ref.Repository][]blobID{},
		actions: map[ref.Repository]int{}, subjects: map[origin]map[ref.Repository]bool{},
	}
}

// needsOf reads what a plan's actions want from the manifests that planning has left in
// the library. It asks nobody: where manifests are no longer kept, nothing is known.
func needsOf(ctx context.Context, library *Library, p plan.Plan) needs {
	n := newNeeds()
	for _, a := range p.Actions {
		if a.Verb.Writes() {
			n.actions[a.To.Repository]++
		}
	}
	if len(n.actions) < 2 {
		return needs{}
	}
	for _, a := range p.Actions {
		switch {
		case a.OnlyReferrers():
			for _, gap := range a.Compared.Gaps {
				n.refer(a, gap.Subject)
			}
		case a.Verb.Writes():
			if root, err := Root(ctx, library, onShelf{}, a); err == nil {
				n.image(a, root)
			}
		}
	}
	n.keepShared()
	return n
}

// image notes what an action wants of an image.
func (n needs) image(a plan.Action, root *Node) {
	n.add(root, a.To.Repository)
	if !a.Mirror.Options.Referrers {
		return
	}
	for node := range root.all() {
		n.refer(a, node.Digest)
	}
}

// refer notes that an action wants what refers to a manifest.
func (n needs) refer(a plan.Action, subject ref.Digest) {
	key := origin{a.From.Repository, subject}
	if n.subjects[key] == nil {
		n.subjects[key] = map[ref.Repository]bool{}
	}
	n.subjects[key][a.To.Repository] = true
}

// referrer notes that a manifest has been found to have a referrer: whoever wants the one
// wants the blobs of the other, and what refers to it in turn.
func (n needs) referrer(subject origin, referrer *Node) {
	repos, key := n.subjects[subject], origin{subject.repo, referrer.Digest}
	if _, known := n.subjects[key]; known || len(repos) == 0 {
		return
	}
	n.subjects[key] = repos
	for repo := range repos {
		if n.actions[repo] == 0 {
			continue // it has had its turn
		}
		n.add(referrer, repo)
		for node := range referrer.all() {
			for _, b := range node.Blobs {
				n.of[repo] = append(n.of[repo], blobID{b.Digest, b.Size})
			}
		}
	}
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
	maps.DeleteFunc(n.subjects, func(_ origin, repos map[ref.Repository]bool) bool { return len(repos) < 2 })
}

// shared says who is still to get a blob that several repositories wanted.
func (n needs) shared(id blobID) sharing {
	repos := n.by[id]
	found := sharing{several: len(repos) > 0}
	if len(repos) < 2 {
		return found
	}
	for repo := range repos {
		if found.host != "" && found.host != repo.Host {
			return sharing{several: true}
		}
		found.host = repo.Host
	}
	return found
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
	delete(n.actions, repo)
	for _, id := range n.of[repo] {
		if n.met(id, repo) {
			over = append(over, id)
		}
	}
	delete(n.of, repo)
	return over
}
