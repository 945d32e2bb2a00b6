package copy

import (
	"context"
	"fmt"
	"iter"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// A Node is one manifest of an image and, below it, everything it refers to. Nodes
// that share a child share the Node.
type Node struct {
	Digest   ref.Digest
	Manifest registry.Manifest
	Children []*Node         // of an index, each digest once
	Blobs    []manifest.Blob // of an image or artifact: config and layers, each digest once, none foreign
	Subject  ref.Digest      // of a referrer: what it is about, "" where it is about nothing

	entry imgspec.Descriptor // as a list of referrers has it
	held  bool               // at the destination since before the run: its digest is all there is to it
}

// Size returns the bytes of the image at a destination: each manifest and each blob
// once.
func (n *Node) Size() int64 {
	var total int64
	blobs := map[ref.Digest]bool{}
	for node := range n.all() {
		total += int64(len(node.Manifest.Raw))
		for _, b := range node.Blobs {
			if !blobs[b.Digest] {
				blobs[b.Digest] = true
				total += b.Size
			}
		}
	}
	return total
}

// all yields n and every manifest below it, each once.
func (n *Node) all() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		seen := map[ref.Digest]bool{n.Digest: true}
		for open := []*Node{n}; len(open) > 0; open = open[1:] {
			if !yield(open[0]) {
				return
			}
			for _, child := range open[0].Children {
				if !seen[child.Digest] {
					seen[child.Digest] = true
					open = append(open, child)
				}
			}
		}
	}
}

// Root reads the image that a is to write: upstream's own, or what platform selection
// makes of it. It is an error if that is not what was planned.
func Root(ctx context.Context, library *Library, src registry.Source, a plan.Action) (*Node, error) {
	upstream := a.From
	if a.Mirror.Platforms.One != nil {
		upstream.Digest = a.Want
	}
	if a.Want == upstream.Digest {
		return library.Tree(ctx, src, upstream)
	}
	index, err := library.Manifest(ctx, src, upstream)
	if err != nil {
		return nil, err
	}
	selected, err := manifest.Select(index.Raw, index.MediaType, a.Mirror.Platforms.Keep)
	if err != nil {
		return nil, &registry.Error{Op: "select platforms of", Side: registry.SideSource, Ref: upstream, Err: err}
	}
	if selected.Digest != a.Want {
		return nil, fmt.Errorf("platform selection of %s made %s where the plan says %s", upstream, selected.Digest, a.Want)
	}
	return library.TreeOf(ctx, src, upstream, registry.Manifest{MediaType: selected.MediaType, Raw: selected.Raw})
}

// Limits on what an image may make a run read. Real images nest two indexes at most,
// and have some dozens of manifests. Depth alone is no limit: eight indexes that each
// name the next one's thousand children lead down more ways than can ever be walked.
const (
	maxDepth     = 8    // indexes above an image
	maxManifests = 2000 // in the whole tree, each once
)

// Tree reads the image that from's digest names, with all its manifests.
func (l *Library) Tree(ctx context.Context, src registry.Source, from ref.Reference) (*Node, error) {
	m, err := l.Manifest(ctx, src, from)
	if err != nil {
		return nil, err
	}
	return l.grow(ctx, src, from, m)
}

// TreeOf is Tree for a root that is not upstream's own: an index that platform
// selection wrote, whose children are upstream's.
func (l *Library) TreeOf(ctx context.Context, src registry.Source, from ref.Reference, root registry.Manifest) (*Node, error) {
	from.Digest = digestOf(root.Raw)
	return l.grow(ctx, src, from, root)
}

