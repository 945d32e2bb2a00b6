package ecrlocal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// identity is who makes a request.
type identity struct {
	accessKey string
	account   string
	arn       string
	userID    string
	deny      []string // action patterns such as "ecr:PutImage" or "ecr:*"
}

// denies reports whether the credentials file denies action to this identity.
func (id identity) denies(action string) bool {
	return slices.ContainsFunc(id.deny, func(pattern string) bool {
		ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(action))
		return err == nil && ok
	})
}

// scope is what a SigV4 credential says about a request.
type scope struct {
	accessKey string
	region    string
	service   string
}

// parseScope reads the Credential of a SigV4 Authorization header. The signature is not
// looked at. It reports false when the request is not signed.
func parseScope(header string) (scope, bool) {
	rest, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256")
	if !ok {
		return scope{}, false
	}
	for part := range strings.SplitSeq(rest, ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(part), "Credential=")
		if !ok {
			continue
		}
		fields := strings.Split(value, "/")
		if len(fields) != 5 || fields[0] == "" || fields[2] == "" {
			return scope{}, false
		}
		return scope{accessKey: fields[0], region: fields[2], service: fields[3]}, true
	}
	return scope{}, false
}

// identify finds the identity behind an access key: a session that STS issued, a key of the
// credentials file or, when there is no such file, the default account. With the error that a
// session has expired it still returns whose session it was. The caller holds mu.
func (s *Server) identify(accessKey string) (identity, *apiError) {
	if session, ok := s.state.Sessions[accessKey]; ok {
		id := identity{
			accessKey: accessKey,
			account:   session.Account,
			arn:       session.ARN,
			userID:    session.UserID,
			deny:      s.credentials.roleDenials(session.RoleARN),
		}
		if !s.clock().Before(session.Expires) {
			return id, errSessionExpired()
		}
		return id, nil
	}
	if s.credentials == nil {
		return userIdentity(accessKey, s.account, "ecrlocal", nil), nil
	}
	key, ok := s.credentials.AccessKeys[accessKey]
	if !ok {
		return identity{}, newError("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	return userIdentity(accessKey, key.Account, key.userName(), key.Deny), nil
}

const sessionExpired = "ExpiredTokenException"

func errSessionExpired() *apiError {
	return newError(sessionExpired, "The security token included in the request is expired")
}

func userIdentity(accessKey, account, user string, deny []string) identity {
	return identity{
		accessKey: accessKey,
		account:   account,
		arn:       "arn:aws:iam::" + account + ":user/" + user,
		userID:    "AIDA" + accessKey,
		deny:      deny,
	}
}

// errDenied is the refusal of an action that the credentials file denies.
func errDenied(id identity, action, resource string) *apiError {
	return newError("AccessDeniedException",
		"User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
		id.arn, action, resource, action)
}

// grant is what a registry request may act as: the claims of its token.
type grant struct {
	identity
	target    registryKey
	anonymous bool // no token was shown, and none is needed
}

// tokenClaims is the content of a registry token.
type tokenClaims struct {
	AccessKey string    `json:"k"`
	Account   string    `json:"a"`
	Region    string    `json:"r"`
	Expires   time.Time `json:"e"`
}

// RegistryToken is a password for the user AWS, as GetAuthorizationToken issues it to accessKey,
// but without a trace in the journal. Account and Region default to the server's.
func (s *Server) RegistryToken(accessKey, account, region string) string {
	token, _ := s.issueToken(accessKey, s.key(account, region))
	return token
}

// issueToken returns a registry token with which key acts on the registry target.
func (s *Server) issueToken(accessKey string, target registryKey) (token string, expires time.Time) {
	expires = s.clock().Add(s.tokenTTL)
	return s.secret.seal("registry", tokenClaims{
		AccessKey: accessKey, Account: target.Account, Region: target.Region, Expires: expires,
	}), expires
}

// authenticate finds out for whom a registry request acts.
func (s *Server) authenticate(r *http.Request) (grant, error) {
	var claims tokenClaims
	user, token, given := r.BasicAuth()
	valid := given && user == "AWS" && s.secret.open("registry", token, &claims)
	if !valid && !s.quirks.RequireAuth {
		return s.anonymousGrant(), nil
	}
	if !given {
		return grant{}, &registryError{
			status:  http.StatusUnauthorized,
			code:    "UNAUTHORIZED",
			message: "Not Authorized",
			header:  http.Header{"Www-Authenticate": {`Basic realm="` + baseURL(r) + `/",service="ecr.amazonaws.com"`}},
		}
	}
	if !valid {
		return grant{}, newRegistryError(http.StatusForbidden, "DENIED", "Your Authorization Token is invalid.")
	}
	if !s.clock().Before(claims.Expires) {
		return grant{}, newRegistryError(http.StatusForbidden, "DENIED",
			"Your authorization token has expired. Reauthenticate and try again.")
	}
	s.mu.Lock()
	id, apiErr := s.identify(claims.AccessKey)
	s.mu.Unlock()
	if apiErr != nil && apiErr.code != sessionExpired { // a token outlives the session that got it
		return grant{}, newRegistryError(http.StatusForbidden, "DENIED", "%s", apiErr.message)
	}
	return grant{identity: id, target: registryKey{Account: claims.Account, Region: claims.Region}}, nil
}

// grantOnly is authenticate at the address of one registry. ECR's passwords open whatever
// registry their owner may use; here nobody has said who may use another's, so that a
// password that is shown at the wrong address is noticed.
func (s *Server) grantOnly(r *http.Request, registry registryKey) (grant, error) {
	g, err := s.authenticate(r)
	switch {
	case err != nil:
		return grant{target: registry}, err
	case g.anonymous:
		g.target = registry
	case g.target != registry:
		err = newRegistryError(http.StatusForbidden, "DENIED", "this is the registry of %s in %s, and the authorization token was issued for %s in %s",
			registry.Account, registry.Region, g.target.Account, g.target.Region)
		g.target = registry
	}
	return g, err
}

func (s *Server) anonymousGrant() grant {
	return grant{
		identity:  userIdentity("ANONYMOUS", s.account, "anonymous", nil),
		target:    registryKey{Account: s.account, Region: s.region},
		anonymous: true,
	}
}

// sealer makes strings that clients can carry but neither forge nor use for another purpose.
type sealer []byte

func newSealer() sealer {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

func (k sealer) mac(purpose, payload string) string {
	m := hmac.New(sha256.New, k)
	_, _ = m.Write([]byte(purpose + "\x00" + payload)) // a hash never fails
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// seal encodes v, which must be marshalable, for purpose.
func (k sealer) seal(purpose string, v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // only plain structs of ours are sealed
	}
	payload := base64.RawURLEncoding.EncodeToString(raw)
	return payload + "." + k.mac(purpose, payload)
}

// open decodes into v what seal made for the same purpose, and reports whether it did.
func (k sealer) open(purpose, sealed string, v any) bool {
	payload, mac, ok := strings.Cut(sealed, ".")
	if !ok || !hmac.Equal([]byte(mac), []byte(k.mac(purpose, payload))) {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	return err == nil && json.Unmarshal(raw, v) == nil
}

// Credentials says which access keys exist and what they may not do. With a nil *Credentials
// every access key signs for the default account and may do everything.
type Credentials struct {
	AccessKeys map[string]AccessKey `yaml:"accessKeys"`
	// Roles describes roles, by their ARNs. Roles that are not among them can be assumed too.
	Roles map[string]Role `yaml:"roles"`
}

// AccessKey is one access key's owner and the actions denied to it.
type AccessKey struct {
	Account string `yaml:"account"` // 12 digits
	User    string `yaml:"user"`    // the user's name in its ARN; "" means "ecrlocal"
	// Deny lists denied actions such as "tag:GetResources", "ecr:PutImage" or "ecr:*".
	Deny []string `yaml:"deny"`
}

// Role is who may assume one role, and what its sessions may not do.
type Role struct {
	ExternalID string   `yaml:"externalId"` // without which the role cannot be assumed; "" means none
	Deny       []string `yaml:"deny"`
}

func (k AccessKey) userName() string {
	if k.User == "" {
		return "ecrlocal"
	}
	return k.User
}

func (c *Credentials) roleDenials(roleARN string) []string {
	if c == nil {
		return nil
	}
	return c.Roles[roleARN].Deny
}

// knowsExternalID reports whether a role may be assumed by who gives that external id.
func (c *Credentials) knowsExternalID(roleARN, given string) bool {
	if c == nil {
		return true
	}
	want := c.Roles[roleARN].ExternalID
	return want == "" || want == given
}

// validate reports the first thing about c that cannot be meant.
func (c *Credentials) validate() error {
	if c == nil {
		return nil
	}
	for name, key := range c.AccessKeys {
		if !isAccountID(key.Account) {
			return errors.New("access key " + name + ": account " + quote(key.Account) + " is not 12 digits")
		}
		if err := validateActions(key.Deny); err != nil {
			return errors.New("access key " + name + ": " + err.Error())
		}
	}
	for arn, role := range c.Roles {
		if _, _, _, ok := parseRoleARN(arn); !ok {
			return errors.New("role " + quote(arn) + " is not a role ARN")
		}
		if err := validateActions(role.Deny); err != nil {
			return errors.New("role " + arn + ": " + err.Error())
		}
	}
	return nil
}

func validateActions(actions []string) error {
	for _, action := range actions {
		if _, err := path.Match(action, ""); err != nil || (!strings.Contains(action, ":") && action != "*") {
			return errors.New("denied action " + quote(action) + " is not of the form service:Action")
		}
	}
	return nil
}

func quote(s string) string { return `"` + s + `"` }

func isAccountID(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}
