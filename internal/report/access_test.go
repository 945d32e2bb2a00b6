package report_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

func TestAccessTable(t *testing.T) {
	expires := time.Date(2026, 3, 14, 1, 59, 26, 0, time.FixedZone("", 3600))
	r := report.NewAccessReport([]report.Access{
		{Host: "ghcr.io", Side: "upstream", Source: "--src-creds", Result: report.AccessRefused, Reason: "no\x1b[2J\nnever"},
		{Host: "ecr.test", Side: "destination", Source: "ECR", Expires: &expires, Result: report.AccessOK},
		{Host: "quay.io", Side: "upstream", Result: report.AccessAnonymous},
	})
	want := `Registry  Side         Credential   Expires               Result
ghcr.io   upstream     --src-creds  -                     refused
ecr.test  destination  ECR          2026-03-14T00:59:26Z  ok
quay.io   upstream     -            -                     anonymous

ghcr.io (upstream): no\x1b[2J; never
`
	var got bytes.Buffer
	if err := report.WriteAccess(&got, r, report.Table, report.Options{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	got.Reset()
	if err := report.WriteAccess(&got, r, report.Table, report.Options{Color: true}); err != nil || strings.Count(got.String(), "\x1b[31m") != 1 {
		t.Errorf("in colour: %q, %v", got.String(), err)
	}
}

func TestAccessData(t *testing.T) {
	for f, want := range map[report.Format]string{report.JSON: `"registries": []`, report.YAML: "registries: []"} {
		var got bytes.Buffer
		if err := report.WriteAccess(&got, report.NewAccessReport(nil), f, report.Options{}); err != nil || !strings.Contains(got.String(), want) {
			t.Errorf("%s: %q, %v", f, got.String(), err)
		}
	}
	if err := report.WriteAccess(&bytes.Buffer{}, report.NewAccessReport(nil), report.Markdown, report.Options{}); err == nil {
		t.Error("markdown: no error")
	}
	if err := report.WriteAccess(&full{}, report.NewAccessReport(nil), report.Table, report.Options{}); !errors.Is(err, errFull) {
		t.Errorf("error %v", err)
	}
}

func TestEveryAccessFieldIsDocumented(t *testing.T) {
	page := readPage(t)
	for prefix, fields := range map[string]reflect.Type{"": reflect.TypeFor[report.AccessReport](), "registries[].": reflect.TypeFor[report.Access]()} {
		for field := range fields.Fields() {
			if row := "| `" + prefix + field.Tag.Get("json") + "` |"; !strings.Contains(page, row) {
				t.Errorf("%s lacks %s", outputPage, row)
			}
		}
	}
	for _, r := range []report.AccessResult{report.AccessOK, report.AccessAnonymous, report.AccessRefused, report.AccessMissing, report.AccessUnreachable} {
		if !strings.Contains(page, "`"+string(r)+"`") {
			t.Errorf("%s lacks %s", outputPage, r)
		}
	}
}
