package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/plan"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// generated is a report of some rows with texts that are hard to quote.
func generated(t *rapid.T) report.Report {
	texts := rapid.OneOf(
		rapid.SampledFrom([]string{"", "1.10", "null", "- x", "a: b", `"rows": []`, "x\nrows: []\ny", "two\nlines\n", "\n\nlate", "  indented\n too", "# no comment", strings.Repeat("long text ", 30)}),
		rapid.StringMatching(`[a-z :\n'"#\\<&-]{0,12}`),
	)
	var actions []plan.Action
	for i := range rapid.IntRange(0, 3).Draw(t, "rows") {
		a := action(rapid.SampledFrom([]plan.Verb{plan.Copy, plan.InSync, plan.Failed}).Draw(t, "verb"), "nginx", "mirrors/nginx", "1", "")
		a.Reason, a.To.Tag, a.Mirror.Origin.Place = texts.Draw(t, "reason"), texts.Draw(t, "tag"), texts.Draw(t, "place")
		a.Size = int64(i)
		actions = append(actions, a)
	}
	return report.FromPlan(run(), plan.Plan{Actions: actions, Warnings: rapid.SliceOfN(texts, 0, 2).Draw(t, "warnings")})
}

// Row by row, a report is written as the encoders write the whole of it at once.
func TestRowByRowIsTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := generated(t)
		var asJSON, asYAML bytes.Buffer
		encoder := json.NewEncoder(&asJSON)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(r); err != nil {
			t.Fatal(err)
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(asJSON.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		plainly(&doc)
		yamlEncoder := yaml.NewEncoder(&asYAML)
		yamlEncoder.SetIndent(2)
		if err := yamlEncoder.Encode(&doc); err != nil {
			t.Fatal(err)
		}
		for format, want := range map[report.Format]string{report.JSON: asJSON.String(), report.YAML: asYAML.String()} {
			var got bytes.Buffer
			if err := report.Write(&got, r, format, report.Options{}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.String()); diff != "" {
				t.Errorf("%s (-whole +row by row):\n%s", format, diff)
			}
		}
	})
}

// plainly leaves it to the encoder how each node is written.
func plainly(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plainly(child)
	}
}

// full is a disk on which there is room for some bytes.
type full struct{ room int }

var errFull = errors.New("no space left on device")

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// Wherever the disk is full, writing says so: no half of a report passes for one.
func TestWriteSaysThatItCouldNot(t *testing.T) {
	var actions []plan.Action
	for range 200 {
		actions = append(actions, action(plan.Copy, "nginx", "mirrors/nginx", "1", "missing at destination"))
	}
	r := report.FromPlan(run(), plan.Plan{Actions: actions})
	for _, f := range report.Formats() {
		whole := len(write(t, r, f, report.Options{}))
		for _, room := range []int{0, whole / 2, whole - 1} {
			if err := report.Write(&full{room}, r, f, report.Options{}); !errors.Is(err, errFull) {
				t.Errorf("%s with room for %d of %d bytes: %v", f, room, whole, err)
			}
		}
		if err := report.Write(&full{whole}, r, f, report.Options{}); err != nil {
			t.Errorf("%s with room for all: %v", f, err)
		}
	}
}
