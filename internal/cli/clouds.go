package cli

import (
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth/azure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth/google"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

// identities are who this machine is to Google and to Azure, for their registries. It
// is not for upstreams that resource tags name: who may tag a repository is not who may
// read what the machine may.
func identities(log *zap.Logger) auth.Chain {
	return auth.Chain{google.Machine(google.Options{Log: log}), azure.Machine(azure.Options{Log: log})}
}

// asGoogle returns what the file says of one of Google's registries.
func asGoogle(host string, said config.Google, log *zap.Logger) (auth.Provider, error) {
	switch {
	case said.Default:
		return google.Default(google.Options{Log: log}), nil
	case said.AccessToken.Value() != "":
		return auth.Static{host: google.AccessToken(said.AccessToken.Value())}, nil
	}
	return google.Key(said.Key.Value(), google.Options{Log: log})
}

// asAzure returns what the file says of one of Azure's registries.
func asAzure(said config.Azure, log *zap.Logger) auth.Provider {
	who := azure.Principal{Tenant: said.Tenant, ClientID: said.ClientID, ClientSecret: said.ClientSecret.Value()}
	return azure.New(who, azure.Options{Log: log})
}
