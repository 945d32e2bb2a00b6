package progress

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// Terminal draws bars below what is on the screen already: one for each image being
// copied and one for the whole run. They are gone after Close.
//
// Whatever else writes to the same terminal has to do so through the Terminal, which
// is an io.Writer for that: it puts whole lines above the bars.
type Terminal struct {
	stop func()
	size func() (width, height int)

	mu      sync.Mutex
	out     io.Writer
	board   board
	shown   []string // the lines on the screen, the cursor below them
	partial []byte   // what Write got of a line that has not ended
	closed  bool
}

// redrawInterval is how often the bars move: smooth to the eye, and little to send
// over a slow line.
const redrawInterval = 100 * time.Millisecond

// NewTerminal returns a Terminal that draws on out. It asks size for the cells of the
// terminal before each drawing; where size is nil or knows nothing, they are 80 by 24.
func NewTerminal(out io.Writer, size func() (width, height int)) *Terminal {
	t := &Terminal{out: out, size: size, board: newBoard()}
	t.stop = beat(redrawInterval, t.tick)
	return t
}

// tick redraws what has changed. That it cannot be drawn stops nothing: progress is a
// courtesy.
func (t *Terminal) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.board.pace.measure(t.board.moved, now)
	width, height := t.cells()
	frame := t.board.frame(width, height, now)
	if slices.Equal(frame, t.shown) {
		return
	}
	up := t.up(width)
	t.shown = frame
	_, _ = io.WriteString(t.out, up+t.drawing())
}

func (t *Terminal) cells() (width, height int) {
	if t.size != nil {
		width, height = t.size()
	}
	if width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// up moves the cursor to where the bars begin. Where the terminal was made narrower,
// each line of them may take several by now.
func (t *Terminal) up(width int) string {
	rows := 0
	for _, line := range t.shown {
		rows += max((human.Width(line)+width-1)/width, 1)
	}
	if rows == 0 {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA", rows)
}

// drawing is the lines to show, each erasing what is left of an older one, and then
// everything below them erased.
func (t *Terminal) drawing() string {
	var b strings.Builder
	for _, line := range t.shown {
		b.WriteString(line + eraseRight + "\n")
	}
	return b.String() + eraseBelow
}

const (
	eraseRight = "\x1b[K"
	eraseBelow = "\x1b[J"
)

func (t *Terminal) happened(event func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		event()
	}
}

// Phase implements Reporter.
func (t *Terminal) Phase(text string) {
	t.happened(func() { t.board.phase = human.Text(text) })
}

// Planned implements Reporter.
func (t *Terminal) Planned(images int, bytes int64) {
	t.happened(func() { t.board.images, t.board.bytes = images, bytes })
}

// Started implements Reporter.
func (t *Terminal) Started(id, label string, size int64) {
	t.happened(func() { t.board.start(id, label, size, time.Now()) })
}

// Moved implements Reporter.
func (t *Terminal) Moved(id string, n int) {
	t.happened(func() { t.board.move(id, n) })
}

// Finished implements Reporter.
func (t *Terminal) Finished(id, status string) {
	t.happened(func() { t.board.finish(id, status) })
}

// Write puts the lines in p above the bars. A line that has not ended is kept until it
// has, or until Close. After Close, Write writes straight through.
func (t *Terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return t.out.Write(p)
	}
	t.partial = append(t.partial, p...)
	end := bytes.LastIndexByte(t.partial, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	width, _ := t.cells()
	text := string(t.partial[:end])
	if len(t.shown) > 0 {
		text = t.up(width) + eraseBelow + text + t.drawing()
	}
	t.partial = slices.Delete(t.partial, 0, end)
	if _, err := io.WriteString(t.out, text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements Reporter. Write goes on working.
func (t *Terminal) Close() {
	t.stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	last := string(t.partial)
	if len(t.shown) > 0 {
		width, _ := t.cells()
		last = t.up(width) + eraseBelow + last
	}
	t.shown, t.partial = nil, nil
	_, _ = io.WriteString(t.out, last)
}
