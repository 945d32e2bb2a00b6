package transport_test

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/registrytest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// Two registries that have nothing in common but the specification.
func TestContract(t *testing.T) {
	for name, kind := range map[string]struct {
		host func(t *testing.T) string
		can  registrytest.Abilities
	}{
		"distribution":         {distribution, registrytest.Abilities{Deletes: true, Mounts: true}},
		"go-containerregistry": {containerRegistry, registrytest.Abilities{Deletes: true}},
	} {
		t.Run(name, func(t *testing.T) {
			registrytest.Run(t, func(t *testing.T) registrytest.Fixture {
				client, host := transport.New(transport.Options{}), kind.host(t)
				t.Cleanup(func() { _ = client.Close() })
				return registrytest.Fixture{
					Target:     client,
					Repository: ref.Repository{Host: host, Path: "team/app"},
					Sibling:    ref.Repository{Host: host, Path: "team/other"},
					Can:        kind.can,
				}
			})
		})
	}
}

func distribution(t *testing.T) string {
	t.Helper()
	return ecrlocaltest.StartRegistry(t).Host
}

func containerRegistry(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)), ggcr.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
