package registry

import (
	"context"
	"iter"
)

// Lister is the ability to say which repositories a registry has. Few registries have it
// for everybody, so it belongs to whoever knows a way to ask, and not to Source.
type Lister interface {
	// Repositories yields the paths of the repositories of a registry, without its
	// host, each once. It ends after the first error: what came before that is a part
	// and not the list. ErrUnsupported means that the registry cannot be asked, and
	// ErrDenied that it does not answer to this credential.
	Repositories(ctx context.Context, host string) iter.Seq2[string, error]
}
