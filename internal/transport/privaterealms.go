package transport

import (
	"net/http"
	"net/url"
	"strings"
)

// privateRealms has the authentication library ask token services on private addresses
// where the egress guard would let them be asked: those of a GitLab or a Harbor in the
// house. The library refuses every such service that has not the registry's own host name,
// whoever named it, and has no setting for that (validateRealm of oras-go 2.6.4). So it is
// shown a challenge as if the service were on the registry's host, with the true one in
// the fragment, which no request carries; on the way out its request gets the true host
// back. What guards requests for tokens comes after this, and sees the true one: a
// registry that makes up such a fragment gets no further than with the plain name.
type privateRealms struct {
	connections *connections
	next        http.RoundTripper // what watches the connections
}

func (p privateRealms) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Context().Value(tokenRequestKey{}) != nil {
		return p.askForToken(req)
	}
	resp, err := p.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	if challenges := resp.Header["Www-Authenticate"]; len(challenges) > 0 {
		challenges[0] = p.shown(challenges[0], req.URL) // the library reads no other
	}
	return resp, nil
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (p privateRealms) CloseIdleConnections() { p.connections.CloseIdleConnections() }

// shown returns the challenge as the library is to see it, which is most often as it is.
func (p privateRealms) shown(challenge string, from *url.URL) string {
	const parameter = `realm="`
	lower := strings.ToLower(challenge)
	at := strings.Index(lower, parameter)
	if at < 0 || strings.Count(lower, "realm=") > 1 || !sameHost(from, p.connections.address) {
		return challenge
	}
	head, rest := challenge[:at+len(parameter)], challenge[at+len(parameter):]
	realm, tail, ended := strings.Cut(rest, `"`)
	service, err := url.Parse(realm)
	if !ended || err != nil || service.User != nil || service.Fragment != "" ||
		strings.EqualFold(service.Hostname(), from.Hostname()) || !p.mayBeAsked(service, from) {
		return challenge
	}
	service.Fragment = service.Scheme + "://" + service.Host
	service.Scheme, service.Host = from.Scheme, from.Host
	return head + service.String() + `"` + tail
}

// mayBeAsked reports whether a token service of a registry may be on a private address,
// for all that its name says.
func (p privateRealms) mayBeAsked(service, from *url.URL) bool {
	secure := service.Scheme == "https" || service.Scheme == "http" && from.Scheme == "http"
	return secure && service.Host != "" && p.connections.guard.MayBePrivate(service.Host)
}

// askForToken sends a request for a token to the host that it is for.
func (p privateRealms) askForToken(req *http.Request) (*http.Response, error) {
	service, err := url.Parse(req.URL.Fragment)
	if err != nil || service.Host == "" || !p.mayBeAsked(service, req.URL) {
		return p.next.RoundTrip(req)
	}
	meant := req.Clone(req.Context())
	meant.URL.Scheme, meant.URL.Host, meant.URL.Fragment = service.Scheme, service.Host, ""
	meant.Host = service.Host
	resp, err := p.next.RoundTrip(meant)
	if err != nil {
		return nil, err
	}
	// The client would take a relative redirect for one of the host that it sees.
	if to, err := meant.URL.Parse(resp.Header.Get("Location")); err == nil && resp.Header.Get("Location") != "" {
		resp.Header.Set("Location", to.String())
	}
	return resp, nil
}
