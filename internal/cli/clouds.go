package cli

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth/azure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth/google"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/certs"
)

// clouds are Google and Azure, as one side of a run asks them for credentials.
type clouds struct {
	settings func(host string) registry.Settings // how registries are spoken to
	log      *zap.Logger
}

// machine is who this machine is to Google and to Azure, for their registries. It
// is not for upstreams that resource tags name: who may tag a repository is not who may
// read what the machine may.
func (c clouds) machine() auth.Chain {
	return auth.Chain{google.Machine(google.Options{Log: c.log}), azure.Machine(c.azureOptions())}
}

// google returns what the file says of one of Google's registries.
func (c clouds) google(host string, said config.Google) (auth.Provider, error) {
	switch {
	case said.Default:
		return google.Default(google.Options{Log: c.log}), nil
	case said.AccessToken.Value() != "":
		return auth.Static{host: google.AccessToken(said.AccessToken.Value())}, nil
	}
	return google.Key(said.Key.Value(), google.Options{Log: c.log})
}

// azure returns what the file says of one of Azure's registries.
func (c clouds) azure(said config.Azure) auth.Provider {
	who := azure.Principal{Tenant: said.Tenant, ClientID: said.ClientID, ClientSecret: said.ClientSecret.Value()}
	return azure.New(who, c.azureOptions())
}

func (c clouds) azureOptions() azure.Options {
	return azure.Options{Registry: c.connections, Log: c.log}
}

// connections are those over which a registry exchanges a token: secured as all that it is
// asked, but never in plain text, and with any certificate only where somebody says so.
func (c clouds) connections(host string) (*http.Transport, error) {
	s := c.settings(host)
	tls, err := certs.Config(host, s)
	if err != nil {
		return nil, err
	}
	tls.InsecureSkipVerify = s.Security.AnyCertificate()
	return &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: tls}, nil
}
