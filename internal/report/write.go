package report

import (
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

// Write writes r to w in one of the formats. Errors are w's, or say that f is none.
func Write(w io.Writer, r Report, f Format, o Options) error {
	text, err := render(r, f, o)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func render(r Report, f Format, o Options) (string, error) {
	switch f {
	case Table:
		return tableText(r, o)
	case JSON:
		return jsonText(r.whole())
	case YAML:
		return yamlText(r.whole())
	case Markdown:
		return markdownText(r, o), nil
	}
	_, err := ParseFormat(string(f))
	return "", err
}

func (o Options) empty() string {
	if o.Empty == "" {
		return "nothing to mirror"
	}
	return strings.TrimSpace(o.Empty)
}
