package discover

import "strings"

// MatchGlob reports whether the whole of s matches pattern, in which every "*" stands
// for any run of characters and every other character for itself. It takes time in
// proportion to the two lengths multiplied, whatever the pattern.
func MatchGlob(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for {
		part, more, again := strings.Cut(rest, "*")
		if !again {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s, rest = s[at+len(part):], more
	}
}
