package report

import (
	"fmt"
	"strings"

	"github.com/fatih/color"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// tableText writes the table, the totals below it, and then the warnings.
func tableText(r Report, o Options) (string, error) {
	var b strings.Builder
	if len(r.Rows) == 0 {
		b.WriteString(human.Line(o.empty()) + "\n")
	} else if err := writeRows(&b, r, o); err != nil {
		return "", err
	}
	for _, line := range remarks(r) {
		b.WriteString(line + "\n")
	}
	for _, warning := range r.Warnings {
		b.WriteString(paint("warning:", color.FgYellow, o.Color) + " " + human.Line(warning) + "\n")
	}
	return b.String(), nil
}

func writeRows(b *strings.Builder, r Report, o Options) error {
	a := arrange(r, o.Width)
	if a.host != "" {
		fmt.Fprintf(b, "Destination registry: %s\n\n", human.Text(strings.TrimSuffix(a.host, "/")))
	}
	if a.stacked {
		writeRecords(b, r.Rows, a.grid, o)
	} else if err := writeGrid(b, a.grid, func(i int, cells []string) []string {
		return painted(cells, a.grid.columns, r.Rows[i].Status, o.Color)
	}); err != nil {
		return err
	}
	fmt.Fprintf(b, "\n%s\n", summary(r))
	return nil
}

// writeGrid hands the cells, broken into lines already and coloured by paint, to the
// table writer.
func writeGrid(b *strings.Builder, g grid, paint func(row int, cells []string) []string) error {
	var raw strings.Builder
	table := newTable(&raw, g.columns)
	table.Header(titles(g.columns))
	for i := range g.cells {
		if err := table.Append(paint(i, g.wrapped(i))); err != nil {
			return fmt.Errorf("laying out the table: %w", err)
		}
	}
	if err := table.Render(); err != nil {
		return fmt.Errorf("laying out the table: %w", err)
	}
	for line := range strings.Lines(raw.String()) {
		b.WriteString(trimRight(line) + "\n")
	}
	return nil
}

// newTable returns a table without lines or borders: columns, and gaps between them.
func newTable(b *strings.Builder, columns []column) *tablewriter.Table {
	aligned := make([]tw.Align, len(columns))
	for i, c := range columns {
		aligned[i] = tw.AlignLeft
		if c.right {
			aligned[i] = tw.AlignRight
		}
	}
	cells := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{PerColumn: aligned},
		Padding:    tw.CellPadding{Global: tw.Padding{Right: strings.Repeat(" ", gap), Overwrite: true}},
	}
	return tablewriter.NewTable(b,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Symbols:  tw.NewSymbols(tw.StyleNone),
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		})),
		tablewriter.WithConfig(tablewriter.Config{Header: cells, Row: cells}),
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
func writeRecords(b *strings.Builder, rows []Row, g grid, o Options) {
	const indent = len("Source Image") + gap // the longest title
	for i := range g.widths {
		g.widths[i] = o.Width - indent
	}
	for i, row := range rows {
		if i > 0 {
			b.WriteString("\n")
		}
		for j, cell := range painted(g.wrapped(i), g.columns, row.Status, o.Color) {
			cell = strings.ReplaceAll(cell, "\n", "\n"+strings.Repeat(" ", indent))
			fmt.Fprintf(b, "%-*s%s\n", indent, g.columns[j].title, cell)
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
	case StatusCopied, StatusUpdated:
		return color.FgGreen
	case StatusBlocked, StatusDrifted, StatusNotDone, StatusWouldCopy, StatusWouldUpdate, StatusPruned, StatusWouldPrune:
		return color.FgYellow
	case StatusFailed:
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
