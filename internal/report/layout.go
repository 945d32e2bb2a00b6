package report

import (
	"slices"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// column is one column of a table.
type column struct {
	title string
	text  func(Row) string // escaped; "" where there is nothing to say
	least int              // cells down to which the column may be wrapped; 0 if it is never wrapped
	right bool             // whether the column is aligned to the right
}

// columns returns a report's columns. A destination loses host, which stands above
// the table.
func columns(kind Kind, host string) []column {
	destination := func(row Row) string { return human.Text(strings.TrimPrefix(row.Destination, host)) }
	all := []column{
		{title: "Source Image", text: source, least: 12},
		{title: "Destination", text: destination, least: 12},
		{title: "Tag", text: func(row Row) string { return human.Text(row.Tag) }},
		{title: "Status", text: func(row Row) string { return human.Text(row.Status.String()) }},
		{title: "Digest", text: func(row Row) string { return shortDigest(string(row.Digest)) }},
		{title: "Size", text: size, right: true},
		{title: "Reason", text: reason, least: 16},
	}
	switch kind {
	case KindList:
		return without(all, "Digest", "Size")
	case KindVerify:
		return without(all, "Size")
	default:
		return all
	}
}

func without(all []column, titles ...string) []column {
	return slices.DeleteFunc(slices.Clone(all), func(c column) bool { return slices.Contains(titles, c.title) })
}

// grid is the text of a table, made row by row, and how wide each of its columns is.
type grid struct {
	columns []column
	rows    int
	texts   func(row int) []string // one for each column
	widths  []int
}

// gap is the space between columns. Two cells, because words within a cell are never
// parted by more than one: so `awk -F'  +'` finds the columns.
const gap = 2

func newGrid(rows Rows, columns []column) grid {
	return measured(columns, rows.Len(), func(i int) []string {
		row, texts := rows.At(i), make([]string, len(columns))
		for j, c := range columns {
			texts[j] = c.text(row)
		}
		return texts
	})
}

// measured is a grid as wide as its texts are.
func measured(columns []column, rows int, texts func(row int) []string) grid {
	g := grid{columns: columns, rows: rows, texts: texts}
	g.widths = g.measure(g.cells)
	return g
}

// measure returns how wide each column has to be for its title and its cells.
func (g grid) measure(cells func(row int) []string) []int {
	widths := make([]int, len(g.columns))
	for i, c := range g.columns {
		widths[i] = human.Width(c.title)
	}
	for row := range g.rows {
		for i, cell := range cells(row) {
			for line := range strings.SplitSeq(cell, "\n") {
				widths[i] = max(widths[i], human.Width(line))
			}
		}
	}
	return widths
}

// cells are a row's texts as they stand in the table.
func (g grid) cells(row int) []string {
	cells := g.texts(row)
	for i, text := range cells {
		cells[i] = cellText(text)
	}
	return cells
}

// cellText fills empty cells, so that every line of a table has as many words as
// columns, and joins runs of spaces, so that gaps between columns stand out.
func cellText(s string) string {
	if s = strings.Join(strings.Fields(s), " "); s == "" {
		return "-"
	}
	return s
}

func (g grid) total() int {
	total := gap * (len(g.widths) - 1)
	for _, w := range g.widths {
		total += w
	}
	return total
}

// shrink narrows the widest of the columns that may be wrapped until the table fits
// into width, and reports whether it does. No column gets narrower than slack times
// its least width.
func (g grid) shrink(width int, slack float64) bool {
	for excess := g.total() - width; excess > 0; excess-- {
		widest := -1
		for i, c := range g.columns {
			may := c.least > 0 && float64(g.widths[i]) > slack*float64(c.least)
			if may && (widest < 0 || g.widths[i] > g.widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return false
		}
		g.widths[widest]--
	}
	return true
}

// wrapped returns a row's cells, those of shrunk columns broken into lines.
func (g grid) wrapped(row int) []string {
	cells := g.cells(row)
	for i, c := range g.columns {
		if c.least > 0 {
			cells[i] = strings.Join(human.Wrap(cells[i], g.widths[i]), "\n")
		}
	}
	return cells
}

// arrangement is a table made to fit: as a grid, or, where no grid fits, one record
// below the other.
type arrangement struct {
	grid    grid
	host    string // what all destinations begin with, where it was taken out of them
	notes   footnotes
	stacked bool
}

// arrange makes the rows fit into width cells; 0 is as wide as it gets. What gives
// way, in this order: the registry that all destinations share, reasons longer than a line,
// the width of names and reasons, the size, the digest, the grid. A tag is never broken.
func arrange(r Report, width int) arrangement {
	whole := newGrid(r.Rows, columns(r.Kind, ""))
	if width <= 0 || whole.total() <= width {
		return arrangement{grid: whole}
	}
	host := sharedHost(r.Rows)
	notes := footnotesOf(r.Rows, width)
	all := notes.instead(columns(r.Kind, host))
	attempts := []struct {
		columns []column
		slack   float64
	}{
		{all, 1.5},
		{without(all, "Size"), 1.5},
		{without(all, "Size", "Digest"), 1},
	}
	for _, try := range attempts {
		if g := newGrid(r.Rows, try.columns); g.shrink(width, try.slack) {
			return arrangement{grid: g, host: host, notes: notes}
		}
	}
	return arrangement{grid: newGrid(r.Rows, columns(r.Kind, host)), host: host, stacked: true}
}

// sharedHost returns the registry, with its slash, that every destination is in, or ""
// where there is no such.
func sharedHost(rows Rows) string {
	shared := ""
	for i, row := range rows.All() {
		host, _, found := strings.Cut(row.Destination, "/")
		if !found || !strings.ContainsAny(host, ".:") || i > 0 && host+"/" != shared {
			return ""
		}
		shared = host + "/"
	}
	return shared
}