// grow reads what a root refers to, level by level, the manifests of a level side by
// side and each manifest once.
func (l *Library) grow(ctx context.Context, src registry.Source, from ref.Reference, m registry.Manifest) (*Node, error) {
	root := &branch{node: &Node{Digest: from.Digest}, size: int64(len(m.Raw))}
	if err := root.read(m); err != nil {
		return nil, l.unreadable(from, err)
	}
	t := tree{branches: map[ref.Digest]*branch{from.Digest: root}}
	level := []*branch{root}
	for depth := 0; len(level) > 0; depth++ {
		next, err := t.below(level)
		if err == nil && (len(t.branches) > maxManifests || len(next) > 0 && depth >= maxDepth) {
			err = fmt.Errorf("it has more than %d manifests or %d indexes above one another: %w", maxManifests, maxDepth, failure.ErrUnsupported)
		}
		if err != nil {
			return nil, l.unreadable(from, err)
		}
		if err := l.readAll(ctx, src, from.Repository, next); err != nil {
			return nil, err
		}
		level = next
	}
	return root.node, nil
}

func (l *Library) unreadable(from ref.Reference, err error) error {
	return &registry.Error{Op: "read manifest from", Side: l.side, Ref: from, Err: err}
}

// readAll reads the manifests of one level.
func (l *Library) readAll(ctx context.Context, src registry.Source, repo ref.Repository, level []*branch) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, b := range level {
		g.Go(func() (err error) {
			defer failure.Contain(&err)
			from := repo.Digested(b.node.Digest)
			m, err := l.Manifest(ctx, src, from)
			if err != nil {
				return err
			}
			if err := b.read(m); err != nil {
				return l.unreadable(from, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// tree is a tree that is being read.
type tree struct{ branches map[ref.Digest]*branch }

// branch is a Node with what its parents say of it and what it says of its children.
type branch struct {
	node     *Node
	size     int64
	children []manifest.Child
}

// read fills the node in from its manifest.
func (b *branch) read(m registry.Manifest) error {
	if int64(len(m.Raw)) != b.size {
		return fmt.Errorf("its index says %d bytes and it has %d: %w", b.size, len(m.Raw), failure.ErrUnsupported)
	}
	parsed, err := manifest.Parse(m.Raw, m.MediaType)
	if err != nil {
		return err
	}
	m.MediaType = parsed.MediaType
	b.node.Manifest, b.children = m, parsed.Children
	if parsed.Subject != nil {
		b.node.Subject, b.node.entry = parsed.Subject.Digest, entryOf(b.node.Digest, parsed, m)
	}
	b.node.Blobs, err = distinct(parsed.Blobs)
	return err
}

// below links the nodes of a level with their children, and returns those children
// that have not been read yet.
func (t tree) below(level []*branch) ([]*branch, error) {
	var unread []*branch
	for _, parent := range level {
		linked := map[ref.Digest]bool{}
		for _, entry := range parent.children {
			child, known := t.branches[entry.Digest]
			if !known {
				child = &branch{node: &Node{Digest: entry.Digest}, size: entry.Size}
				t.branches[entry.Digest] = child
				unread = append(unread, child)
			}
			if child.size != entry.Size {
				return nil, twoSizes(entry.Digest)
			}
			if !linked[entry.Digest] {
				linked[entry.Digest] = true
				parent.node.Children = append(parent.node.Children, child.node)
			}
		}
	}
	return unread, nil
}

// distinct leaves out repeats, which images have when two steps changed nothing, and
// foreign layers, which stay where their URLs say.
func distinct(blobs []manifest.Blob) ([]manifest.Blob, error) {
	var kept []manifest.Blob
	sizes := map[ref.Digest]int64{}
	for _, b := range blobs {
		if b.Foreign {
			continue
		}
		size, seen := sizes[b.Digest]
		switch {
		case !seen:
			sizes[b.Digest] = b.Size
			kept = append(kept, b)
		case size != b.Size:
			return nil, twoSizes(b.Digest)
		}
	}
	return kept, nil
}

// twoSizes refuses a manifest of whose entries one must be wrong. Only the first would
// be held against the bytes.
func twoSizes(d ref.Digest) error {
	return fmt.Errorf("it gives %s two sizes: %w", d, failure.ErrUnsupported)
}
