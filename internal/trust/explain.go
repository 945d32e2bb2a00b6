package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.podman.io/image/v5/signature"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/manifest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Upstream is what is asked about an image that lacks a signature. A registry.Source is
// one.
type Upstream interface {
	Resolve(ctx context.Context, r ref.Reference) (ref.Descriptor, error)
	Referrers(ctx context.Context, subject ref.Reference) ([]ref.Descriptor, error)
	Manifest(ctx context.Context, r ref.Reference) (registry.Manifest, error)
}

// requirement is what a requirement of a policy shows in JSON, and nowhere else.
type requirement struct {
	Type   string          `json:"type"`
	Fulcio json.RawMessage `json:"fulcio"`
	PKI    json.RawMessage `json:"pki"`
}

// String names the requirement as the policy does.
func (r requirement) String() string {
	switch {
	case r.Type != sigstoreSigned:
		return r.Type
	case r.Fulcio != nil:
		return r.Type + " through Fulcio"
	case r.PKI != nil:
		return r.Type + " by a PKI"
	}
	return r.Type + " with a key"
}

const sigstoreSigned = "sigstoreSigned"

// explain adds to a refusal which rule and which requirement it is of. It only ever
// explains: what is refused stays so.
func (j *Judge) explain(ctx context.Context, candidate imagetypes.UnparsedImage, r ref.Reference, refused error) error {
	if refused == nil {
		refused = errors.New("it is not allowed")
	}
	rule, requirements := j.rule(candidate.Reference())
	for _, pr := range requirements {
		err := alone(ctx, candidate, pr)
		if err == nil {
			continue
		}
		var unmet requirement
		if written, err := json.Marshal(pr); err != nil || json.Unmarshal(written, &unmet) != nil {
			break
		}
		if hint := j.unread(ctx, r, unmet, refused); hint != "" {
			refused = fmt.Errorf("%s: %w", hint, refused)
		}
		return fmt.Errorf("rule %q, %s: %w", rule, unmet, refused)
	}
	return refused
}

// rule returns the rule of the policy that holds for an image, and its name: the most
// precise scope that is given, as the library chooses it.
func (j *Judge) rule(name imagetypes.ImageReference) (scope string, requirements signature.PolicyRequirements) {
	scopes := j.policy.Transports[name.Transport().Name()]
	for _, scope := range append([]string{name.PolicyConfigurationIdentity()}, name.PolicyConfigurationNamespaces()...) {
		if requirements, ok := scopes[scope]; ok {
			return scope, requirements
		}
	}
	if requirements, ok := scopes[""]; ok {
		return name.Transport().Name(), requirements
	}
	return "default", j.policy.Default
}

// alone judges by one requirement.
func alone(ctx context.Context, candidate imagetypes.UnparsedImage, pr signature.PolicyRequirement) error {
	pc, err := signature.NewPolicyContext(&signature.Policy{Default: signature.PolicyRequirements{pr}})
	if err != nil {
		return err
	}
	defer pc.Destroy() //nolint:errcheck // holds nothing
	allowed, err := pc.IsRunningImageAllowed(ctx, candidate)
	if !allowed && err == nil {
		err = errors.New("not allowed")
	}
	return err
}

// maxBundles bounds the referrers that are looked at for a bundle.
const maxBundles = 20

// unread says which signature an image has although none was found: one that the library
// does not read. It is "" where that is not known.
func (j *Judge) unread(ctx context.Context, r ref.Reference, unmet requirement, refused error) string {
	if j.upstream == nil || unmet.Type != sigstoreSigned || !strings.Contains(refused.Error(), "no signature exists") {
		return ""
	}
	tag := r.Repository.Tagged(strings.Replace(r.Digest.String(), ":", "-", 1) + ".sig")
	if _, err := j.upstream.Resolve(ctx, tag); err == nil {
		return fmt.Sprintf("signatures under the tag %s are not read: no file in registries.d says use-sigstore-attachments", tag.Tag)
	}
	listed, err := j.upstream.Referrers(ctx, r.Repository.Digested(r.Digest))
	if err != nil {
		return ""
	}
	for _, d := range listed[:min(len(listed), maxBundles)] {
		if m, err := j.upstream.Manifest(ctx, r.Repository.Digested(d.Digest)); err == nil && isBundle(m) {
			return fmt.Sprintf("bundle format not supported: the image is signed by the bundle %s, and not under the tag %s", d.Digest, tag.Tag)
		}
	}
	return ""
}

// isBundle reports whether a manifest is a bundle of sigstore's, as cosign attaches them.
// https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
func isBundle(m registry.Manifest) bool {
	parsed, err := manifest.Parse(m.Raw, m.MediaType)
	return err == nil && strings.HasPrefix(parsed.Kind(), "application/vnd.dev.sigstore.bundle")
}
