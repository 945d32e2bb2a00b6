package mirror_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/mirror"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

func TestGate(t *testing.T) {
	faults.Covers(t, "F102")
	const private = "111122223333.dkr.ecr.eu-central-1.amazonaws.com"
	isPrivate := func(host string) bool { return host == private }
	tests := []struct {
		name     string
		upstream string
		target   string
		origin   discover.OriginKind
		allow    []string
		want     string // "" where it may pass
	}{
		{"anything, where nothing is said", "quay.io/org/app", private + "/app", discover.FromResourceTags, nil, ""},
		{"a private ECR by a resource tag", private + "/secret", private + "/app", discover.FromResourceTags, nil, "private ECR"},
		{"a private ECR by an operator", private + "/secret", private + "/app", discover.FromCommandLine, nil, ""},
		{"a private ECR, though allowed, by a resource tag", private + "/secret", private + "/app", discover.FromResourceTags, []string{private}, "private ECR"},
		{"itself by a resource tag", "quay.io/org/app", "quay.io/org/app", discover.FromResourceTags, nil, "its own upstream"},
		// An operator gives an image another tag in its own repository.
		{"itself by an operator", "quay.io/org/app", "quay.io/org/app", discover.FromCommandLine, nil, ""},
		{"allowed host", "quay.io/org/app", private + "/app", discover.FromResourceTags, []string{"ghcr.io", "quay.io"}, ""},
		{"allowed path", "quay.io/org/app", private + "/app", discover.FromResourceTags, []string{"quay.io/org"}, ""},
		{"allowed repository", "quay.io/org/app", private + "/app", discover.FromResourceTags, []string{"quay.io/org/app"}, ""},
		{"other host", "quay.io/org/app", private + "/app", discover.FromResourceTags, []string{"ghcr.io"}, "outside --allow-upstream"},
		{"other host by an operator", "quay.io/org/app", private + "/app", discover.FromCommandLine, []string{"ghcr.io"}, "outside --allow-upstream"},
		{"other path", "quay.io/organic/app", private + "/app", discover.FromResourceTags, []string{"quay.io/org"}, "outside --allow-upstream"},
		{"longer than the repository", "quay.io/org", private + "/app", discover.FromResourceTags, []string{"quay.io/org/app"}, "outside --allow-upstream"},
		{"stars", "eu.gcr.io/org/team-a/app", private + "/app", discover.FromResourceTags, []string{"*.gcr.io/org/team-*"}, ""},
		{"a star is not two segments", "quay.io/org/sub/app", private + "/app", discover.FromResourceTags, []string{"quay.io/*/app"}, "outside --allow-upstream"},
		{"a star is not the empty host", "gcr.io/org/app", private + "/app", discover.FromResourceTags, []string{"*.gcr.io"}, "outside --allow-upstream"},
		{"a host is not a suffix", "evilquay.io/org/app", private + "/app", discover.FromResourceTags, []string{"quay.io"}, "outside --allow-upstream"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			gate := mirror.Gate{PrivateECR: isPrivate}
			for _, s := range test.allow {
				p, err := mirror.ParseAllowPattern(s)
				if err != nil {
					t.Fatal(err)
				}
				gate.AllowUpstream = append(gate.AllowUpstream, p)
			}
			err := gate.Check(discover.Mirror{
				Upstream: ref.MustParse(test.upstream).Repository, Target: ref.MustParse(test.target).Repository,
				Origin: discover.Origin{Kind: test.origin},
			})
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			if !errors.Is(err, plan.ErrForbidden) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	if err := (mirror.Gate{}).Check(discover.Mirror{Upstream: ref.MustParse(private + "/x").Repository, Origin: discover.Origin{Kind: discover.FromResourceTags}}); err != nil {
		t.Errorf("the zero Gate: %v", err)
	}
}

func TestParseAllowPattern(t *testing.T) {
	for _, good := range []string{"quay.io", "quay.io/", "docker.io/library", "*.gcr.io/org/team-*", "localhost/x", "127.0.0.1:5000/app", "*", "[q]uay.io"} {
		if _, err := mirror.ParseAllowPattern(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"": "not a pattern", "/": "not a pattern", "quay.io//app": "not a pattern", "quay.io/[": "not a pattern",
		"nginx": "docker.io/nginx", "library/nginx": "docker.io/library/nginx",
		// Patterns are of repositories. These would have matched nothing, ever.
		"quay.io/org/app:1": "not a pattern", "quay.io/app@sha256": "not a pattern",
	} {
		if _, err := mirror.ParseAllowPattern(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
