package ecr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	publictypes "github.com/aws/aws-sdk-go-v2/service/ecrpublic/types"
	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// The hosts of ECR Public; the second is its dual-stack name.
const (
	publicHost          = "public.ecr.aws"
	publicDualStackHost = "ecr-public.aws.com"
)

// IsPublicHost reports whether host is ECR Public's by its name.
func IsPublicHost(host string) bool { return host == publicHost || host == publicDualStackHost }

// NamePublic records what an operator says of a host: that it is ECR Public, and how that
// is spoken to. It is read with a password from then on, see Reading. A profile that the
// AWS configuration does not have is an error.
func (r *Registries) NamePublic(ctx context.Context, host string, access Access) error {
	session, err := r.session.through(ctx, access, "")
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.public[host] = session
	return nil
}

// Public reports whether host is ECR Public, and returns the session that speaks to it.
func (r *Registries) Public(host string) (*Session, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if session, ok := r.public[host]; ok {
		return session, true
	}
	return r.session, IsPublicHost(host)
}

// Reading returns r for upstreams. ECR Public is read anonymously, unless an operator named
// it: whoever has no AWS credentials at all can read it, too.
func (r *Registries) Reading() auth.Provider { return reading{r} }

type reading struct{ *Registries }

// Describe implements auth.Describer.
func (r reading) Describe(ctx context.Context, host string) (auth.Origin, error) {
	if r.anonymously(host) {
		return auth.Origin{}, nil
	}
	return r.Registries.Describe(ctx, host)
}

// anonymously reports whether host is ECR Public, and nobody named it.
func (r reading) anonymously(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, named := r.public[host]
	return IsPublicHost(host) && !named
}

// Credential implements auth.Provider.
func (r reading) Credential(ctx context.Context, host string) (auth.Credential, error) {
	if r.anonymously(host) {
		return auth.Credential{}, nil
	}
	return r.Registries.Credential(ctx, host)
}

// knownInPublic asks the API whether a repository of ECR Public exists. A registry only says
// that it has no such tag. Of other registries it says nothing.
func (t *Target) knownInPublic(ctx context.Context, repo ref.Repository) error {
	session, public := t.registries.Public(repo.Host)
	if !public {
		return nil
	}
	name, err := session.ownName(ctx, repo)
	if err != nil {
		return err
	}
	_, err = session.in(publicRegion).public.DescribeRepositories(ctx, &ecrpublic.DescribeRepositoriesInput{RepositoryNames: []string{name}})
	return translate("ecr-public:DescribeRepositories", err)
}

// createPublic makes a repository of ECR Public. Of the settings it has only resource tags.
func (t *Target) createPublic(ctx context.Context, session *Session, repo ref.Repository, settings provision.Settings) (created bool, err error) {
	name, err := session.ownName(ctx, repo)
	if err != nil {
		return false, err
	}
	at := Location{Account: session.meant(), Region: "ECR Public"}
	if full := t.quotas.of(at); full != nil {
		return false, full
	}
	_, err = session.in(publicRegion).public.CreateRepository(ctx, &ecrpublic.CreateRepositoryInput{
		RepositoryName: &name,
		Tags:           publicTags(settings.ResourceTags),
	})
	if _, exists := errors.AsType[*publictypes.RepositoryAlreadyExistsException](err); exists {
		return false, nil
	}
	if err != nil {
		return false, t.quotas.note(at, translate("ecr-public:CreateRepository", err))
	}
	return true, nil
}

func publicTags(tags map[string]string) []publictypes.Tag {
	var list []publictypes.Tag
	for _, tag := range tagList(tags) {
		list = append(list, publictypes.Tag{Key: tag.Key, Value: tag.Value})
	}
	return list
}

