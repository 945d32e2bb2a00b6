package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

var repo = ref.Repository{Host: "registry.test", Path: "team/app"}

// place is a Target that holds tags and manifests, and has no bulk abilities.
type place struct {
	tags      map[string]ref.Digest
	manifests map[ref.Digest]registry.Manifest
	broken    map[string]error // by tag or digest
	asked     atomic.Int64
	atOnce    atomic.Int64
	most      atomic.Int64
}

func (p *place) enter() func() {
	p.asked.Add(1)
	now := p.atOnce.Add(1)
	most := p.most.Load()
	for now > most && !p.most.CompareAndSwap(most, now) {
		most = p.most.Load()
	}
	return func() { p.atOnce.Add(-1) }
}

func (p *place) Resolve(ctx context.Context, r ref.Reference) (ref.Descriptor, error) {
	defer p.enter()()
	if ctx.Err() != nil {
		return ref.Descriptor{}, context.Cause(ctx)
	}
	if err := p.broken[r.Tag]; err != nil {
		return ref.Descriptor{}, err
	}
	if d, ok := p.tags[r.Tag]; ok {
		return ref.Descriptor{Digest: d}, nil
	}
	return ref.Descriptor{}, fmt.Errorf("tag %s: %w", r.Tag, registry.ErrNotFound)
}

func (p *place) Manifest(_ context.Context, r ref.Reference) (registry.Manifest, error) {
	defer p.enter()()
	if err := p.broken[string(r.Digest)]; err != nil {
		return registry.Manifest{}, err
	}
	if m, ok := p.manifests[r.Digest]; ok {
		return m, nil
	}
	return registry.Manifest{}, registry.ErrNotFound
}

func (*place) Tags(context.Context, ref.Repository) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("1.0", nil) }
}

func (*place) Referrers(context.Context, ref.Reference) ([]ref.Descriptor, error) { return nil, nil }

func (*place) OpenSource(context.Context, ref.Repository) (imagetypes.ImageSource, error) {
	return nil, nil
}

func (*place) OpenDestination(context.Context, ref.Repository) (imagetypes.ImageDestination, error) {
	return &destination{}, nil
}

// bulk is a Target that answers for many at once.
type bulk struct {
	*place
	asked []string
}

func (b *bulk) Snapshot(context.Context, ref.Repository, []string) (map[string]ref.Descriptor, error) {
	b.asked = append(b.asked, "snapshot")
	return map[string]ref.Descriptor{"bulk": {}}, nil
}

func (b *bulk) ReadManifests(context.Context, ref.Repository, []ref.Digest) (map[ref.Digest]registry.Manifest, error) {
	b.asked = append(b.asked, "manifests")
	return map[ref.Digest]registry.Manifest{"bulk": {}}, nil
}

func manyTags(n int) (tags []string, held map[string]ref.Digest) {
	held = map[string]ref.Digest{}
	for i := range n {
		tag := fmt.Sprint("t", i)
		tags = append(tags, tag)
		if i%3 != 0 {
			held[tag] = digest.FromString(tag)
		}
	}
	return tags, held
}

func TestSnapshotOfOneTagAtATime(t *testing.T) {
	tags, held := manyTags(300)
	p := &place{tags: held}
	got, err := registry.Snapshot(t.Context(), p, repo, tags)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]ref.Descriptor{}
	for tag, d := range held {
		want[tag] = ref.Descriptor{Digest: d}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if p.asked.Load() != 300 || p.most.Load() > 32 {
		t.Errorf("%d questions, %d at once", p.asked.Load(), p.most.Load())
	}
}

// Half an answer that is taken for the whole makes tags look absent, and absent tags are
// copied.
func TestHalfASnapshotIsNone(t *testing.T) {
	tags, held := manyTags(300)
	outage := errors.New("outage")
	p := &place{tags: held, broken: map[string]error{"t7": outage}}
	got, err := registry.Snapshot(t.Context(), p, repo, tags)
	if !errors.Is(err, outage) || got != nil {
		t.Errorf("Snapshot = %d tags, %v", len(got), err)
	}

	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	p = &place{tags: held}
	got, err = registry.Snapshot(ctx, p, repo, tags)
	if !errors.Is(err, enough) || got != nil || p.asked.Load() != 0 {
		t.Errorf("under a dead context: %d tags, %v after %d questions", len(got), err, p.asked.Load())
	}
}

