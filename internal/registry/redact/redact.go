// Package redact makes text that came from outside safe to show: in errors, in logs, on
// a terminal. Registries write error messages, and errors of net/http quote URLs whose
// queries may be credentials.
package redact

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line makes one safe line of text that came from outside, of at most limit bytes:
// control characters and broken encodings would otherwise reach terminals and logs.
func Line(s string, limit int) string {
	const cut = "…"
	var b strings.Builder
	for s = strings.TrimSpace(s); s != ""; {
		r, size := utf8.DecodeRuneInString(s)
		piece := s[:size]
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			quoted := strconv.Quote(piece)
			piece = quoted[1 : len(quoted)-1]
		}
		s = s[size:]
		room := limit - b.Len()
		if len(piece) > room || s != "" && len(piece)+len(cut) > room {
			b.WriteString(cut)
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

// URL writes a URL without user and query, either of which may hold a secret.
func URL(u *url.URL) string {
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return bare.String()
}

var (
	queries = regexp.MustCompile(`\?[^\s"'<>]*=[^\s"'<>]*`)
	users   = regexp.MustCompile(`//[^\s/"'@]+@`)
)

// Text removes the users and queries of the URLs in a text.
func Text(s string) string {
	return users.ReplaceAllString(queries.ReplaceAllString(s, ""), "//")
}

// MaxLine is how much of a text from outside is worth showing, in bytes.
const MaxLine = 512

// Error returns err with a text that is safe to show, nil for nil. What it wraps is the
// same.
func Error(err error) error {
	if err == nil {
		return nil
	}
	return &cleanError{text: Line(Text(err.Error()), MaxLine), err: err}
}

type cleanError struct {
	text string
	err  error
}

func (e *cleanError) Error() string { return e.text }
func (e *cleanError) Unwrap() error { return e.err }
