package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fatih/color"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// KindResourceTags is the kind of a ResourceTagReport.
const KindResourceTags Kind = "ResourceTagReport"

// ResourceTagReport is what becomes of the resource tags that make one repository a
// mirror. Its JSON form is documented output; nil slices are written as empty ones.
type ResourceTagReport struct {
	APIVersion string        `json:"apiVersion"`
	Kind       Kind          `json:"kind"`
	Repository string        `json:"repository"` // in full
	ARN        string        `json:"arn"`
	Region     string        `json:"region"`
	Applied    bool          `json:"applied"` // whether the change was written and read back
	Changes    []ResourceTag `json:"changes"`
	Warnings   []string      `json:"warnings"`
}

// ResourceTag is one resource tag: what it is, and what it is to be.
type ResourceTag struct {
	Key    string             `json:"key"`
	Change discover.EntryVerb `json:"change"`
	Now    string             `json:"now"`  // before the change; "" where it is not there
	Then   string             `json:"then"` // after it; "" where it is removed
}

// FromChange fills a report with a change. The repository is the caller's to add.
func FromChange(change discover.Change, applied bool, warnings []string) ResourceTagReport {
	r := ResourceTagReport{
		APIVersion: APIVersion, Kind: KindResourceTags,
		Applied: applied, Changes: []ResourceTag{}, Warnings: append([]string{}, warnings...),
	}
	for _, e := range change.Entries {
		r.Changes = append(r.Changes, ResourceTag{Key: e.Key, Change: e.Verb, Now: e.Now, Then: e.Then})
	}
	return r
}

// WriteResourceTags writes r to w in one of the formats. Of the options it has no use
// for Empty.
func WriteResourceTags(w io.Writer, r ResourceTagReport, f Format, o Options) error {
	var text string
	var err error
	switch f {
	case JSON:
		text, err = jsonText(r)
	case YAML:
		text, err = yamlText(r)
	case Markdown:
		text = r.markdown()
	case Table:
		text, err = r.table(o)
	default:
		_, err = ParseFormat(string(f))
	}
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func (r ResourceTagReport) table(o Options) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "Repository: %s\n\n", human.Text(r.Repository))
	if len(r.Changes) > 0 {
		cells := r.cells()
		g := measured(resourceTagColumns(), len(cells), func(i int) []string { return slices.Clone(cells[i]) })
		if o.Width > 0 {
			_ = g.shrink(o.Width, 1) // what does not fit is as narrow as it gets
		}
		if err := writeGrid(&b, g, func(i int, cells []string) []string {
			cells[1] = paint(cells[1], colorOfChange(r.Changes[i].Change), o.Color)
			return cells
		}); err != nil {
			return "", err
		}
		b.WriteString("\n")
	}
	for _, line := range r.summary() {
		b.WriteString(line + "\n")
	}
	for _, warning := range r.Warnings {
		b.WriteString(paint("warning:", color.FgYellow, o.Color) + " " + human.Line(warning) + "\n")
	}
	return b.String(), nil
}

func (r ResourceTagReport) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Resource tags of %s\n\n", markdown(r.Repository))
	for _, line := range r.summary() {
		fmt.Fprintf(&b, "**%s**\n\n", line)
	}
	if len(r.Changes) > 0 {
		titles := titles(resourceTagColumns())
		writeMarkdownRow(&b, titles)
		writeMarkdownRow(&b, []string{"---", "---", "---", "---"})
		for _, cells := range r.cells() {
			for i := range cells {
				cells[i] = markdown(cells[i])
			}
			writeMarkdownRow(&b, cells)
		}
		b.WriteString("\n")
	}
	if len(r.Warnings) > 0 {
		b.WriteString("### Warnings\n\n")
		for _, warning := range r.Warnings {
			fmt.Fprintf(&b, "- %s\n", markdown(warning))
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func resourceTagColumns() []column {
	return []column{{title: "Resource Tag"}, {title: "Change"}, {title: "Now", least: 12}, {title: "Then", least: 12}}
}

// cells are the texts of the table's rows, in the order of resourceTagColumns.
func (r ResourceTagReport) cells() [][]string {
	cells := make([][]string, 0, len(r.Changes))
	for _, c := range r.Changes {
		cells = append(cells, []string{human.Text(c.Key), string(c.Change), human.Text(c.Now), human.Text(c.Then)})
	}
	return cells
}

// summary says what was done, or what would be.
func (r ResourceTagReport) summary() []string {
	count := map[discover.EntryVerb]int{}
	for _, c := range r.Changes {
		count[c.Change]++
	}
	var parts []string
	for _, verb := range []discover.EntryVerb{discover.Add, discover.Replace, discover.Remove} {
		if n := count[verb]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n, verb))
		}
	}
	if len(parts) == 0 {
		return []string{"nothing to change"}
	}
	counts := human.Count(len(r.Changes)-count[discover.Keep], "resource tag") + ": " + strings.Join(parts, ", ")
	if r.Applied {
		return []string{counts + "; written and read back"}
	}
	return []string{counts, "dry run: nothing was written; --apply writes"}
}

func colorOfChange(verb discover.EntryVerb) color.Attribute {
	switch verb {
	case discover.Add:
		return color.FgGreen
	case discover.Replace:
		return color.FgYellow
	case discover.Remove:
		return color.FgRed
	default:
		return color.Reset
	}
}
