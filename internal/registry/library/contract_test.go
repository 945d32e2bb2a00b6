package library_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/library"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/registrytest"
)

func TestContract(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registrytest.Fixture {
		host := ecrlocaltest.StartRegistry(t).Host
		return registrytest.Fixture{
			Target:     target(t, library.Options{}),
			Repository: ref.Repository{Host: host, Path: "team/app"},
			Sibling:    ref.Repository{Host: host, Path: "team/other"},
			Can:        registrytest.Abilities{Deletes: true},
		}
	})
}
