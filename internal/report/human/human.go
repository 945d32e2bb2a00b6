// Package human writes values for people: text from strangers so that it cannot steer
// a terminal, byte counts, durations and shortened text. What programs read (JSON,
// YAML) is exact and does not pass through here.
package human

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter/pkg/twwidth"
)

// Text returns s with every rune that is not plainly visible written as its Go escape:
// control characters (\x1b, \n), bidirectional overrides (\u202e), zero-width and
// other invisible runes, and bytes that are not UTF-8 (\xff). Registries choose parts
// of names and error messages, and nothing they choose may move a cursor.
func Text(s string) string {
	if printable(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// Line is Text for messages that may have several lines, such as joined errors: they
// come out as one, the lines parted by semicolons.
func Line(s string) string {
	var parts []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, Text(line))
		}
	}
	return strings.Join(parts, "; ")
}

// Bytes writes a number of bytes in decimal units, to three digits: "0 B", "999 B",
// "1.00 kB", "45.2 MB", "120 GB".
func Bytes(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	value := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		value /= 1000
		if value < 999.5 {
			return threeDigits(value) + " " + unit
		}
	}
	return threeDigits(value/1000) + " EB"
}

// threeDigits writes value, at least 0.9995, with as many decimals as make three digits.
func threeDigits(value float64) string {
	decimals := 2
	switch {
	case value >= 99.95:
		decimals = 0
	case value >= 9.995:
		decimals = 1
	}
	return strconv.FormatFloat(value, 'f', decimals, 64)
}

// Duration writes a duration as coarsely as a person reads it: "0.3 s", "3 s", "42 s",
// "3 min 5 s", "2 h 10 min". Negative durations are written as zero.
func Duration(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 10*time.Second-50*time.Millisecond && d%time.Second != 0:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d.Round(time.Second) < time.Minute:
		return fmt.Sprintf("%d s", d.Round(time.Second)/time.Second)
	case d.Round(time.Second) < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

// Count writes a number and its noun: "1 image", "12 images".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// Width returns how many terminal cells s takes.
func Width(s string) int { return twwidth.WidthNoCache(s) }

// Tail shortens s to at most width cells by leaving out its beginning, which in an
// image reference says least. What is left out shows as an ellipsis.
func Tail(s string, width int) string {
	left := Width(s)
	if left <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	for i, r := range s {
		if left < width {
			return "…" + s[i:]
		}
		left -= Width(string(r))
	}
	return "…"
}

// Head shortens s to at most width cells by leaving out its end.
func Head(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	return s[:fitting(s, width)]
}

// fitting returns how many bytes of s fit into width cells, rune by rune.
func fitting(s string, width int) int {
	used := 0
	for i, r := range s {
		used += Width(string(r))
		if used > width {
			return i
		}
	}
	return len(s)
}

// Wrap breaks s into lines of at most width cells: at spaces where there are some,
// else after a slash or other punctuation, else anywhere. No character is lost but the
// spaces at which lines end. A width below 1 counts as 1.
func Wrap(s string, width int) []string {
	width = max(width, 1)
	var lines []string
	for {
		fits := fitting(s, width)
		if fits == len(s) {
			break
		}
		cut := breakAt(s, fits)
		lines = append(lines, strings.TrimRight(s[:cut], " "))
		s = strings.TrimLeft(s[cut:], " ")
	}
	if s != "" || lines == nil {
		lines = append(lines, s)
	}
	return lines
}

// breakAt returns where to end the line of which s[:fits] would be the longest. It is
// never 0, so that a rune wider than the line still ends up on one.
func breakAt(s string, fits int) int {
	if fits == 0 {
		_, size := utf8.DecodeRuneInString(s)
		return size
	}
	if space := strings.LastIndexByte(s[:fits+1], ' '); space > 0 {
		return space
	}
	for _, marks := range []string{"/", ",;:@", ".-_="} {
		if i := strings.LastIndexAny(s[:fits], marks); i > 0 {
			return i + 1
		}
	}
	return fits
}
