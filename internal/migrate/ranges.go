package migrate

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// A versionRange is a range as an old tool's library reads it: alternatives, of whose
// comparisons all must hold. Versions are in the strict order of semver.org, in which
// 1.31.0-musl is a pre-release and below 1.31.0, and pre-releases count.
type versionRange [][]comparison

// A comparison is an operator of =, !=, >, >=, < and <=, with a version of three numbers.
type comparison struct {
	operator string
	version  string
}

// String writes the range for the keys semver, strict and prerelease together.
//
// A "<" there has no room for the pre-releases of its version, which nobody means. In
// the strict order they are below it, and so the old tools take them.
func (r versionRange) String() string {
	alternatives := make([]string, 0, len(r))
	for _, comparisons := range r {
		var written []string
		for _, c := range comparisons {
			if c.below() {
				written = append(written, "<="+c.version, "!="+c.version)
				continue
			}
			written = append(written, c.operator+c.version)
		}
		alternatives = append(alternatives, strings.Join(written, " "))
	}
	return strings.Join(alternatives, " || ")
}

// below reports whether the comparison is one that String writes in two parts.
func (c comparison) below() bool { return c.operator == "<" && !strings.Contains(c.version, "-") }

// explain says in a comment what was written, where the range has parts of ours.
func (r versionRange) explain(l *line, tool, written string) {
	for _, c := range slices.Concat(r...) {
		if c.below() {
			l.comment(fmt.Sprintf("%s: %s, which has room for pre-releases such as %s-rc1.", tool, quoted(strings.TrimSpace(written)), c.version))
			return
		}
	}
}

// parseDregsyRange reads a range of github.com/blang/semver, which dregsy uses. Where that
// library makes of a range what nobody can mean, the range returned is what is meant,
// and the remarks say so.
func parseDregsyRange(s string) (parsed versionRange, remarks []string, err error) {
	for alternative := range strings.SplitSeq(s, "||") {
		read, said, err := parseDregsyAlternative(alternative)
		if err != nil {
			return nil, nil, err
		}
		parsed, remarks = append(parsed, read...), append(remarks, said...)
	}
	if len(parsed) > maxAlternatives {
		return nil, nil, errors.New("a range with too many alternatives")
	}
	return parsed, remarks, nil
}

// maxAlternatives is how many alternatives a range may have. A series that is left out
// makes two of one.
const maxAlternatives = 50

var errNoVersion = errors.New("a range without a version")

func parseDregsyAlternative(alternative string) (parsed versionRange, remarks []string, err error) {
	parsed = versionRange{nil}
	operator := ""
	for field := range strings.FieldsSeq(alternative) {
		if strings.Trim(field, "=!<>") == "" { // an operator with a space behind it
			operator += field
			continue
		}
		found := dregsyComparison.FindStringSubmatch(operator + field)
		if found == nil {
			return nil, nil, fmt.Errorf("%s is not a comparison with a version", quoted(operator+field))
		}
		read, err := compare(dregsyOperator(found[1]), found[2])
		if err != nil {
			return nil, nil, err
		}
		if parsed = parsed.and(read); len(parsed) > maxAlternatives {
			break
		}
		if remark := dregsyTrap(operator, field, found[1], found[2]); remark != "" {
			remarks = append(remarks, remark)
		}
		operator = ""
	}
	if len(parsed[0]) == 0 || operator != "" {
		return nil, nil, errNoVersion
	}
	return parsed, remarks, nil
}

// and returns the range of what is in both.
func (r versionRange) and(other versionRange) versionRange {
	var both versionRange
	for _, a := range r {
		for _, b := range other {
			both = append(both, slices.Concat(a, b))
		}
	}
	return both
}

// dregsyComparison is a part of such a range.
var dregsyComparison = regexp.MustCompile(`^(==|=|!=|!|>=|>|<=|<|)([0-9][0-9A-Za-z.+-]*)$`)

func dregsyOperator(written string) string {
	switch written {
	case "", "==":
		return "="
	case "!":
		return "!="
	}
	return written
}

