package bucket

import (
	"fmt"
	"path"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Parts of keys.
const (
	root      = "v2/"
	manifests = "/manifests/"
	blobs     = "/blobs/"
	referrers = "/referrers/"
	tagList   = "/tags/list"

	// unreferenced is beside v2/, where nobody pulls.
	unreferenced = "ecr-mirror-sync/unreferenced/"
)

// key returns a key below the bucket's folder.
func (b *bucket) key(rest string) string {
	if b.settings.Folder == "" {
		return rest
	}
	return b.settings.Folder + "/" + rest
}

func (b *bucket) in(repo ref.Repository, rest string) string {
	return b.key(root + repo.Path + rest)
}

func (b *bucket) manifestKey(r ref.Reference) string {
	return b.in(r.Repository, manifests+r.Identifier())
}

func (b *bucket) blobKey(repo ref.Repository, d ref.Digest) string {
	return b.in(repo, blobs+string(d))
}

func (b *bucket) referrersKey(repo ref.Repository, subject ref.Digest) string {
	return b.in(repo, referrers+string(subject))
}

func (b *bucket) marksKey(repo ref.Repository) string {
	return b.key(unreferenced + repo.Path + ".json")
}

// lastDigest returns the digest that a key ends with, "" where it ends with none.
func lastDigest(key string) ref.Digest {
	d, err := ref.ParseDigest(path.Base(key))
	if err != nil {
		return ""
	}
	return d
}

// forever is for what has a digest in its name.
const forever = "public, max-age=31536000, immutable"

// briefly is for what can change.
func (b *bucket) briefly() string {
	age := b.settings.MaxAge
	if age <= 0 {
		age = time.Minute
	}
	return fmt.Sprintf("public, max-age=%d", int(age.Seconds()))
}

// Types of what is no manifest.
const (
	typeJSON = "application/json"
	typeBlob = "application/octet-stream"
)
