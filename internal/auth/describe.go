package auth

import (
	"context"
	"time"
)

// Origin says where the credential of a host comes from, and never what it is.
type Origin struct {
	Source  string    // in words; "" where nothing is known of the host
	Expires time.Time // zero where that is not known
}

// A Describer is a Provider that knows where its credentials come from.
type Describer interface {
	// Describe returns the origin of what Credential returns for host. It may have to
	// fetch the credential to know when it expires.
	Describe(ctx context.Context, host string) (Origin, error)
}

// Describe asks p where the credential of host comes from. Of a Provider that cannot say
// it says no more than that there is one.
func Describe(ctx context.Context, p Provider, host string) (Origin, error) {
	if d, ok := p.(Describer); ok {
		return d.Describe(ctx, host)
	}
	return described(ctx, p, host, "a credential that was given")
}

// described is the origin of p's credential for host, where it has one.
func described(ctx context.Context, p Provider, host, source string) (Origin, error) {
	cred, err := p.Credential(ctx, host)
	if err != nil || cred.Anonymous() {
		return Origin{}, err
	}
	return Origin{Source: source}, nil
}

// Named is a Provider with a name for what it provides, such as the flag that gave it.
type Named struct {
	Provider
	Source string
}

// Describe says the name, for hosts that get something, or on purpose nothing.
func (n Named) Describe(ctx context.Context, host string) (Origin, error) {
	if _, meant := n.Provider.(Anonymous); meant {
		return Origin{Source: n.Source}, nil
	}
	return described(ctx, n.Provider, host, n.Source)
}

// Describe says which files are read.
func (f File) Describe(ctx context.Context, host string) (Origin, error) {
	return described(ctx, f, host, f.source())
}

func (f File) source() string {
	if f.path == "" {
		return "the auth files of docker and podman"
	}
	return "auth file " + f.path
}

// Describe describes the provider whose credential it is; where all are anonymous, the
// first that means it.
func (c Chain) Describe(ctx context.Context, host string) (Origin, error) {
	var meant Origin
	for _, p := range c {
		origin, err := Describe(ctx, p, host)
		if err != nil {
			return Origin{}, err
		}
		cred, err := p.Credential(ctx, host)
		if err != nil {
			return Origin{}, err
		}
		if !cred.Anonymous() {
			return origin, nil
		}
		if meant.Source == "" {
			meant = origin
		}
	}
	return meant, nil
}

// Describe describes the one provider that answers for host.
func (b ByHost) Describe(ctx context.Context, host string) (Origin, error) {
	return Describe(ctx, b.of(host), host)
}
