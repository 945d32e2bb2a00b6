package migrate

import (
	"net"
	"net/netip"
	"strings"
)

// skopeoUnverified writes what skopeo's --tls-verify=false means for a host: that any
// certificate will do, or none. Tls returns the section to write to.
func skopeoUnverified(host string, from *value, tls func() *section) {
	if isLoopback(host) {
		from.note(Ignored, "a registry on this machine may speak plain HTTP, and show any certificate", "")
		return
	}
	tls().flag("insecure", true, from).
		note(from, Changed, "certificates are not verified, and plain HTTP is not tried", "skopeo tries it; where the registry speaks it, plainHTTP: true takes the place of insecure")
}

// isLoopback reports whether a host is this machine by its name alone.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}
