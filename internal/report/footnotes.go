package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// footnotes are reasons that stand below a table, each once, because a column of words would
// be all that is seen of them: those that take more than a line of the terminal.
type footnotes []string

// mostFootnotes bounds what a table keeps in memory, and how far down a reader has to look.
const mostFootnotes = 20

func footnotesOf(rows Rows, width int) footnotes {
	var notes footnotes
	for _, row := range rows.All() {
		text := cellText(reason(row))
		if human.Width(text) > width && !slices.Contains(notes, text) && len(notes) < mostFootnotes {
			notes = append(notes, text)
		}
	}
	return notes
}

// instead has a reason's column refer to the notes.
func (f footnotes) instead(all []column) []column {
	all = slices.Clone(all)
	for i := range all {
		if text := all[i].text; all[i].title == "Reason" {
			all[i].text = func(row Row) string {
				written := text(row)
				if n := slices.Index(f, cellText(written)); n >= 0 {
					return fmt.Sprintf("see [%d] below", n+1)
				}
				return written
			}
		}
	}
	return all
}

// lines are the notes as they stand below the table.
func (f footnotes) lines(width int) []string {
	var lines []string
	for i, text := range f {
		label := fmt.Sprintf("[%d] ", i+1)
		for j, line := range human.Wrap(text, width-len(label)) {
			if j > 0 {
				label = strings.Repeat(" ", len(label))
			}
			lines = append(lines, label+line)
		}
	}
	return lines
}
