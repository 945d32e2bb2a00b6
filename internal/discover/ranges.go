package discover

import (
	"regexp"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"
)

const expectedRange = "a range such as 1.x, ge1.2 lt2.0 or 1.2 - 1.9 (operators lt le gt ge eq ne)"

// operators are the words for the signs that AWS does not allow in tag values. Where a
// range is typed elsewhere the signs themselves are understood as well.
var operators = []struct{ word, sign string }{
	{"ge", ">="},
	{"gt", ">"},
	{"le", "<="},
	{"lt", "<"},
	{"eq", "="},
	{"ne", "!="},
	{">=", ">="},
	{"<=", "<="},
	{"!=", "!="},
	{">", ">"},
	{"<", "<"},
	{"=", "="},
}

// rangeVersion is a version as ranges have it: up to three numbers, the last ones
// possibly x, and a pre-release, which Python and PostgreSQL write without a dash.
// Compiled when it is asked: its repetitions are unrolled, which took 0.7 ms of every start.
var rangeVersion = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^v?([0-9]{1,9}(?:\.[0-9]{1,9}){0,2}(?:\.[xX]){0,2}|[xX](?:\.[xX]){0,2})` +
		`(?:-?((?:a|b|rc|alpha|beta)[0-9.]+)|-([0-9A-Za-z][0-9A-Za-z.-]*))?$`)
})

// parseRange reads a range and writes it in Masterminds' syntax, as comparisons that
// must all hold: "ge1.2 lt2.0" is ">=1.2 <2.0", and so is nothing else. "1.2 - 1.9"
// includes both ends: ">=1.2 <=1.9".
func parseRange(text span) (string, error) {
	fields := text.fields()
	if len(fields) == 0 {
		return "", text.problem(expectedRange, "an empty range")
	}
	var comparisons []string
	for len(fields) > 0 {
		if len(fields) >= 3 && fields[1].String() == "-" {
			low, err := parseRangeVersion(fields[0])
			if err != nil {
				return "", err
			}
			high, err := parseRangeVersion(fields[2])
			if err != nil {
				return "", err
			}
			comparisons = append(comparisons, ">="+low, "<="+high)
			fields = fields[3:]
			continue
		}
		comparison, rest, err := parseComparison(fields)
		if err != nil {
			return "", err
		}
		comparisons = append(comparisons, comparison)
		fields = rest
	}
	canonical := strings.Join(comparisons, " ")
	if _, err := semver.NewConstraint(canonical); err != nil {
		return "", text.problem(expectedRange, "%q is not a range", text)
	}
	return canonical, nil
}

// parseComparison reads one operator and its version, which may be two fields.
func parseComparison(fields []span) (comparison string, rest []span, err error) {
	field, rest := fields[0], fields[1:]
	for _, operator := range operators {
		version, ok := field.cutPrefix(operator.word)
		if !ok {
			continue
		}
		if version.empty() {
			if len(rest) == 0 {
				return "", nil, field.problem(expectedRange, "%q without a version", field)
			}
			version, rest = rest[0], rest[1:]
		}
		number, err := parseRangeVersion(version)
		return operator.sign + number, rest, err
	}
	number, err := parseRangeVersion(field)
	return number, rest, err
}

// parseRangeVersion drops a leading v and leading zeros (Ubuntu's 22.04 is 22.4), which
// the library does not take.
func parseRangeVersion(text span) (string, error) {
	parts := rangeVersion().FindStringSubmatch(text.String())
	if parts == nil {
		return "", text.problem(expectedRange, "%q is not a version", text)
	}
	numbers := strings.Split(strings.ToLower(parts[1]), ".")
	for i, number := range numbers {
		if trimmed := strings.TrimLeft(number, "0"); trimmed != "" {
			numbers[i] = trimmed
		} else {
			numbers[i] = "0"
		}
	}
	version := strings.Join(numbers, ".")
	if prerelease := parts[2] + parts[3]; prerelease != "" {
		version += "-" + prerelease
	}
	return version, nil
}

// words writes a range of Masterminds' syntax in the words that a tag value allows. It
// reports false for a range that has none: alternatives, carets and tildes.
func words(canonical string) (string, bool) {
	if strings.ContainsAny(canonical, "|^~*,") {
		return "", false
	}
	for _, operator := range operators[:6] {
		if len(operator.sign) == 2 {
			canonical = strings.ReplaceAll(canonical, operator.sign, operator.word)
		}
	}
	for _, operator := range operators[:6] {
		canonical = strings.ReplaceAll(canonical, operator.sign, operator.word)
	}
	return canonical, true
}
