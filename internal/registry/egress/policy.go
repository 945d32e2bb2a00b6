package egress

import (
	"fmt"
	"net/netip"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Policy says where registry traffic may go besides public addresses. The zero Policy
// trusts each registry that somebody asks, and none that only an answer names.
type Policy struct {
	// Named reports whether an operator named a host, with its port if it has one. Nil
	// means that nobody has named any.
	Named func(host string) bool

	// Unnamed says that registries may be asked which no operator named, but somebody who
	// may write resource tags. Only Named counts then.
	Unnamed bool

	Allowed  []netip.Prefix // for every host
	Loopback bool           // for every host: what is worked with is on this machine
}

// Leave is what a host's name may lead to besides public addresses.
type Leave struct {
	Private  bool // RFC 1918, RFC 4193, and the shared space of RFC 6598
	Loopback bool
}

// Registry returns the leave of a registry that is asked.
func (p Policy) Registry(host string) Leave {
	if !p.Unnamed || p.named(host) {
		return Leave{Private: true, Loopback: true}
	}
	// AWS alone says what these names lead to, and in a VPC with an interface endpoint
	// that is a private address.
	return Leave{Private: isECR(host), Loopback: p.Loopback}
}

// Elsewhere returns the leave of another host that an answer of a registry named: a
// redirect, a token service, an upload location.
func (p Policy) Elsewhere(registryHost, host string) Leave {
	if p.named(host) {
		return Leave{Private: true, Loopback: true}
	}
	fromHere := p.Registry(registryHost).Loopback && isLoopback(registryHost)
	return Leave{Private: isECR(registryHost) && isS3(host), Loopback: p.Loopback || fromHere}
}

func (p Policy) named(host string) bool { return p.Named != nil && p.Named(host) }

// Check returns an error for an address that a host with that leave may not lead to.
func (p Policy) Check(ip netip.Addr, leave Leave) error {
	if err := Check(ip); err != nil {
		return err
	}
	ip = ip.Unmap().WithZone("")
	switch {
	case p.allowed(ip):
		return nil
	case ip.IsLoopback(), ip.IsUnspecified(): // a system takes the second for the first
		if leave.Loopback {
			return nil
		}
		return refused(ip, "it is this machine")
	case ip.IsPrivate(), shared.Contains(ip):
		if leave.Private {
			return nil
		}
		return refused(ip, "it is private")
	case ip.IsMulticast(), ip == broadcast:
		return refused(ip, "no registry is there")
	}
	return nil
}

func (p Policy) allowed(ip netip.Addr) bool {
	for _, prefix := range p.Allowed {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

func refused(ip netip.Addr, because string) error {
	return fmt.Errorf("connection to %s refused: %s, which is for hosts that a file or a flag names, and for --allow-egress: %w",
		ip, because, registry.ErrPermanent)
}

var (
	shared    = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)
