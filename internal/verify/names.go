package verify

import (
	"context"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// names are the tags of a repository.
type names struct {
	known   bool // false where the registry lists none to who asks
	all     map[string]bool
	derived map[string][]string // by the part that comes of a digest
}

// listed returns the tags of the repository, which are listed once. A registry that does
// not tell leaves them to be guessed.
func (r *Repository) listed(ctx context.Context) *names {
	n, err := r.names.do(ctx, struct{}{}, func() (*names, error) {
		n := &names{known: true, all: map[string]bool{}, derived: map[string][]string{}}
		for tag, err := range r.place.Tags(ctx, r.at) {
			if err != nil {
				return &names{}, context.Cause(ctx)
			}
			n.all[tag] = true
			if base, _, _ := strings.Cut(tag, "."); strings.HasPrefix(base, "sha") {
				n.derived[base] = append(n.derived[base], tag)
			}
		}
		return n, nil
	})
	if err != nil {
		return &names{}
	}
	return n
}

// derived are the tags that are named after a digest.
type derived struct {
	names    []string
	fallback bool // whether the list of a registry without the referrers API may be among them
}

// about returns the tags that are named after a digest: the list of its referrers, and
// cosign's signatures, attestations and SBOM.
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
func (n *names) about(d ref.Digest) derived {
	base := registry.ReferrersTag(d)
	if !n.known {
		return derived{[]string{base, base + ".sig", base + ".att", base + ".sbom"}, true}
	}
	return derived{n.derived[base], n.all[base]}
}
