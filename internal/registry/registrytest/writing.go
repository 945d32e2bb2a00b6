package registrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	imagetypes "go.podman.io/image/v5/types"
	"golang.org/x/sync/errgroup"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// twoPhases: content that was written by digest makes no tag.
func twoPhases(t *testing.T, f Fixture) {
	node := index("two phases")
	dst := destination(t, f, f.Repository)
	push(t, dst, node, "")
	resolved(t, f, f.Repository.Digested(node.Digest()), node)
	for tag, err := range f.Target.Tags(t.Context(), f.Repository) {
		if err == nil {
			t.Errorf("the tag %q came from nowhere", tag)
		} else if !errors.Is(err, registry.ErrNotFound) {
			t.Error(err)
		}
	}
	if err := registry.WriteManifest(t.Context(), dst, "1.0", manifestOf(node)); err != nil {
		t.Fatal(err)
	}
	readBack(t, f, f.Repository, node)
	other := digest.FromString("other")
	if err := registry.WriteManifest(t.Context(), dst, other.String(), manifestOf(node)); err == nil {
		t.Error("a manifest was stored under a digest that is not its own")
	}
	absentTag(t, f, f.Repository.Digested(other))
}

// taggedAlone: what was written under a tag alone is there under its digest, too, as clients
// ask for it that have resolved the tag.
func taggedAlone(t *testing.T, f Fixture) {
	node := image("tagged alone")
	dst := destination(t, f, f.Repository)
	for _, b := range node.AllBlobs() {
		if err := upload(t.Context(), dst, b); err != nil {
			t.Fatal(err)
		}
	}
	if err := registry.WriteManifest(t.Context(), dst, "1.0", manifestOf(node)); err != nil {
		t.Fatal(err)
	}
	resolved(t, f, f.Repository.Tagged("1.0"), node)
	resolved(t, f, f.Repository.Digested(node.Digest()), node)
	readBack(t, f, f.Repository, node)
}

// moved: a tag is what was written last, and what it was stays under its digest.
func moved(t *testing.T, f Fixture) {
	before, after := image("before"), image("after")
	dst := destination(t, f, f.Repository)
	push(t, dst, before, "latest")
	push(t, dst, after, "latest")
	resolved(t, f, f.Repository.Tagged("latest"), after)
	resolved(t, f, f.Repository.Digested(before.Digest()), before)
	push(t, dst, before, "latest")
	resolved(t, f, f.Repository.Tagged("latest"), before)
	if n := len(tagsOf(t, f, f.Repository)); n != 1 {
		t.Errorf("%d tags", n)
	}
}

// atOnce: one endpoint serves many goroutines, and no tag is lost.
func atOnce(t *testing.T, f Fixture) {
	const images = 24
	dst := destination(t, f, f.Repository)
	g, ctx := errgroup.WithContext(t.Context())
	var want []string
	for i := range images {
		tag := fmt.Sprintf("v%02d", i)
		want = append(want, tag)
		g.Go(func() error { return write(ctx, dst, image(tag), tag) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	got := tagsOf(t, f, f.Repository)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("tags %v, want %v", got, want)
	}
	for _, tag := range want {
		resolved(t, f, f.Repository.Tagged(tag), image(tag))
	}
	readBack(t, f, f.Repository, image(want[images/2]))
}

// ended: nothing goes on, and nothing is there, after the context has ended.
func ended(t *testing.T, f Fixture) {
	dst, src := destination(t, f, f.Repository), source(t, f, f.Repository)
	node := image("ended")
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	d := node.Digest()
	for what, do := range map[string]func() error{
		"Resolve":       func() error { _, err := f.Target.Resolve(ctx, f.Repository.Tagged("1.0")); return err },
		"Manifest":      func() error { _, err := f.Target.Manifest(ctx, f.Repository.Tagged("1.0")); return err },
		"GetManifest":   func() error { _, _, err := src.GetManifest(ctx, &d); return err },
		"WriteManifest": func() error { return registry.WriteManifest(ctx, dst, "1.0", manifestOf(node)) },
		"UploadBlob": func() error {
			return registry.UploadBlob(ctx, dst, descriptor(node.Blobs[0]), opener(node.Blobs[0].Content))
		},
	} {
		if err := do(); err == nil || errors.Is(err, registry.ErrNotFound) || registry.Final(err) {
			t.Errorf("%s under a context that has ended: %v", what, err)
		}
	}
	absentTag(t, f, f.Repository.Tagged("1.0"))

	// In the middle of a blob.
	large := imagetest.Layer("large", 1<<20)
	ctx, cancel = context.WithCancelCause(t.Context())
	defer cancel(nil)
	err := registry.UploadBlob(ctx, dst, descriptor(large), func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(large.Content[:1<<19]), &ending{ctx, func() { cancel(enough) }})), nil
	})
	if err == nil {
		t.Error("half a blob was taken for the whole")
	}
	lacks(t, dst, descriptor(large))
}

