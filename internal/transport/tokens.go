package transport

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	orasauth "oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
)

// tokens is what one host is authenticated with: the authentication library's cache,
// and its source of credentials. It differs from the library's own cache in that
//
//   - a Basic password is asked of the provider for each request: an ECR password
//     lives twelve hours, and a daemon longer;
//   - a bearer token is fetched under no caller's context, so that one who gives up
//     does not fail the others who wait, and once, also for those who come late;
//   - every request knows what it was sent with (attempt), so that a refusal is put
//     down to the right credential.
type tokens struct {
	host     string // as the provider knows it
	address  string // the only one that gets the host's credentials
	provider auth.Provider
	patience time.Duration // for one fetch
	flights  singleflight.Group

	mu       sync.Mutex
	unasked  *bool // whether the host is told who is asking before it asks; nil until that is known
	schemes  map[string]orasauth.Scheme
	bearers  map[bearerKey]string
	refused  auth.Credential // the last one
	renewals int             // credentials refused since the host last accepted one
}

// bearerKey is what a token is good for.
type bearerKey struct{ address, scopes, path string }

// keyOf returns the key of the token that ctx's request needs. One that allows nothing says of
// no repository whose it is; it belongs to the path that the request is about.
func keyOf(ctx context.Context, address, scopes string) bearerKey {
	key := bearerKey{address: address, scopes: scopes}
	if scopes == "" {
		key.path = attemptOf(ctx).path
	}
	return key
}

func newTokens(host, address string, provider auth.Provider, patience time.Duration) *tokens {
	return &tokens{
		host:     host,
		address:  address,
		provider: provider,
		patience: patience,
		schemes:  map[string]orasauth.Scheme{},
		bearers:  map[bearerKey]string{},
	}
}

// attempt is what one request was authenticated with. It belongs to the goroutine that
// sends the request.
type attempt struct {
	path   string // of the repository that the request is about, which may have a credential of its own
	cred   auth.Credential
	bearer string
	failed error // of the provider, which is not asked again for the same request

	elsewhere bool // whether a redirect was followed
}

// bare reports whether the request was sent with nothing.
func (a *attempt) bare() bool { return a.cred.Anonymous() && a.bearer == "" }

type attemptKey struct{}

// withAttempt returns a context whose request records what it was sent with. Path is "" for
// requests that are about no repository.
func withAttempt(ctx context.Context, path string) (context.Context, *attempt) {
	a := &attempt{path: path}
	return context.WithValue(ctx, attemptKey{}, a), a
}

func attemptOf(ctx context.Context) *attempt {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		return a
	}
	return new(attempt)
}

type tokenRequestKey struct{}

// carriesCredential reports whether a request shows who is asking: in its header, or, as
// requests for a token may, in its form.
func carriesCredential(req *http.Request) bool {
	if req.Header.Get("Authorization") != "" {
		return true
	}
	forToken := req.Context().Value(tokenRequestKey{}) != nil
	return forToken && !attemptOf(req.Context()).cred.Anonymous()
}

var errNoToken = errors.New("no token yet")

// GetScheme returns how the registry at address was last seen to authenticate, or how it
// is known to.
func (t *tokens) GetScheme(ctx context.Context, address string) (orasauth.Scheme, error) {
	if scheme := t.seen(address); scheme != orasauth.SchemeUnknown {
		return scheme, nil
	}
	if address != t.address || !t.worthTelling() {
		return orasauth.SchemeUnknown, errNoToken
	}
	cred, err := t.who(ctx).Credential(ctx, t.host)
	if err != nil {
		attemptOf(ctx).failed = err // the answer to the challenge that follows
		return orasauth.SchemeUnknown, errNoToken
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unasked = &cred.Unasked
	if !cred.Unasked {
		return orasauth.SchemeUnknown, errNoToken
	}
	return orasauth.SchemeBasic, nil
}

// worthTelling reports whether the host may take a credential unasked. A registry that asks
// nobody has no scheme, ever; without the note its provider was asked again, and an auth file read
// again, for every request.
func (t *tokens) worthTelling() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.unasked == nil || *t.unasked
}

// seen is the scheme of the last challenge, SchemeUnknown before the first.
func (t *tokens) seen(address string) orasauth.Scheme {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.schemes[address] // whose zero value is unknown
}

// GetToken answers for Basic from the provider, for Bearer from memory.
func (t *tokens) GetToken(ctx context.Context, address string, scheme orasauth.Scheme, scopes string) (string, error) {
	if scheme == orasauth.SchemeBasic {
		return t.basic(ctx, address)
	}
	token := t.bearer(keyOf(ctx, address, scopes))
	if token == "" {
		return "", errNoToken
	}
	attemptOf(ctx).bearer = token
	return token, nil
}

// Set is called when the registry has asked for a token, and returns one.
func (t *tokens) Set(ctx context.Context, address string, scheme orasauth.Scheme, scopes string, fetch func(context.Context) (string, error)) (string, error) {
	var token string
	var err error
	if scheme == orasauth.SchemeBasic {
		token, err = t.basic(ctx, address)
	} else {
		token, err = t.renewed(ctx, address, scopes, fetch)
	}
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.schemes[address] = scheme
	return token, nil
}

func (t *tokens) bearer(key bearerKey) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bearers[key]
}

