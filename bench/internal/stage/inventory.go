package stage

import (
	"maps"
	"slices"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/bench/internal/content"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Inventory is what a registry was given, without the bytes.
type Inventory struct {
	Repositories []string
	Tags         map[string]map[string]ref.Digest // by repository and tag

	manifests map[held]bool
	blobs     map[held]int64
	unique    map[ref.Digest]int64
}

// held is content in a repository.
type held struct {
	repository string
	digest     ref.Digest
}

func newInventory() *Inventory {
	return &Inventory{
		Tags:      map[string]map[string]ref.Digest{},
		manifests: map[held]bool{}, blobs: map[held]int64{}, unique: map[ref.Digest]int64{},
	}
}

// Count takes stock of repositories without pushing them.
func Count(repositories []content.Repository) *Inventory {
	inventory := newInventory()
	for _, r := range repositories {
		inventory.add(r.Name, r.Make())
	}
	return inventory
}

func (v *Inventory) add(repository string, tags []content.Tag) {
	v.Repositories = append(v.Repositories, repository)
	v.Tags[repository] = map[string]ref.Digest{}
	for _, tag := range tags {
		v.Tags[repository][tag.Name] = tag.Image.Digest()
		for node := range tag.Image.All() {
			v.manifests[held{repository, node.Digest()}] = true
		}
		for _, blob := range tag.Image.AllBlobs() {
			v.blobs[held{repository, blob.Digest()}] = blob.Descriptor.Size
			v.unique[blob.Digest()] = blob.Descriptor.Size
		}
	}
}

// TagCount is how many tags there are in all repositories.
func (v *Inventory) TagCount() int {
	n := 0
	for _, tags := range v.Tags {
		n += len(tags)
	}
	return n
}

// Manifests is how many manifests there are, each once for every repository that has it.
func (v *Inventory) Manifests() int { return len(v.manifests) }

// Blobs is how many different blobs there are.
func (v *Inventory) Blobs() int { return len(v.unique) }

// Placements is how many blobs there are, each once for every repository that has it.
func (v *Inventory) Placements() int { return len(v.blobs) }

// Bytes is what the different blobs weigh.
func (v *Inventory) Bytes() int64 {
	var total int64
	for _, size := range v.unique {
		total += size
	}
	return total
}

// PlacedBytes is what the blobs weigh, each once for every repository that has it.
func (v *Inventory) PlacedBytes() int64 {
	var total int64
	for _, size := range v.blobs {
		total += size
	}
	return total
}

// Without is what v has and other has not: the blobs of its repositories, and the
// manifests.
func (v *Inventory) Without(other *Inventory) *Inventory {
	rest := newInventory()
	rest.Repositories, rest.Tags = v.Repositories, v.Tags
	for at := range v.manifests {
		if !other.manifests[at] {
			rest.manifests[at] = true
		}
	}
	for at, size := range v.blobs {
		if _, has := other.blobs[at]; !has {
			rest.blobs[at], rest.unique[at.digest] = size, size
		}
	}
	return rest
}

// Digests are the different blobs.
func (v *Inventory) Digests() map[ref.Digest]int64 { return maps.Clone(v.unique) }

// blobsOf are the blobs of a repository's tags, each once.
func blobsOf(tags []content.Tag) []imagetest.Blob {
	seen := map[ref.Digest]bool{}
	var all []imagetest.Blob
	for _, tag := range tags {
		for _, blob := range tag.Image.AllBlobs() {
			if !seen[blob.Digest()] {
				seen[blob.Digest()] = true
				all = append(all, blob)
			}
		}
	}
	return all
}

// TagNames are the tags of a repository, sorted.
func (v *Inventory) TagNames(repository string) []string {
	return slices.Sorted(maps.Keys(v.Tags[repository]))
}
