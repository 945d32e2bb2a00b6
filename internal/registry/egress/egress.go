// Package egress says where registry traffic may not go, wherever a registry's answers
// point: to the services where clouds keep the credentials of the machine that asks.
package egress

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Control is a net.Dialer's Control. It looks at the address that is dialled, so that
// neither a DNS name nor a rebinding gets round it. Where a proxy is configured, that
// address is the proxy's.
func Control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %s: %w", address, err)
	}
	return Check(ap.Addr())
}

// Check returns an error for an address that no request may go to.
func Check(ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	if ip.IsLinkLocalUnicast() || isMetadata(ip) {
		return fmt.Errorf("connection to %s refused: clouds keep the credentials of machines there: %w", ip, registry.ErrPermanent)
	}
	return nil
}

func isMetadata(ip netip.Addr) bool {
	for _, p := range metadata {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// metadata lists the services of that kind that are not link-local.
var metadata = []netip.Prefix{
	// EC2's metadata and EKS Pod Identity over IPv6.
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
	// https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
	netip.MustParsePrefix("fd00:ec2::/32"),
	// Google Cloud over IPv6.
	// https://cloud.google.com/compute/docs/metadata/querying-metadata
	netip.MustParsePrefix("fd20:ce::254/128"),
	// Azure's virtual machine platform.
	// https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
	netip.MustParsePrefix("168.63.129.16/32"),
	// Alibaba Cloud.
	// https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
	netip.MustParsePrefix("100.100.100.200/32"),
}
