package bucket_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/bucket"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/registrytest"
)

func TestContract(t *testing.T) {
	for name, opts := range map[string]bucket.Options{
		"streamed": {},
		"in parts": bucket.Options{}.Sized(1_000, 512<<10),
	} {
		t.Run(name, func(t *testing.T) {
			registrytest.Run(t, func(t *testing.T) registrytest.Fixture {
				return registrytest.Fixture{
					Target:     serve(t).target(opts),
					Repository: ref.Repository{Host: host, Path: "mirror/app"},
					Sibling:    ref.Repository{Host: host, Path: "mirror/app/other"},
					Can:        registrytest.Abilities{Deletes: true, Mounts: true, ListReferrers: true},
				}
			})
		})
	}
}
