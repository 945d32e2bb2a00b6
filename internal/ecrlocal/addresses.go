package ecrlocal

import (
	"fmt"
	"net"
	"net/http"
)

// RegistryAt gives the private registry of an account in a Region an address of its own, as
// every registry has at AWS. From then on the API names address in the URIs of its
// repositories and as its endpoint. Account and Region default to the server's. Address is
// HOST:PORT as clients dial it; without a HOST it is the one by which a client reached the API.
//
// The handler that is returned is to be served there. It answers for this registry alone, and
// only to passwords that were issued for it; the API is elsewhere. It may be used by several
// goroutines at once.
func (s *Server) RegistryAt(account, region, address string) (http.Handler, error) {
	key := s.key(account, region)
	if !isAccountID(key.Account) || !regionPattern.MatchString(key.Region) || key.Region == publicRegion {
		return nil, fmt.Errorf("there is no registry %q in the Region %q", key.Account, key.Region)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.addresses[key]; taken {
		return nil, fmt.Errorf("the registry of %s in %s has an address already", key.Account, key.Region)
	}
	s.addresses[key] = address
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, &key) }), nil
}

// host is where the registry called key is, for the client that sent r: at its own address,
// else where the client found the API. The caller holds mu.
func (s *Server) host(r *http.Request, key registryKey) string {
	address, own := s.addresses[key]
	if !own {
		return r.Host
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil && host == "" {
		return net.JoinHostPort(hostname(r), port)
	}
	return address
}

// hostname is the host that the client dialled, without a port.
func hostname(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return r.Host
}

// baseURL is the server's origin as the client addressed it.
func baseURL(r *http.Request) string { return scheme(r) + "://" + r.Host }

func scheme(r *http.Request) string {
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https"
	}
	return "http"
}
