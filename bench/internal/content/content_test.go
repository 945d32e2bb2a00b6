package content_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/content"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/stage"
)

// The numbers of scale 1 are those that the goals were set for. Cold is 2 GB at that
// scale, and TestCold counts less of it.
func TestFullScale(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes the content of a full benchmark")
	}
	tests := []struct {
		name                                           string
		repositories                                   []content.Repository
		tags, manifests, blobs, placements, repository int
	}{
		{"W1s", content.Tiny(1), 100, 300, 2000, 2000, 20},
		{"W2", content.Settled(1), 1000, 3000, 2000 + 2000 + 200, 2000 + 2000 + 200, 100},
		{"W3", content.Changed(1, 1), 20, 60, 40 + 40 + 40, 40 + 40 + 40, 20},
	}
	for _, test := range tests {
		v := stage.Count(test.repositories)
		if len(v.Repositories) != test.repository || v.TagCount() != test.tags || v.Manifests() != test.manifests ||
			v.Blobs() != test.blobs || v.Placements() != test.placements {
			t.Errorf("%s has %d repositories, %d tags, %d manifests, %d blobs in %d places; want %+v", test.name,
				len(v.Repositories), v.TagCount(), v.Manifests(), v.Blobs(), v.Placements(), test)
		}
	}
}

// A quarter of Cold has the sharing of the whole.
func TestCold(t *testing.T) {
	v := stage.Count(content.Cold(0.25))
	// Of each repository: 6 configs, and 2 of the family's, 1 shared and 9 own layers for
	// each of 2 platforms. One family: 4 layers less in each of 4 repositories.
	if places := 5 * (6 + 2*(2+1+9)); v.Placements() != places || v.Blobs() != places-4*4 {
		t.Errorf("%d blobs in %d places", v.Blobs(), v.Placements())
	}
	if v.TagCount() != 15 || v.Manifests() != 45 {
		t.Errorf("%d tags, %d manifests", v.TagCount(), v.Manifests())
	}
}
