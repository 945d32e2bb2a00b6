package cli

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/config"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// egress returns where a side's traffic may go. Named says that only operators name the
// registries of that side: for upstreams it does not hold where resource tags do.
func (w *wiring) egress(named bool) egress.Policy {
	hosts := w.opts.hosts()
	return egress.Policy{
		Named:    func(host string) bool { return hosts[host] },
		Unnamed:  !named,
		Allowed:  w.opts.egress,
		Loopback: onLoopback(w.session.Endpoint()),
	}
}

// hosts are the registries that flags and file name.
func (o wireOptions) hosts() map[string]bool {
	hosts := map[string]bool{}
	for host, said := range o.file.File.Registries {
		hosts[host] = true
		if said.TokenService != "" {
			hosts[said.TokenService] = true
		}
	}
	for _, host := range o.run.insecure {
		hosts[host] = true
	}
	for _, pattern := range append(o.run.allowUpstream, o.file.File.AllowedUpstreams...) {
		host, _, _ := strings.Cut(pattern, "/")
		hosts[host] = true // a host with a wildcard in it is nobody's
	}
	for _, rule := range o.file.Rules {
		hosts[rule.Mirror.Upstream.Host] = true
		hosts[rule.Mirror.Target.Host] = true
	}
	for _, pattern := range o.file.Patterns {
		hosts[pattern.Registry] = true
	}
	return hosts
}

// onLoopback reports whether an endpoint of AWS is this machine: an emulator.
func onLoopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && u.Host != "" && transport.IsLoopback(u.Host)
}

// egressAllowed returns the networks of --allow-egress, or else of the file.
func (f *runFlags) egressAllowed(file *config.Config) ([]netip.Prefix, error) {
	written, said := file.File.AllowedEgress, "allowedEgress"
	f.over("allow-egress", func() { written, said = f.allowEgress, "--allow-egress" })
	var allowed []netip.Prefix
	for _, text := range written {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, usageErrorf("%s %q is no network, such as 10.20.0.0/16", said, text)
		}
		allowed = append(allowed, prefix.Masked())
	}
	return allowed, nil
}