// dregsyTrap says where the library makes something else of a part.
func dregsyTrap(apart, field, operator, version string) string {
	switch {
	case apart == "!":
		return fmt.Sprintf("\"! %s\" leaves that version out", field) + "; dregsy drops the ! and takes that version alone"
	case strings.HasSuffix(version, ".x.x"):
		return quoted(operator+version) + " means the whole of that major version; dregsy takes its first minor version for it"
	case strings.HasSuffix(version, ".x") && dregsyOperator(operator) == "!=":
		return quoted(operator+version) + " leaves that series out; for dregsy no version at all fits it"
	}
	return ""
}

// parseRegsyncRange reads a range of regclient, all of whose comparisons must hold.
func parseRegsyncRange(s string) (versionRange, error) {
	parsed := versionRange{nil}
	for field := range strings.FieldsSeq(s) {
		found := regsyncComparison.FindStringSubmatch(field)
		if found == nil {
			return nil, fmt.Errorf("%s is not a comparison with a version", quoted(field))
		}
		read, err := regsyncParts(found[1], wholeVersion(found[2], found[3]))
		if err != nil {
			return nil, err
		}
		parsed = parsed.and(read)
	}
	if len(parsed[0]) == 0 {
		return nil, errNoVersion
	}
	return parsed, nil
}

// regsyncComparison is a part of such a range: missing numbers are zero.
var regsyncComparison = regexp.MustCompile(`^(>=|<=|>|<|=|\^|~|)v?([0-9]+(?:\.[0-9]+){0,2})(-[0-9A-Za-z.-]+)?$`)

func wholeVersion(numbers, prerelease string) string {
	return numbers + strings.Repeat(".0", 2-strings.Count(numbers, ".")) + prerelease
}

func regsyncParts(operator, version string) (versionRange, error) {
	if operator != "^" && operator != "~" {
		if operator == "" {
			operator = "="
		}
		return compare(operator, version)
	}
	v, err := semver.NewVersion(version)
	if err != nil {
		return nil, fmt.Errorf("%s is not a version", quoted(version))
	}
	end := semver.New(v.Major(), v.Minor()+1, 0, "", "")
	switch {
	case operator == "^" && v.Major() > 0:
		end = semver.New(v.Major()+1, 0, 0, "", "")
	case operator == "^" && v.Minor() == 0:
		end = semver.New(0, 0, v.Patch()+1, "", "")
	}
	return versionRange{{{">=", v.String()}, {"<", end.String()}}}, nil
}

// series is a version that ends in x: 1.x, 1.x.x, 1.2.x.
var series = regexp.MustCompile(`^([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.x){1,2}$`)

// compare returns what an operator and a version mean. A series goes from its first
// version to that of the next.
func compare(operator, version string) (versionRange, error) {
	found := series.FindStringSubmatch(version)
	if found == nil {
		parsed, err := semver.StrictNewVersion(version)
		if err != nil {
			return nil, fmt.Errorf("%s is not a version of three numbers", quoted(version))
		}
		plain, err := parsed.SetMetadata("")
		return versionRange{{{operator, plain.String()}}}, err
	}
	first, next := edges(found[1], found[2])
	switch operator {
	case ">":
		return versionRange{{{">=", next}}}, nil
	case "<=":
		return versionRange{{{"<", next}}}, nil
	case "=":
		return versionRange{{{">=", first}, {"<", next}}}, nil
	case "!=":
		return versionRange{{{"<", first}}, {{">=", next}}}, nil
	}
	return versionRange{{{operator, first}}}, nil
}

// edges returns the first version of a series and of the one that follows it.
func edges(major, minor string) (first, next string) {
	a, _ := strconv.Atoi(major) // at most nine digits
	if minor == "" {
		return fmt.Sprintf("%d.0.0", a), fmt.Sprintf("%d.0.0", a+1)
	}
	b, _ := strconv.Atoi(minor)
	return fmt.Sprintf("%d.%d.0", a, b), fmt.Sprintf("%d.%d.0", a, b+1)
}
