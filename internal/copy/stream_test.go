package copy

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// body is a blob's stream as a source sends it.
func body(r io.Reader) io.ReadCloser { return io.NopCloser(r) }

func wantOf(content []byte) ref.Descriptor {
	return ref.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// readers are the ways in which a source may deliver the same bytes.
var readers = map[string]func(io.Reader) io.Reader{
	"whole":        func(r io.Reader) io.Reader { return r },
	"byte by byte": iotest.OneByteReader,
	"in halves":    iotest.HalfReader,
	"end with the last bytes": func(r io.Reader) io.Reader {
		return iotest.DataErrReader(r)
	},
}

func TestVerifiedPassesRightBytes(t *testing.T) {
	for _, size := range []int{0, 1, 2, 3, 511, 512, 513, 100_000} {
		for name, deliver := range readers {
			t.Run(fmt.Sprintf("%d %s", size, name), func(t *testing.T) {
				content := bytes.Repeat([]byte{7}, size)
				moved := 0
				r := verify(body(deliver(bytes.NewReader(content))), wantOf(content), func(n int) {
					if n <= 0 {
						t.Errorf("moved %d bytes", n)
					}
					moved += n
				})
				got, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(got, content) || moved != size {
					t.Errorf("%d bytes, %v, moved %d", len(got), err, moved)
				}
				if n, err := r.Read(make([]byte, 8)); n != 0 || err != io.EOF {
					t.Errorf("after the end: %d, %v", n, err)
				}
			})
		}
	}
}

// The contract of io.Reader, as iotest knows it.
func TestVerifiedIsAReader(t *testing.T) {
	for _, size := range []int{0, 1, 2, 1000} {
		content := bytes.Repeat([]byte("x"), size)
		r := verify(body(bytes.NewReader(content)), wantOf(content), func(int) {})
		if err := iotest.TestReader(r, content); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestVerifiedRefusesWrongBytes(t *testing.T) {
	right := []byte("the right bytes")
	flipped := append(bytes.Clone(right[:14]), 'z')
	early := append([]byte{'z'}, right[1:]...)
	cut := errors.New("connection reset")
	tests := []struct {
		name string
		want []byte
		sent io.Reader
		kind error
	}{
		{"last byte flipped", right, bytes.NewReader(flipped), failure.ErrCorrupt},
		{"first byte flipped", right, bytes.NewReader(early), failure.ErrCorrupt},
		{"one byte too many", right, bytes.NewReader(append(bytes.Clone(right), 'x')), failure.ErrCorrupt},
		{"many bytes too many", right, bytes.NewReader(bytes.Repeat(right, 1000)), failure.ErrCorrupt},
		{"one byte short", right, bytes.NewReader(right[:14]), io.ErrUnexpectedEOF},
		{"all bytes short", right, bytes.NewReader(nil), io.ErrUnexpectedEOF},
		{"cut in the middle", right, io.MultiReader(bytes.NewReader(right[:7]), iotest.ErrReader(cut)), cut},
		{"cut before the last byte", right, io.MultiReader(bytes.NewReader(right[:14]), iotest.ErrReader(cut)), cut},
		{"cut after the last byte", right, io.MultiReader(bytes.NewReader(right), iotest.ErrReader(cut)), cut},
		{"something for nothing", nil, bytes.NewReader(right), failure.ErrCorrupt},
		{"cut for nothing", nil, iotest.ErrReader(cut), cut},
		{"another single byte", []byte("a"), bytes.NewReader([]byte("b")), failure.ErrCorrupt},
		{"no single byte", []byte("a"), bytes.NewReader(nil), io.ErrUnexpectedEOF},
		{"two for a single byte", []byte("a"), bytes.NewReader([]byte("aa")), failure.ErrCorrupt},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			moved := 0
			r := verify(body(test.sent), wantOf(test.want), func(n int) { moved += n })
			got, err := io.ReadAll(r)
			if !errors.Is(err, test.kind) {
				t.Fatalf("got %v, want %v", err, test.kind)
			}
			if len(test.want) > 0 && len(got) >= len(test.want) {
				t.Errorf("all %d bytes were handed on: an upload of that many would have been complete", len(got))
			}
			if moved != len(got) {
				t.Errorf("moved %d of %d bytes", moved, len(got))
			}
			// An end after an error looks like the end of the blob to a client that
			// reads on: a chunked upload of the bytes so far would be complete.
			for range 3 {
				n, again := r.Read(make([]byte, 64))
				if n != 0 || !errors.Is(again, test.kind) {
					t.Fatalf("read on: %d bytes and %v after %v", n, again, err)
				}
			}
		})
	}
}

// An empty blob of a digest that is not that of nothing is wrong before its first byte.
func TestVerifiedRefusesEmptyWithWrongDigest(t *testing.T) {
	r := verify(body(bytes.NewReader(nil)), ref.Descriptor{Digest: digest.FromString("x"), Size: 0}, func(int) {})
	for range 2 {
		if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, failure.ErrCorrupt) {
			t.Errorf("got %d, %v", n, err)
		}
	}
}

