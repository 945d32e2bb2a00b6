package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fatih/color"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// KindAccess is the kind of an AccessReport.
const KindAccess Kind = "AccessReport"

// AccessReport says of each registry whether it takes the credential that a run would
// show it. Its JSON form is documented output.
type AccessReport struct {
	APIVersion string   `json:"apiVersion"`
	Kind       Kind     `json:"kind"`
	Registries []Access `json:"registries"`
}

// Access is how one registry answered, as one side of a run.
type Access struct {
	Host    string       `json:"host"`
	Side    string       `json:"side"`    // upstream or destination
	Source  string       `json:"source"`  // where the credential comes from, "" where there is none
	Expires *time.Time   `json:"expires"` // nil where that is not known
	Result  AccessResult `json:"result"`
	Reason  string       `json:"reason"` // why it is not well, and what to do next; "" where it is
}

// AccessResult is what came of asking a registry.
type AccessResult string

// The results. The first two are well.
const (
	AccessOK          AccessResult = "ok"
	AccessAnonymous   AccessResult = "anonymous"   // nobody has to say who is asking
	AccessRefused     AccessResult = "refused"     // the registry does not take the credential
	AccessMissing     AccessResult = "missing"     // the registry wants a credential, and there is none
	AccessUnreachable AccessResult = "unreachable" // the registry did not say
)

// Well reports whether a run gets past the registry's door.
func (r AccessResult) Well() bool { return r == AccessOK || r == AccessAnonymous }

// NewAccessReport returns a report of what was asked, in that order.
func NewAccessReport(asked []Access) AccessReport {
	return AccessReport{APIVersion: APIVersion, Kind: KindAccess, Registries: append([]Access{}, asked...)}
}

// WriteAccess writes r to w as a table, as JSON or as YAML. Of the options it has use for
// Color alone.
func WriteAccess(w io.Writer, r AccessReport, f Format, o Options) error {
	var text string
	var err error
	switch f {
	case JSON:
		text, err = jsonText(r)
	case YAML:
		text, err = yamlText(r)
	case Table:
		text = accessTable(r, o)
	case Markdown:
		return fmt.Errorf("output format %s is not for this: expected table, json or yaml", f)
	}
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// accessTable is narrow: reasons, which may be long, stand below it.
func accessTable(r AccessReport, o Options) string {
	rows := [][]string{{"Registry", "Side", "Credential", "Expires", "Result"}}
	var reasons strings.Builder
	for _, a := range r.Registries {
		expires := "-"
		if a.Expires != nil {
			expires = a.Expires.UTC().Format(time.RFC3339)
		}
		source := a.Source
		if source == "" {
			source = "-"
		}
		rows = append(rows, []string{human.Text(a.Host), a.Side, human.Text(source), expires, string(a.Result)})
		if a.Reason != "" {
			fmt.Fprintf(&reasons, "%s (%s): %s\n", human.Text(a.Host), a.Side, human.Line(a.Reason))
		}
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		last := len(row) - 1
		for i, cell := range row[:last] {
			fmt.Fprintf(&b, "%-*s", widths[i]+gap, cell)
		}
		if n > 0 {
			b.WriteString(paint(row[last], accessColor(AccessResult(row[last])), o.Color))
		} else {
			b.WriteString(row[last])
		}
		b.WriteString("\n")
	}
	if reasons.Len() > 0 {
		b.WriteString("\n" + reasons.String())
	}
	return b.String()
}

func accessColor(r AccessResult) color.Attribute {
	if r.Well() {
		return color.FgGreen
	}
	return color.FgRed
}
