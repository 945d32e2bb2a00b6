package egress_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/egress"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

func TestControl(t *testing.T) {
	faults.Covers(t, "I15")
	for address, allowed := range map[string]bool{
		"169.254.169.254:80":          false,
		"169.254.170.2:80":            false, // credentials of ECS tasks
		"169.254.170.23:80":           false, // credentials of EKS pods
		"[::ffff:169.254.169.254]:80": false,
		"[fe80::1]:443":               false,
		"[fe80::1%eth0]:443":          false,
		"[fd00:ec2::254]:80":          false,
		"[fd00:ec2::23]:80":           false,
		"[fd20:ce::254]:80":           false,
		"168.63.129.16:80":            false,
		"100.100.100.200:80":          false,
		"no address":                  false,
		"127.0.0.1:5000":              true,
		"10.0.0.1:443":                true,
		"100.100.100.201:443":         true,
		"203.0.113.7:443":             true,
		"[::1]:5000":                  true,
		"[2001:db8::1]:443":           true,
		"[fd00:ec3::254]:443":         true,
		"[::ffff:127.0.0.1]:5000":     true,
	} {
		err := egress.Control("tcp", address, nil)
		if (err == nil) != allowed {
			t.Errorf("Control(%s) = %v", address, err)
		}
		if err != nil && address != "no address" && !errors.Is(err, registry.ErrPermanent) {
			t.Errorf("%v would be tried again", err)
		}
	}
}

// What is dialled is the proxy: it must be reached, whatever it is asked for.
func TestAProxyIsReached(t *testing.T) {
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.String() }))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	dialer := &net.Dialer{Control: egress.Control}
	transport := &http.Transport{Proxy: http.ProxyURL(at), DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://registry.test/v2/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if !strings.Contains(asked, "registry.test") {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

// Where a registry may be inside, so may what belongs to it, and nobody else; on this
// machine not even that. A registry that may not be inside has nobody there.
func TestKinMayBeInsideWithTheirRegistry(t *testing.T) {
	ofSite := func(host string) bool { return strings.HasSuffix(host, ".corp.test") || host == "tokens.test" }
	named := egress.Policy{Named: func(host string) bool { return host == "registry.corp.test" }, Unnamed: true}
	for _, test := range []struct {
		registry, host string
		private        bool
	}{
		{"registry.corp.test", "gitlab.corp.test", true},
		{"registry.corp.test", "gitlab.corp.test:443", true},
		{"registry.corp.test", "gitlab.corp.test:8443", false}, // ofSite is asked with the port
		{"registry.corp.test", "tokens.test", true},
		{"registry.corp.test", "tokens.test:443", true},
		{"registry.corp.test", "other.test", false},
		{"stranger.corp.test", "gitlab.corp.test", false},
	} {
		guard := &egress.Guard{Policy: named, Registry: test.registry, Kin: ofSite}
		if got := guard.MayBePrivate(test.host); got != test.private {
			t.Errorf("%s, named by %s: %t", test.host, test.registry, got)
		}
	}
	guard := &egress.Guard{Policy: named, Registry: "registry.corp.test", Kin: ofSite}
	if _, err := guard.DialContext(t.Context(), "tcp", "127.0.0.1:1"); !errors.Is(err, registry.ErrPermanent) {
		t.Errorf("this machine: %v", err)
	}
}
