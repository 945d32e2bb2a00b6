package ecr_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

func TestQuota(t *testing.T) {
	registries := ecr.NewRegistries(open(t, ecr.Options{}), nil)
	private := registries.Quota("111122223333.dkr.ecr.eu-central-1.amazonaws.com")
	if private.ManifestWrites >= 10 || private.ManifestWrites < 8 {
		t.Errorf("PutImage is granted ten times a second, and %g are used", private.ManifestWrites)
	}
	if fips := registries.Quota("111122223333.dkr.ecr-fips.eu-central-1.amazonaws.com"); fips != private {
		t.Errorf("under another name the registry has another quota:\n%+v\n%+v", fips, private)
	}
	for _, other := range []string{"444455556666.dkr.ecr.eu-central-1.amazonaws.com", "111122223333.dkr.ecr.eu-west-1.amazonaws.com"} {
		if q := registries.Quota(other); q.Scope == private.Scope {
			t.Errorf("%s shares the quota of another account or Region, %q", other, q.Scope)
		}
	}
	if q := registries.Quota("public.ecr.aws"); q.UploadStarts >= 10 || q.UploadStarts == 0 {
		t.Errorf("ECR Public grants ten uploads a second, and %g are used", q.UploadStarts)
	}
	if q := registries.Quota("ghcr.io"); q != (registry.Quota{}) {
		t.Errorf("the quota of a registry that is not ECR's: %+v", q)
	}
}
