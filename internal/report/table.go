package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/fatih/color"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// writeTable writes the table, the totals below it, and then the warnings.
func writeTable(w *printer, r Report, o Options) error {
	if r.Rows.Len() == 0 {
		w.print(o.folded(human.Line(o.empty())), "\n")
	} else if err := writeRows(w, r, o); err != nil {
		return err
	}
	for _, line := range remarks(r) {
		w.print(o.folded(line), "\n")
	}
	for _, warning := range r.Warnings {
		text := strings.TrimPrefix(o.folded("warning: "+human.Line(warning)), "warning:")
		w.print(paint("warning:", color.FgYellow, o.Color), text, "\n")
	}
	return nil
}

// folded breaks a line at words where a terminal would break it anywhere.
func (o Options) folded(line string) string {
	if o.Width <= 0 {
		return line
	}
	return strings.Join(human.Wrap(line, o.Width), "\n")
}

func writeRows(w *printer, r Report, o Options) error {
	a := arrange(r, o.Width)
	if a.host != "" {
		w.print("Destination registry: ", human.Text(strings.TrimSuffix(a.host, "/")), "\n\n")
	}
	colored := func(i int, cells []string) []string {
		return painted(cells, a.grid.columns, r.Rows.At(i).Status, o.Color)
	}
	if a.stacked {
		writeRecords(w, a.grid, colored, o)
	} else if err := writeGrid(w, a.grid, colored); err != nil {
		return err
	}
	for i, line := range a.notes.lines(o.Width) {
		if i == 0 {
			w.print("\n")
		}
		w.print(line, "\n")
	}
	w.print("\n", o.folded(summary(r)), "\n")
	return nil
}

// writeGrid hands the cells, broken into lines already and coloured by paint, to the
// table writer, which writes each row as it gets it.
func writeGrid(w io.Writer, g grid, paint func(row int, cells []string) []string) error {
	lines := &trimmer{to: w}
	// Broken into lines, columns are not always as wide as they may be.
	table := newTable(lines, g.columns, g.measure(g.wrapped))
	if err := table.Start(); err != nil {
		return fmt.Errorf("laying out the table: %w", err)
	}
	table.Header(titles(g.columns))
	for i := range g.rows {
		if err := table.Append(paint(i, g.wrapped(i))); err != nil {
			return fmt.Errorf("laying out the table: %w", err)
		}
	}
	if err := table.Close(); err != nil {
		return fmt.Errorf("laying out the table: %w", err)
	}
	return nil
}

// trimmer writes whole lines, without what the table writer pads them with.
type trimmer struct {
	to   io.Writer
	line []byte // as much as there is of the next one
}

func (t *trimmer) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		t.line = append(t.line, line...)
		if !bytes.HasSuffix(t.line, []byte("\n")) {
			break
		}
		if _, err := io.WriteString(t.to, trimRight(string(t.line))+"\n"); err != nil {
			return 0, err
		}
		t.line = t.line[:0]
	}
	return len(p), nil
}

// newTable returns a table without lines or borders: columns, and gaps between them.
func newTable(w io.Writer, columns []column, widths []int) *tablewriter.Table {
	aligned := make([]tw.Align, len(columns))
	padded := tw.NewMapper[int, int]()
	for i, c := range columns {
		aligned[i] = tw.AlignLeft
		padded.Set(i, widths[i]+gap)
		if c.right {
			aligned[i] = tw.AlignRight
		}
	}
	cells := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{PerColumn: aligned},
		Padding:    tw.CellPadding{Global: tw.Padding{Right: strings.Repeat(" ", gap), Overwrite: true}},
	}
	return tablewriter.NewTable(w,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Symbols:  tw.NewSymbols(tw.StyleNone),
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithConfig(tablewriter.Config{Header: cells, Row: cells}),
		tablewriter.WithStreaming(tw.StreamConfig{Enable: true}),
		tablewriter.WithColumnWidths(padded),
	)
}

// trimRight removes what the table writer pads the last column with: spaces, and a
// reset on lines that have colours.
func trimRight(line string) string {
	line = strings.TrimRight(line, " \n")
	return strings.TrimRight(strings.TrimSuffix(line, "\x1b[0m"), " ")
}

func titles(columns []column) []string {
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	return titles
}

// writeRecords writes each row as a paragraph of its cells, for tables that no
// arrangement of columns makes narrow enough.
func writeRecords(w *printer, g grid, paint func(row int, cells []string) []string, o Options) {
	const indent = len("Source Image") + gap // the longest title
	for i := range g.widths {
		g.widths[i] = o.Width - indent
	}
	for i := range g.rows {
		if i > 0 {
			w.print("\n")
		}
		for j, cell := range paint(i, g.wrapped(i)) {
			cell = strings.ReplaceAll(cell, "\n", "\n"+strings.Repeat(" ", indent))
			w.print(fmt.Sprintf("%-*s%s\n", indent, g.columns[j].title, cell))
		}
	}
}

// painted gives the status its colour.
func painted(cells []string, columns []column, s Status, colored bool) []string {
	for i, c := range columns {
		if c.title == "Status" {
			cells[i] = paint(cells[i], colorOf(s), colored)
		}
	}
	return cells
}

func colorOf(s Status) color.Attribute {
	switch s {
	case StatusCopied, StatusUpdated, StatusVerified, StatusRepaired:
		return color.FgGreen
	case StatusBlocked, StatusDrifted, StatusMissing, StatusNotDone, StatusWouldCopy, StatusWouldUpdate, StatusPruned, StatusWouldPrune:
		return color.FgYellow
	case StatusFailed, StatusDamaged:
		return color.FgRed
	default:
		return color.Reset
	}
}

// paint wraps text in a colour if colours are wanted. It decides for itself: the color
// package would look at the process's standard output.
func paint(text string, attribute color.Attribute, colored bool) string {
	if !colored || attribute == color.Reset {
		return text
	}
	c := color.New(attribute)
	c.EnableColor()
	return c.Sprint(text)
}
