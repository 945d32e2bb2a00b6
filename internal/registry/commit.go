package registry

import (
	"context"

	imagetypes "go.podman.io/image/v5/types"
)

// Committer is the ability of a destination endpoint that cannot keep what is written to
// it one by one, such as an archive. Use Commit.
type Committer interface {
	// CommitWrites makes last what was written, and returns when it was read back. Until
	// then the place is what it was. It is called when nothing is being written, once for
	// each endpoint that was written to.
	CommitWrites(ctx context.Context) error
}

// Commit makes last what was written to dst, which for most endpoints it does already.
func Commit(ctx context.Context, dst imagetypes.ImageDestination) error {
	if c, ok := dst.(Committer); ok {
		return c.CommitWrites(ctx)
	}
	return nil
}
