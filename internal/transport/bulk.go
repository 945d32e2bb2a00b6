package transport

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// Of the pieces that a body is read and sent in.
const (
	// largePiece is four times as much as package io takes. With it, the whole program
	// took a tenth less CPU for 2 GB of layers; with twice as much again it took no less,
	// and 6 MiB more of memory.
	largePiece = 128 << 10

	// smallPiece is what package io takes. Who looks for stalls hears of a piece when the
	// next one is asked for, and a slow destination must not be taken for one that stands
	// still because its pieces are large.
	smallPiece = 32 << 10

	// largeAfter is how much of a body has to be gone within quickly for pieces to become
	// large. A large one that takes longer than quickPiece is the last for as long again.
	largeAfter = 1 << 20
	quickly    = 5 * time.Second
	quickPiece = time.Second
)

// bulk sends large bodies in large pieces over plain connections. Over TLS it makes no
// difference: there, 16 KiB are a record, and a record is what is read and written. It is
// safe for concurrent use, and has as many buffers as large bodies were under way at once,
// for as long as the garbage collector leaves them.
type bulk struct{ buffers sync.Pool }

// dialling returns dial, with connections that send in large pieces.
func (b *bulk) dialling(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return bulkConn{conn, b}, nil
	}
}

type bulkConn struct {
	net.Conn
	bulk *bulk
}

// ReadFrom is what net/http sends a body with, once its first bytes have gone with the
// header. A body whose length is known comes as an io.LimitedReader.
func (c bulkConn) ReadFrom(r io.Reader) (int64, error) {
	to := struct{ io.Writer }{c.Conn} // without a ReadFrom of its own
	body, ok := r.(*io.LimitedReader)
	if !ok || body.N <= largeAfter {
		return io.Copy(to, r)
	}
	buffer, ok := c.bulk.buffers.Get().(*[largePiece]byte)
	if !ok {
		buffer = new([largePiece]byte)
	}
	defer c.bulk.buffers.Put(buffer)
	return io.CopyBuffer(to, &pieces{body: body}, buffer[:])
}

// pieces reads a body in pieces that are large while it moves quickly, and small at first
// and at last.
type pieces struct {
	body  *io.LimitedReader
	large bool
	asked time.Time // for the piece before
	since time.Time // when read was nothing
	read  int64
}

func (p *pieces) Read(b []byte) (int, error) {
	p.judge(time.Now())
	if !p.large || p.body.N <= largePiece {
		b = b[:min(len(b), smallPiece)]
	}
	n, err := p.body.Read(b)
	p.read += int64(n)
	return n, err
}

// judge decides how large the pieces are to be from now on.
func (p *pieces) judge(now time.Time) {
	switch {
	case p.since.IsZero() || p.large && now.Sub(p.asked) > quickPiece:
		p.large, p.since, p.read = false, now, 0
	case p.read >= largeAfter:
		p.large = now.Sub(p.since) <= quickly
		p.since, p.read = now, 0
	}
	p.asked = now
}
