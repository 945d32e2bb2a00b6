package discover_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
)

func TestNewKeys(t *testing.T) {
	for _, test := range []struct {
		name, image, tags string
		want              discover.Keys
	}{
		{
			name: "defaults",
			want: discover.Keys{Image: "upstream-image", Tags: "upstream-tags", Ignore: "ignore-tags", Platforms: "upstream-platforms", Options: "upstream-options"},
		},
		{
			name: "an image key lends its stem", image: "acme-image", tags: "acme-versions",
			want: discover.Keys{Image: "acme-image", Tags: "acme-versions", Ignore: "ignore-tags", Platforms: "acme-platforms", Options: "acme-options"},
		},
		{
			name: "a stem with a dash", image: "acme-base-image",
			want: discover.Keys{Image: "acme-base-image", Tags: "upstream-tags", Ignore: "ignore-tags", Platforms: "acme-base-platforms", Options: "acme-base-options"},
		},
		{
			name: "another image key has no stem", image: "mirror:source", tags: "mirror:tags",
			want: discover.Keys{Image: "mirror:source", Tags: "mirror:tags", Ignore: "ignore-tags", Platforms: "upstream-platforms", Options: "upstream-options"},
		},
		{
			name: "an empty stem is none", image: "-image",
			want: discover.Keys{Image: "-image", Tags: "upstream-tags", Ignore: "ignore-tags", Platforms: "upstream-platforms", Options: "upstream-options"},
		},
	} {
		if diff := cmp.Diff(test.want, discover.NewKeys(test.image, test.tags)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestKeysKnowTheirOwn(t *testing.T) {
	keys := discover.NewKeys("acme-image", "acme-tags")
	if diff := cmp.Diff([]string{"acme-image", "acme-tags"}, keys.Queried()); diff != "" {
		t.Errorf("Queried (-want +got):\n%s", diff)
	}
	for key, want := range map[string]bool{
		"acme-image": true, "acme-tags": true, "acme-tags-2": true, "acme-tags-17": true,
		"acme-platforms": true, "acme-options": true, "ignore-tags": true,
		"upstream-image": false, "acme-tags-": false, "acme-tags-b": false, "Name": false,
	} {
		if got := keys.Relevant(key); got != want {
			t.Errorf("Relevant(%q) = %t, want %t", key, got, want)
		}
	}
	if got := keys.Continuation(1) + " " + keys.Continuation(3); got != "acme-tags acme-tags-3" {
		t.Errorf("Continuation(1) and (3) = %s", got)
	}
}
