package copy

import (
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// verified hashes a blob on its way and holds the last byte back until the digest and
// the size are right, so that a destination can never complete an upload of wrong
// bytes. It fails with ErrCorrupt where they are not, and having failed fails for
// good: an end after an error would look like the end of the blob.
type verified struct {
	body  io.ReadCloser
	want  ref.Descriptor
	hash  hash.Hash
	left  int64 // bytes still to come
	moved func(n int)
	err   error // the first error, io.EOF included
}

// verify wraps body. Moved is told of each run of bytes handed on.
func verify(body io.ReadCloser, want ref.Descriptor, moved func(n int)) io.ReadCloser {
	return &verified{body: body, want: want, hash: want.Digest.Algorithm().Hash(), left: want.Size, moved: moved}
}

func (v *verified) Close() error { return v.body.Close() }

func (v *verified) Read(p []byte) (n int, err error) {
	if v.err != nil {
		return 0, v.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	switch v.left {
	case 0:
		err = v.end()
	case 1:
		n, err = v.last(p)
	default:
		n, err = v.some(p)
	}
	v.left -= int64(n)
	if n > 0 {
		v.moved(n)
	}
	v.err = err
	return n, err
}

// some hands on what comes, all but the last byte of it.
func (v *verified) some(p []byte) (int, error) {
	n, err := v.body.Read(p[:min(int64(len(p)), v.left-1)])
	v.hash.Write(p[:n]) // a hash does not fail
	if errors.Is(err, io.EOF) {
		err = v.short(v.left - int64(n))
	}
	return n, err
}

// last reads the final byte, judges the whole, and only then hands the byte on.
func (v *verified) last(p []byte) (int, error) {
	var final [1]byte
	if _, err := io.ReadFull(v.body, final[:]); errors.Is(err, io.EOF) {
		return 0, v.short(1)
	} else if err != nil {
		return 0, err
	}
	v.hash.Write(final[:]) // a hash does not fail
	if err := v.judge(); err != nil {
		return 0, err
	}
	return copy(p, final[:]), nil
}

// end is what there is to read after the last byte. For an empty blob, which has no
// last byte, it is the whole check.
func (v *verified) end() error {
	if v.want.Size == 0 {
		if err := v.judge(); err != nil {
			return err
		}
	}
	return io.EOF
}

// judge compares length and digest when every byte has been read.
func (v *verified) judge() error {
	var more [1]byte
	if n, err := io.ReadFull(v.body, more[:]); n > 0 {
		return fmt.Errorf("blob %s is longer than the %d bytes its manifest says: %w", v.want.Digest, v.want.Size, failure.ErrCorrupt)
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	if got := digest.NewDigest(v.want.Digest.Algorithm(), v.hash); got != v.want.Digest {
		return fmt.Errorf("blob %s came as %s: %w", v.want.Digest, got, failure.ErrCorrupt)
	}
	return nil
}

func (v *verified) short(missing int64) error {
	return fmt.Errorf("blob %s ended %d bytes early: %w", v.want.Digest, missing, io.ErrUnexpectedEOF)
}

func digestOf(raw []byte) ref.Digest { return digest.FromBytes(raw) }
