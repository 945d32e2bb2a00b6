package ecr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
)

const (
	// renewalLimit bounds a renewal while the old password still is good: those who
	// wait for it could go on with that.
	renewalLimit = 15 * time.Second
	// renewalPause is how long a renewal that failed is let be. Without it every
	// request to the registry would begin with another that fails.
	renewalPause = time.Minute
	// shortestLife is assumed of a password that is said to have expired when it was
	// issued, as it seems to a clock that is hours fast.
	shortestLife = 15 * time.Minute
)

// issued is a password, and what ECR said with it.
type issued struct {
	cred    auth.Credential
	host    string // the registry it was issued for, "" where ECR named none
	fetched time.Time
	expires time.Time
}

func (i issued) good(now time.Time) bool { return !i.cred.Anonymous() && now.Before(i.expires) }

// fresh reports whether half of the password's life is still to come.
func (i issued) fresh(now time.Time) bool {
	return i.good(now) && now.Before(i.fetched.Add(i.expires.Sub(i.fetched)/2))
}

// token is ECR's password for one Region. Who asks while it is being fetched waits for
// that one fetch.
type token struct {
	session *Session
	region  string
	public  bool // of ECR Public, which has one for all Regions
	now     func() time.Time

	fetching singleflight.Group

	mu     sync.Mutex
	held   issued
	rested time.Time // no renewal before it, because one failed
}

// get returns the password, fetching it where it is due.
func (t *token) get(ctx context.Context) (issued, error) {
	if held, serves := t.current(); serves {
		return held, nil
	}
	return shared(ctx, &t.fetching, "", askingLimit, t.renew)
}

// current returns what is held, and whether it serves without asking.
func (t *token) current() (issued, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	return t.held, t.held.fresh(now) || t.held.good(now) && now.Before(t.rested)
}

// renew fetches a password and keeps it, unless another call has done so since the
// caller looked.
func (t *token) renew(ctx context.Context) (issued, error) {
	old, serves := t.current()
	if serves {
		return old, nil
	}
	if old.good(t.now()) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, renewalLimit)
		defer cancel()
	}
	fetched, err := t.fetch(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	switch {
	case err == nil:
		t.held = fetched
		t.tellExpiry(fetched)
	case t.held.good(now):
		t.rested = now.Add(renewalPause)
		t.session.log.Warn("the ECR password could not be renewed; the old one is still good",
			zap.String("region", t.region), zap.Time("expires", t.held.expires), zap.Error(err))
	default:
		return issued{}, err
	}
	return t.held, nil
}

// tellExpiry tells the session's observer when a password ends.
func (t *token) tellExpiry(i issued) {
	switch o := t.session.opts.Observer; {
	case o == nil:
	case t.public:
		o.TokenExpires(publicHost, i.expires)
	case i.host != "":
		o.TokenExpires(i.host, i.expires)
	}
}

// fetch asks ECR for a password.
func (t *token) fetch(ctx context.Context) (issued, error) {
	if t.public {
		return t.fetchPublic(ctx)
	}
	input := &ecr.GetAuthorizationTokenInput{}
	if id := t.session.registryID(); id != nil {
		// Deprecated at AWS, where one token opens every registry; an emulator on one
		// host cannot tell accounts apart by host name, and needs it.
		input.RegistryIds = []string{*id} //nolint:staticcheck // see above
	}
	out, err := t.session.in(t.region).ecr.GetAuthorizationToken(ctx, input)
	if err != nil {
		return issued{}, translate("ecr:GetAuthorizationToken", err)
	}
	if len(out.AuthorizationData) == 0 {
		return issued{}, errors.New("ecr:GetAuthorizationToken: the answer holds no token")
	}
	got, err := readToken(out.AuthorizationData[0], t.now())
	if err != nil {
		return issued{}, fmt.Errorf("ecr:GetAuthorizationToken: %w", err)
	}
	return got, nil
}

// fetchPublic asks ECR Public for a password. Beside ecr-public:GetAuthorizationToken it
// needs sts:GetServiceBearerToken.
func (t *token) fetchPublic(ctx context.Context) (issued, error) {
	out, err := t.session.in(publicRegion).public.GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
	if err != nil {
		return issued{}, translate("ecr-public:GetAuthorizationToken", err)
	}
	if out.AuthorizationData == nil {
		return issued{}, errors.New("ecr-public:GetAuthorizationToken: the answer holds no token")
	}
	got, err := readToken(types.AuthorizationData{
		AuthorizationToken: out.AuthorizationData.AuthorizationToken,
		ExpiresAt:          out.AuthorizationData.ExpiresAt,
	}, t.now())
	if err != nil {
		return issued{}, fmt.Errorf("ecr-public:GetAuthorizationToken: %w", err)
	}
	return got, nil
}

// readToken takes ECR's answer apart. No error shows any of the token.
func readToken(data types.AuthorizationData, now time.Time) (issued, error) {
	decoded, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	if err != nil {
		return issued{}, errors.New("the token is not base64")
	}
	user, password, ok := strings.Cut(string(decoded), ":")
	if !ok || password == "" {
		return issued{}, errors.New("the token is not user:password")
	}
	endpoint, err := url.Parse(aws.ToString(data.ProxyEndpoint))
	if err != nil {
		return issued{}, fmt.Errorf("registry endpoint: %w", err)
	}
	expires := aws.ToTime(data.ExpiresAt)
	if !expires.After(now) {
		expires = now.Add(shortestLife)
	}
	return issued{
		// https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html#registry_auth_http
		cred:    auth.Credential{Username: user, Password: auth.Secret(password), Unasked: true},
		host:    endpoint.Host,
		fetched: now,
		expires: expires,
	}, nil
}

// drop forgets the password c, unless a newer one is held.
func (t *token) drop(c auth.Credential) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held.cred == c {
		t.held = issued{}
	}
}
