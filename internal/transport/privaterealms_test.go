package transport_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/transport"
)

// house is a registry whose token service has another name and address, as GitLab's and
// Harbor's have inside a network. It returns the registry's host and the service's; the
// service counts in asked what it is asked with the credential.
func house(t *testing.T, token http.HandlerFunc) (at ref.Reference, service string) {
	t.Helper()
	tokens := httptest.NewServer(token)
	t.Cleanup(tokens.Close)
	service = tokens.Listener.Addr().String() // 127.0.0.1, which the library takes for inside
	server := httptest.NewServer(guarded(`Bearer realm="http://`+service+`/jwt/auth?kind=x",service="registry",scope="repository:team/app:pull"`, only("Bearer t1"), manifest))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return ref.Repository{Host: "localhost:" + port, Path: "team/app"}.Tagged("1.0"), service
}

// resident is a client of such a registry, whose credential is someone's.
func resident(t *testing.T, host, service string, policy egress.Policy) *transport.Client {
	t.Helper()
	c := transport.New(transport.Options{
		Credentials: auth.Static{host: someone},
		Egress:      policy,
		Settings:    everywhere(registry.Settings{Security: registry.Plain, TokenService: service}),
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A registry whose token service is elsewhere in the same network could not be read at all:
// the authentication library refuses services on addresses that are not public, whoever
// named them.
func TestATokenServiceInTheHouse(t *testing.T) {
	var service string
	var odd []string
	at, service := house(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != service || r.URL.Path != "/jwt/auth" || r.URL.Query().Get("kind") != "x" || r.Header.Get("Authorization") != basic(someone) {
			odd = append(odd, r.Host+r.URL.String())
		}
		_, _ = io.WriteString(w, `{"token":"t1"}`)
	})
	c := resident(t, at.Repository.Host, service, egress.Policy{Named: func(host string) bool { return host == service }})
	if _, err := c.Manifest(t.Context(), at); err != nil || len(odd) > 0 {
		t.Errorf("error %v, asked %q", err, odd)
	}
}

// A redirect of such a service is the service's, and leads to nobody inside whom the
// registry did not name.
func TestATokenServiceInTheHouseThatRedirects(t *testing.T) {
	var service string
	asked := 0
	at, service := house(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, "/jwt/there", http.StatusTemporaryRedirect)
	})
	c := resident(t, at.Repository.Host, service, egress.Policy{Named: func(host string) bool { return host == service }})
	_, err := c.Manifest(t.Context(), at)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1") || asked == 0 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// Nobody else gets there by it, whatever a challenge says: neither who was not named, nor
// who forges what the library is shown.
func TestATokenServiceInTheHouseOfOthers(t *testing.T) {
	for name, realm := range map[string]string{
		"not named":            "http://inside.test/token",
		"forged":               "http://registry.test/token#http://inside.test",
		"forged, an address":   "http://registry.test/token#http://10.20.30.40",
		"forged, the metadata": "http://registry.test/token#http://169.254.169.254",
	} {
		for kind, policy := range map[string]egress.Policy{
			"by tags":        {Unnamed: true, Loopback: true},
			"a network":      {Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.168.0.0/16")}},
			"registry named": {Named: func(host string) bool { return strings.HasPrefix(host, "registry.test") }, Unnamed: true},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				c, repo := wayfarer(t, with("Www-Authenticate", `Bearer realm="`+realm+`",service="x"`, refuse(401, "", "")), policy)
				_, err := c.Manifest(t.Context(), repo.Tagged("1.0"))
				if err == nil {
					t.Fatal("no error")
				}
				if strings.HasPrefix(name, "forged") && strings.Contains(err.Error(), "registry.test:80") {
					return // the registry's own name is asked, where nobody listens
				}
				faults.Measured(t, faults.EgressWays, 1)
				if !held(err) && !strings.Contains(err.Error(), "connection refused") {
					faults.Measured(t, faults.EgressEscapes, 1)
					t.Errorf("error %v", err)
				}
			})
		}
	}
}
