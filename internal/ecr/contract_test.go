package ecr_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/registrytest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

func TestContract(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registrytest.Fixture {
		server := ecrlocaltest.Start(t)
		create(t, server, "app", ecrlocal.RepositoryOptions{})
		create(t, server, "other", ecrlocal.RepositoryOptions{})
		_, registries := connect(t, server.URL, ecr.Options{})
		if _, err := registries.Host(t.Context(), region); err != nil {
			t.Fatal(err)
		}
		content := transport.New(transport.Options{Credentials: registries})
		t.Cleanup(func() { _ = content.Close() })
		return registrytest.Fixture{
			Target:     ecr.NewTarget(content, registries),
			Repository: repositoryOn(server, "app"),
			Sibling:    repositoryOn(server, "other"),
			New:        repositoryOn(server, "made/later"),
			Can:        registrytest.Abilities{Creates: true, Deletes: true, ListReferrers: true, RefusesEmpty: true}, // mounts are for accounts that switch them on
		}
	})
}
