package ecr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Registries knows which registry hosts are ECR's, and gives them their passwords. A
// host is known by its name, or because ECR itself named it (Learn), as an emulator's
// is. It is safe for concurrent use.
type Registries struct {
	session *Session
	now     func() time.Time

	mu      sync.Mutex
	learned map[string][]Location // more than one where a host stands for several registries
	tokens  map[string]*token     // by Region: one token opens every registry the caller may use
}

var _ auth.Provider = (*Registries)(nil)

// NewRegistries returns Registries that ask session for passwords. Now is the clock;
// nil means the system's.
func NewRegistries(session *Session, now func() time.Time) *Registries {
	if now == nil {
		now = time.Now
	}
	return &Registries{session: session, now: now, learned: map[string][]Location{}, tokens: map[string]*token{}}
}

// Learn records that host is a private registry, because ECR said so in a repository
// URI or a token. A host that several registries share, as the accounts and Regions of
// an emulator do, has no password from then on: nothing in a request to it says which
// of them is meant, and what was meant for one must not be written to another.
func (r *Registries) Learn(host string, at Location) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.learned[host]
	for i, k := range known {
		if k == at || k.Region == at.Region && at.Account == "" {
			return
		}
		if k.Region == at.Region && k.Account == "" {
			known[i] = at
			return
		}
	}
	r.learned[host] = append(known, at)
}

// Locate returns where the private registry at host is, and whether it is one.
func (r *Registries) Locate(host string) (Location, bool) {
	known := r.locations(host)
	if len(known) == 0 {
		return Location{}, false
	}
	return known[0], true
}

// one is Locate for what acts on the registry: it is an error where host stands for
// several.
func (r *Registries) one(host string) (at Location, private bool, err error) {
	known := r.locations(host)
	switch len(known) {
	case 0:
		return Location{}, false, nil
	case 1:
		return known[0], true, nil
	}
	return Location{}, true, fmt.Errorf("%s is the registry of %s and also of %s; mirror to one of them at a time: %w", host, known[0], known[1], registry.ErrUnsupported)
}

// locations returns every registry that host stands for.
func (r *Registries) locations(host string) []Location {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.learned[host]; len(known) > 0 {
		return slices.Clone(known)
	}
	if at, ok := ParseHost(host); ok {
		return []Location{at}
	}
	return nil
}

// Credential returns the password of a private registry, and nothing for other hosts.
// A password is fetched when it is first needed, and again when half of its life is
// over; if that fails while the old one still is good, the old one serves.
func (r *Registries) Credential(ctx context.Context, host string) (auth.Credential, error) {
	at, private, err := r.one(host)
	if err != nil || !private {
		return auth.Credential{}, err
	}
	held, err := r.token(at.Region).get(ctx)
	return held.cred, err
}

// Refused drops the password of host's Region, unless it is a newer one by now.
func (r *Registries) Refused(host string, c auth.Credential) {
	if at, ok := r.Locate(host); ok {
		r.token(at.Region).drop(c)
	}
}

// Host asks ECR for the registry host of the session's account in a Region, and learns
// it.
func (r *Registries) Host(ctx context.Context, region string) (string, error) {
	held, err := r.token(region).get(ctx)
	if err != nil {
		return "", err
	}
	if held.host == "" {
		return "", errors.New("ecr:GetAuthorizationToken: the answer names no registry")
	}
	if _, obvious := ParseHost(held.host); !obvious {
		r.Learn(held.host, Location{Account: r.account(ctx, region), Region: region})
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
	at, private, err := r.one(repo.Host)
	if err != nil {
		return discover.Mutability{}, err
	}
	if !private {
		return discover.Mutability{}, fmt.Errorf("%s is no private ECR registry: %w", repo.Host, registry.ErrUnsupported)
	}
	out, err := r.session.in(at.Region).ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{
		RegistryId:      optional(at.Account),
		RepositoryNames: []string{repo.Path},
	})
	if err != nil {
		return discover.Mutability{}, translate("ecr:DescribeRepositories", err)
	}
	for i := range out.Repositories {
		if aws.ToString(out.Repositories[i].RepositoryName) == repo.Path {
			return mutability(&out.Repositories[i]), nil
		}
	}
	return discover.Mutability{}, fmt.Errorf("ecr:DescribeRepositories: the answer does not name %s", repo.Path)
}

// token returns the one token of a Region.
func (r *Registries) token(region string) *token {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.tokens[region]
	if !ok {
		t = &token{session: r.session, region: region, now: r.now}
		r.tokens[region] = t
	}
	return t
}