// ending ends a context when it is read, and then reads as what an endpoint gives whose
// context has ended.
type ending struct {
	ctx context.Context //nolint:containedctx // it is what the reader is about
	end func()
}

func (e *ending) Read([]byte) (int, error) {
	e.end()
	<-e.ctx.Done()
	return 0, context.Cause(e.ctx)
}

// lacks insists that a blob is not there.
func lacks(t *testing.T, dst imagetypes.ImageDestination, want ref.Descriptor) {
	t.Helper()
	if held, err := registry.HasBlob(t.Context(), dst, want); err != nil || held {
		t.Errorf("blob %s is there: %t, %v", want.Digest, held, err)
	}
}

// sizes: a blob of many megabytes, and one of none.
func sizes(t *testing.T, f Fixture) {
	dst := destination(t, f, f.Repository)
	large := imagetest.Image(amd64, imagetest.Layer("large", 20<<20+1))
	push(t, dst, large, "large")
	readBack(t, f, f.Repository, large)

	empty := imagetest.Image(amd64, imagetest.NewBlob("application/vnd.oci.image.layer.v1.tar", nil))
	err := write(t.Context(), dst, empty, "empty")
	switch {
	case !f.Can.RefusesEmpty && err != nil:
		t.Errorf("an empty blob: %v", err)
	case !f.Can.RefusesEmpty:
		readBack(t, f, f.Repository, empty)
	case err == nil || !registry.Final(err):
		t.Errorf("an empty blob: %v, want an error that is final", err)
	}
}

// wrongBlobs: bytes that do not have the digest never become a blob, whatever is wrong with
// them, and an upload that failed leaves the next one alone.
func wrongBlobs(t *testing.T, f Fixture) {
	dst := destination(t, f, f.Repository)
	right := imagetest.Layer("right", 300_000)
	torn := errors.New("torn")
	flipped := bytes.Clone(right.Content)
	flipped[len(flipped)/2] ^= 1
	for what, content := range map[string]io.Reader{
		"torn":    io.MultiReader(bytes.NewReader(right.Content[:200_000]), failing{torn}),
		"short":   io.MultiReader(bytes.NewReader(right.Content[:299_999]), failing{io.ErrUnexpectedEOF}),
		"flipped": io.MultiReader(bytes.NewReader(flipped[:299_999]), failing{registry.ErrCorrupt}), // as sources end it
	} {
		err := registry.UploadBlob(t.Context(), dst, descriptor(right), func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(content), nil
		})
		if err == nil {
			t.Errorf("%s: no error", what)
		}
		if what == "torn" && !errors.Is(err, torn) {
			t.Errorf("%s: %v, and the source said %v", what, err, torn)
		}
		lacks(t, dst, descriptor(right))
	}
	gone := errors.New("gone")
	if err := registry.UploadBlob(t.Context(), dst, descriptor(right), func(context.Context) (io.ReadCloser, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("a source that does not open: %v", err)
	}
	if err := upload(t.Context(), dst, right); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if held, err := registry.HasBlob(t.Context(), dst, ref.Descriptor{Digest: right.Digest(), Size: 7}); err != nil || held {
		t.Errorf("with another size it is there, too: %t, %v", held, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
