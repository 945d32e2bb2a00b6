package selection

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// A Version is what a tag says about the release it names. Tags are not written by
// rules that all projects share, so reading them is a judgement; this is the whole of
// it.
//
// Numbers. One to four numbers, after a "v" or nothing: 1, 1.27, v1.27.3, 4.0.8.1874.
// Missing numbers are zero. A first number above 9999 is a date, a build number or part
// of a hash (20240807), and 2024-08-07 is a date: neither is a version. Calendar
// versions with dots are: 24.04, 2024.8.1.
//
// Suffixes. What follows the numbers is taken apart at each "-":
//
//   - a pre-release is one of a fixed list of words, with or without a number: -rc.1,
//     -rc1, -rc-1, -beta2, -alpha.3, -dev, -pre, -preview, -SNAPSHOT, -nightly, -M2;
//     also directly behind the numbers, as PostgreSQL and Python have it: 17beta3,
//     3.13.0rc2, and with a dot as Java has it: 3.0.0.RC1 (where .Final is the release)
//   - a revision makes a release newer without being a new one: -1 (a repackaging),
//     _7 (Java's build number), -security-01, and -r3 at the end (Bitnami). A number of
//     more than four digits there counts builds between releases, so that it is a
//     pre-release: -77890, -20240101120000. Java's 8u422-b05 is 8.0.422_05
//   - everything else is the variant, whatever it means to the project: musl,
//     alpine3.20, slim-bookworm, debian-12, k3s1
//
// So 1.31.0-musl is the variant musl of 1.31.0 and no pre-release, and
// 1.2.3-rc.1-alpine is both. An unknown word makes a variant; by default neither
// variants nor pre-releases are taken for releases, so that a wrong guess chooses too
// little and says why.
type Version struct {
	Variant string // "" for the plain version

	numbers  [4]uint64
	parts    int    // how many numbers were written
	pre      string // dotted and in lower case: "rc.1"; "" for a release
	revision string // dotted: "28.1"
}

// Major returns the first number.
func (v Version) Major() uint64 { return v.numbers[0] }

// Minor returns the second number.
func (v Version) Minor() uint64 { return v.numbers[1] }

// Prerelease returns the pre-release in its normal form, "rc.1" for -rc1, and "" for a
// release.
func (v Version) Prerelease() string { return v.pre }

// Compare orders versions as releases follow each other: by number, a pre-release
// before its release, a revision after it. The variant does not count: two variants of
// one version are equal.
func (v Version) Compare(w Version) int {
	for i := range v.numbers {
		if c := cmp.Compare(v.numbers[i], w.numbers[i]); c != 0 {
			return c
		}
	}
	if v.pre != w.pre {
		switch {
		case v.pre == "":
			return 1
		case w.pre == "":
			return -1
		}
		if c := compareDotted(v.pre, w.pre); c != 0 {
			return c
		}
	}
	return compareDotted(v.revision, w.revision)
}

// semver returns what a range is asked about: three numbers and the pre-release.
func (v Version) semver() *semver.Version {
	return semver.New(v.numbers[0], v.numbers[1], v.numbers[2], v.pre, "")
}

// maxMajor is the largest first number of a version.
const maxMajor = 9999

// ParseVersion reads a tag as a version; ok is false where it is none.
func ParseVersion(tag string) (v Version, ok bool) {
	rest := tag
	if len(rest) > 1 && rest[0] == 'v' && isDigit(rest[1]) {
		rest = rest[1:]
	}
	if rest, ok = v.readNumbers(rest); !ok {
		return Version{}, false
	}
	rest = v.readUpdate(rest)
	if rest, ok = v.readAttached(rest); !ok || v.isDate(rest) {
		return Version{}, false
	}
	if !v.readSuffix(v.readBuild(rest)) {
		return Version{}, false
	}
	return v, true
}

// parseStrict reads a tag as semver.org would: three numbers, and any suffix is a
// pre-release. A leading "v" is allowed, as nobody does without it. Where floating tags
// count, fewer numbers are a version too, as are numbers that begin with a zero: 22.04
// is 22.4.0. A suffix needs all three.
func parseStrict(tag string, floating bool) (Version, bool) {
	text := strings.TrimPrefix(tag, "v")
	if parts := looseVersion.FindStringSubmatch(text); floating && parts != nil {
		text = parts[1] + "." + cmp.Or(parts[2], "0") + "." + cmp.Or(parts[3], "0")
	}
	parsed, err := semver.StrictNewVersion(text)
	if err != nil {
		return Version{}, false
	}
	return Version{
		numbers: [4]uint64{parsed.Major(), parsed.Minor(), parsed.Patch()},
		parts:   3,
		pre:     parsed.Prerelease(),
	}, true
}

