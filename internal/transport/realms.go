package transport

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// checkRealm returns an error for a request for a token that would show the registry's
// credential to somebody who is none of its own. Whoever can put a word into an answer of
// a registry, or into a redirect of its token service, could have the password sent
// anywhere otherwise. What shows no credential may go wherever the registry says.
func (c *connections) checkRealm(req *http.Request) error {
	if req.Context().Value(tokenRequestKey{}) == nil || !carriesCredential(req) || c.trusts(req.URL) {
		return nil
	}
	return fmt.Errorf("its credential would go to %s, which is no part of %s: if that is its token service, say so with registries.%s.tokenService of a configuration file: %w",
		redact.Line(req.URL.Host, redact.MaxLine), c.name, c.name, registry.ErrPermanent)
}

// trusts reports whether the credential is for the token service at u, too: it is the
// registry's own host, at whichever port, one of the same site, or the one that was named.
func (c *connections) trusts(u *url.URL) bool {
	own := (&url.URL{Host: c.address}).Hostname()
	return strings.EqualFold(u.Hostname(), own) || sameSite(u.Hostname(), own) ||
		c.tokenService != "" && strings.EqualFold(u.Host, c.tokenService)
}

// sameSite reports whether somebody could register both names only together. Who may have
// names below github.io or azurecr.io of their own are no one site:
// https://publicsuffix.org/learn/
func sameSite(a, b string) bool {
	site, err := siteOf(a)
	if err != nil {
		return false
	}
	other, err := siteOf(b)
	return err == nil && site == other
}

// siteOf returns the part of a name that is registered. Addresses have none.
func siteOf(name string) (string, error) {
	if _, err := netip.ParseAddr(name); err == nil {
		return "", fmt.Errorf("%s is an address", name)
	}
	return publicsuffix.EffectiveTLDPlusOne(strings.TrimSuffix(strings.ToLower(name), "."))
}