func TestReadManifestsOneAtATime(t *testing.T) {
	one, two := digest.FromString("one"), digest.FromString("two")
	m := registry.Manifest{MediaType: "x", Raw: []byte("one")}
	p := &place{manifests: map[ref.Digest]registry.Manifest{one: m}}
	got, err := registry.ReadManifests(t.Context(), p, repo, []ref.Digest{one, two})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[ref.Digest]registry.Manifest{one: m}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	denied := fmt.Errorf("no: %w", registry.ErrDenied)
	p.broken = map[string]error{string(two): denied}
	if got, err := registry.ReadManifests(t.Context(), p, repo, []ref.Digest{one, two}); !errors.Is(err, registry.ErrDenied) || got != nil {
		t.Errorf("ReadManifests = %v, %v", got, err)
	}
}

func TestBulkAnswersArePreferred(t *testing.T) {
	for name, wrap := range map[string]func(registry.Target) registry.Target{
		"as it is": func(t registry.Target) registry.Target { return t }, "read-only": registry.ReadOnly,
	} {
		b := &bulk{place: &place{}}
		target := wrap(b)
		snapshot, err := registry.Snapshot(t.Context(), target, repo, []string{"1.0"})
		if _, ok := snapshot["bulk"]; err != nil || !ok {
			t.Errorf("%s: Snapshot = %v, %v", name, snapshot, err)
		}
		manifests, err := registry.ReadManifests(t.Context(), target, repo, []ref.Digest{"x"})
		if _, ok := manifests["bulk"]; err != nil || !ok {
			t.Errorf("%s: ReadManifests = %v, %v", name, manifests, err)
		}
		if diff := cmp.Diff([]string{"snapshot", "manifests"}, b.asked); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestReadOnly(t *testing.T) {
	target := registry.ReadOnly(&place{tags: map[string]ref.Digest{"1.0": "x"}})
	dst, err := target.OpenDestination(t.Context(), repo)
	if !errors.Is(err, registry.ErrReadOnly) || dst != nil || !registry.Final(err) {
		t.Errorf("OpenDestination = %v, %v", dst, err)
	}
	if _, err := target.Resolve(t.Context(), repo.Tagged("1.0")); err != nil {
		t.Errorf("it cannot be read: %v", err)
	}
}

// destination is an endpoint without any of the abilities.
type destination struct {
	imagetypes.ImageDestination
	held    bool
	found   imagetypes.BlobInfo
	stored  imagetypes.BlobInfo
	err     error
	got     []byte
	gotInfo imagetypes.BlobInfo
	put     map[ref.Digest][]byte
}

func (d *destination) TryReusingBlob(context.Context, imagetypes.BlobInfo, imagetypes.BlobInfoCache, bool) (bool, imagetypes.BlobInfo, error) {
	return d.held, d.found, d.err
}

func (d *destination) PutBlob(_ context.Context, r io.Reader, info imagetypes.BlobInfo, _ imagetypes.BlobInfoCache, _ bool) (imagetypes.BlobInfo, error) {
	d.gotInfo = info
	var err error
	if d.got, err = io.ReadAll(r); err != nil {
		return imagetypes.BlobInfo{}, err
	}
	return d.stored, d.err
}

func (d *destination) PutManifest(_ context.Context, raw []byte, instance *ref.Digest) error {
	if d.put == nil {
		d.put = map[ref.Digest][]byte{}
	}
	d.put[*instance] = raw
	return d.err
}

// reader fails where it should, and knows whether it was closed.
type reader struct {
	io.Reader
	closed sync.WaitGroup
}

func (r *reader) Close() error { r.closed.Done(); return nil }

func open(r *reader) registry.Opener {
	r.closed.Add(1)
	return func(context.Context) (io.ReadCloser, error) { return r, nil }
}

func TestUploadBlobToAnEndpointWithoutTheAbility(t *testing.T) {
	content := []byte("content")
	want := ref.Descriptor{MediaType: "x", Digest: digest.FromBytes(content), Size: int64(len(content))}

	dst := &destination{stored: imagetypes.BlobInfo{Digest: want.Digest}}
	r := &reader{Reader: bytes.NewReader(content)}
	if err := registry.UploadBlob(t.Context(), dst, want, open(r)); err != nil || !bytes.Equal(dst.got, content) {
		t.Errorf("UploadBlob = %v after %q", err, dst.got)
	}
	r.closed.Wait()
	// With a digest the library would ask first whether the blob is there, which is known.
	if dst.gotInfo.Digest != "" || dst.gotInfo.Size != want.Size || dst.gotInfo.MediaType != "x" {
		t.Errorf("PutBlob was told %+v", dst.gotInfo)
	}

	dst = &destination{stored: imagetypes.BlobInfo{Digest: digest.FromString("other")}}
	if err := registry.UploadBlob(t.Context(), dst, want, open(&reader{Reader: bytes.NewReader(content)})); !errors.Is(err, registry.ErrCorrupt) {
		t.Errorf("stored as another: %v", err)
	}

	torn := &reader{Reader: io.MultiReader(strings.NewReader("con"), failing{})}
	if err := registry.UploadBlob(t.Context(), &destination{}, want, open(torn)); !errors.Is(err, errTorn) {
		t.Errorf("a source that fails: %v", err)
	}
	torn.closed.Wait()

	gone := errors.New("gone")
	err := registry.UploadBlob(t.Context(), &destination{}, want, func(context.Context) (io.ReadCloser, error) { return nil, gone })
	if !errors.Is(err, gone) {
		t.Errorf("an opener that fails: %v", err)
	}
}

type failing struct{}

var errTorn = errors.New("torn")

func (failing) Read([]byte) (int, error) { return 0, errTorn }

func TestHasBlob(t *testing.T) {
	want := ref.Descriptor{Digest: digest.FromString("x"), Size: 7}
	of := func(d ref.Digest, size int64) imagetypes.BlobInfo { return imagetypes.BlobInfo{Digest: d, Size: size} }
	for _, tt := range []struct {
		name string
		dst  destination
		size int64
		want bool
	}{
		{"absent", destination{}, 7, false},
		{"there", destination{held: true, found: of(want.Digest, 7)}, 7, true},
		{"there, size not said", destination{held: true, found: of(want.Digest, -1)}, 7, true},
		{"there, size not asked for", destination{held: true, found: of(want.Digest, 7)}, -1, true},
		{"of another size", destination{held: true, found: of(want.Digest, 8)}, 7, false},
		{"a substitute", destination{held: true, found: of(digest.FromString("y"), 7)}, 7, false},
	} {
		got, err := registry.HasBlob(t.Context(), &tt.dst, ref.Descriptor{Digest: want.Digest, Size: tt.size})
		if err != nil || got != tt.want {
			t.Errorf("%s: %t, %v", tt.name, got, err)
		}
	}
	outage := errors.New("outage")
	if got, err := registry.HasBlob(t.Context(), &destination{held: true, err: outage}, want); !errors.Is(err, outage) || got {
		t.Errorf("an outage: %t, %v", got, err)
	}
}

func TestWriteManifestToAnEndpointWithoutTheAbility(t *testing.T) {
	raw := []byte("{}")
	d := digest.FromBytes(raw)
	dst := &destination{}
	if err := registry.WriteManifest(t.Context(), dst, string(d), registry.Manifest{Raw: raw}); err != nil || !bytes.Equal(dst.put[d], raw) {
		t.Errorf("by digest: %v", err)
	}
	if err := registry.WriteManifest(t.Context(), dst, "1.0", registry.Manifest{Raw: raw}); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("by tag: %v", err)
	}
}

func TestErrors(t *testing.T) {
	err := fmt.Errorf("copying: %w", &registry.Error{
		Op: "resolve", Side: registry.SideTarget, Ref: repo.Tagged("1.0"), Err: fmt.Errorf("no: %w", registry.ErrDenied),
	})
	if got, want := err.Error(), "copying: resolve destination registry.test/team/app:1.0: no: access denied"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if registry.OnSide(err) != registry.SideTarget || registry.OnSide(errors.New("x")) != "" || registry.OnSide(nil) != "" {
		t.Error("OnSide")
	}
	if !registry.Final(err) || registry.Final(nil) || registry.Final(registry.ErrStalled) || registry.Final(registry.ErrCorrupt) {
		t.Error("Final")
	}
	// Refused, but with a credential that has been replaced since.
	if registry.Final(errors.Join(err, registry.ErrExpired)) {
		t.Error("a credential that expired is no reason to give up")
	}
}

func TestReferrersTag(t *testing.T) {
	hex := strings.Repeat("0123456789abcdef", 8)
	for d, want := range map[ref.Digest]string{
		ref.Digest("sha256:" + hex[:64]):        "sha256-" + hex[:64],
		ref.Digest("sha512:" + hex):             "sha512-" + hex[:64],
		"sha256+b64u.odd:with=characters_it_is": "sha256-b64u.odd-with-characters_it_is",
	} {
		got := registry.ReferrersTag(d)
		if got != want || !ref.ValidTag(got) {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

// An endpoint that cannot say what a registry answered leaves open whether the referrer
// is listed.
func TestWriteReferrerToAnEndpointWithoutTheAbility(t *testing.T) {
	dst := &destination{}
	raw := []byte(`{}`)
	d := digest.FromBytes(raw)
	listed, err := registry.WriteReferrer(t.Context(), dst, d, digest.FromString("subject"), registry.Manifest{Raw: raw})
	if err != nil || listed || !bytes.Equal(dst.put[d], raw) {
		t.Errorf("listed %v, put %q: %v", listed, dst.put[d], err)
	}
}
