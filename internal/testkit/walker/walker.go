// Package walker is an independent judge of what a registry holds. It reads a
// reference the way any client would, follows everything below it, and reports each
// manifest and blob that is missing or not what its descriptor says.
//
// It speaks plain HTTP and shares no code with the program's copier, only the nouns
// of internal/ref. It is slow and thorough on purpose: one request at a time, and
// nothing is believed that was not read.
package walker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Options says what to judge, and where. Base, Repository and Reference are needed;
// for the rest the zero value is a good one.
type Options struct {
	Client     *http.Client // nil means http.DefaultClient
	Base       string       // the registry's origin: "http://127.0.0.1:5000"
	Repository string       // "team/app"
	Reference  string       // a tag or a digest
	Username   string       // "" means anonymous
	Password   string
	Deep       bool // read and hash every blob, instead of asking only for its size
}

// A Report is what a walk found.
type Report struct {
	Root      ref.Digest
	Manifests []Manifest // the root first; each digest once
	Blobs     []Blob     // each digest once; those that are missing are only in Damage
	Bytes     int64      // of all manifests and blobs
	Foreign   int        // layers skipped because registries do not hold them
	Damage    []Damage
}

// A Manifest is one document as the registry sent it.
type Manifest struct {
	Digest    ref.Digest
	MediaType string // the Content-Type it came with
	Raw       []byte
}

// A Blob is one blob as the registry holds it.
type Blob struct {
	Digest    ref.Digest
	MediaType string
	Size      int64 // bytes
}

// Damage is one thing that is wrong, and with what.
type Damage struct {
	Digest  ref.Digest
	Problem string
}

func (d Damage) String() string { return string(d.Digest) + ": " + d.Problem }

// Err returns all damage as one error, or nil where there is none.
func (r Report) Err() error {
	var errs []error
	for _, d := range r.Damage {
		errs = append(errs, errors.New(d.String()))
	}
	return errors.Join(errs...)
}

// ErrNotFound says that the reference itself is absent. What is absent below it is
// Damage.
var ErrNotFound = errors.New("not found")

// Limits on what a walk follows. An honest image stays far below them.
const (
	maxManifest  = 4 << 20 // bytes; registries must accept this much and may refuse more
	maxManifests = 10_000
	maxDepth     = 16
)

// Check walks a reference. Damage is not an error: the error says that the walk could
// not be finished, or, as ErrNotFound, that there was nothing to walk.
func Check(ctx context.Context, o Options) (Report, error) {
	w := walk{
		client:     newClient(o),
		repository: o.Base + "/v2/" + o.Repository,
		deep:       o.Deep,
		manifests:  map[ref.Digest]Manifest{},
		blobs:      map[ref.Digest]int64{},
	}
	if err := w.root(ctx, o.Reference); err != nil {
		return Report{}, fmt.Errorf("walking %s in %s/%s: %w", o.Reference, o.Base, o.Repository, err)
	}
	return w.report, nil
}

// Same returns an error unless both reports are of the same root, byte for byte, and
// neither has damage. That is enough: a root names everything below it by digest.
func Same(a, b Report) error {
	if err := errors.Join(a.Err(), b.Err()); err != nil {
		return fmt.Errorf("damaged: %w", err)
	}
	if len(a.Manifests) == 0 || len(b.Manifests) == 0 {
		return errors.New("nothing to compare: a report is empty")
	}
	x, y := a.Manifests[0], b.Manifests[0]
	if x.MediaType != y.MediaType {
		return fmt.Errorf("roots have media types %s and %s", x.MediaType, y.MediaType)
	}
	if !bytes.Equal(x.Raw, y.Raw) {
		return fmt.Errorf("roots differ: %s of %d bytes and %s of %d bytes", x.Digest, len(x.Raw), y.Digest, len(y.Raw))
	}
	return nil
}

type walk struct {
	client     *client
	repository string // URL of the repository
	deep       bool
	report     Report
	manifests  map[ref.Digest]Manifest
	blobs      map[ref.Digest]int64 // sizes; missing marks those that are not there
}

// missing is the size of a blob that is not there.
const missing = -1

func (w *walk) damage(d ref.Digest, format string, args ...any) {
	w.report.Damage = append(w.report.Damage, Damage{Digest: d, Problem: fmt.Sprintf(format, args...)})
}

// root reads the reference and everything below it.
func (w *walk) root(ctx context.Context, reference string) error {
	m, err := w.fetch(ctx, reference)
	if err != nil {
		return err
	}
	m.Digest = digest.FromBytes(m.Raw)
	if asked, err := ref.ParseDigest(reference); err == nil {
		m.Digest = asked
		if got := asked.Algorithm().FromBytes(m.Raw); got != asked {
			w.damage(asked, "the bytes hash to %s", got)
		}
	}
	w.report.Root = m.Digest
	return w.descend(ctx, m, 0)
}

