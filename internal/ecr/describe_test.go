package ecr_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Where a password comes from is told without it, and what is read anonymously fetches none
// to be told about.
func TestDescribe(t *testing.T) {
	server, registries, clock := passwords(t, ecr.Options{})
	reading := registries.Reading()
	for _, host := range []string{"public.ecr.aws", "quay.io"} {
		if origin, err := auth.Describe(t.Context(), reading, host); err != nil || origin != (auth.Origin{}) {
			t.Errorf("%s: %+v, %v", host, origin, err)
		}
	}
	wantRequests(t, server, getToken, 0)
	for p, hosts := range map[auth.Provider]map[string]string{
		reading:    {hostIn("eu-west-1"): "in eu-west-1 by AWS keys of the environment"},
		registries: {hostIn("us-east-1"): "in us-east-1 by AWS keys of the environment", "public.ecr.aws": "ECR Public by AWS keys of the environment"},
	} {
		for host, want := range hosts {
			origin, err := auth.Describe(t.Context(), p, host)
			if err != nil || !strings.HasSuffix(origin.Source, want) || !origin.Expires.Equal(clock.Now().Add(12*time.Hour)) {
				t.Errorf("%s: %+v, %v", host, origin, err)
			}
		}
	}
	role := "arn:aws:iam::111122223333:role/mirror"
	_, assumed := connect(t, server.URL, ecr.Options{Role: ecr.Role{ARN: role}})
	if origin, err := auth.Describe(t.Context(), assumed, hostIn("us-east-1")); err != nil || !strings.HasSuffix(origin.Source, " by "+role) {
		t.Errorf("with a role: %+v, %v", origin, err)
	}
	server.FailNext(getToken, 1000, ecrlocal.Fault{Status: 400, Code: "AccessDeniedException"})
	if origin, err := auth.Describe(t.Context(), registries, hostIn("eu-north-1")); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("denied: %+v, %v", origin, err)
	}
}
