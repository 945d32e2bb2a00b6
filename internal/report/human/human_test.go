package human_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/report/human"
)

func TestText(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27"},
		{"größe 日本 é", "größe 日本 é"},
		{"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"a\nb\tc\rd\x00", `a\nb\tc\rd\x00`},
		{"\u202egpj.exe", `\u202egpj.exe`},
		{"zero\u200bwidth\ufeff", `zero\u200bwidth\ufeff`},
		{"c1 \u009b31m \x7f", `c1 \u009b31m \x7f`},
		{"tag \U000e0041", `tag \U000e0041`},
		{"not UTF-8 \xff\x9b", `not UTF-8 \xff\x9b`},
		{"replacement \ufffd", "replacement \ufffd"},
		{"no-break\u00a0space\u2028line", `no-break\u00a0space\u2028line`},
	} {
		if got := human.Text(tc.in); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestLine(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"one", "one"},
		{"one\ntwo\r\n\n  three\n", "one; two; three"},
		{"\n\n", ""},
		{"a\rb", `a\rb`},
	} {
		if got := human.Line(tc.in); got != tc.want {
			t.Errorf("%q: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestBytes(t *testing.T) {
	for _, tc := range []struct {
		in   int64
		want string
	}{
		{0, "0 B"},
		{999, "999 B"},
		{1000, "1.00 kB"},
		{1234, "1.23 kB"},
		{9_994, "9.99 kB"},
		{9_996, "10.0 kB"},
		{45_200_000, "45.2 MB"},
		{99_960_000, "100 MB"},
		{999_499_999, "999 MB"},
		{999_500_000, "1.00 GB"},
		{120_000_000_000, "120 GB"},
		{9_223_372_036_854_775_807, "9.22 EB"},
	} {
		if got := human.Bytes(tc.in); got != tc.want {
			t.Errorf("%d: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, tc := range []struct {
		in   time.Duration
		want string
	}{
		{-time.Second, "0 s"},
		{0, "0 s"},
		{time.Millisecond, "0.0 s"},
		{3 * time.Second, "3 s"},
		{3100 * time.Millisecond, "3.1 s"},
		{9940 * time.Millisecond, "9.9 s"},
		{9960 * time.Millisecond, "10 s"},
		{59_400 * time.Millisecond, "59 s"},
		{59_600 * time.Millisecond, "1 min 0 s"},
		{185 * time.Second, "3 min 5 s"},
		{59*time.Minute + 59_700*time.Millisecond, "1 h 0 min"},
		{130 * time.Minute, "2 h 10 min"},
	} {
		if got := human.Duration(tc.in); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 images", 1: "1 image", 2: "2 images"} {
		if got := human.Count(n, "image"); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, tc := range []struct {
		in         string
		width      int
		tail, head string
	}{
		{"abcdef", 6, "abcdef", "abcdef"},
		{"abcdef", 4, "…def", "abcd"},
		{"abcdef", 1, "…", "a"},
		{"abcdef", 0, "", ""},
		{"abcdef", -1, "", ""},
		{"日本語", 6, "日本語", "日本語"},
		{"日本語", 5, "…本語", "日本"},
		{"日本語", 4, "…語", "日本"},
		{"日本語", 2, "…", "日"},
	} {
		if got := human.Tail(tc.in, tc.width); got != tc.tail {
			t.Errorf("Tail(%q, %d) = %q, want %q", tc.in, tc.width, got, tc.tail)
		}
		if got := human.Head(tc.in, tc.width); got != tc.head {
			t.Errorf("Head(%q, %d) = %q, want %q", tc.in, tc.width, got, tc.head)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tc := range []struct {
		in    string
		width int
		want  []string
	}{
		{"", 5, []string{""}},
		{"short", 5, []string{"short"}},
		{"same digest", 6, []string{"same", "digest"}},
		{"same digest", 4, []string{"same", "dige", "st"}},
		{"docker.io/library/nginx", 18, []string{"docker.io/library/", "nginx"}},
		{"docker.io/library/nginx", 12, []string{"docker.io/", "library/", "nginx"}},
		{"eu-west-1.amazonaws.com", 10, []string{"eu-west-1.", "amazonaws.", "com"}},
		{"abcdefgh", 3, []string{"abc", "def", "gh"}},
		{"日本語", 3, []string{"日", "本", "語"}},
		{"日本", 1, []string{"日", "本"}},
		{"ab", 0, []string{"a", "b"}},
	} {
		if diff := cmp.Diff(tc.want, human.Wrap(tc.in, tc.width)); diff != "" {
			t.Errorf("Wrap(%q, %d) (-want +got):\n%s", tc.in, tc.width, diff)
		}
	}
}

func FuzzTextAndWrap(f *testing.F) {
	f.Add("docker.io/library/nginx: 503 Service Unavailable", 12)
	f.Add("\x1b[2J\u202e日本\xff", 3)
	f.Fuzz(func(t *testing.T, s string, width int) {
		text := human.Text(s)
		if !utf8.ValidString(text) || human.Text(text) != text {
			t.Errorf("Text(%q) = %q is not clean", s, text)
		}
		var kept strings.Builder
		for _, line := range human.Wrap(text, width) {
			kept.WriteString(line)
			if utf8.RuneCountInString(line) > 1 && human.Width(line) > max(width, 1) {
				t.Errorf("Wrap(%q, %d) has the line %q", text, width, line)
			}
		}
		if got, want := strings.ReplaceAll(kept.String(), " ", ""), strings.ReplaceAll(text, " ", ""); got != want {
			t.Errorf("Wrap(%q, %d) keeps %q", text, width, got)
		}
	})
}
