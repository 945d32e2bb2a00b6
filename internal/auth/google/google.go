// Package google provides credentials for Google's registries, Artifact Registry and
// gcr.io: access tokens of whoever this machine is to Google, or of the account that a
// key belongs to. Google's own library finds and exchanges them.
package google

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
)

const (
	// user is who Google's registries take an access token from.
	user = "oauth2accesstoken"
	// scope covers reading and writing; what is allowed of it is up to IAM.
	scope = "https://www.googleapis.com/auth/cloud-platform"
	// lookAgain is how long a machine without an identity is taken to have none.
	lookAgain = 10 * time.Minute
)

// IsHost reports whether host is one of Google's registries.
func IsHost(host string) bool {
	return host == "gcr.io" || strings.HasSuffix(host, ".gcr.io") || strings.HasSuffix(host, "-docker.pkg.dev")
}

// AccessToken returns the credential that an access token is sent as.
func AccessToken(token auth.Secret) auth.Credential {
	return auth.Credential{Username: user, Password: token}
}

// A Provider gives out access tokens, one for all the hosts it is asked for. It asks
// Google's token services and the metadata server, and contacts no registry. It is safe
// for concurrent use.
type Provider struct {
	source  string
	ambient bool
	find    func(context.Context) (*google.Credentials, error)
	cache   *auth.Cache
	now     func() time.Time
	log     *zap.Logger
}

// Options are what a Provider works with. The zero Options are good.
type Options struct {
	Now func() time.Time // the clock, nil for the system's
	Log *zap.Logger      // nil for none
}

// Default returns a Provider of application default credentials, for every host: of
// GOOGLE_APPLICATION_CREDENTIALS (a key, or a workload identity federation's
// configuration), of gcloud, or of the metadata server. Having none is an error.
func Default(o Options) *Provider {
	return newProvider("Google application default credentials", findDefault, o)
}

// Machine is Default for hosts of which nobody has said anything: it knows Google's
// registries alone, and where the machine has no identity they are asked anonymously.
func Machine(o Options) *Provider {
	p := Default(o)
	p.ambient = true
	return p
}

// Key returns a Provider for a service account's key or another credential configuration,
// which is JSON, or JSON in base64. No registry sees the key. Errors never quote it.
func Key(key auth.Secret, o Options) (*Provider, error) {
	text, kind, err := readKey(key)
	if err != nil {
		return nil, err
	}
	find := func(ctx context.Context) (*google.Credentials, error) {
		found, err := google.CredentialsFromJSONWithType(ctx, text, kind, scope)
		if err != nil {
			return nil, fmt.Errorf("no Google credentials of type %s: %w: %w", kind, err, failure.ErrPermanent)
		}
		return found, nil
	}
	return newProvider("Google credentials of type "+string(kind), find, o), nil
}

func newProvider(source string, find func(context.Context) (*google.Credentials, error), o Options) *Provider {
	p := &Provider{source: source, find: find, now: o.Now, log: o.Log}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	p.cache = auth.NewCache(auth.CacheOptions{
		Fetch: p.fetch,
		Now:   p.now,
		Log:   p.log.With(zap.String("credential", source)),
	})
	return p
}

// readKey takes a key apart as far as choosing how it is exchanged needs.
func readKey(key auth.Secret) ([]byte, google.CredentialsType, error) {
	text := []byte(strings.TrimSpace(key.Reveal()))
	if decoded, err := base64.StdEncoding.DecodeString(string(text)); err == nil {
		text = decoded
	}
	var head struct {
		Type google.CredentialsType `json:"type"`
	}
	if json.Unmarshal(text, &head) != nil || head.Type == "" {
		return nil, "", errors.New("the Google key is no credential configuration: expected the JSON of a service account's key, or that in base64")
	}
	return text, head.Type, nil
}

// Credential returns an access token; for hosts that a Machine does not know, nothing.
func (p *Provider) Credential(ctx context.Context, host string) (auth.Credential, error) {
	if !p.knows(host) {
		return auth.Credential{}, nil
	}
	return p.cache.Credential(ctx)
}

// Refused drops the token c, unless another is held by now.
func (p *Provider) Refused(host string, c auth.Credential) {
	if p.knows(host) {
		p.cache.Refused(c)
	}
}

// Describe returns where host's credential comes from, nowhere for a host that gets none,
// and when the token that is held ends.
func (p *Provider) Describe(ctx context.Context, host string) (auth.Origin, error) {
	cred, err := p.Credential(ctx, host)
	if err != nil || cred.Anonymous() {
		return auth.Origin{}, err
	}
	return auth.Origin{Source: p.source, Expires: p.cache.Expires()}, nil
}

func (p *Provider) knows(host string) bool { return !p.ambient || IsHost(host) }

// fetch gets an access token. The configuration is read again each time: what a token
// service or a person put there since is used.
func (p *Provider) fetch(ctx context.Context) (auth.Issued, error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, client(ctx))
	found, err := p.find(ctx)
	if errors.Is(err, errNoIdentity) && p.ambient {
		p.log.Info("this machine has no Google identity; Google's registries are asked anonymously")
		return auth.Issued{Expires: p.now().Add(lookAgain)}, nil
	}
	if err != nil {
		return auth.Issued{}, err
	}
	token, err := found.TokenSource.Token()
	if err != nil {
		return auth.Issued{}, tokenError(err)
	}
	return auth.Issued{Credential: AccessToken(auth.Secret(token.AccessToken)), Expires: token.Expiry}, nil
}

// client asks token services until ctx ends. The library sends some exchanges without a
// context: a service that never answers would keep all waiting who need a token.
func client(ctx context.Context) *http.Client {
	c := &http.Client{CheckRedirect: stay}
	if end, ok := ctx.Deadline(); ok {
		c.Timeout = max(time.Until(end), time.Nanosecond) // 0 would be no limit
	}
	return c
}

// stay keeps what is exchanged for a token from whomever a token service points to.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