// child reads one manifest that an index names.
func (w *walk) child(ctx context.Context, want v1.Descriptor, depth int) error {
	if err := want.Digest.Validate(); err != nil {
		w.damage(want.Digest, "an index names it, and it is no digest: %v", err)
		return nil
	}
	if m, ok := w.manifests[want.Digest]; ok {
		w.compare(want, m)
		return nil
	}
	if depth > maxDepth || len(w.manifests) >= maxManifests {
		w.damage(want.Digest, "not read: more than %d levels or %d manifests", maxDepth, maxManifests)
		return nil
	}
	m, err := w.fetch(ctx, string(want.Digest))
	if errors.Is(err, ErrNotFound) {
		w.damage(want.Digest, "manifest is missing")
		return nil
	}
	if err != nil {
		return err
	}
	m.Digest = want.Digest
	w.compare(want, m)
	if got := want.Digest.Algorithm().FromBytes(m.Raw); got != want.Digest {
		w.damage(want.Digest, "the bytes hash to %s", got)
		return nil // what they name is not part of this image
	}
	return w.descend(ctx, m, depth)
}

// compare checks a manifest against what its parent says about it.
func (w *walk) compare(want v1.Descriptor, m Manifest) {
	if int64(len(m.Raw)) != want.Size {
		w.damage(want.Digest, "manifest has %d bytes, its descriptor says %d", len(m.Raw), want.Size)
	}
	if m.MediaType != want.MediaType {
		w.damage(want.Digest, "manifest is served as %s, its descriptor says %s", m.MediaType, want.MediaType)
	}
}

// descend records a manifest and follows what it names.
func (w *walk) descend(ctx context.Context, m Manifest, depth int) error {
	w.manifests[m.Digest] = m
	w.report.Manifests = append(w.report.Manifests, m)
	w.report.Bytes += int64(len(m.Raw))

	var content struct {
		MediaType string          `json:"mediaType"`
		Manifests []v1.Descriptor `json:"manifests"`
		Config    v1.Descriptor   `json:"config"`
		Layers    []v1.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(m.Raw, &content); err != nil {
		w.damage(m.Digest, "manifest is not JSON: %v", err)
		return nil
	}
	if content.MediaType != "" && content.MediaType != m.MediaType {
		w.damage(m.Digest, "manifest is served as %s and calls itself %s", m.MediaType, content.MediaType)
	}

	switch {
	case slices.Contains(indexTypes, m.MediaType):
		for _, child := range content.Manifests {
			if err := w.child(ctx, child, depth+1); err != nil {
				return err
			}
		}
	case slices.Contains(imageTypes, m.MediaType):
		for _, blob := range append([]v1.Descriptor{content.Config}, content.Layers...) {
			if err := w.blob(ctx, blob); err != nil {
				return err
			}
		}
	default:
		w.damage(m.Digest, "manifest is served as %q, which is neither an image nor an index", m.MediaType)
	}
	return nil
}

// blob checks one config or layer.
func (w *walk) blob(ctx context.Context, want v1.Descriptor) error {
	if slices.Contains(foreignTypes, want.MediaType) {
		w.report.Foreign++
		return nil
	}
	if err := want.Digest.Validate(); err != nil {
		w.damage(want.Digest, "a manifest names it, and it is no digest: %v", err)
		return nil
	}
	size, known := w.blobs[want.Digest]
	if !known {
		var err error
		if size, err = w.measure(ctx, want); err != nil {
			return err
		}
		w.blobs[want.Digest] = size
	}
	if size == missing {
		if !known {
			w.damage(want.Digest, "blob is missing")
		}
		return nil
	}
	if size != want.Size {
		w.damage(want.Digest, "blob has %d bytes, its descriptor says %d", size, want.Size)
	}
	if !known {
		w.report.Blobs = append(w.report.Blobs, Blob{Digest: want.Digest, MediaType: want.MediaType, Size: size})
		w.report.Bytes += size
	}
	return nil
}

var (
	indexTypes = []string{
		v1.MediaTypeImageIndex,
		"application/vnd.docker.distribution.manifest.list.v2+json",
	}
	imageTypes = []string{
		v1.MediaTypeImageManifest,
		"application/vnd.docker.distribution.manifest.v2+json",
	}
	foreignTypes = []string{
		"application/vnd.docker.image.rootfs.foreign.diff.tar",
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
	}
)
