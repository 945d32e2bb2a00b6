package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/containers/azcontainerregistry"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
)

// IsHost reports whether host is one of Azure's registries.
func IsHost(host string) bool {
	for suffix := range clouds {
		if name, ok := strings.CutSuffix(host, suffix); ok && name != "" {
			return true
		}
	}
	return false
}

// clouds are Azure's, by how their registries' names end.
var clouds = map[string]cloud.Configuration{
	".azurecr.io": cloud.AzurePublic,
	".azurecr.cn": cloud.AzureChina,
	".azurecr.us": cloud.AzureGovernment,
}

// cloudOf returns the cloud of a registry, the public one for a name of somebody's own.
func cloudOf(host string) cloud.Configuration {
	for suffix, c := range clouds {
		if strings.HasSuffix(host, suffix) {
			return c
		}
	}
	return cloud.AzurePublic
}

// identity is who asks in one cloud. The library beneath keeps its tokens.
type identity struct {
	credential azcore.TokenCredential
	scope      string
}

// identity returns who asks in a cloud.
func (p *Provider) identity(c cloud.Configuration) (*identity, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if who, ok := p.identities[c.ActiveDirectoryAuthorityHost]; ok {
		return who, nil
	}
	credential, err := p.credential(azcore.ClientOptions{Cloud: c, Transport: client(p.opts.Transport)})
	if err != nil {
		return nil, fmt.Errorf("no Azure credentials: %w: %w", err, failure.ErrPermanent)
	}
	who := &identity{credential, c.Services[azcontainerregistry.ServiceName].Audience + "/.default"}
	p.identities[c.ActiveDirectoryAuthorityHost] = who
	return who, nil
}

// credential is what gets tokens for the principal.
func (p *Provider) credential(o azcore.ClientOptions) (azcore.TokenCredential, error) {
	who := p.principal
	switch {
	case who.ClientSecret != "":
		return azidentity.NewClientSecretCredential(who.Tenant, who.ClientID, who.ClientSecret.Reveal(),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: o})
	case who.ClientID == "":
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: o, TenantID: who.Tenant})
	}
	var chain []azcore.TokenCredential
	workload, err := azidentity.NewWorkloadIdentityCredential(
		&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: o, ClientID: who.ClientID, TenantID: who.Tenant})
	if err == nil { // else this is no pod that has one
		chain = append(chain, workload)
	}
	managed, err := azidentity.NewManagedIdentityCredential(
		&azidentity.ManagedIdentityCredentialOptions{ClientOptions: o, ID: azidentity.ClientID(who.ClientID)})
	if err != nil {
		return nil, err
	}
	return azidentity.NewChainedTokenCredential(append(chain, managed), nil)
}

// client is what speaks for the libraries, over the connections of through. It follows no redirect: what is exchanged for
// a token is not for whomever a token service points to.
func client(through http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     notElsewhere{through},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// notElsewhere takes the metadata services of other clouds, which have the address of
// Azure's, for absent. The library takes whatever answers there for Azure's, repeats its
// refusals for most of a minute, and calls them a failure.
type notElsewhere struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (n notElsewhere) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := n.RoundTripper.RoundTrip(req)
	if err != nil || req.URL.Host != "169.254.169.254" {
		return resp, err
	}
	if resp.Header.Get("Server") == "EC2ws" || resp.Header.Get("Metadata-Flavor") == "Google" {
		_ = resp.Body.Close()
		return nil, errors.New("this machine is in another cloud")
	}
	return resp, nil
}

// errNoIdentity means that none of the places where identities are looked for has one.
var errNoIdentity = fmt.Errorf("no Azure credentials: none in the environment, and no workload identity, managed identity or Azure CLI login here; "+
	"set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, run az login, or give the registry a principal in the configuration: %w", failure.ErrDenied)

// token returns a token of Entra ID for registries.
func (i *identity) token(ctx context.Context) (string, error) {
	token, err := i.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{i.scope}})
	if err == nil {
		return token.Token, nil
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err)
	switch {
	case !ok:
		return "", fmt.Errorf("%w (%s)", errNoIdentity, oneLine(err))
	case failed.RawResponse == nil || !final(failed.RawResponse.StatusCode):
		return "", fmt.Errorf("no Azure access token: %s", oneLine(err))
	}
	return "", fmt.Errorf("no Azure access token: %s: %w", oneLine(err), failure.ErrDenied)
}

func final(status int) bool {
	return status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

// oneLine keeps the libraries' messages, which have many lines and rules of dashes, from
// tearing tables and logs.
func oneLine(err error) string {
	words := strings.Fields(err.Error())
	kept := words[:0]
	for _, w := range words {
		if strings.Trim(w, "-") != "" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}
