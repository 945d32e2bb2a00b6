package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Format is a way to write a report.
type Format string

// The formats.
const (
	Table    Format = "table"
	JSON     Format = "json"
	YAML     Format = "yaml"
	Markdown Format = "markdown"
)

// Formats returns every format, the default first.
func Formats() []Format { return []Format{Table, JSON, YAML, Markdown} }

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	if f := Format(s); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("unknown output format %q: expected table, json, yaml or markdown", s)
}

// Options tunes what people read. JSON and YAML depend on none of it.
// The zero Options writes for a pipe.
type Options struct {
	Color bool   // colour statuses and warnings in tables
	Width int    // cells of the terminal a table has to fit into; 0 means as wide as it gets
	Empty string // said in place of the table where there are no rows; "" means "nothing to mirror"
}

// Write writes r to w in one of the formats, row by row. Errors are w's, or say that f
// is none.
func Write(w io.Writer, r Report, f Format, o Options) error {
	to := &printer{bufio.NewWriter(w)}
	if err := render(to, r, f, o); err != nil {
		return err
	}
	if err := to.Flush(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func render(w *printer, r Report, f Format, o Options) error {
	switch f {
	case Table:
		return writeTable(w, r, o)
	case JSON:
		return writeJSON(w, r)
	case YAML:
		return writeYAML(w, r)
	case Markdown:
		w.print(markdownText(r, o)) // whose length is bounded
		return nil
	}
	_, err := ParseFormat(string(f))
	return err
}

// printer is where a report goes. Flush says what could not be written before it.
type printer struct{ *bufio.Writer }

func (p printer) print(pieces ...string) {
	for _, piece := range pieces {
		_, _ = p.WriteString(piece)
	}
}

func (o Options) empty() string {
	if o.Empty == "" {
		return "nothing to mirror"
	}
	return strings.TrimSpace(o.Empty)
}
