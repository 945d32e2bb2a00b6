package prune

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Limits are the brakes of a run: more than this is taken for a mistake, and then
// nothing is removed. The zero Limits remove nothing; so does either of them at zero.
type Limits struct {
	Max   int   // tags, in the whole run
	Share Share // of the tags of one repository
}

// None reports whether nothing may be removed at all.
func (l Limits) None() bool { return l.Max <= 0 || l.Share <= 0 }

// Share is a part of a whole in hundredths of a percent, from 0 to 100%.
type Share int

const (
	percent Share = 100
	whole         = 100 * percent
)

var sharePattern = regexp.MustCompile(`^([0-9]{1,3})(?:\.([0-9]{1,2}))?%?$`)

// ParseShare reads a share in percent: "10%", "0.5%" or "10".
func ParseShare(s string) (Share, error) {
	parts := sharePattern.FindStringSubmatch(s)
	if parts == nil {
		return 0, fmt.Errorf("%q is no share: expected a percentage such as 10%%", s)
	}
	units, _ := strconv.Atoi(parts[1])                   // digits
	hundredths, _ := strconv.Atoi((parts[2] + "00")[:2]) // digits
	share := Share(units)*percent + Share(hundredths)
	if share > whole {
		return 0, fmt.Errorf("%q is more than all: expected a percentage up to 100%%", s)
	}
	return share, nil
}

// String writes the share as ParseShare reads it.
func (s Share) String() string {
	text := fmt.Sprintf("%d.%02d", s/percent, s%percent)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + "%"
}

// allows reports whether n of all is no more than the share.
func (s Share) allows(n, all int) bool { return n*int(whole) <= int(s)*all }
