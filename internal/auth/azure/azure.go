// Package azure provides credentials for Azure's container registries (ACR). Microsoft's
// own library finds who this machine is to Azure and gets a token for that from Entra ID;
// the registry then exchanges it for a refresh token of its own, which is the credential.
package azure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
)

// lookAgain is how long a machine without an identity is taken to have none.
const lookAgain = 10 * time.Minute

// Principal is who asks: an application with its secret or, with no secret, the managed
// or workload identity of that client ID. The zero Principal is whoever this machine is.
type Principal struct {
	Tenant       string
	ClientID     string
	ClientSecret auth.Secret
}

// Options are what a Provider works with. The zero Options are good.
type Options struct {
	Transport http.RoundTripper // what reaches Entra ID, and registries' exchanges where Registry is nil; nil for the system's

	// Registry returns what reaches the exchange of the registry at host. It is closed
	// after each exchange. What it trusts and shows is for that registry alone.
	Registry func(host string) (*http.Transport, error)

	ExchangeTime time.Duration // bounds one exchange, with its repetitions; 0 means half a minute

	Now func() time.Time // the clock, nil for the system's
	Log *zap.Logger      // nil for none
}

// A Provider gives out refresh tokens, one for each registry it is asked for. It asks
// Entra ID, the identity endpoint of the machine and /oauth2/exchange of the registry
// itself. It is safe for concurrent use.
type Provider struct {
	principal Principal
	source    string
	given     auth.Credential // what is sent as it is, instead of a token
	ambient   bool
	opts      Options

	mu         sync.Mutex
	identities map[string]*identity // by the authority of their cloud
	caches     map[string]*auth.Cache
}

// New returns a Provider for one principal, for every host. A machine that is nobody to
// Azure is an error.
//
// The machine's identity is that of AZURE_SP_ID and AZURE_SP_PASSWORD where they are set,
// with AZURE_TENANT_ID as a principal and without as a user and password, which registries
// take from principals, too; else that of Azure's default chain (environment, workload
// identity, managed identity, the Azure CLI).
func New(who Principal, o Options) *Provider {
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	o.ExchangeTime = cmp.Or(o.ExchangeTime, 30*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p := &Provider{principal: who, opts: o, identities: map[string]*identity{}, caches: map[string]*auth.Cache{}}
	p.source = "Azure principal " + who.ClientID
	if who == (Principal{}) {
		p.source = "Azure default credentials"
		p.fromEnvironment()
	}
	return p
}

// Machine is New for the machine's identity and for hosts of which nobody has said
// anything: it knows Azure's registries alone, and where the machine has no identity they
// are asked anonymously.
func Machine(o Options) *Provider {
	p := New(Principal{}, o)
	p.ambient = true
	return p
}

// fromEnvironment takes the principal of replicant's variables.
func (p *Provider) fromEnvironment() {
	id, password := os.Getenv("AZURE_SP_ID"), auth.Secret(os.Getenv("AZURE_SP_PASSWORD"))
	if id == "" || password == "" {
		return
	}
	p.source = "AZURE_SP_ID and AZURE_SP_PASSWORD"
	if tenant := os.Getenv("AZURE_TENANT_ID"); tenant != "" {
		p.principal = Principal{Tenant: tenant, ClientID: id, ClientSecret: password}
		return
	}
	p.given = auth.Credential{Username: id, Password: password}
}

// Credential returns the refresh token of the registry at host; for hosts that a Machine
// does not know, nothing.
func (p *Provider) Credential(ctx context.Context, host string) (auth.Credential, error) {
	switch {
	case p.ambient && !IsHost(host):
		return auth.Credential{}, nil
	case !p.given.Anonymous():
		return p.given, nil
	}
	return p.cache(host).Credential(ctx)
}

// Refused drops the token c of host, unless another is held by now.
func (p *Provider) Refused(host string, c auth.Credential) {
	if !p.ambient || IsHost(host) {
		p.cache(host).Refused(c)
	}
}

// Describe returns where host's credential comes from, nowhere for a host that gets none,
// and when the token that is held ends.
func (p *Provider) Describe(ctx context.Context, host string) (auth.Origin, error) {
	cred, err := p.Credential(ctx, host)
	if err != nil || cred.Anonymous() {
		return auth.Origin{}, err
	}
	return auth.Origin{Source: p.source, Expires: p.cache(host).Expires()}, nil
}

func (p *Provider) cache(host string) *auth.Cache {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.caches[host]
	if !ok {
		c = auth.NewCache(auth.CacheOptions{
			Fetch: func(ctx context.Context) (auth.Issued, error) { return p.fetch(ctx, host) },
			Now:   p.opts.Now,
			Log:   p.opts.Log.With(zap.String("registry", host)),
		})
		p.caches[host] = c
	}
	return c
}

// fetch gets a refresh token of the registry at host.
func (p *Provider) fetch(ctx context.Context, host string) (auth.Issued, error) {
	who, err := p.identity(cloudOf(host))
	if err != nil {
		return auth.Issued{}, err
	}
	token, err := who.token(ctx)
	if errors.Is(err, errNoIdentity) && p.ambient {
		p.opts.Log.Info("this machine has no Azure identity; the registry is asked anonymously", zap.String("registry", host))
		return auth.Issued{Expires: p.opts.Now().Add(lookAgain)}, nil
	}
	if err != nil {
		return auth.Issued{}, err
	}
	refresh, err := p.exchange(ctx, host, token)
	if err != nil {
		return auth.Issued{}, err
	}
	return auth.Issued{Credential: auth.Credential{Username: nobody, IdentityToken: refresh}, Expires: endOf(refresh)}, nil
}

// exchange gives the registry at host a token of Entra ID, within its time, over the
// connections that the registry is to have.
func (p *Provider) exchange(ctx context.Context, host, token string) (auth.Secret, error) {
	through := p.opts.Transport
	if p.opts.Registry != nil {
		own, err := p.opts.Registry(host)
		if err != nil {
			return "", err
		}
		defer own.CloseIdleConnections()
		through = own
	}
	late := fmt.Errorf("https://%s/oauth2/exchange: no answer for %s", host, p.opts.ExchangeTime)
	ctx, cancel := context.WithTimeoutCause(ctx, p.opts.ExchangeTime, late)
	defer cancel()
	return exchange(ctx, host, token, cmp.Or(p.principal.Tenant, os.Getenv("AZURE_TENANT_ID")), client(through))
}