// ownName takes the alias off the path of a repository. The API knows no other account's
// repositories, and would take another's name for one of the caller's own.
func (s *Session) ownName(ctx context.Context, repo ref.Repository) (string, error) {
	alias, name, ok := strings.Cut(repo.Path, "/")
	if !ok {
		return "", fmt.Errorf("%s: expected an alias before the name, as in %s/ALIAS/NAME: %w", repo, repo.Host, registry.ErrPermanent)
	}
	own, err := s.publicAliases(ctx)
	if err != nil {
		return "", err
	}
	if !slices.Contains(own, alias) {
		return "", fmt.Errorf("%q is no alias of the account's public registry, which has %s: %w", alias, strings.Join(own, ", "), registry.ErrDenied)
	}
	return name, nil
}

// publicAliases asks for the aliases of the caller's public registry, until it is answered.
func (s *Session) publicAliases(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	known := s.aliases
	s.mu.Unlock()
	if len(known) > 0 {
		return known, nil
	}
	return shared(ctx, &s.askingAliases, "", askingLimit, func(ctx context.Context) ([]string, error) {
		out, err := s.in(publicRegion).public.DescribeRegistries(ctx, &ecrpublic.DescribeRegistriesInput{})
		if err != nil {
			return nil, translate("ecr-public:DescribeRegistries", err)
		}
		var aliases []string
		for _, one := range out.Registries {
			for _, alias := range one.Aliases {
				aliases = append(aliases, aws.ToString(alias.Name))
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.aliases = aliases
		return aliases, nil
	})
}

// OpenDestination opens a repository for writing.
func (t *Target) OpenDestination(ctx context.Context, repo ref.Repository) (imagetypes.ImageDestination, error) {
	session, public := t.registries.Public(repo.Host)
	if !public {
		return t.Target.OpenDestination(ctx, repo)
	}
	name, err := session.ownName(ctx, repo)
	if err != nil {
		return nil, err
	}
	d, err := t.Target.OpenDestination(ctx, repo)
	if err != nil {
		return nil, err
	}
	return &publicDestination{ImageDestination: d, session: session, name: name}, nil
}

// publicDestination is a repository of ECR Public, which refuses HEAD on blobs whoever asks:
// the API says instead which it has. It does not mount blobs either.
type publicDestination struct {
	imagetypes.ImageDestination
	session *Session
	name    string
}

var (
	_ registry.ManifestWriter = (*publicDestination)(nil)
	_ registry.ReferrerWriter = (*publicDestination)(nil)
	_ registry.BlobUploader   = (*publicDestination)(nil)
)

// TryReusingBlob asks the API for the blob.
func (d *publicDestination) TryReusingBlob(ctx context.Context, info imagetypes.BlobInfo, _ imagetypes.BlobInfoCache, _ bool) (bool, imagetypes.BlobInfo, error) {
	out, err := d.session.in(publicRegion).public.BatchCheckLayerAvailability(ctx, &ecrpublic.BatchCheckLayerAvailabilityInput{
		RepositoryName: &d.name,
		LayerDigests:   []string{info.Digest.String()},
	})
	if err != nil {
		return false, imagetypes.BlobInfo{}, translate("ecr-public:BatchCheckLayerAvailability", err)
	}
	for _, layer := range out.Layers {
		if aws.ToString(layer.LayerDigest) == info.Digest.String() && layer.LayerAvailability == publictypes.LayerAvailabilityAvailable {
			return true, imagetypes.BlobInfo{Digest: info.Digest, Size: aws.ToInt64(layer.LayerSize), MediaType: info.MediaType}, nil
		}
	}
	return false, imagetypes.BlobInfo{}, nil
}

// WriteManifest, WriteReferrer and UploadBlob pass on abilities that embedding hides.
func (d *publicDestination) WriteManifest(ctx context.Context, identifier string, m registry.Manifest) error {
	return registry.WriteManifest(ctx, d.ImageDestination, identifier, m)
}

// WriteReferrer writes a manifest that has a subject.
func (d *publicDestination) WriteReferrer(ctx context.Context, digest, subject ref.Digest, m registry.Manifest) (bool, error) {
	return registry.WriteReferrer(ctx, d.ImageDestination, digest, subject, m)
}

// UploadBlob stores a blob.
func (d *publicDestination) UploadBlob(ctx context.Context, want ref.Descriptor, open registry.Opener) error {
	return registry.UploadBlob(ctx, d.ImageDestination, want, open)
}
