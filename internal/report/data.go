package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"
)

// writeJSON writes the report's data as jsonText would, a row at a time.
func writeJSON(w *printer, r Report) error {
	before, after, err := around(r, jsonText, `"rows": []`)
	if err != nil {
		return err
	}
	w.print(before, `"rows": [`)
	rows := newEncoder("    ")
	for i, row := range r.Rows.All() {
		encoded, err := rows.encode(row)
		if err != nil {
			return err
		}
		if i > 0 {
			w.print(",")
		}
		w.print("\n    ")
		if encoded = bytes.TrimSuffix(encoded, []byte("\n")); bytes.ContainsFunc(encoded, invisible) {
			encoded = []byte(escapeInvisible(string(encoded), jsonEscape))
		}
		_, _ = w.Write(encoded)
	}
	if r.Rows.Len() > 0 {
		w.print("\n  ")
	}
	w.print("]", after)
	return nil
}

// writeYAML writes the report's data as yamlText would, a row at a time.
func writeYAML(w *printer, r Report) error {
	before, after, err := around(r, yamlText, "\nrows: []")
	if err != nil {
		return err
	}
	w.print(before, "\nrows:")
	if r.Rows.Len() == 0 {
		w.print(" []")
	}
	for _, row := range r.Rows.All() {
		encoded, err := yamlText([]Row{row})
		if err != nil {
			return err
		}
		w.print("\n", indented(strings.TrimSuffix(encoded, "\n")))
	}
	w.print(after)
	return nil
}

// indented moves every line to the right by as much as YAML lists stand below their key.
func indented(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		if line != "\n" {
			b.WriteString("  ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// around writes a report without rows, and returns what stands before and after its
// list, which is written as none. Nothing else in a report is: within text quotes are
// escaped in JSON, and lines are indented in YAML.
func around(r Report, write func(any) (string, error), none string) (before, after string, err error) {
	r.Rows = Rows{}
	whole, err := write(r.whole())
	before, after, _ = strings.Cut(whole, none)
	return before, after, err
}

// jsonText writes data. Runes that could steer a terminal are written as JSON escapes,
// so that what is decoded is exact and what is shown is harmless.
func jsonText(data any) (string, error) {
	text, err := newEncoder("").encode(data)
	return escapeInvisible(string(text), jsonEscape), err
}

// whole is r without nil slices, which would be written as null.
func (r Report) whole() Report {
	if r.Warnings == nil {
		r.Warnings = []string{}
	}
	return r
}

// encoder writes indented JSON.
type encoder struct {
	text bytes.Buffer
	json *json.Encoder
}

// newEncoder returns an encoder that puts prefix before all lines but the first.
func newEncoder(prefix string) *encoder {
	e := new(encoder)
	e.json = json.NewEncoder(&e.text)
	e.json.SetEscapeHTML(false)
	e.json.SetIndent(prefix, "  ")
	return e
}

// encode returns data's text, which is good until the next call.
func (e *encoder) encode(data any) ([]byte, error) {
	e.text.Reset()
	if err := e.json.Encode(data); err != nil {
		return nil, fmt.Errorf("encoding the report: %w", err)
	}
	return e.text.Bytes(), nil
}

// yamlText writes the same data as jsonText, with the same keys in the same order. It
// starts from the JSON, which is YAML already, and takes the punctuation away: so there
// is one schema, and text that looks like a number ("1.10") stays text.
func yamlText(data any) (string, error) {
	text, err := newEncoder("").encode(data)
	if err != nil {
		return "", err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(escapeInvisible(string(text), yamlEscape)), &doc); err != nil {
		return "", fmt.Errorf("encoding the report: %w", err)
	}
	inBlockStyle(&doc)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return "", fmt.Errorf("encoding the report: %w", err)
	}
	return escapeInvisible(b.String(), yamlEscape), nil
}

// inBlockStyle lets the encoder choose how to write each node, except text with
// invisible runes: those can be escaped only between double quotes.
func inBlockStyle(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && strings.ContainsFunc(n.Value, invisible) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		inBlockStyle(child)
	}
}

func invisible(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }

// escapeInvisible rewrites the invisible runes of a document. In both formats they
// occur only within quoted text.
func escapeInvisible(doc string, escape func(rune) string) string {
	if !strings.ContainsFunc(doc, invisible) {
		return doc
	}
	var b strings.Builder
	for _, r := range doc {
		if invisible(r) {
			b.WriteString(escape(r))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func jsonEscape(r rune) string {
	if r <= 0xffff {
		return fmt.Sprintf(`\u%04x`, r)
	}
	high, low := utf16.EncodeRune(r)
	return fmt.Sprintf(`\u%04x\u%04x`, high, low)
}

func yamlEscape(r rune) string { return fmt.Sprintf(`\U%08X`, r) }
