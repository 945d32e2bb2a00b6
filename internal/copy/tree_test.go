package copy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

var platform = ref.Platform{OS: "linux", Architecture: "amd64"}

// shelfSource is a source of manifests that counts how it is asked.
type shelfSource struct {
	mu        sync.Mutex
	manifests map[ref.Digest]registry.Manifest
	reads     map[ref.Reference]int
	under     atomic.Int32
	most      atomic.Int32
	wait      func() // called within each read
}

func sourceOf(nodes ...imagetest.Node) *shelfSource {
	s := &shelfSource{manifests: map[ref.Digest]registry.Manifest{}, reads: map[ref.Reference]int{}, wait: func() {}}
	for _, root := range nodes {
		for n := range root.All() {
			s.manifests[n.Digest()] = registry.Manifest{MediaType: n.Descriptor.MediaType, Raw: n.Raw}
		}
	}
	return s
}

func (s *shelfSource) Manifest(_ context.Context, r ref.Reference) (registry.Manifest, error) {
	s.most.Store(max(s.most.Load(), s.under.Add(1)))
	defer s.under.Add(-1)
	s.wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads[r]++
	m, ok := s.manifests[r.Digest]
	if !ok {
		return registry.Manifest{}, failure.ErrNotFound
	}
	return m, nil
}

func (s *shelfSource) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, reads := range s.reads {
		n += reads
	}
	return n
}

func (*shelfSource) Resolve(context.Context, ref.Reference) (ref.Descriptor, error) {
	panic("a tree is read by digest alone")
}

func (*shelfSource) Tags(context.Context, ref.Repository) iter.Seq2[string, error] { panic("no tags") }

func (*shelfSource) Referrers(context.Context, ref.Reference) ([]ref.Descriptor, error) {
	panic("no referrers")
}

func (*shelfSource) OpenSource(context.Context, ref.Repository) (imagetypes.ImageSource, error) {
	panic("no blobs")
}

func at(repo ref.Repository, n imagetest.Node) ref.Reference {
	return ref.Reference{Repository: repo, Tag: "not to be read", Digest: n.Digest()}
}

func TestTree(t *testing.T) {
	base, own := imagetest.Layer("base", 100), imagetest.Layer("own", 10)
	a := imagetest.Image(platform, base, own, base)
	b := imagetest.Image(ref.Platform{OS: "linux", Architecture: "arm64"}, base, imagetest.ForeignLayer("f", 1000, "http://192.0.2.1/"))
	inner := imagetest.Index(a, b)
	root := imagetest.Index(inner, a, inner)
	src := sourceOf(root)
	tree, err := NewLibrary(4).Tree(t.Context(), src, at(here, root))
	if err != nil {
		t.Fatal(err)
	}

	var got []string
	for n := range tree.all() {
		got = append(got, fmt.Sprintf("%s %d children %d blobs", n.Digest, len(n.Children), len(n.Blobs)))
	}
	want := []string{
		fmt.Sprintf("%s 2 children 0 blobs", root.Digest()),
		fmt.Sprintf("%s 2 children 0 blobs", inner.Digest()),
		fmt.Sprintf("%s 0 children 3 blobs", a.Digest()),
		fmt.Sprintf("%s 0 children 2 blobs", b.Digest()),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var size int64
	for n := range root.All() {
		size += int64(len(n.Raw))
	}
	for _, blob := range root.AllBlobs() {
		size += blob.Descriptor.Size
	}
	if tree.Size() != size {
		t.Errorf("size %d, want %d", tree.Size(), size)
	}
	if src.total() != 4 {
		t.Errorf("%d reads: %v", src.total(), src.reads)
	}
}

// deep is an image under so many indexes.
func deep(indexes int) imagetest.Node {
	n := imagetest.Image(platform)
	for range indexes {
		n = imagetest.Index(n)
	}
	return n
}

// layered is a graph of indexes in which each names all of the next level: few
// manifests, and more ways through them than can be walked.
func layered(levels, width int) imagetest.Node {
	var level []imagetest.Node
	for i := range width {
		level = append(level, imagetest.Image(platform, imagetest.Layer(fmt.Sprint(i), 8)))
	}
	for range levels - 1 {
		var next []imagetest.Node
		for i := range width {
			next = append(next, imagetest.Index(level...).WithAnnotations(map[string]string{"i": fmt.Sprint(i)}))
		}
		level = next
	}
	return imagetest.Index(level...)
}

func wide(children int) imagetest.Node {
	var nodes []imagetest.Node
	for i := range children {
		nodes = append(nodes, imagetest.Artifact(fmt.Sprint("application/x", i)))
	}
	return imagetest.Index(nodes...)
}

func TestTreeLimits(t *testing.T) {
	faults.Covers(t, "F38")
	tests := []struct {
		name  string
		root  imagetest.Node
		reads int // 0 where it is refused
	}{
		{"no index", deep(0), 1},
		{"eight indexes above one another", deep(8), 9},
		{"nine", deep(9), 0},
		{"as many children as real ones never have", wide(maxManifests - 1), maxManifests},
		{"one more", wide(maxManifests), 0},
		// Walked way by way this takes 10^8 steps, and no read is repeated.
		{"a maze", layered(8, 10), 81},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			src := sourceOf(test.root)
			tree, err := NewLibrary(16).Tree(t.Context(), src, at(here, test.root))
			if test.reads == 0 {
				if !errors.Is(err, failure.ErrUnsupported) || !strings.Contains(err.Error(), "more than") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if src.total() != test.reads {
				t.Errorf("%d reads, want %d", src.total(), test.reads)
			}
			if tree.Size() == 0 {
				t.Error("it has no size")
			}
		})
	}
}

