// Package auth answers one question: which credential does a registry host get? It is
// asked late, when a registry demands one, so that a copy which starts in hour eleven
// of a run gets a fresh token; and it never shows what it holds.
//
// A credential belongs to one host. Nothing in this package hands a host the
// credential of another.
package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"go.uber.org/zap/zapcore"
)

// A Secret is a password or token. Every way of printing it says "[redacted]"; Reveal
// is the one way to its text. (Package fmt cannot ask a value in an unexported field how
// it wants to be printed: a struct that keeps one does not go to a log whole.)
type Secret string

const redacted = "[redacted]"

// Reveal returns the secret itself, for sending it to the host it belongs to.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format keeps every verb of package fmt from showing the secret. Without it a verb that
// strings do not have, such as %d, would: fmt complains of it and quotes the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalJSON keeps the secret out of reports.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText keeps the secret out of every other encoding.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Credential is what a host gets. The zero Credential is anonymity.
type Credential struct {
	Username      string
	Password      Secret
	IdentityToken Secret // exchanged for access tokens (OAuth2 refresh token)
	RegistryToken Secret // sent as it is, as a bearer token

	// Unasked says that the host takes user and password with any request, as ECR does: a
	// first request without them would only be refused.
	Unasked bool
}

// Anonymous reports whether c says nothing about who is asking.
func (c Credential) Anonymous() bool { return c == Credential{} }

// MarshalLogObject logs who, never with what.
func (c Credential) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("username", c.Username)
	return nil
}

// Provider knows the credentials of hosts. Implementations are safe for concurrent use
// and cache what is costly to get.
type Provider interface {
	// Credential returns what host gets; the zero Credential where nothing is known.
	// Host is written as in references: "docker.io", "quay.io:443".
	Credential(ctx context.Context, host string) (Credential, error)

	// Refused tells the provider that host would not take c any more, so that a cached
	// c is dropped and the next call fetches a new one. A provider that holds another
	// credential by now keeps it: of many workers that were refused at once, the first
	// one's news is enough.
	Refused(host string, c Credential)
}

// Anonymous provides nothing.
type Anonymous struct{}

// Credential returns the zero Credential.
func (Anonymous) Credential(context.Context, string) (Credential, error) { return Credential{}, nil }

// Refused does nothing: anonymity cannot be renewed.
func (Anonymous) Refused(string, Credential) {}

// Static provides credentials that were given by hand, by host.
type Static map[string]Credential

// Credential returns the credential of exactly that host.
func (s Static) Credential(_ context.Context, host string) (Credential, error) { return s[host], nil }

// Refused does nothing: what was given by hand cannot be renewed.
func (Static) Refused(string, Credential) {}

// Chain asks each provider in turn until one knows a credential.
type Chain []Provider

// Credential returns the first credential that is not anonymous, or the first error.
func (c Chain) Credential(ctx context.Context, host string) (Credential, error) {
	for _, p := range c {
		cred, err := p.Credential(ctx, host)
		if err != nil {
			return Credential{}, fmt.Errorf("credential for %s: %w", host, err)
		}
		if !cred.Anonymous() {
			return cred, nil
		}
	}
	return Credential{}, nil
}

// Refused passes the news to every provider.
func (c Chain) Refused(host string, cred Credential) {
	for _, p := range c {
		p.Refused(host, cred)
	}
}

// ByHost asks a provider of their own for the hosts it names, and nobody else: what that
// one says holds, anonymity included. Rest answers for all other hosts. A key may also name
// what is below a path, "quay.io/team", for the repositories that At is asked about.
type ByHost struct {
	Hosts map[string]Provider
	Rest  Provider
}

// Credential asks the one provider that answers for host.
func (b ByHost) Credential(ctx context.Context, host string) (Credential, error) {
	return b.of(host).Credential(ctx, host)
}

// Refused tells the one provider that answers for host.
func (b ByHost) Refused(host string, cred Credential) { b.of(host).Refused(host, cred) }

func (b ByHost) of(host string) Provider {
	if p, ok := b.Hosts[host]; ok {
		return p
	}
	return b.Rest
}
