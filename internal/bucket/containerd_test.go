package bucket_test

import (
	"context"
	"io"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
)

// containerd's own resolver is what Kubernetes pulls with.
func TestContainerdPulls(t *testing.T) {
	s := serve(t)
	index, single := stock(t, s)
	host := authority(website(t, s))
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))})
	for tag, node := range map[string]imagetest.Node{"1.0": index, "docker": single} {
		name, desc, err := resolver.Resolve(t.Context(), host+"/mirror/app:"+tag)
		if err != nil || desc.Digest != node.Digest() || desc.MediaType != node.Descriptor.MediaType {
			t.Fatalf("%s resolves to %+v, %v", tag, desc, err)
		}
		fetcher, err := resolver.Fetcher(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for n := range node.All() {
			fetched(t, fetcher, n.Descriptor, n.Raw)
		}
		for _, b := range node.AllBlobs() {
			fetched(t, fetcher, b.Descriptor, b.Content)
		}
	}
}

func fetched(t *testing.T, fetcher remotes.Fetcher, desc imgspec.Descriptor, want []byte) {
	t.Helper()
	body, err := fetcher.Fetch(context.WithoutCancel(t.Context()), desc)
	if err != nil {
		t.Fatalf("%s: %v", desc.Digest, err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil || string(got) != string(want) {
		t.Errorf("%s came as %d bytes: %v", desc.Digest, len(got), err)
	}
}
