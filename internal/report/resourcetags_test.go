package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/discover"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

// sampleChange has an entry of every kind, long values, and one that would like to
// steer a terminal.
func sampleChange() discover.Change {
	return discover.Change{Entries: []discover.Entry{
		{Key: "upstream-image", Now: "docker.io/library/nginx", Then: "docker.io/library/nginx", Verb: discover.Keep},
		{Key: "upstream-tags", Now: "1.26.+/1.27.+/stable/-+-perl/-+-otel", Then: strings.Repeat("1.27.+-alpine3.21/", 8) + "stable", Verb: discover.Replace},
		{Key: "upstream-tags-2", Now: "a\x1b[31m|b", Verb: discover.Remove},
		{Key: "upstream-platforms", Then: "linux/amd64 linux/arm64", Verb: discover.Add},
	}}
}

func sampleResourceTags(applied bool) report.ResourceTagReport {
	r := report.FromChange(sampleChange(), applied, []string{`resource tag "upstream-tag" is not read; did you mean "upstream-tags"?`})
	r.Repository = registryHost + "/external/nginx"
	r.ARN, r.Region = "arn:aws:ecr:eu-west-1:123456789012:repository/external/nginx", "eu-west-1"
	return r
}

func writeResourceTags(t *testing.T, r report.ResourceTagReport, f report.Format, o report.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.WriteResourceTags(&b, r, f, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestResourceTagsGolden(t *testing.T) {
	for _, test := range []struct {
		name    string
		applied bool
		format  report.Format
		opts    report.Options
	}{
		{"resource-tags-pipe", false, report.Table, report.Options{}},
		{"resource-tags-80", false, report.Table, report.Options{Width: 80}},
		{"resource-tags-color", true, report.Table, report.Options{Width: 120, Color: true}},
		{"resource-tags-markdown", true, report.Markdown, report.Options{}},
		{"resource-tags-json", true, report.JSON, report.Options{}},
		{"resource-tags-yaml", true, report.YAML, report.Options{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := writeResourceTags(t, sampleResourceTags(test.applied), test.format, test.opts)
			if strings.Contains(text, "\x1b[31m|") {
				t.Errorf("a value reaches the terminal raw:\n%q", text)
			}
			golden(t, test.name, text)
			if test.opts.Width == 0 || test.opts.Color {
				return
			}
			for line := range strings.Lines(text) {
				if n := human.Width(strings.TrimSuffix(line, "\n")); n > test.opts.Width && !strings.HasPrefix(line, "warning:") {
					t.Errorf("a line is %d wide: %s", n, line)
				}
			}
		})
	}
}

func TestNothingToChange(t *testing.T) {
	r := report.FromChange(discover.Change{}, false, nil)
	r.Repository = "app"
	if got := writeResourceTags(t, r, report.Table, report.Options{Width: 80}); got != "Repository: app\n\nnothing to change\n" {
		t.Errorf("got %q", got)
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(writeResourceTags(t, r, report.JSON, report.Options{})), &back); err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"changes", "warnings"} {
		if got, ok := back[list].([]any); !ok || len(got) != 0 {
			t.Errorf("%s is %v", list, back[list])
		}
	}
}

func TestResourceTagsWriteErrors(t *testing.T) {
	if err := report.WriteResourceTags(brokenPipe{}, sampleResourceTags(false), report.Table, report.Options{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
	if err := report.WriteResourceTags(&bytes.Buffer{}, sampleResourceTags(false), "xml", report.Options{}); err == nil {
		t.Error("xml is a format")
	}
}

func TestEveryResourceTagFieldIsDocumented(t *testing.T) {
	page := readPage(t)
	for prefix, fields := range map[string]reflect.Type{
		"":           reflect.TypeFor[report.ResourceTagReport](),
		"changes[].": reflect.TypeFor[report.ResourceTag](),
	} {
		for field := range fields.Fields() {
			if row := "| `" + prefix + field.Tag.Get("json") + "` |"; !strings.Contains(page, row) {
				t.Errorf("%s lacks %s", outputPage, row)
			}
		}
	}
}

// Terraform reads back what was meant, whatever the text holds.
func TestTerraformQuotes(t *testing.T) {
	tags := map[string]string{
		"plain": "1.27.+/stable", "with space": "a b", "${key}": "${value}", "percent": "%{if}$${x}%%{y}",
		"quotes": `"\`, "lines": "a\nb\tc\r", "control": "\x1b\u202e", "1st": "é",
	}
	text := report.TerraformTags(tags)
	for _, line := range []string{
		"  plain        = \"1.27.+/stable\"\n", "  \"with space\" = \"a b\"\n", "  \"$${key}\"    = \"$${value}\"\n",
		"  percent      = \"%%{if}$$${x}%%%{y}\"\n", `  quotes       = "\"\\"` + "\n", `  lines        = "a\nb\tc\r"` + "\n",
		`  control      = "\U0000001B\U0000202E"` + "\n", "  \"1st\"        = \"é\"\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	program, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("terraform is not installed")
	}
	// A console prints what it read as JSON does, but for < > and &.
	cmd := exec.CommandContext(t.Context(), program, "console")
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"HOME=" + cmd.Dir}
	object := strings.NewReplacer("tags = ", "", "\n}", "}", "{\n", "{", "\n", ",").Replace(strings.TrimSuffix(text, "\n"))
	cmd.Stdin = strings.NewReader("jsonencode(" + object + ")\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("terraform: %v", err)
	}
	var quoted string
	if err := json.Unmarshal(out, &quoted); err != nil {
		t.Fatalf("%v of %s", err, out)
	}
	var back map[string]string
	if err := json.Unmarshal([]byte(quoted), &back); err != nil {
		t.Fatalf("%v of %s", err, quoted)
	}
	if !reflect.DeepEqual(back, tags) {
		t.Errorf("terraform reads %q", back)
	}
}

func TestTerraformRepository(t *testing.T) {
	for name, label := range map[string]string{
		"external/nginx": "external_nginx", "3rd-party/x.y": "_3rd_party_x_y", "a--b__c": "a_b__c",
	} {
		text := report.TerraformRepository(name, map[string]string{"upstream-image": "nginx"})
		want := "resource \"aws_ecr_repository\" \"" + label + "\" {\n  name = \"" + name + "\"\n\n  tags = {\n    upstream-image = \"nginx\"\n  }\n}\n"
		if text != want {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}
