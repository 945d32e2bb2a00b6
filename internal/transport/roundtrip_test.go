package transport_test

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	imagetypes "go.podman.io/image/v5/types"
	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, ecrlocaltest.IgnoreRegistryGoroutine())
}

// image is an index with all that makes one hard: two platforms, a shared layer, a
// manifest that does not carry its media type.
func image() imagetest.Node {
	base := imagetest.Layer("base", 3<<20)
	return imagetest.Index(
		imagetest.Image(ref.Platform{OS: "linux", Architecture: "amd64"}, base, imagetest.Layer("amd64", 100)),
		imagetest.Image(ref.Platform{OS: "linux", Architecture: "arm64"}, base).WithoutMediaType(),
	)
}

// push writes an image by digest, and then its tag.
func push(t *testing.T, c *transport.Client, to ref.Reference, root imagetest.Node) {
	t.Helper()
	dst, err := c.OpenDestination(t.Context(), to.Repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range root.AllBlobs() {
		want := ref.Descriptor{MediaType: b.Descriptor.MediaType, Digest: b.Digest(), Size: b.Descriptor.Size}
		if held, err := registry.HasBlob(t.Context(), dst, want); err != nil || held {
			t.Fatalf("before the upload: held = %t, %v", held, err)
		}
		err := registry.UploadBlob(t.Context(), dst, want, func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b.Content)), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if held, err := registry.HasBlob(t.Context(), dst, want); err != nil || !held {
			t.Fatalf("after the upload: held = %t, %v", held, err)
		}
	}
	for n := range root.All() {
		m := registry.Manifest{MediaType: n.Descriptor.MediaType, Raw: n.Raw}
		if err := registry.WriteManifest(t.Context(), dst, string(n.Digest()), m); err != nil {
			t.Fatal(err)
		}
	}
	m := registry.Manifest{MediaType: root.Descriptor.MediaType, Raw: root.Raw}
	if err := registry.WriteManifest(t.Context(), dst, to.Tag, m); err != nil {
		t.Fatal(err)
	}
}

// pull reads an image back and compares every byte.
func pull(t *testing.T, c *transport.Client, from ref.Reference, root imagetest.Node) {
	t.Helper()
	got, err := c.Resolve(t.Context(), from)
	want := ref.Descriptor{MediaType: root.Descriptor.MediaType, Digest: root.Digest(), Size: int64(len(root.Raw))}
	if err != nil || got != want {
		t.Errorf("Resolve = %v, %v; want %v", got, err, want)
	}
	src, err := c.OpenSource(t.Context(), from.Repository)
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.All() {
		d := n.Digest()
		raw, mediaType, err := src.GetManifest(t.Context(), &d)
		if err != nil || !bytes.Equal(raw, n.Raw) || mediaType != n.Descriptor.MediaType {
			t.Errorf("manifest %s: %d bytes of %s, %v", d, len(raw), mediaType, err)
		}
	}
	for _, b := range root.AllBlobs() {
		body, size, err := src.GetBlob(t.Context(), imagetypes.BlobInfo{Digest: b.Digest()}, none.NoCache)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(body)
		if err != nil || body.Close() != nil || size != b.Descriptor.Size || !bytes.Equal(content, b.Content) {
			t.Errorf("blob %s: %d bytes, said to be %d, %v", b.Digest(), len(content), size, err)
		}
	}
}

func TestRoundTripThroughDistribution(t *testing.T) {
	r := ecrlocaltest.StartRegistry(t)
	c := transport.New(transport.Options{})
	defer c.Close()
	at := ref.Repository{Host: r.Host, Path: "team/app"}
	push(t, c, at.Tagged("1.0"), image())
	pull(t, c, at.Tagged("1.0"), image())

	dst, err := c.OpenDestination(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	root := image()
	for _, tag := range []string{"1", "latest"} {
		if err := registry.WriteManifest(t.Context(), dst, tag, registry.Manifest{MediaType: root.Descriptor.MediaType, Raw: root.Raw}); err != nil {
			t.Fatal(err)
		}
	}
	var tags []string
	for tag, err := range c.Tags(t.Context(), at) {
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, tag)
	}
	if diff := cmp.Diff([]string{"1", "1.0", "latest"}, tags); diff != "" {
		t.Errorf("tags (-want +got)\n%s", diff)
	}
	_, err = c.Resolve(t.Context(), at.Tagged("absent"))
	wantKind(t, err, registry.ErrNotFound)
	for _, err := range c.Tags(t.Context(), ref.Repository{Host: r.Host, Path: "no/such"}) {
		wantKind(t, err, registry.ErrNotFound)
	}
}

// issued is an auth.Provider of a local ECR's passwords, which keeps one until it is
// refused.
type issued struct {
	server  *ecrlocaltest.Running
	mu      sync.Mutex
	current auth.Credential
	fetched int
}

func (i *issued) Credential(context.Context, string) (auth.Credential, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current.Anonymous() {
		i.fetched++
		i.current = auth.Credential{Username: "AWS", Password: auth.Secret(i.server.RegistryToken(ecrlocaltest.AccessKey, "", ""))}
	}
	return i.current, nil
}

func (i *issued) Refused(_ string, c auth.Credential) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c == i.current {
		i.current = auth.Credential{}
	}
}

func TestRoundTripThroughECR(t *testing.T) {
	var hours atomic.Int64
	r := ecrlocaltest.Start(t, func(o *ecrlocal.Options) {
		o.Clock = func() time.Time { return time.Now().Add(time.Duration(hours.Load()) * time.Hour) }
	})
	if err := r.CreateRepository("team/app", ecrlocal.RepositoryOptions{Mutability: "IMMUTABLE"}); err != nil {
		t.Fatal(err)
	}
	passwords := &issued{server: r}
	c := transport.New(transport.Options{Credentials: passwords, RetryTimes: 1})
	defer c.Close()
	at := ref.Repository{Host: r.Host, Path: "team/app"}
	push(t, c, at.Tagged("1.0"), image())
	hours.Store(13) // a daemon's password lives twelve
	pull(t, c, at.Tagged("1.0"), image())
	if passwords.fetched != 2 {
		t.Errorf("%d passwords were fetched, want 2", passwords.fetched)
	}

	_, err := c.Resolve(t.Context(), at.Tagged("absent"))
	wantKind(t, err, registry.ErrNotFound)
	_, err = c.Resolve(t.Context(), ref.Repository{Host: r.Host, Path: "no/such"}.Tagged("1.0"))
	wantKind(t, err, registry.ErrNotFound)
	dst, err := c.OpenDestination(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	child := image().Children[0]
	err = registry.WriteManifest(t.Context(), dst, "1.0", registry.Manifest{MediaType: child.Descriptor.MediaType, Raw: child.Raw})
	wantKind(t, err, registry.ErrImmutable)

	anonymous := transport.New(transport.Options{})
	defer anonymous.Close()
	_, err = anonymous.Resolve(t.Context(), at.Tagged("1.0"))
	wantKind(t, err, registry.ErrDenied)
}
