// Package nearest guesses what a mistyped word was meant to be, so that an error can ask
// "did you mean …?".
package nearest

import (
	"strings"
	"unicode"
)

// Word returns the one of words that was probably meant by written: one that differs in
// case or in what joins its parts, or by an edit or two. The first of several is
// returned, and false where none is near.
func Word(written string, words []string) (string, bool) {
	written = folded(written)
	best, fewest := "", 3
	for _, word := range words {
		if n := edits(written, folded(word)); n < fewest && n <= tolerance(word) {
			best, fewest = word, n
		}
	}
	return best, best != ""
}

// Same reports whether two words differ at most in case and in what joins their parts.
func Same(a, b string) bool { return folded(a) == folded(b) }

// tolerance is how many edits away a word may be and still be taken for word: two edits
// in a short one make another.
func tolerance(word string) int {
	switch {
	case len(word) >= 7:
		return 2
	case len(word) >= 4:
		return 1
	}
	return 0
}

// folded leaves out what words are commonly joined with, and case.
func folded(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_ ", r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// edits counts the single-character insertions, deletions, replacements and swaps of
// neighbours between a and b. Words whose lengths alone rule out a near miss count 3.
func edits(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 || len(a) > 64 {
		return 3
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