// basic returns the password that the provider has now, in the form it is sent in.
func (t *tokens) basic(ctx context.Context, address string) (string, error) {
	cred, err := t.Credential(ctx, address)
	if err != nil {
		return "", err
	}
	if cred.Username == "" || cred.Password == "" {
		return "", orasauth.ErrBasicCredentialNotFound
	}
	return base64.StdEncoding.EncodeToString([]byte(cred.Username + ":" + cred.Password)), nil
}

// renewed returns a bearer token other than the one the request was sent with: what
// another request has fetched meanwhile, or a new one.
func (t *tokens) renewed(ctx context.Context, address, scopes string, fetch func(context.Context) (string, error)) (string, error) {
	used := attemptOf(ctx)
	refused := used.bearer
	token, err := t.another(ctx, address, scopes, fetch)
	if err == nil && token == refused {
		// Somebody else's question, which was answered from memory just when this one joined
		// it, and with what this one has been refused with.
		token, err = t.another(ctx, address, scopes, fetch)
	}
	return token, err
}

// another is renewed, but for one who may have joined the question of somebody who had
// been refused with another token.
func (t *tokens) another(ctx context.Context, address, scopes string, fetch func(context.Context) (string, error)) (string, error) {
	used := attemptOf(ctx)
	refused, key := used.bearer, keyOf(ctx, address, scopes)
	if token := t.bearerOtherThan(refused, key); token != "" {
		used.bearer = token
		return token, nil
	}
	type fetched struct {
		token string
		with  auth.Credential
	}
	flight := t.flights.DoChan(strings.Join([]string{address, scopes, key.path}, " "), func() (any, error) {
		// One who looked just before a token was kept, and came here just after, fetched a
		// second one.
		if token := t.bearerOtherThan(refused, key); token != "" {
			return fetched{token: token}, nil
		}
		ctx, with := withAttempt(context.WithValue(context.WithoutCancel(ctx), tokenRequestKey{}, true), used.path)
		ctx, cancel := context.WithTimeoutCause(ctx, t.patience, errNoAnswer)
		defer cancel()
		token, err := fetch(ctx)
		if err == nil {
			t.keep(ctx, address, scopes, token)
		}
		return fetched{token, with.cred}, causeOf(ctx, err)
	})
	select {
	case r := <-flight:
		got := r.Val.(fetched)
		used.cred, used.bearer = got.with, got.token
		return got.token, r.Err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// bearerOtherThan returns the token for a key, "" where there is none but one that was
// refused.
func (t *tokens) bearerOtherThan(refused string, key bearerKey) string {
	if token := t.bearer(key); token != refused {
		return token
	}
	return ""
}

// keep remembers a token under the scopes it was issued for, which the registry may
// have added to, and under those that requests of its kind ask for. Without the second
// each request to such a registry (public.ecr.aws adds "aws") would be refused once.
func (t *tokens) keep(ctx context.Context, address, scopes, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bearers[keyOf(ctx, address, scopes)] = token
	t.bearers[keyOf(ctx, address, strings.Join(orasauth.GetAllScopesForHost(ctx, address), " "))] = token
}

// who answers for the repository that a request is about.
func (t *tokens) who(ctx context.Context) auth.Provider {
	return auth.At(t.provider, t.host, attemptOf(ctx).path)
}

// Credential asks the provider, for the host's own address alone, and notes what it gave.
func (t *tokens) Credential(ctx context.Context, address string) (orasauth.Credential, error) {
	if address != t.address {
		return orasauth.EmptyCredential, nil
	}
	if err := attemptOf(ctx).failed; err != nil {
		return orasauth.EmptyCredential, err
	}
	cred, err := t.who(ctx).Credential(ctx, t.host)
	if err != nil {
		return orasauth.EmptyCredential, err
	}
	attemptOf(ctx).cred = cred
	return orasauth.Credential{
		Username:     cred.Username,
		Password:     cred.Password.Reveal(),
		RefreshToken: cred.IdentityToken.Reveal(),
		AccessToken:  cred.RegistryToken.Reveal(),
	}, nil
}

// maxRenewals is how many credentials in a row may be refused before the fault is taken
// to be elsewhere, and no further ones are fetched.
const maxRenewals = 3

// renew forgets what a refused request was sent with and reports whether the next one
// will be sent with something else.
func (t *tokens) renew(ctx context.Context, used *attempt) bool {
	if used.bare() {
		return false
	}
	t.mu.Lock()
	for key, token := range t.bearers {
		if token == used.bearer {
			delete(t.bearers, key)
		}
	}
	if !used.cred.Anonymous() && used.cred != t.refused {
		t.refused = used.cred
		t.renewals++
	}
	hopeless := t.renewals > maxRenewals
	t.mu.Unlock()
	if hopeless {
		return false
	}
	if used.cred.Anonymous() {
		return true // the bearer token is forgotten
	}
	who := auth.At(t.provider, t.host, used.path)
	who.Refused(t.host, used.cred)
	fresh, err := who.Credential(ctx, t.host)
	return err != nil || fresh != used.cred // an error will be the next request's own
}

// worked notes that the host accepted what a request was sent with.
func (t *tokens) worked(used *attempt) {
	if used.bare() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused, t.renewals = auth.Credential{}, 0
}
