package ecr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Registries knows which registry hosts are ECR's, and through which session each is
// spoken to: its password, and what the API says of it, come from there. A host is known
// by its name, or because ECR itself named it (Learn), as an emulator's is, or an operator
// did (Name). Registries is
// safe for concurrent use.
type Registries struct {
	session *Session // for registries that are no other session's
	now     func() time.Time

	mu       sync.Mutex
	named    map[string]site       // by host, as an operator said
	public   map[string]*Session   // hosts of ECR Public that an operator named
	learned  map[string][]site     // by host; more than one where a host stands for several registries
	sessions map[Location]*Session // of the registries that were claimed or learned
	tokens   map[opener]*token
}

// site is a private registry and the session that speaks to it.
type site struct {
	Location
	session *Session
}

// clients are those for the API of the registry.
func (s site) clients() *regional { return s.session.in(s.Region) }

// opener is what a token opens registries for: one token opens every registry of a
// Region that the session may use.
type opener struct {
	session *Session
	region  string
	public  bool
}

var _ auth.Provider = (*Registries)(nil)

// NewRegistries returns Registries that speak through session, except to those that a
// Finder with another session searches. Now is the clock; nil means the system's.
func NewRegistries(session *Session, now func() time.Time) *Registries {
	if now == nil {
		now = time.Now
	}
	return &Registries{session: session, now: now, named: map[string]site{}, public: map[string]*Session{}, learned: map[string][]site{}, sessions: map[Location]*Session{}, tokens: map[opener]*token{}}
}

// Learn records that host is a private registry, because ECR said so to a session in a
// repository URI or a token. The registry is spoken to through that session from then on,
// under each of its names, unless another session has claimed it or learned it before.
//
// A host that several registries share, as the accounts and Regions of an emulator may,
// has no password from then on: nothing in a request to it says which of them is meant,
// and what was meant for one must not be written to another.
func (r *Registries) Learn(host string, at Location, through *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	this := site{Location: at, session: r.first(at, through)}
	known := r.learned[host]
	for i, k := range known {
		sameAccount := k.Account == this.Account || k.Account == "" || this.Account == "" // "" is the caller's
		if k.Region != this.Region || k.session != this.session || !sameAccount {
			continue
		}
		if k.Account == "" {
			known[i] = this
		}
		return
	}
	r.learned[host] = append(known, this)
}

// Name records what an operator says of a host: that it is the private registry of an
// account in a Region, and how that is spoken to. Where at is zero, the host's own name says
// it. A profile that the AWS configuration does not have is an error. What is named goes
// before all that Learn is told, and before the sessions of every Finder that is
// made later; whatever else a host stands for, an operator knows which is meant.
func (r *Registries) Name(ctx context.Context, host string, at Location, access Access) error {
	if parsed, ok := ParseHost(host); ok {
		at = Location{Account: cmp.Or(at.Account, parsed.Account), Region: cmp.Or(at.Region, parsed.Region)}
	}
	if at.Account == "" || at.Region == "" {
		return fmt.Errorf("%s does not look like a host of ECR: its account and Region have to be named", host)
	}
	session, err := r.session.through(ctx, access, at.Account)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.named[host] = site{Location: at, session: session}
	r.first(at, session)
	return nil
}

// claim makes session the one for a registry, unless another is. It does not matter then
// whether a repository has been found there yet.
func (r *Registries) claim(at Location, session *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first(at, session)
}

// first returns the session that was the first for a registry, which is this one where
// none was. The caller holds mu.
func (r *Registries) first(at Location, through *Session) *Session {
	if at.Account == "" {
		return through
	}
	if known, ok := r.sessions[at]; ok {
		return known
	}
	r.sessions[at] = through
	return through
}

// Locate returns where the private registry at host is, and whether it is one.
func (r *Registries) Locate(host string) (Location, bool) {
	known := r.sites(host)
	if len(known) == 0 {
		return Location{}, false
	}
	return known[0].Location, true
}

