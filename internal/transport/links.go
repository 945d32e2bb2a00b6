package transport

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// follow reads a URL that the answer to a request named: relative or absolute, and
// never from TLS to plain text. A registry that does not know of the TLS in front of it
// writes http for its own host, and https is meant.
func follow(from *url.URL, named string) (*url.URL, error) {
	u, err := from.Parse(named)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", redact.Error(err), registry.ErrPermanent)
	}
	u.User = nil // net/http would send it in place of our own credentials
	if strings.EqualFold(u.Host, from.Host) || sameHost(u, from.Host) {
		u.Host = from.Host
		if from.Scheme == "https" && u.Scheme == "http" {
			u.Scheme = "https"
		}
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("scheme %s is not HTTP's: %w", redact.Line(u.Scheme, maxErrorCode), registry.ErrPermanent)
	case from.Scheme == "https" && u.Scheme != "https":
		return nil, fmt.Errorf("%s is not https: %w", redact.Line(u.Host, redact.MaxLine), registry.ErrPermanent)
	}
	return u, nil
}

// sameHost reports whether u is on the host at address, with or without the port that
// u's scheme implies.
func sameHost(u *url.URL, address string) bool {
	other := url.URL{Scheme: u.Scheme, Host: address}
	return strings.EqualFold(u.Hostname(), other.Hostname()) && portOf(u) == portOf(&other)
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// nextPage reads the Link header, nil where there is no further page. The target is
// taken as it is, since the "last" parameter of some registries is opaque, but only on
// the host that named it.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
func nextPage(page answer) (*url.URL, error) {
	for _, header := range page.header.Values("Link") {
		target := nextLink(header)
		if target == "" {
			continue
		}
		u, err := follow(page.from, target)
		if err != nil {
			return nil, fmt.Errorf("link to the next page: %w", err)
		}
		if u.Host != page.from.Host {
			return nil, fmt.Errorf("link to the next page leads to another host, %s: %w", redact.Line(u.Host, redact.MaxLine), registry.ErrPermanent)
		}
		return u, nil
	}
	return nil, nil
}

// nextLink finds the target of the link with rel=next in a header that may have several
// links, each of the form <target>; rel="next"; other="…". A target may have commas.
// https://www.rfc-editor.org/rfc/rfc8288#section-3
func nextLink(header string) string {
	for {
		_, link, opened := strings.Cut(header, "<")
		target, rest, closed := strings.Cut(link, ">")
		if !opened || !closed {
			return ""
		}
		params, _, _ := strings.Cut(rest, "<")
		if isNext(params) {
			return target
		}
		header = rest
	}
}

// isNext reports whether a link's parameters say rel=next, among other relations perhaps.
func isNext(params string) bool {
	for param := range strings.FieldsFuncSeq(params, func(r rune) bool { return r == ';' || r == ',' }) {
		key, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(key), "rel") {
			continue
		}
		for relation := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(value), `"`)) {
			if strings.EqualFold(relation, "next") {
				return true
			}
		}
	}
	return false
}
