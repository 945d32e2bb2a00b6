package bucket

import (
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// checked hashes a blob on its way, and hands on what it read last only when digest and
// size of the whole are right. Sources do so too: an object is visible to everybody at
// once, and nobody looks at it again.
type checked struct {
	r    io.Reader
	want ref.Descriptor
	hash hash.Hash
	left int64
	err  error // the first, io.EOF included
}

func check(r io.Reader, want ref.Descriptor) *checked {
	return &checked{r: r, want: want, hash: want.Digest.Algorithm().Hash(), left: want.Size}
}

// Read reads on. With nothing left to come it judges the whole, once more for an empty blob.
func (c *checked) Read(p []byte) (n int, err error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.left > 0 {
		n, err = c.r.Read(p[:min(int64(len(p)), c.left)])
		c.hash.Write(p[:n]) // a hash does not fail
		c.left -= int64(n)
	}
	switch {
	case c.left > 0 && errors.Is(err, io.EOF):
		n, err = 0, fmt.Errorf("blob %s ended %d bytes early: %w", c.want.Digest, c.left, io.ErrUnexpectedEOF)
	case c.left == 0 && (err == nil || errors.Is(err, io.EOF)):
		if err = c.judge(); err != nil {
			n = 0
		} else if n == 0 {
			err = io.EOF
		}
	}
	c.err = err
	return n, err
}

// judge looks for more than there should be, and compares the digest.
func (c *checked) judge() error {
	var more [1]byte
	switch n, err := io.ReadFull(c.r, more[:]); {
	case n > 0:
		return fmt.Errorf("blob %s is longer than %d bytes: %w", c.want.Digest, c.want.Size, registry.ErrCorrupt)
	case !errors.Is(err, io.EOF):
		return err
	}
	if got := digest.NewDigest(c.want.Digest.Algorithm(), c.hash); got != c.want.Digest {
		return fmt.Errorf("blob %s came as %s: %w", c.want.Digest, got, registry.ErrCorrupt)
	}
	return nil
}