// looseVersion finds up to three numbers, without the zeros that they begin with, and
// what follows the third.
var looseVersion = regexp.MustCompile(`^0*([0-9]+)(?:\.0*([0-9]+)(?:\.0*([0-9]+(?:-.*)?))?)?$`)

// readNumbers reads up to four numbers and returns what follows them.
func (v *Version) readNumbers(s string) (rest string, ok bool) {
	for {
		digits := leadingDigits(s)
		n, ok := parseNumber(digits)
		if !ok || v.parts == len(v.numbers) {
			return "", false
		}
		v.numbers[v.parts] = n
		v.parts++
		s = s[len(digits):]
		if len(s) < 2 || s[0] != '.' || !isDigit(s[1]) {
			return s, v.numbers[0] <= maxMajor
		}
		s = s[1:]
	}
}

// readUpdate reads Java's 8u422-b05, which is 8.0.422 in the scheme that followed. The
// b counts builds here.
func (v *Version) readUpdate(s string) (rest string) {
	if v.parts != 1 || len(s) < 2 || s[0] != 'u' {
		return s
	}
	digits := leadingDigits(s[1:])
	update, ok := parseNumber(digits)
	if !ok {
		return s
	}
	v.numbers[2], v.parts = update, 3
	rest = s[1+len(digits):]
	if build, ok := strings.CutPrefix(rest, "-b"); ok && leadingDigits(build) != "" {
		return "_" + build
	}
	return rest
}

// readAttached reads a word that stands directly behind the numbers, or behind a dot.
// Only words that say what they are count: the rest of a hash must not.
func (v *Version) readAttached(s string) (rest string, ok bool) {
	if s == "" || s[0] == '-' || s[0] == '_' {
		return s, true
	}
	end := strings.IndexAny(s, "-_")
	if end < 0 {
		end = len(s)
	}
	word := strings.TrimPrefix(s[:end], ".")
	switch strings.ToLower(word) {
	case "final", "ga", "release":
		return s[end:], s[0] == '.'
	}
	pre, ok := parsePrerelease(word)
	if !ok || (v.parts < 3 && isHex(leadingLetters(word))) {
		return "", false // 1234a5 is more likely a hash than an alpha
	}
	v.pre = pre
	return s[end:], true
}

// isDate recognises 2024-08 and 2024-08-07, which would otherwise be revisions of the
// version 2024.
func (v *Version) isDate(rest string) bool {
	year := v.numbers[0]
	if v.parts != 1 || year < 1900 || year > 2199 || len(rest) < 3 {
		return false
	}
	return rest[0] == '-' && len(leadingDigits(rest[1:])) == 2
}

// readBuild reads a build number, "_7", and returns what follows. Another word behind
// "_" belongs to the suffix.
func (v *Version) readBuild(s string) string {
	if !strings.HasPrefix(s, "_") {
		return s
	}
	token, more, found := strings.Cut(s[1:], "-")
	if !isDotted(token) {
		return "-" + s[1:]
	}
	v.revision = token
	if found {
		return "-" + more
	}
	return ""
}

// readSuffix sorts the words of "-rc.1-alpine3.20" into pre-release, revision and
// variant. It reports false for a suffix with an empty word in it.
func (v *Version) readSuffix(s string) bool {
	if s == "" {
		return true
	}
	tokens := strings.Split(s[1:], "-")
	variant := tokens[:0]
	for i := 0; i < len(tokens); i++ {
		token := tokens[i]
		number := ""
		if i+1 < len(tokens) && isDotted(tokens[i+1]) {
			number = tokens[i+1]
		}
		pre, isPre := parsePrerelease(token)
		switch {
		case token == "":
			return false
		case isPre && v.pre == "":
			v.pre = pre
			if number != "" && !strings.ContainsAny(pre, "0123456789") { // -rc-1
				v.pre += "." + number
				i++
			}
		case i == 0 && isDotted(token) && len(leadingDigits(token)) > 4:
			v.addPrerelease(token)
		case i == 0 && isDotted(token):
			v.addRevision(token)
		case isRevisionWord(token):
			v.addRevision(cmp.Or(number, "1"))
			if number != "" {
				i++
			}
		case i == len(tokens)-1 && isPackageRevision(token):
			v.addRevision(token[1:])
		default:
			variant = append(variant, token)
		}
	}
	v.Variant = strings.Join(variant, "-")
	return true
}

