package redact_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"  words \n":                         "words",
		"two\nlines":                         `two\nlines`,
		"\x1b[31mred":                        `\x1b[31mred`,
		"caf\u00e9 \u65e5\u672c":             "caf\u00e9 \u65e5\u672c",
		"broken \xff\x9b":                    `broken \xff\x9b`,
		"\u202eright to left":                `\u202eright to left`,
		"0123456789abcdef0123456789abcdef":   "0123456789abcdef0123456789abc…",
		strings.Repeat("\u00e9", 40):         strings.Repeat("\u00e9", 14) + "…",
		strings.Repeat("x", 28) + "\x00\x00": strings.Repeat("x", 28) + "…",
	} {
		if got := redact.Line(in, 32); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("\x1b[2J\xff\u202e…", 7)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(limit, 3)
		got := redact.Line(s, limit)
		if len(got) > limit || !utf8.ValidString(got) {
			t.Errorf("Line(%q, %d) = %q", s, limit, got)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Line(%q) = %q", s, got)
		}
	})
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		`Get "https://a.test/b?X-Amz-Signature=s&c=d": EOF`: `Get "https://a.test/b": EOF`,
		`PUT http://me:pw@a.test/b: refused`:                `PUT http://a.test/b: refused`,
		`parse "/next?token=x"`:                             `parse "/next"`,
		`is it there? yes=no`:                               `is it there? yes=no`,
		`proxy http://me:pw@proxy.test:3128 said 407`:       `proxy http://proxy.test:3128 said 407`,
		`no URL, someone@example.com`:                       `no URL, someone@example.com`,
	} {
		if got := redact.Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestURL(t *testing.T) {
	u, err := url.Parse("https://me:pw@a.test:5000/v2/x%0a?token=s#f")
	if err != nil {
		t.Fatal(err)
	}
	if got := redact.URL(u); got != "https://a.test:5000/v2/x%0A" {
		t.Errorf("URL = %s", got)
	}
}

func TestError(t *testing.T) {
	if redact.Error(nil) != nil {
		t.Error("Error(nil) is an error")
	}
	inner := errors.New("inner")
	err := redact.Error(fmt.Errorf("GET http://a.test/b?token=s: %w\n%s", inner, strings.Repeat("x", 1000)))
	if !errors.Is(err, inner) {
		t.Error("the chain is broken")
	}
	if text := err.Error(); len(text) > redact.MaxLine || strings.Contains(text, "token") || strings.Contains(text, "\n") {
		t.Errorf("text %q", text)
	}
}