func TestTreeErrorsNameTheManifest(t *testing.T) {
	faults.Covers(t, "F41")
	a, b := imagetest.Image(platform), imagetest.Image(platform, imagetest.Layer("b", 5))
	root := imagetest.Index(a, b)
	schema1 := registry.Manifest{MediaType: "application/vnd.docker.distribution.manifest.v1+json", Raw: b.Raw}
	tests := []struct {
		name   string
		change func(*shelfSource)
		kind   error
		named  imagetest.Node
	}{
		{"a child is absent", func(s *shelfSource) { delete(s.manifests, b.Digest()) }, failure.ErrNotFound, b},
		{"a child is another", func(s *shelfSource) { s.manifests[b.Digest()] = s.manifests[a.Digest()] }, failure.ErrCorrupt, b},
		{"a child is of another type", func(s *shelfSource) { s.manifests[b.Digest()] = schema1 }, failure.ErrUnsupported, b},
		{"the root is absent", func(s *shelfSource) { delete(s.manifests, root.Digest()) }, failure.ErrNotFound, root},
		{"the root is another", func(s *shelfSource) { s.manifests[root.Digest()] = s.manifests[a.Digest()] }, failure.ErrCorrupt, root},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			src := sourceOf(root)
			test.change(src)
			_, err := NewLibrary(4).Tree(t.Context(), src, at(here, root))
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), string(test.named.Digest())) || registry.OnSide(err) != registry.SideSource {
				t.Errorf("got %v", err)
			}
		})
	}
}

// However many ask at once, upstream is asked once, and never for more at a time than
// was allowed.
func TestLibraryReadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := wide(30)
		src := sourceOf(root)
		src.wait = func() { time.Sleep(time.Millisecond) } // in the bubble: until everybody else waits too
		library := NewLibrary(5)
		var g sync.WaitGroup
		for range 20 {
			g.Go(func() {
				if _, err := library.Tree(t.Context(), src, at(here, root)); err != nil {
					t.Error(err)
				}
			})
		}
		g.Wait()
		if src.total() != 31 || library.Read() != 31 {
			t.Errorf("%d reads, %d counted, want 31", src.total(), library.Read())
		}
		if most := src.most.Load(); most > 5 {
			t.Errorf("%d reads at once", most)
		}
	})
}