func TestVerifiedHoldsBackTheLastByte(t *testing.T) {
	content := []byte("0123456789")
	source, write := io.Pipe()
	r := verify(source, wantOf(content), func(int) {})
	go func() {
		_, _ = write.Write(content)
		_ = write.CloseWithError(errors.New("cut instead of ended"))
	}()
	got := make([]byte, 9)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "012345678" {
		t.Fatalf("the first nine bytes: %q, %v", got, err)
	}
	if n, err := r.Read(make([]byte, 8)); n != 0 || err == nil {
		t.Errorf("the last byte came before the end: %d, %v", n, err)
	}
}

func TestVerifiedReadsNothingIntoNothing(t *testing.T) {
	r := verify(body(iotest.ErrReader(errors.New("touched"))), wantOf([]byte("ab")), func(int) {})
	if n, err := r.Read(nil); n != 0 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestVerifiedKnowsOtherAlgorithms(t *testing.T) {
	content := []byte("sha512 content")
	want := ref.Descriptor{Digest: digest.NewDigestFromBytes(digest.SHA512, func() []byte { sum := sha512.Sum512(content); return sum[:] }()), Size: int64(len(content))}
	if _, err := io.ReadAll(verify(body(bytes.NewReader(content)), want, func(int) {})); err != nil {
		t.Error(err)
	}
	content[0]++
	if _, err := io.ReadAll(verify(body(bytes.NewReader(content)), want, func(int) {})); !errors.Is(err, failure.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// closer tells whether it was closed.
type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func TestVerifiedClosesItsBody(t *testing.T) {
	c := &closer{Reader: bytes.NewReader(nil)}
	if err := verify(c, wantOf(nil), func(int) {}).Close(); err != nil || !c.closed {
		t.Errorf("closed: %t, %v", c.closed, err)
	}
}

// Whatever is sent, and in whatever pieces it is read: the bytes are handed on whole if
// and only if they are the right ones.
func TestVerifiedProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "content")
		sent := bytes.Clone(content)
		switch rapid.SampledFrom([]string{"right", "flipped", "short", "long"}).Draw(t, "sent") {
		case "flipped":
			if len(sent) > 0 {
				sent[rapid.IntRange(0, len(sent)-1).Draw(t, "at")] ^= 1
			}
		case "short":
			sent = sent[:rapid.IntRange(0, len(sent)).Draw(t, "to")]
		case "long":
			sent = append(sent, rapid.SliceOfN(rapid.Byte(), 1, 5).Draw(t, "more")...)
		}
		deliver := readers[rapid.SampledFrom([]string{"whole", "byte by byte", "in halves", "end with the last bytes"}).Draw(t, "deliver")]
		r := verify(body(deliver(bytes.NewReader(sent))), wantOf(content), func(int) {})
		var got []byte
		var err error
		for err == nil {
			p := make([]byte, rapid.IntRange(0, 40).Draw(t, "buffer"))
			var n int
			n, err = r.Read(p)
			got = append(got, p[:n]...)
		}
		if right := bytes.Equal(sent, content); right != (err == io.EOF) {
			t.Fatalf("right bytes: %t, and the end is %v", right, err)
		}
		if err == io.EOF && !bytes.Equal(got, content) {
			t.Fatalf("%d bytes of %d came through", len(got), len(content))
		}
		if err != io.EOF && len(content) > 0 && len(got) >= len(content) {
			t.Fatalf("all %d bytes came through, and then %v", len(got), err)
		}
	})
}
