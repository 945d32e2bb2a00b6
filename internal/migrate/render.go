package migrate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
)

// render writes the draft as YAML.
func (d *draft) render() ([]byte, error) {
	top := &section{draft: d, node: newMap()}
	first := top.text("apiVersion", config.APIVersion, nil)
	for _, part := range []*section{d.defaults, d.registries, d.discovery} {
		if !part.empty() {
			top.set(part.path, part.node, nil)
		}
	}
	if len(d.mirrors.Content) > 0 {
		top.set("mirrors", d.mirrors, nil)
	}
	first.key.HeadComment = d.headComment()
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(top.node); err != nil {
		return nil, err
	}
	if err := encoder.Close(); err != nil {
		return nil, err
	}
	return spaced(b.String()), nil
}

// spaced puts an empty line before each section, and before each of the maps in it, with
// the comments above them.
func spaced(text string) []byte {
	var b strings.Builder
	before, last := 0, ""
	for line := range strings.Lines(text) {
		indentation := len(line) - len(strings.TrimLeft(line, " "))
		top := indentation == 0 && (before > 0 || strings.HasPrefix(last, "apiVersion:"))
		item := indentation == 2 && before > 2 && (line[2] == '-' || line[2] == '#')
		if top || item {
			b.WriteByte('\n')
		}
		b.WriteString(line)
		before, last = indentation, line
	}
	return []byte(b.String())
}

// headComment is what stands above everything.
func (d *draft) headComment() string {
	names := make([]string, 0, len(d.fileIndex))
	for name := range d.fileIndex {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return d.fileIndex[a] - d.fileIndex[b] })
	for i, name := range names {
		names[i] = oneLine(name)
	}
	intro := fmt.Sprintf("Imported from %s (%s).", strings.Join(names, ", "), d.format)
	if len(d.notes) > 0 {
		intro += " Comments say where this means something else than the file it was made from."
	}
	lines := []string{"# yaml-language-server: $schema=" + config.SchemaURL, commented(intro)}
	for _, text := range d.head {
		lines = append(lines, commented(text))
	}
	return strings.Join(lines, "\n#\n") + "\n"
}

// maxComment is how wide comments are, if their words allow it.
const maxComment = 84

// commented breaks a text into lines of a comment.
func commented(text string) string {
	var b strings.Builder
	width := maxComment
	for word := range strings.FieldsSeq(oneLine(text)) {
		if width+1+len(word) > maxComment {
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			b.WriteByte('#')
			width = 1
		}
		b.WriteString(" " + word)
		width += 1 + len(word)
	}
	return b.String()
}