// A digest that one repository has says nothing about another one.
func TestLibraryKnowsRepositoriesApart(t *testing.T) {
	n := imagetest.Image(platform)
	src, empty := sourceOf(n), sourceOf()
	library := NewLibrary(4)
	if _, err := library.Manifest(t.Context(), src, at(here, n)); err != nil {
		t.Fatal(err)
	}
	if _, err := library.Manifest(t.Context(), empty, at(there, n)); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// What a library keeps does not grow with the run, and what it gave away it reads again.
func TestLibraryIsBounded(t *testing.T) {
	var nodes []imagetest.Node
	for i := range 20 {
		nodes = append(nodes, imagetest.Artifact(fmt.Sprint("application/x", 10+i)))
	}
	size := int64(len(nodes[0].Raw))
	src := sourceOf(nodes...)
	library := newLibrary(4, 5*size)
	read := func(i int) {
		t.Helper()
		m, err := library.Manifest(t.Context(), src, at(here, nodes[i]))
		if err != nil || string(m.Raw) != string(nodes[i].Raw) {
			t.Fatalf("manifest %d: %v", i, err)
		}
		if library.kept.bytes > 5*size || len(library.kept.at) != library.kept.order.Len() {
			t.Fatalf("%d bytes kept, %d and %d manifests", library.kept.bytes, len(library.kept.at), library.kept.order.Len())
		}
	}
	for i := range nodes {
		read(i)
		read(0) // used again and again, it is never given away
	}
	if src.total() != 20 {
		t.Errorf("%d reads of 20 manifests", src.total())
	}
	read(19)
	read(1)
	if src.total() != 21 || library.Read() != 21 {
		t.Errorf("%d reads, %d counted: only the one given away is read again", src.total(), library.Read())
	}
	// What is larger than the whole shelf is read all the same.
	small := newLibrary(4, 1)
	if _, err := small.Manifest(t.Context(), src, at(here, nodes[0])); err != nil || small.kept.bytes != 0 {
		t.Errorf("%v, %d bytes kept", err, small.kept.bytes)
	}
}

// A reader that gives up leaves the reading to those who still want it.
func TestLibraryReaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := imagetest.Image(platform)
		src := sourceOf(n)
		library := NewLibrary(1)
		ctx, cancel := context.WithCancelCause(t.Context())
		if err := library.reads.Acquire(t.Context(), 1); err != nil { // somebody else reads
			t.Fatal(err)
		}
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := library.Manifest(ctx, src, at(here, n))
			first <- err
		}()
		synctest.Wait()
		go func() {
			_, err := library.Manifest(t.Context(), src, at(here, n))
			second <- err
		}()
		synctest.Wait()
		reason := errors.New("its image ran out of time")
		cancel(reason)
		if err := <-first; !errors.Is(err, reason) {
			t.Errorf("the first: %v", err)
		}
		library.reads.Release(1)
		if err := <-second; err != nil || src.total() != 1 {
			t.Errorf("the second: %v after %d reads", err, src.total())
		}
	})
}

func TestTreeOf(t *testing.T) {
	a := imagetest.Image(platform)
	upstream := imagetest.Index(a, imagetest.Image(ref.Platform{OS: "linux", Architecture: "arm64"}))
	var index imgspec.Index
	if err := json.Unmarshal(upstream.Raw, &index); err != nil {
		t.Fatal(err)
	}
	index.Manifests = index.Manifests[:1]
	raw, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	src := sourceOf(upstream)
	tree, err := NewLibrary(4).TreeOf(t.Context(), src, at(here, upstream), registry.Manifest{MediaType: imgspec.MediaTypeImageIndex, Raw: raw})
	if err != nil {
		t.Fatal(err)
	}
	if tree.Digest != digestOf(raw) || len(tree.Children) != 1 || tree.Children[0].Digest != a.Digest() {
		t.Errorf("got %+v", tree)
	}
	if src.total() != 1 {
		t.Errorf("%d reads: the root is not upstream's to have", src.total())
	}
}
