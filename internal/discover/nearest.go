package discover

// nearest returns the name that differs least from word, if any is near enough to be
// what was meant: within two edits, or one where the name is short.
func nearest(word string, names []string) (string, bool) {
	best, bestEdits := "", 3
	for _, name := range names {
		if edits := distance(word, name); edits < bestEdits && edits <= tolerance(name) {
			best, bestEdits = name, edits
		}
	}
	return best, best != ""
}

// tolerance is how many edits away a word may be and still be taken for name. Two
// edits in a four-letter name make another word.
func tolerance(name string) int {
	switch {
	case len(name) >= 8:
		return 2
	case len(name) >= 3:
		return 1
	}
	return 0
}

// distance counts the single-character edits between a and b. Words whose lengths
// alone rule out a near miss are not compared.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
