package layout_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/layout"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/registrytest"
)

func TestContract(t *testing.T) {
	t.Run("directories", func(t *testing.T) {
		registrytest.Run(t, func(t *testing.T) registrytest.Fixture {
			host := "oci:" + t.TempDir()
			return registrytest.Fixture{
				Target:     &layout.Layouts{},
				Repository: ref.Repository{Host: host, Path: "team/app"},
				Sibling:    ref.Repository{Host: host, Path: "team/other"},
				Can:        registrytest.Abilities{Deletes: true, Mounts: true, ListReferrers: true},
			}
		})
	})
	t.Run("archives", func(t *testing.T) {
		registrytest.Run(t, func(t *testing.T) registrytest.Fixture {
			archives := &layout.Archives{}
			t.Cleanup(func() { _ = archives.Close() })
			host := "oci-archive:" + t.TempDir()
			return registrytest.Fixture{
				Target:     archives,
				Repository: ref.Repository{Host: host, Path: "team/app.tar"},
				Sibling:    ref.Repository{Host: host, Path: "team/other.tar"},
				Can:        registrytest.Abilities{Deletes: true, ListReferrers: true},
			}
		})
	})
}
