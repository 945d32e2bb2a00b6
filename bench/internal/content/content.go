// Package content makes what the benchmark moves: deterministic images whose number
// and sizes follow a scale.
//
// Scale 1 is the size that docs/performance.md speaks of. A smaller scale keeps the
// shape, what is shared with what: layers of Cold become smaller, repositories fewer,
// and below a tenth so do the tags of each.
package content

import (
	"fmt"
	"math"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// A Tag is a tag and the image it names.
type Tag struct {
	Name  string
	Image imagetest.Node
}

// A Repository makes its tags when it is asked: at scale 1 the bytes of all of them
// would not fit into memory.
type Repository struct {
	Name string
	Make func() []Tag
}

var platforms = []ref.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}

const (
	kilobyte = 1_000
	megabyte = 1_000_000
)

// familySize is how many repositories of Cold have the same base.
const familySize = 5

// Cold is W1: 20 repositories of three tags, each an index of two images of six layers.
// Two layers of every image are the base of its family of repositories, one is the same
// in all three tags, and three are its own. At scale 1 that is 2.1 GB, each byte
// once; 3.8 GB with the bases once in each repository, and 9 GB without any sharing.
func Cold(scale float64) []Repository {
	size := func(bytes int) int { return max(1, int(float64(bytes)*math.Min(scale, 1))) }
	bases := map[string][]imagetest.Blob{} // kept: they are 416 MB, and 1.7 GB to make again and again
	base := func(family int, p ref.Platform) []imagetest.Blob {
		name := fmt.Sprintf("base/%d/%s", family, p.Architecture)
		if bases[name] == nil {
			bases[name] = []imagetest.Blob{layer(name+"/large", size(40*megabyte)), layer(name+"/small", size(12*megabyte))}
		}
		return bases[name]
	}
	return repositories("cold", atLeast(2, 20*scale), func(repo int, name string) []Tag {
		shared := map[ref.Platform]imagetest.Blob{}
		for _, p := range platforms {
			shared[p] = layer(name+"/shared/"+p.Architecture, size(16*megabyte))
		}
		return tags(atScale(3, scale), func(tag string, p ref.Platform) []imagetest.Blob {
			own := name + "/" + tag + "/" + p.Architecture
			below := base(repo/familySize, p)
			return []imagetest.Blob{
				below[0], below[1], shared[p],
				layer(own+"/large", size(8600*kilobyte)), layer(own+"/medium", size(256*kilobyte)), layer(own+"/small", size(kilobyte)),
			}
		})
	})
}

// Tiny is W1s: 20 repositories of five tags, each an index of two images of a config
// and nine layers of 4 KB. Nothing is shared.
func Tiny(scale float64) []Repository {
	return repositories("tiny", atLeast(1, 20*scale), func(_ int, name string) []Tag {
		return tags(atScale(5, scale), func(tag string, p ref.Platform) []imagetest.Blob {
			var layers []imagetest.Blob
			for i := range 9 {
				layers = append(layers, layer(fmt.Sprintf("%s/%s/%s/%d", name, tag, p.Architecture, i), 4*kilobyte))
			}
			return layers
		})
	})
}

// Settled is W2 and the beginning of W3: 100 repositories of ten tags, each an index of
// two small images.
func Settled(scale float64) []Repository {
	return repositories("settled", settledRepositories(scale), func(_ int, name string) []Tag {
		return tags(atScale(10, scale), func(tag string, p ref.Platform) []imagetest.Blob { return settledLayers(name, tag, p, 0) })
	})
}

func settledRepositories(scale float64) int { return atLeast(5, 100*scale) }

// Changed is what W3 changes in Settled: one tag of every fifth repository gets an
// index whose two images keep a base layer and have a new layer and config. Every
// generation, from 1, is another change of the same tags.
func Changed(scale float64, generation int) []Repository {
	var changed []Repository
	for i := 0; i < settledRepositories(scale); i += 5 {
		name := repositoryName("settled", i)
		changed = append(changed, Repository{Name: name, Make: func() []Tag {
			return tags(1, func(tag string, p ref.Platform) []imagetest.Blob { return settledLayers(name, tag, p, generation) })
		}})
	}
	return changed
}

func settledLayers(name, tag string, p ref.Platform, generation int) []imagetest.Blob {
	return []imagetest.Blob{
		layer(name+"/base/"+p.Architecture, 4*kilobyte),
		layer(fmt.Sprintf("%s/%s/%s/%d", name, tag, p.Architecture, generation), 4*kilobyte),
	}
}

// Many is the scale workload: 2,000 repositories of 50 tags, which name one small image
// in each repository, since a plan reads nothing but digests. A half of the
// repositories is under the second prefix of ManyPrefixes, a quarter under the third.
func Many(scale float64) []Repository {
	n := atLeast(4, 2000*scale)
	all := repositories("many", n, nil)
	for i := range all {
		switch {
		case i < n/4:
			all[i].Name = repositoryName(ManyPrefixes[2], i)
		case i < n/2:
			all[i].Name = repositoryName(ManyPrefixes[1], i)
		}
		name := all[i].Name
		all[i].Make = func() []Tag {
			image := imagetest.Image(platforms[0], layer(name, kilobyte))
			var tags []Tag
			for i := range atScale(50, scale) {
				tags = append(tags, Tag{Name: tagName(i), Image: image})
			}
			return tags
		}
	}
	return all
}

// ManyPrefixes are those of all repositories of Many, of half of them and of a quarter.
var ManyPrefixes = [...]string{"many", "many/half", "many/half/quarter"}

func repositories(workload string, n int, tagsOf func(i int, name string) []Tag) []Repository {
	all := make([]Repository, n)
	for i := range all {
		name := repositoryName(workload, i)
		all[i] = Repository{Name: name, Make: func() []Tag { return tagsOf(i, name) }}
	}
	return all
}

func repositoryName(workload string, i int) string { return fmt.Sprintf("%s/r%04d", workload, i) }

// TagPattern is a glob that all tags match, and that makes it necessary to list them.
const TagPattern = "v*"

func tagName(i int) string { return fmt.Sprintf("v1.%d", i) }

// tags returns n tags, each an index of one image for each platform.
func tags(n int, layers func(tag string, p ref.Platform) []imagetest.Blob) []Tag {
	all := make([]Tag, n)
	for i := range all {
		name := tagName(i)
		var images []imagetest.Node
		for _, p := range platforms {
			images = append(images, imagetest.Image(p, layers(name, p)...))
		}
		all[i] = Tag{Name: name, Image: imagetest.Index(images...)}
	}
	return all
}

// layer is a layer that also makes the config of its image different from others: it
// gives its digest as that of its uncompressed bytes.
func layer(seed string, size int) imagetest.Blob {
	blob := imagetest.Layer(seed, size)
	blob.DiffID = blob.Descriptor.Digest
	return blob
}

// atScale is how many tags a repository has.
func atScale(n int, scale float64) int { return min(n, atLeast(2, float64(n)*10*scale)) }

func atLeast(least int, n float64) int { return max(least, int(math.Round(n))) }
