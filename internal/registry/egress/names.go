package egress

import (
	"net"
	"net/netip"
	"regexp"
	"strings"
)

// Names under AWS's own domains that lead to a private address where a VPC has an
// interface endpoint for the service. Others of these domains do not count: anybody can
// have a load balancer there that leads to wherever its owner wants.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/privatelink-interface-endpoints.html
var (
	ecrNames = regexp.MustCompile(`^[0-9]{12}\.(dkr[.-]ecr(-fips)?)\.[a-z0-9-]+\.(amazonaws\.(com|com\.cn|eu)|on\.aws|on\.amazonwebservices\.com\.cn)$`)
	s3Names  = regexp.MustCompile(`^([a-z0-9.-]+\.)?s3(-fips)?([.-](dualstack\.)?[a-z]{2,4}-[a-z-]+-[0-9])?\.amazonaws\.(com|com\.cn|eu)$`)
)

func isECR(host string) bool { return ecrNames.MatchString(bare(host)) }

func isS3(host string) bool { return s3Names.MatchString(bare(host)) }

// isLoopback reports whether a host is this machine by its name alone.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(bare(host))
	return bare(host) == "localhost" || err == nil && ip.IsLoopback()
}

// bare returns a host without its port.
func bare(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}
