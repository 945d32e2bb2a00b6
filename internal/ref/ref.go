// Package ref holds the nouns of the program: repositories, references, digests,
// descriptors and platforms. Strings are parsed here, once, and values of these
// types travel further; they are comparable and can be map keys.
//
// The package does no I/O and knows no registry in particular, except that a short
// name means Docker Hub, as it does everywhere in the field.
package ref

import (
	"cmp"
	_ "crypto/sha512" // digests of sha384 and sha512 are read here, whatever else the program links
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker/reference"
)

// A Digest is a content hash, "sha256:…", written whole. The zero Digest means
// "not known" or "nothing there"; ParseDigest never returns it without an error.
type Digest = digest.Digest

// A Descriptor says what a digest stands for. A Size of -1 means that the side
// which was asked did not say.
type Descriptor struct {
	MediaType string
	Digest    Digest
	Size      int64 // bytes
}

// A Repository is a named collection of manifests in a registry. Host is the
// registry as references write it ("docker.io", "quay.io:443"), Path the name within
// it ("library/nginx"). The zero Repository names nothing.
type Repository struct {
	Host string
	Path string
}

// String returns the repository in full: host, slash, path.
func (r Repository) String() string {
	if r.Host == "" {
		return r.Path
	}
	return r.Host + "/" + r.Path
}

// Compare orders repositories as their texts are ordered.
func (r Repository) Compare(other Repository) int {
	if r.Host == other.Host {
		return strings.Compare(r.Path, other.Path)
	}
	return compareJoined(r.parts(), other.parts())
}

// parts are what String joins.
func (r Repository) parts() []string {
	if r.Host == "" {
		return []string{r.Path}
	}
	return []string{r.Host, "/", r.Path}
}

// Tagged returns the reference of a tag in r.
func (r Repository) Tagged(tag string) Reference { return Reference{Repository: r, Tag: tag} }

// Digested returns the reference of a digest in r.
func (r Repository) Digested(d Digest) Reference { return Reference{Repository: r, Digest: d} }

// A Reference names one manifest: a repository plus a tag, a digest, or both.
// The digest wins where both are set. The zero Reference names nothing.
type Reference struct {
	Repository Repository
	Tag        string
	Digest     Digest
}

// String writes the reference the way it is typed: repository:tag@digest.
func (r Reference) String() string {
	var b strings.Builder
	b.WriteString(r.Repository.String())
	if r.Tag != "" {
		b.WriteString(":" + r.Tag)
	}
	if r.Digest != "" {
		b.WriteString("@" + string(r.Digest))
	}
	return b.String()
}

// Compare orders references as their texts are ordered.
func (r Reference) Compare(other Reference) int {
	return compareJoined(r.parts(), other.parts())
}

// parts are what String joins.
func (r Reference) parts() []string {
	parts := r.Repository.parts()
	if r.Tag != "" {
		parts = append(parts, ":", r.Tag)
	}
	if r.Digest != "" {
		parts = append(parts, "@", string(r.Digest))
	}
	return parts
}

// compareJoined compares two texts that are given in parts. Joining them would cost a
// sort more than the comparing does.
func compareJoined(a, b []string) int {
	for {
		for len(a) > 0 && a[0] == "" {
			a = a[1:]
		}
		for len(b) > 0 && b[0] == "" {
			b = b[1:]
		}
		if len(a) == 0 || len(b) == 0 {
			return cmp.Compare(len(a), len(b))
		}
		n := min(len(a[0]), len(b[0]))
		if c := strings.Compare(a[0][:n], b[0][:n]); c != 0 {
			return c
		}
		a[0], b[0] = a[0][n:], b[0][n:]
	}
}

// Identifier returns what a registry is asked for: the digest if there is one, else
// the tag. It is "" for a reference that names only a repository.
func (r Reference) Identifier() string {
	if r.Digest != "" {
		return string(r.Digest)
	}
	return r.Tag
}

// maxTag is the longest tag the OCI distribution specification allows, in bytes.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
const maxTag = 128

// ValidTag reports whether tag can be a tag in any registry.
func ValidTag(tag string) bool {
	if tag == "" || len(tag) > maxTag || tag[0] == '.' || tag[0] == '-' {
		return false
	}
	for i := range len(tag) {
		if c := tag[i]; !isLetter(c) && !isDigit(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// Parse reads a reference as people type it: "nginx:1.27",
// "quay.io:443/org/app@sha256:…". A name without a host means Docker Hub. Neither tag
// nor digest is made up where none is given.
func Parse(s string) (Reference, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return Reference{}, fmt.Errorf("%q is not an image reference: %w", s, plainer(s, err))
	}
	r := Reference{Repository: Repository{Host: reference.Domain(named), Path: reference.Path(named)}}
	if t, ok := named.(reference.Tagged); ok {
		r.Tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		r.Digest = d.Digest()
	}
	return r, nil
}

// ParseRepository reads a repository and refuses a tag or digest on it.
func ParseRepository(s string) (Repository, error) {
	r, err := Parse(s)
	if err != nil {
		return Repository{}, err
	}
	if r.Tag != "" || r.Digest != "" {
		return Repository{}, fmt.Errorf("%q names a single image; a repository without tag or digest is expected, such as %q", s, r.Repository)
	}
	return r.Repository, nil
}

// ParseDigest reads a digest and refuses algorithms and lengths that are not
// registered, so that a digest is always safe as part of a path.
func ParseDigest(s string) (Digest, error) {
	if isSHA256(s) { // as nearly all are, and there is one to read in every answer
		return Digest(s), nil
	}
	d, err := digest.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%q is not a digest: %w", s, err)
	}
	return d, nil
}

func isSHA256(s string) bool {
	hex, found := strings.CutPrefix(s, "sha256:")
	if !found || len(hex) != 64 {
		return false
	}
	for i := range len(hex) {
		if c := hex[i]; !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// MustParse is Parse for references that are written in the program or a test.
// It panics where Parse would return an error.
func MustParse(s string) Reference {
	r, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return r
}

// plainer turns the reference library's two commonest errors about s into words that
// say what to change.
func plainer(s string, err error) error {
	if _, lowerErr := reference.ParseNormalizedNamed(strings.ToLower(s)); lowerErr == nil {
		return errors.New("repository names are lower case")
	}
	if errors.Is(err, reference.ErrReferenceInvalidFormat) {
		return errors.New("expected [HOST[:PORT]/]PATH[:TAG][@DIGEST]")
	}
	return err
}
