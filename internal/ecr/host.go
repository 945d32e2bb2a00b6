package ecr

import (
	"fmt"
	"regexp"
	"strings"
)

// Location is where a private ECR registry is.
type Location struct {
	Account string // twelve digits; "" means the caller's, where that is not known
	Region  string
}

// registryHost is the complete form of a private registry's host: every partition,
// FIPS endpoints, and the dual-stack names. It follows what AWS's own credential
// helper accepts, and knows that 443 is the port meant anyway.
// https://docs.aws.amazon.com/general/latest/gr/ecr.html
var registryHost = regexp.MustCompile(`^([0-9]{12})\.dkr[.-]ecr(-fips)?\.([a-z0-9-]+)\.` +
	`(amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn|` +
	`sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)(:443)?$`)

// ParseHost reads account and Region from the host name of a private registry in any
// AWS partition. It reports false for every other host, public.ecr.aws among them.
func ParseHost(host string) (Location, bool) {
	m := registryHost.FindStringSubmatch(lowerASCII(host))
	if m == nil {
		return Location{}, false
	}
	return Location{Account: m[1], Region: m[3]}, true
}

// lowerASCII leaves all but A to Z as they are. Unicode's rules make a "k" of the
// Kelvin sign, and a host that is written with one is not ECR's.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// String names the registry for people.
func (l Location) String() string {
	if l.Account == "" {
		return "the caller's account in " + l.Region
	}
	return fmt.Sprintf("account %s in %s", l.Account, l.Region)
}
