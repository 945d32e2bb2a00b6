package config_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/selection"
)

const selectionPage = "../../docs/selection.md"

func readSelectionPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(selectionPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// Every example of the page is true: both forms mean the same, and choose what it says
// for the reasons it says.
func TestExamplesOfTheSelectionPage(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^```text\n(.*?)^```$").FindAllStringSubmatch(readSelectionPage(t), -1)
	if len(blocks) < 15 {
		t.Fatalf("%d examples were found", len(blocks))
	}
	for _, block := range blocks {
		e := readExample(t, block[1])
		rules := rulesOf(t, e.keys["upstream-tags"], e.keys["upstream-options"])
		fromFile := mustLoad(t, withTags("  tags: "+e.keys["tags"]+"\n")).Rules[0].Mirror.Rules
		compareRules(t, e.keys["tags"], rules, fromFile)
		if diff := cmp.Diff(e.outcome, outcome(t, rules, e.input)); diff != "" {
			t.Errorf("%s\n(-the page +got):\n%s", block[1], diff)
		}
	}
}

// Every row of the page's tables says the same in both forms.
func TestTablesOfTheSelectionPage(t *testing.T) {
	const other = "semver:ge1" // something for options to act on
	kind, rows := "", 0
	row := regexp.MustCompile("^\\| `([^`]*)` \\| `([^`]*)` \\| ")
	for line := range strings.SplitSeq(readSelectionPage(t), "\n") {
		switch m := row.FindStringSubmatch(line); {
		case strings.HasPrefix(line, "| resource tag |"), strings.HasPrefix(line, "| resource tag `upstream-options` |"):
			kind = line
		case !strings.HasPrefix(line, "|"):
			kind = ""
		case m == nil && !strings.HasPrefix(line, "| ---"):
			t.Errorf("no row of two forms: %s", line)
		case m == nil:
		case strings.Contains(kind, "upstream-options"):
			compareRules(t, line, rulesOf(t, other, m[1]), mustLoad(t, withTags("  tags: {semver: '>=1', "+m[2]+"}\n")).Rules[0].Mirror.Rules)
			rows++
		default:
			compareRules(t, line, rulesOf(t, m[1], ""), mustLoad(t, withTags("  tags: "+m[2]+"\n")).Rules[0].Mirror.Rules)
			rows++
		}
	}
	if rows < 25 {
		t.Errorf("%d rows were found", rows)
	}
}

// An example of the page.
type example struct {
	keys    map[string]string // what stands before the first empty line
	input   selection.Input
	outcome []string
}

// readExample reads keys, an empty line, and what becomes of each tag: "+" chosen, "-"
// left out, each with its reason, "!" a warning or an error, and without a sign where an
// error leaves nothing to say.
func readExample(t *testing.T, text string) example {
	t.Helper()
	head, body, found := strings.Cut(text, "\n\n")
	if !found {
		t.Fatalf("no example:\n%s", text)
	}
	e := example{keys: map[string]string{}, input: selection.Input{UpstreamListed: true, Created: map[string]time.Time{}}}
	for line := range strings.SplitSeq(head, "\n") {
		key, value, _ := strings.Cut(line, ": ")
		e.keys[key] = value
	}
	if has := e.keys["destination has"]; has != "nothing" {
		e.input.Target = strings.Fields(has)
	}
	for part := range strings.SplitSeq(e.keys["created"], ", ") {
		if tag, day, ok := strings.Cut(part, " "); ok {
			at, err := time.Parse(time.DateOnly, day)
			if err != nil {
				t.Fatal(err)
			}
			e.input.Created[tag] = at
		}
	}
	for line := range strings.Lines(body) {
		sign, rest := line[:1], strings.Fields(line[1:])
		if sign != "!" {
			e.input.Upstream = append(e.input.Upstream, rest[0])
		}
		if sign != " " {
			e.outcome = append(e.outcome, sign+" "+strings.Join(rest, " "))
		}
	}
	slices.Sort(e.outcome) // the page may order lines as it reads best
	return e
}

// outcome writes a selection as the page's examples do.
func outcome(t *testing.T, rules discover.Rules, in selection.Input) []string {
	t.Helper()
	selector, err := selection.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	result := selector.Select(in)
	for _, pick := range result.Picks {
		lines = append(lines, "+ "+pick.Tag+" "+pick.Reason)
	}
	for _, dropped := range result.Dropped {
		lines = append(lines, "- "+dropped.Tag+" "+dropped.Reason)
	}
	for _, warning := range result.Warnings {
		lines = append(lines, "! "+warning)
	}
	if result.Err != nil {
		lines = append(lines, "! "+result.Err.Error())
	}
	slices.Sort(lines)
	return lines
}

func rulesOf(t *testing.T, tags, options string) discover.Rules {
	t.Helper()
	keys := discover.NewKeys("", "")
	spec, warnings, err := discover.FromTags(map[string]string{keys.Image: "nginx", keys.Tags: tags, keys.Options: options}, keys)
	if err != nil || warnings != nil {
		t.Fatalf("%s %s: %v %v", tags, options, err, warnings)
	}
	return spec.Rules
}

// compareRules compares what both forms mean; where a term stands is not part of it.
func compareRules(t *testing.T, what string, fromTags, fromFile discover.Rules) {
	t.Helper()
	if diff := cmp.Diff(fromTags, fromFile, cmpopts.IgnoreFields(discover.Term{}, "Text", "Key", "Position"), cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b discover.Term) bool {
		return a.String() < b.String()
	})); diff != "" {
		t.Errorf("%s (-resource tags +file):\n%s", what, diff)
	}
}
