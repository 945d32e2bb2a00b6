package progress

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// line is the run in one line of a log, "" where there is nothing to tell yet.
func (b *board) line(now time.Time) string {
	var parts []string
	if b.phase != "" {
		parts = append(parts, b.phase)
	}
	if b.images > 0 {
		parts = append(parts, percent(b.fraction())+" done")
		parts = append(parts, b.facts(now)...)
	}
	if parts == nil {
		return ""
	}
	return "progress: " + strings.Join(parts, ", ")
}

// frame is the run as lines of a terminal: one for each image being copied, as far as
// they fit, and one for the whole. No line takes more than width-1 cells, so that
// none ever wraps.
func (b *board) frame(width, height int, now time.Time) []string {
	const most = 12 // a screen full of bars tells no more than a dozen
	room := min(height-3, most)
	shown := b.active[:max(min(len(b.active), room), 0)]
	var lines []string
	for _, i := range shown {
		lines = append(lines, i.line(width-1))
	}
	if hidden := len(b.active) - len(shown); hidden > 0 && len(shown) > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more", hidden))
	}
	if whole := b.whole(width-1, now); whole != "" {
		lines = append(lines, whole)
	}
	for i, line := range lines {
		lines[i] = human.Head(line, width-1)
	}
	return lines
}

// line is an image's label, bar and bytes. Where there is little room the bar goes, and
// the label is shortened from its beginning: a reference ends in what tells it from
// others.
func (i *image) line(width int) string {
	const (
		forBar   = 72 // the least width with a bar
		forLabel = 48 // labels are padded to this where there is room, so that bars line up
	)
	rest := fmt.Sprintf("%8s", human.Bytes(i.moved))
	if i.size > 0 {
		rest = fmt.Sprintf("%4s  %s of %s", percent(i.fraction()), rest, human.Bytes(i.size))
		if width >= forBar {
			rest = bar(i.fraction(), width) + " " + rest
		}
	}
	column := max(width-len("  ")-len("  ")-human.Width(rest), 0)
	label := human.Tail(i.label, column)
	padding := strings.Repeat(" ", max(min(column, forLabel)-human.Width(label), 0))
	return "  " + label + padding + "  " + rest
}

// whole is the run in one line, without the facts there is no room for.
func (b *board) whole(width int, now time.Time) string {
	var parts []string
	if b.phase != "" {
		parts = append(parts, b.phase)
	}
	if b.images > 0 {
		parts = append(parts, bar(b.fraction(), width)+" "+percent(b.fraction()))
		parts = append(parts, b.facts(now)...)
	}
	for len(parts) > 1 && human.Width(strings.Join(parts, "  ")) > width {
		parts = parts[:len(parts)-1]
	}
	return strings.Join(parts, "  ")
}

// bar draws a fraction, in a quarter of the width at most.
func bar(fraction float64, width int) string {
	cells := max(min(width/4, 24), 1)
	full := int(fraction * float64(cells))
	drawn := slices.Concat(slices.Repeat([]byte("="), full), slices.Repeat([]byte(" "), cells-full))
	if full > 0 && full < cells {
		drawn[full-1] = '>'
	}
	return "[" + string(drawn) + "]"
}

// percent rounds down: 100% is said only of what is whole.
func percent(fraction float64) string { return fmt.Sprintf("%d%%", int(fraction*100)) }
