package report_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report"
)

// A report that was saved says in every format what it said when it was made.
func TestReadIsTheSameReport(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		made := generated(t)
		var saved bytes.Buffer
		if err := report.Write(&saved, made, report.JSON, report.Options{}); err != nil {
			t.Fatal(err)
		}
		read, err := report.Read(&saved)
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range report.Formats() {
			var before, after strings.Builder
			if err := report.Write(&before, made, format, report.Options{}); err != nil {
				t.Fatal(err)
			}
			if err := report.Write(&after, read, format, report.Options{}); err != nil {
				t.Fatal(err)
			}
			if before.String() != after.String() {
				t.Fatalf("%s: made\n%s\nread\n%s", format, before.String(), after.String())
			}
		}
	})
}

func TestReadRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":         "",
		"no JSON":         "| Source Image |",
		"another kind":    `{"apiVersion":"ecr-mirror-sync.io/v1alpha1","kind":"AccessReport","rows":[]}`,
		"another version": `{"apiVersion":"ecr-mirror-sync.io/v9","kind":"SyncReport","rows":[]}`,
		"half of it":      `{"apiVersion":"ecr-mirror-sync.io/v1alpha1","kind":"SyncReport","rows":[{"tag":`,
		"rows of numbers": `{"apiVersion":"ecr-mirror-sync.io/v1alpha1","kind":"SyncReport","rows":[1]}`,
	} {
		if _, err := report.Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "reading a report") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