// one is Locate for what acts on the registry: it is an error where host stands for
// several.
func (r *Registries) one(host string) (at site, private bool, err error) {
	known := r.sites(host)
	switch len(known) {
	case 0:
		return site{}, false, nil
	case 1:
		return known[0], true, nil
	}
	return site{}, true, fmt.Errorf("%s is the registry of %s and also of %s; mirror to one of them at a time: %w", host, known[0], known[1], registry.ErrUnsupported)
}

// private is one where nothing but a private registry will do.
func (r *Registries) private(host string) (site, error) {
	at, private, err := r.one(host)
	if err == nil && !private {
		err = fmt.Errorf("%s is no private ECR registry: %w", host, registry.ErrUnsupported)
	}
	return at, err
}

// sites returns every registry that host stands for.
func (r *Registries) sites(host string) []site {
	r.mu.Lock()
	defer r.mu.Unlock()
	if said, ok := r.named[host]; ok {
		return []site{said}
	}
	if _, public := r.public[host]; public {
		return nil
	}
	if known := r.learned[host]; len(known) > 0 {
		return slices.Clone(known)
	}
	at, ok := ParseHost(host)
	if !ok {
		return nil
	}
	if session, ok := r.sessions[at]; ok {
		return []site{{at, session}}
	}
	return []site{{at, r.session}}
}

// Credential returns the password of a private registry or of ECR Public, and nothing for
// other hosts.
// A password is fetched when it is first needed, and again when half of its life is
// over; if that fails while the old one still is good, the old one serves.
func (r *Registries) Credential(ctx context.Context, host string) (auth.Credential, error) {
	if session, public := r.Public(host); public {
		held, err := r.publicToken(session).get(ctx)
		return held.cred, err
	}
	at, private, err := r.one(host)
	if err != nil || !private {
		return auth.Credential{}, err
	}
	held, err := r.token(at.session, at.Region).get(ctx)
	return held.cred, err
}

// Refused drops the password that opens host, unless it is a newer one by now.
func (r *Registries) Refused(host string, c auth.Credential) {
	if session, public := r.Public(host); public {
		r.publicToken(session).drop(c)
	}
	for _, at := range r.sites(host) {
		r.token(at.session, at.Region).drop(c)
	}
}

// Host asks ECR for the registry host of the first session's account in a Region, and
// learns it.
func (r *Registries) Host(ctx context.Context, region string) (string, error) {
	held, err := r.token(r.session, region).get(ctx)
	if err != nil {
		return "", err
	}
	if held.host == "" {
		return "", errors.New("ecr:GetAuthorizationToken: the answer names no registry")
	}
	if _, obvious := ParseHost(held.host); !obvious {
		r.Learn(held.host, Location{Account: r.account(ctx, region), Region: region}, r.session)
	}
	return held.host, nil
}

// account is the account whose registry is meant, "" where STS does not say: calls that
// name no account mean the caller's own.
func (r *Registries) account(ctx context.Context, region string) string {
	if id := r.session.opts.RegistryID; id != "" {
		return id
	}
	own, err := r.session.callerAccount(ctx, region)
	if err != nil {
		r.session.log.Debug("the caller's account is not known", zap.Error(err))
	}
	return own
}

// Mutability asks ECR which tags of one repository may be overwritten.
func (r *Registries) Mutability(ctx context.Context, repo ref.Repository) (discover.Mutability, error) {
	at, err := r.private(repo.Host)
	if err != nil {
		return discover.Mutability{}, err
	}
	described, err := at.describe(ctx, repo)
	if err != nil {
		return discover.Mutability{}, err
	}
	return mutability(described), nil
}

// token returns the one token with which a session opens registries of a Region.
func (r *Registries) token(session *Session, region string) *token {
	return r.tokenOf(opener{session: session, region: region})
}

// publicToken returns the one token with which a session opens ECR Public.
func (r *Registries) publicToken(session *Session) *token {
	return r.tokenOf(opener{session: session, region: publicRegion, public: true})
}

func (r *Registries) tokenOf(key opener) *token {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.tokens[key]
	if !ok {
		t = &token{session: key.session, region: key.region, public: key.public, now: r.now}
		r.tokens[key] = t
	}
	return t
}
