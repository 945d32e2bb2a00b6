package egress

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Guard dials for one side's requests to one registry, and refuses addresses by what is
// dialled in the end, so that neither a DNS name nor a rebinding gets round it. The
// addresses of proxies are an operator's own and are not looked at; what a proxy is asked
// for is looked at only where it is an address: names are the proxy's to resolve. It is
// safe for concurrent use.
type Guard struct {
	Policy   Policy
	Registry string        // as references write it
	Address  string        // where its API is, if not there
	Resolver *net.Resolver // nil means the system's

	// Kin reports whether a host belongs to the registry: one of its site, or the one that was
	// named as its token service. Where the registry may be on a private address, so may its
	// kin: who runs a registry in the house has the token service there, too. Nil means that
	// it has none.
	Kin func(host string) bool

	mu      sync.Mutex
	proxies map[string]bool // by address, with the port
}

// dialTime bounds the making of one connection, and keepAlive says how often it shows
// that it lives.
const (
	dialTime  = 30 * time.Second
	keepAlive = 30 * time.Second
)

// DialContext is an http.Transport's.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTime, KeepAlive: keepAlive, Resolver: g.Resolver}
	if !g.isProxy(address) {
		leave := g.leave(address)
		if ap, err := netip.ParseAddrPort(address); err == nil {
			if err := g.Policy.Check(ap.Addr(), leave); err != nil {
				return nil, err // also where this machine has no such addresses to dial from
			}
		}
		dialer.Control = func(_, dialled string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(dialled)
			if err != nil {
				return err
			}
			return g.Policy.Check(ap.Addr(), leave)
		}
	}
	return dialer.DialContext(ctx, network, address)
}

// Proxy is an http.Transport's: that of the environment.
func (g *Guard) Proxy(req *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(req)
	if err != nil || proxy == nil {
		return nil, err
	}
	if ip, literal := netip.ParseAddr(req.URL.Hostname()); literal == nil {
		if err := g.Policy.Check(ip, g.leave(req.URL.Host)); err != nil {
			return nil, err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.proxies == nil {
		g.proxies = map[string]bool{}
	}
	g.proxies[withPort(proxy)] = true
	return proxy, nil
}

func (g *Guard) isProxy(address string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.proxies[address]
}

// leave is that of a host with or without its port. Net/http dials every host with one,
// and references leave it out where it is TLS's.
func (g *Guard) leave(address string) Leave {
	names := []string{address}
	if name, port, err := net.SplitHostPort(address); err == nil && (port == "443" || port == "80") {
		names = append(names, name)
	}
	var leave Leave
	for _, name := range names {
		of := g.Policy.Elsewhere(g.Registry, name)
		if name == g.Registry || name == g.Address {
			of = g.Policy.Registry(g.Registry)
		}
		leave.Private, leave.Loopback = leave.Private || of.Private, leave.Loopback || of.Loopback
	}
	if !leave.Private && g.Kin != nil && slices.ContainsFunc(names, g.Kin) {
		leave.Private = g.Policy.Registry(g.Registry).Private
	}
	return leave
}

// MayBePrivate reports whether a host, with or without its port, may lead to any address that
// is not public.
func (g *Guard) MayBePrivate(host string) bool {
	leave := g.leave(host)
	return leave.Private || leave.Loopback || len(g.Policy.Allowed) > 0
}

// withPort writes the address of a proxy as it is dialled.
func withPort(proxy *url.URL) string {
	if proxy.Port() != "" {
		return proxy.Host
	}
	ports := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
	return net.JoinHostPort(proxy.Hostname(), ports[proxy.Scheme])
}
