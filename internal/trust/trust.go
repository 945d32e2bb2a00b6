// Package trust judges upstream images by a containers-policy.json, before anything is
// written. It judges the pinned digest, so that what was judged is what is copied.
package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.podman.io/image/v5/image"
	"go.podman.io/image/v5/signature"
	imagetypes "go.podman.io/image/v5/types"
	"go.podman.io/storage/pkg/configfile"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/layout"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/library"
)

// ErrNoPolicy means that the user has not said whom to trust: there is no policy on
// the command line and none on the system.
var ErrNoPolicy = errors.New("no trust policy: choose one with --policy FILE, or accept every image with --insecure-policy")

// A Judge holds a policy. It is safe for concurrent use.
type Judge struct {
	policy *signature.Policy
	// signatures is set where some requirement may look at signatures.
	signatures bool
	open       OpenImage
	upstream   Upstream // nil where refusals say no more than the library does
}

// OpenImage opens a containers/image source for r's digest that can read signatures.
type OpenImage func(ctx context.Context, r ref.Reference) (imagetypes.ImageSource, error)

// AcceptAll returns a Judge that trusts every image, as --insecure-policy asks.
func AcceptAll() *Judge {
	return &Judge{policy: &signature.Policy{Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}}}
}

// ReadFile returns a Judge with the policy in the file at path, or the system's where
// path is "". It returns ErrNoPolicy where there is neither. A file that is there and
// cannot be read or parsed is an error of its own, and never as good as none.
//
// Upstream is asked about images that are refused for want of a signature, so that the
// refusal can say which signature there is; nil asks nobody.
func ReadFile(path string, open OpenImage, upstream Upstream) (*Judge, error) {
	j, err := read(&imagetypes.SystemContext{SignaturePolicyPath: path}, open)
	if err != nil {
		return nil, err
	}
	j.upstream = upstream
	return j, nil
}

// read is ReadFile for a system that may have another root than this machine's.
func read(sys *imagetypes.SystemContext, open OpenImage) (*Judge, error) {
	policy, err := signature.DefaultPolicy(sys)
	if errors.Is(err, configfile.ErrConfigFileNotFound) {
		return nil, fmt.Errorf("%w (%w)", ErrNoPolicy, err)
	}
	if err != nil {
		return nil, fmt.Errorf("trust policy: %w", err)
	}
	signatures, err := needsSignatures(policy)
	if err != nil {
		return nil, err
	}
	return &Judge{policy: policy, signatures: signatures, open: open}, nil
}

// needsSignatures reports whether any requirement is more than to accept or to reject.
// Requirements show their type only in JSON.
func needsSignatures(policy *signature.Policy) (bool, error) {
	all := []signature.PolicyRequirements{policy.Default}
	for _, scopes := range policy.Transports {
		for _, requirements := range scopes {
			all = append(all, requirements)
		}
	}
	written, err := json.Marshal(all)
	if err != nil {
		return false, fmt.Errorf("trust policy: %w", err)
	}
	var types [][]requirement
	if err := json.Unmarshal(written, &types); err != nil {
		return false, fmt.Errorf("trust policy: %w", err)
	}
	for _, requirements := range types {
		for _, r := range requirements {
			if r.Type != "insecureAcceptAnything" && r.Type != "reject" {
				return true, nil
			}
		}
	}
	return false, nil
}

// identity is what policies know an image by: its tag, or its digest where it was
// asked for by that. An image on disk is known by its file, with its tag where it has one.
func identity(r ref.Reference) (imagetypes.ImageReference, error) {
	if r.Repository.Local() {
		return layout.Name(r)
	}
	if r.Tag != "" {
		r.Digest = ""
	}
	return library.Name(r)
}

// Allow returns nil if the policy lets the image run that r's digest names, under the
// identity that r's tag gives it. A refusal is a *Refusal, of kind failure.ErrForbidden;
// any other error means that the image could not be judged.
func (j *Judge) Allow(ctx context.Context, r ref.Reference) error {
	name, err := identity(r)
	if err != nil {
		return err
	}
	src := imagetypes.ImageSource(nothing{name})
	if j.signatures {
		opened, err := j.open(ctx, r)
		if err != nil {
			return fmt.Errorf("judging %s: %w", r, err)
		}
		defer opened.Close() // read-only
		src = opened
	}
	// A PolicyContext cannot be shared between goroutines, and costs nothing.
	pc, err := signature.NewPolicyContext(j.policy)
	if err != nil {
		return fmt.Errorf("trust policy: %w", err)
	}
	defer pc.Destroy() //nolint:errcheck // holds nothing
	candidate := image.UnparsedInstanceWithReference(image.UnparsedInstance(src, &r.Digest), name)
	allowed, err := pc.IsRunningImageAllowed(ctx, candidate)
	if allowed && err == nil {
		return nil
	}
	if err != nil && !refuses(err) {
		return fmt.Errorf("judging %s: %w", r, err)
	}
	return &Refusal{Ref: r, Err: j.explain(ctx, candidate, r, err)}
}

// refuses reports whether an error says that a requirement is not met. Others say that
// nobody could tell.
func refuses(err error) bool {
	_, unmet := errors.AsType[signature.PolicyRequirementError](err)
	_, invalid := errors.AsType[signature.InvalidSignatureError](err)
	return unmet || invalid
}

// A Refusal says which requirement an image does not meet.
type Refusal struct {
	Ref ref.Reference
	Err error
}

func (e *Refusal) Error() string { return fmt.Sprintf("trust policy refuses it: %v", e.Err) }

// Unwrap says that it is a matter of what is allowed, and why.
func (e *Refusal) Unwrap() []error { return []error{failure.ErrForbidden, e.Err} }

// nothing stands for an image whose content no requirement will look at. Asked for any,
// it refuses: a policy can only become stricter by that.
type nothing struct{ name imagetypes.ImageReference }

var errNotRead = errors.New("the policy was taken for one that needs no signatures")

func (n nothing) Reference() imagetypes.ImageReference { return n.name }
func (nothing) Close() error                           { return nil }
func (nothing) HasThreadSafeGetBlob() bool             { return true }

func (nothing) GetManifest(context.Context, *ref.Digest) ([]byte, string, error) {
	return nil, "", errNotRead
}

func (nothing) GetBlob(context.Context, imagetypes.BlobInfo, imagetypes.BlobInfoCache) (io.ReadCloser, int64, error) {
	return nil, 0, errNotRead
}

func (nothing) GetSignatures(context.Context, *ref.Digest) ([][]byte, error) { return nil, errNotRead }

func (nothing) LayerInfosForCopy(context.Context, *ref.Digest) ([]imagetypes.BlobInfo, error) {
	return nil, errNotRead
}
