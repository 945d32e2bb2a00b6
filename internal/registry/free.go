package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Freer is the ability of a Target that nobody else cleans up after to free what no tag
// leads to any more. Use Free.
type Freer interface {
	// Free notes what no tag of repo leads to, and removes what was noted so at least
	// delay ago and has not been needed since. It may run beside copies to repo.
	Free(ctx context.Context, repo ref.Repository, delay time.Duration) (Freed, error)
}

// Freed says what became of the content that no tag leads to.
type Freed struct {
	Objects int   // removed
	Bytes   int64 // of these
	Waiting int   // noted, and still there
}

// Frees reports whether t cleans up by itself only when it is told to.
func Frees(t Target) bool {
	if r, ok := t.(readOnly); ok {
		return Frees(r.Target)
	}
	_, ok := t.(Freer)
	return ok
}

// Free frees what no tag of repo leads to, see Freer. It returns ErrUnsupported where that
// is the registry's own business.
func Free(ctx context.Context, t Target, repo ref.Repository, delay time.Duration) (Freed, error) {
	if f, ok := t.(Freer); ok {
		return f.Free(ctx, repo, delay)
	}
	return Freed{}, fmt.Errorf("freeing what no tag of %s leads to: %w", repo, ErrUnsupported)
}
