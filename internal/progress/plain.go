package progress

import (
	"io"
	"sync"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// Plain writes a line about the whole run at every interval in which something
// happened: for logs, and for terminals that cannot move their cursor. A run shorter
// than the interval writes nothing.
//
// Plain is also an io.Writer, for the logger that shares its output: lines of both are
// never mixed.
type Plain struct {
	stop func()

	mu     sync.Mutex
	out    io.Writer
	board  board
	fresh  bool // something happened since the last line
	closed bool
}

// plainInterval is how often a log is told.
const plainInterval = 5 * time.Second

// NewPlain returns a Plain that writes to out every interval, 0 meaning 5 s.
func NewPlain(out io.Writer, interval time.Duration) *Plain {
	if interval <= 0 {
		interval = plainInterval
	}
	p := &Plain{out: out, board: newBoard()}
	p.stop = beat(interval, p.tick)
	return p
}

// tick writes a line. That it cannot be written stops nothing: progress is a courtesy.
func (p *Plain) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.board.pace.measure(p.board.moved, now)
	if !p.fresh {
		return
	}
	p.fresh = false
	if line := p.board.line(now); line != "" {
		_, _ = io.WriteString(p.out, line+"\n")
	}
}

func (p *Plain) happened(event func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	event()
	p.fresh = true
}

// Phase implements Reporter.
func (p *Plain) Phase(text string) {
	p.happened(func() { p.board.phase = human.Text(text) })
}

// Planned implements Reporter.
func (p *Plain) Planned(images int, bytes int64) {
	p.happened(func() { p.board.images, p.board.bytes = images, bytes })
}

// Started implements Reporter.
func (p *Plain) Started(id, label string, size int64) {
	p.happened(func() { p.board.start(id, label, size, time.Now()) })
}

// Moved implements Reporter.
func (p *Plain) Moved(id string, n int) {
	p.happened(func() { p.board.move(id, n) })
}

// Finished implements Reporter.
func (p *Plain) Finished(id, status string) {
	p.happened(func() { p.board.finish(id, status) })
}

// Write writes a line of a log.
func (p *Plain) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(line)
}

// Close implements Reporter. Write goes on working.
func (p *Plain) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.stop()
}