func (v *Version) addPrerelease(s string) { v.pre = join(v.pre, s) }

func (v *Version) addRevision(s string) { v.revision = join(v.revision, s) }

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "." + b
}

// prereleaseWords are the words that announce a release instead of naming one, with
// the form in which they are compared. Single letters need a number.
var prereleaseWords = map[string]string{
	"a": "alpha", "alpha": "alpha", "b": "beta", "beta": "beta", "rc": "rc", "cr": "rc",
	"m": "milestone", "milestone": "milestone", "ea": "ea", "eap": "eap",
	"pre": "pre", "prerelease": "pre", "preview": "preview", "dev": "dev",
	"snapshot": "snapshot", "nightly": "nightly", "canary": "canary", "edge": "edge",
	"unstable": "unstable", "experimental": "experimental",
}

// parsePrerelease reads "rc", "rc1", "rc.1", "RC01" or "alpha.1.g1234abc".
func parsePrerelease(token string) (normal string, ok bool) {
	letters := leadingLetters(token)
	if len(letters) == 0 || len(letters) > len("experimental") {
		return "", false
	}
	word, ok := prereleaseWords[strings.ToLower(letters)]
	rest := token[len(letters):]
	switch {
	case !ok, len(letters) == 1 && !isDotted(rest):
		return "", false
	case rest == "":
		return word, true
	case rest[0] != '.' && !isDigit(rest[0]):
		return "", false
	}
	return word + "." + normalIdentifiers(rest), true
}

// normalIdentifiers makes identifiers of semver.org out of what a tag has, so that
// ranges can be asked about them.
func normalIdentifiers(s string) string {
	identifiers := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == '.' || r == '_' })
	for i, identifier := range identifiers {
		if len(leadingDigits(identifier)) == len(identifier) {
			identifiers[i] = cmp.Or(strings.TrimLeft(identifier, "0"), "0")
		}
	}
	return strings.Join(identifiers, ".")
}

func isRevisionWord(token string) bool {
	switch token {
	case "security", "hotfix", "patch", "post":
		return true
	}
	return false
}

// isPackageRevision recognises the "r3" that ends Bitnami's and Alpine's tags.
func isPackageRevision(token string) bool {
	return len(token) > 1 && token[0] == 'r' && len(leadingDigits(token[1:])) == len(token)-1
}

// isDotted reports whether s is made of numbers with dots between them.
func isDotted(s string) bool {
	for {
		n := len(leadingDigits(s))
		if n == 0 {
			return false
		}
		if n == len(s) {
			return true
		}
		if s[n] != '.' {
			return false
		}
		s = s[n+1:]
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isHex(s string) bool { return strings.Trim(strings.ToLower(s), "abcdef") == "" }

func leadingDigits(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n]
}

func leadingLetters(s string) string {
	n := 0
	for n < len(s) && isLetter(s[n]) {
		n++
	}
	return s[:n]
}

// parseNumber reads digits that fit a version number.
func parseNumber(digits string) (uint64, bool) {
	if digits == "" || len(digits) > 18 {
		return 0, false
	}
	var n uint64
	for i := range len(digits) {
		n = 10*n + uint64(digits[i]-'0')
	}
	return n, true
}

// compareDotted compares dotted identifiers as semver.org does: numbers as numbers and
// before words, and a shorter list before a longer one.
func compareDotted(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if c := compareIdentifiers(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareIdentifiers(a, b string) int {
	aNumber := len(leadingDigits(a)) == len(a)
	bNumber := len(leadingDigits(b)) == len(b)
	switch {
	case aNumber && bNumber:
		return compareDigits(a, b)
	case aNumber:
		return -1
	case bNumber:
		return 1
	}
	return strings.Compare(a, b)
}

// compareDigits compares numbers of any length.
func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// compareNatural orders names as people do: runs of digits as numbers, the rest as
// text. Names that differ only in leading zeros are ordered as text.
func compareNatural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		m, n := leadingDigits(x), leadingDigits(y)
		if m != "" && n != "" {
			if c := compareDigits(m, n); c != 0 {
				return c
			}
			x, y = x[len(m):], y[len(n):]
			continue
		}
		if c := cmp.Compare(x[0], y[0]); c != 0 {
			return c
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}
