package library

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"

	imagetypes "go.podman.io/image/v5/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/certs"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// noDirectory is where the library finds no configuration. It has to be absent: the
// library takes a path that is no directory for an error.
const noDirectory = "/nonexistent/ecr-mirror-sync"

// systemContext says everything about one host to the library, which would otherwise
// look for it in the files of the machine it runs on. It returns the credential that
// the library will use as well.
func (o Options) systemContext(ctx context.Context, repo ref.Repository) (*imagetypes.SystemContext, auth.Credential, error) {
	cred, err := auth.At(o.Credentials, repo.Host, repo.Path).Credential(ctx, repo.Host)
	if err != nil {
		return nil, auth.Credential{}, err
	}
	settings := o.Settings(repo.Host)
	secured, err := certs.Config(repo.Host, settings)
	if err != nil {
		return nil, auth.Credential{}, err
	}
	insecure := settings.Security != registry.Verified
	return &imagetypes.SystemContext{
		DockerRegistryUserAgent:  o.UserAgent,
		BaseTLSConfig:            secured,
		DockerPerHostCertDirPath: noDirectory,
		DockerAuthConfig: &imagetypes.DockerAuthConfig{
			Username:      cred.Username,
			Password:      cred.Password.Reveal(),
			IdentityToken: cred.IdentityToken.Reveal(),
		},
		DockerBearerRegistryToken:         cred.RegistryToken.Reveal(),
		DockerInsecureSkipTLSVerify:       imagetypes.NewOptionalBool(insecure),
		DockerProxy:                       o.guarded,
		SystemRegistriesConfPath:          os.DevNull,
		SystemRegistriesConfDirPath:       noDirectory,
		DockerDisableDestSchema1MIMETypes: true,
	}, cred, nil
}

// guarded is what the library asks for a proxy before each request, redirects and token
// services included, and so the one place to refuse a request. Plain text is for hosts
// that may be insecure themselves, whatever the registry that named them may be: nothing
// tells here whether a request carries a credential.
func (o Options) guarded(u *url.URL) (*url.URL, error) {
	if u.Scheme != "https" && !o.Settings(u.Host).Security.MayBePlain() {
		return nil, fmt.Errorf("%s would be asked without TLS, which is for hosts that are named for it: %w", redact.Line(u.Host, redact.MaxLine), registry.ErrPermanent)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := egress.Check(ip); err != nil {
			return nil, err
		}
	}
	return http.ProxyFromEnvironment(&http.Request{URL: u})
}
