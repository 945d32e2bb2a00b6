package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// maxMarkdown bounds the table. GitHub drops a job summary above 1 MiB altogether.
const maxMarkdown = 900_000

// markdownText writes the report for a CI job's summary: heading, totals, table,
// warnings. Rows that need somebody come first.
func markdownText(r Report, o Options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", heading(r))
	if r.Rows.Len() == 0 {
		fmt.Fprintf(&b, "%s\n\n", markdown(o.empty()))
	} else {
		fmt.Fprintf(&b, "**%s**\n\n", summary(r))
	}
	for _, line := range remarks(r) {
		fmt.Fprintf(&b, "%s\n\n", line)
	}
	if r.Rows.Len() > 0 {
		writeMarkdownTable(&b, r)
	}
	if len(r.Warnings) > 0 {
		b.WriteString("### Warnings\n\n")
		for _, warning := range r.Warnings {
			fmt.Fprintf(&b, "- %s\n", markdown(warning))
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func heading(r Report) string {
	switch r.Kind {
	case KindPlan:
		return "Image mirror: dry run"
	case KindList:
		return "Image mirror: list"
	case KindVerify:
		return "Image mirror: verify"
	default:
		return "Image mirror: sync"
	}
}

func writeMarkdownTable(b *strings.Builder, r Report) {
	cols := columns(r.Kind, "")
	writeMarkdownRow(b, titles(cols))
	writeMarkdownRow(b, slices.Repeat([]string{"---"}, len(cols)))
	var rest Totals
	for _, i := range byUrgency(r.Rows) {
		row := r.Rows.At(i)
		if b.Len() > maxMarkdown {
			rest.add(row)
			continue
		}
		cells := make([]string, len(cols))
		for i, c := range cols {
			cells[i] = markdown(c.text(row))
		}
		writeMarkdownRow(b, cells)
	}
	if rest.Images > 0 {
		fmt.Fprintf(b, "\nLeft out, to keep this readable: %s: %s.\n", human.Count(rest.Images, "image"), counts(rest))
	}
	b.WriteString("\n")
}

func writeMarkdownRow(b *strings.Builder, cells []string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// byUrgency returns where the rows stand, in the order in which somebody has to look at
// them.
func byUrgency(rows Rows) []int {
	places, urgencies := make([]int, rows.Len()), make([]int, rows.Len())
	for i, row := range rows.All() {
		places[i], urgencies[i] = i, urgency(row.Status)
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(urgencies[a], urgencies[b]) })
	return places
}

// urgency orders statuses by who has to look at them.
func urgency(s Status) int {
	order := []Status{
		StatusDamaged, StatusFailed, StatusBlocked, StatusMissing, StatusNotDone, StatusDrifted, StatusRepaired, StatusPruned, StatusUpdated, StatusCopied,
		StatusWouldPrune, StatusWouldUpdate, StatusWouldCopy, StatusStale, StatusListed, StatusVerified, StatusInSync, StatusPresent, StatusLeftOut,
	}
	return slices.Index(order, s)
}

// markdown writes text so that nothing in it is markup: neither a cell's end nor a
// link, an image, a tag of HTML or a formula.
func markdown(s string) string {
	var b strings.Builder
	for _, r := range human.Line(s) {
		if strings.ContainsRune("\\`*_{}[]<>#|~&$!", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
