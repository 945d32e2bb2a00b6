package auth

import (
	"context"
	"strings"
)

// Placed is a Provider that can tell repositories of one host apart: registries such as
// Quay, GitLab and Artifact Registry issue credentials for a part of what they hold.
type Placed interface {
	Provider
	// At returns who answers for the repository of that path at host. What it returns is asked for,
	// and told about, host as ever.
	At(host, path string) Provider
}

// At returns who answers for a repository: p itself unless it tells repositories apart.
// Path is "" where the host itself is meant, as for its catalog.
func At(p Provider, host, path string) Provider {
	if placed, ok := p.(Placed); ok && path != "" {
		return placed.At(host, path)
	}
	return p
}

// At asks each of the chain.
func (c Chain) At(host, path string) Provider {
	at := make(Chain, len(c))
	for i, p := range c {
		at[i] = At(p, host, path)
	}
	return at
}

// At returns the provider of the longest prefix of the repository's name that has one,
// which ends where a segment of the path does; the host is the shortest prefix.
func (b ByHost) At(host, path string) Provider {
	for prefix := path; prefix != ""; prefix = parent(prefix) {
		if p, ok := b.Hosts[host+"/"+prefix]; ok {
			return At(p, host, path)
		}
	}
	return At(b.of(host), host, path)
}

func parent(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

// At keeps the name.
func (n Named) At(host, path string) Provider {
	return Named{At(n.Provider, host, path), n.Source}
}

// At looks the repository up: auth files can have entries for namespaces and repositories,
// of which the longest holds.
// https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
func (f File) At(host, path string) Provider { return fileAt{f, host + "/" + path} }

// fileAt is an auth file that is asked about a repository.
type fileAt struct {
	File
	place string
}

func (f fileAt) Credential(ctx context.Context, host string) (Credential, error) {
	return f.lookup(ctx, host, f.place)
}

func (f fileAt) Describe(ctx context.Context, host string) (Origin, error) {
	return described(ctx, f, host, f.source())
}
