// Package registry is the contract for places that hold images, and the kinds of
// error they answer with.
//
// An upstream is only ever a Source; a mirror's destination is a Target. The copy
// engine reads and writes through containers/image's own interfaces
// (types.ImageSource, types.ImageDestination), so that a registry, an OCI layout and a
// bucket look the same to it, plus the abilities at the end of this file.
package registry

import (
	"context"
	"fmt"
	"iter"

	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Source is a place to read from. Implementations are safe for concurrent use, and
// retry what is worth retrying: an error is their last word.
type Source interface {
	// Resolve reports what r points at now, with one HEAD where the protocol has one.
	// It returns ErrNotFound where the repository or the tag is absent, and ErrDenied
	// where it may not be read; a refusal is never reported as absence.
	Resolve(ctx context.Context, r ref.Reference) (ref.Descriptor, error)

	// Tags yields the tags of a repository in the registry's order, each once. It
	// ends after the first error. ErrNotFound means the repository is absent.
	Tags(ctx context.Context, repo ref.Repository) iter.Seq2[string, error]

	// Manifest reads the manifest r points at, by digest where r has one. The bytes
	// are what the place answered: a caller that knows the digest compares it.
	Manifest(ctx context.Context, r ref.Reference) (Manifest, error)

	// Referrers lists the manifests in subject's repository whose subject is the
	// manifest that subject's digest names: signatures, SBOMs, attestations. A place
	// that cannot be asked is read by the fallback tag, see ReferrersTag. That there are
	// none is no error. What it lists is a claim: an entry may be absent, and may have
	// another subject, or none.
	Referrers(ctx context.Context, subject ref.Reference) ([]ref.Descriptor, error)

	// OpenSource returns the endpoint through which the content of repo is read. It
	// may be shared by many goroutines; whoever opened it closes it.
	OpenSource(ctx context.Context, repo ref.Repository) (imagetypes.ImageSource, error)
}

// Target is a Source that can also be written to.
type Target interface {
	Source

	// OpenDestination returns the endpoint through which content is written to repo.
	// It may be shared by many goroutines; whoever opened it closes it. It writes
	// nothing but what it is given: no signatures, no conversion, no tags of its own.
	OpenDestination(ctx context.Context, repo ref.Repository) (imagetypes.ImageDestination, error)
}

// Manifest is a manifest as a registry holds it: its bytes, unchanged, and the media
// type it was served with.
type Manifest struct {
	MediaType string
	Raw       []byte
}

// Snapshotter is the ability of a Source to say in bulk what a repository's tags
// point at. Use Snapshot.
type Snapshotter interface {
	Snapshot(ctx context.Context, repo ref.Repository, tags []string) (map[string]ref.Descriptor, error)
}

// Snapshot returns what the given tags of repo point at; tags that are absent are
// left out of the map, and so is everything where the repository is absent and grows
// with the first push. A Snapshotter may answer for more tags than it was asked.
func Snapshot(ctx context.Context, s Source, repo ref.Repository, tags []string) (map[string]ref.Descriptor, error) {
	if bulk, ok := s.(Snapshotter); ok {
		return bulk.Snapshot(ctx, repo, tags)
	}
	return resolveEach(ctx, s, repo, tags)
}

// ManifestsReader is the ability of a Source to read many manifests of one repository
// in few requests. Use ReadManifests.
type ManifestsReader interface {
	ReadManifests(ctx context.Context, repo ref.Repository, digests []ref.Digest) (map[ref.Digest]Manifest, error)
}

// ReadManifests reads manifests by digest; those that are absent are left out. The
// bytes are not compared with the digests.
func ReadManifests(ctx context.Context, s Source, repo ref.Repository, digests []ref.Digest) (map[ref.Digest]Manifest, error) {
	if bulk, ok := s.(ManifestsReader); ok {
		return bulk.ReadManifests(ctx, repo, digests)
	}
	return readEach(ctx, s, repo, digests)
}

// ManifestWriter is the ability of a destination endpoint to write a manifest under a
// name, with its media type. types.ImageDestination itself can neither write a second
// tag nor be told a media type, and both matter: several tags share one endpoint, and
// an OCI manifest need not carry its type in its bytes.
type ManifestWriter interface {
	// WriteManifest stores m under identifier, a tag or the digest of m.Raw. Under a tag
	// it can be read by its digest as well: nobody else writes a tag's root. It
	// returns only when the registry has said that it holds the manifest under the
	// digest of its bytes.
	WriteManifest(ctx context.Context, identifier string, m Manifest) error
}

// WriteManifest writes m to dst under identifier, a tag or the digest of m.Raw: another
// digest is ErrCorrupt, since not every registry looks. An endpoint without the ability can
// be written to by digest only.
func WriteManifest(ctx context.Context, dst imagetypes.ImageDestination, identifier string, m Manifest) error {
	d, err := ref.ParseDigest(identifier)
	if err == nil && d.Algorithm().FromBytes(m.Raw) != d {
		return fmt.Errorf("the manifest to be written as %s is %s: %w", d, d.Algorithm().FromBytes(m.Raw), ErrCorrupt)
	}
	if w, ok := dst.(ManifestWriter); ok {
		return w.WriteManifest(ctx, identifier, m)
	}
	if err != nil {
		return fmt.Errorf("%T cannot write tags: %w", dst, ErrUnsupported)
	}
	return dst.PutManifest(ctx, m.Raw, &d)
}
