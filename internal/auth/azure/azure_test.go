package azure_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth/azure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/authority"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

const (
	tenant = "72f988bf-0000-0000-0000-000000000000"
	canary = "hunter2"
)

// internet is Entra ID of each cloud, the identity endpoint of a machine, and registries,
// by host. They check every field that is documented, and number what they issue. It is an
// http.RoundTripper.
type internet struct {
	t        *testing.T
	metadata http.HandlerFunc // what answers at 169.254.169.254, nil for nobody
	refuse   http.HandlerFunc // what registries answer, nil for a token

	mu        sync.Mutex
	hosts     []string // that were asked
	entra     int      // tokens issued
	exchanges int
}

func (i *internet) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.hosts = append(i.hosts, r.URL.Host)
	i.mu.Unlock()
	w := httptest.NewRecorder()
	switch host := r.URL.Host; {
	case host == "169.254.169.254" && i.metadata == nil:
		return nil, fmt.Errorf("dial tcp %s: connect: no route to host", host)
	case host == "169.254.169.254":
		i.metadata(w, r)
	case r.URL.Scheme != "https":
		i.t.Errorf("%s is asked in the clear", r.URL)
		w.WriteHeader(http.StatusForbidden)
	case strings.HasPrefix(host, "login."):
		i.login(w, r)
	default:
		i.exchange(w, r)
	}
	if r.Body != nil {
		_ = r.Body.Close()
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (i *internet) field(w http.ResponseWriter, name, got, want string) bool {
	if got == want {
		return true
	}
	i.t.Errorf("%s is %q, want %q", name, got, want)
	http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
	return false
}

func (i *internet) form(w http.ResponseWriter, r *http.Request, want url.Values) bool {
	if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !i.field(w, "Content-Type", media, "application/x-www-form-urlencoded") || r.ParseForm() != nil {
		return false
	}
	for name := range want {
		if !i.field(w, name, r.PostForm.Get(name), want.Get(name)) {
			return false
		}
	}
	return true
}

// login is Entra ID.
func (i *internet) login(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	base := "https://" + r.URL.Host + "/" + tenant
	switch r.URL.Path {
	case "/common/discovery/instance":
		fmt.Fprintf(w, `{"tenant_discovery_endpoint":"%s/v2.0/.well-known/openid-configuration","metadata":[{"preferred_network":"%[2]s","preferred_cache":"%[2]s","aliases":["%[2]s"]}]}`, base, r.URL.Host)
	case "/" + tenant + "/v2.0/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"token_endpoint":"%[1]s/oauth2/v2.0/token","issuer":"%[1]s/v2.0","authorization_endpoint":"%[1]s/oauth2/v2.0/authorize"}`, base)
	case "/" + tenant + "/oauth2/v2.0/token":
		want := url.Values{"grant_type": {"client_credentials"}, "client_id": {"app"}, "client_secret": {canary}}
		if r.PostFormValue("client_assertion") != "" {
			want = url.Values{
				"grant_type": {"client_credentials"}, "client_id": {"pod"}, "client_assertion": {"pod-token"},
				"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			}
		}
		if i.form(w, r, want) && i.field(w, "scope", strings.Fields(r.PostForm.Get("scope"))[0], "https://containerregistry.azure.net/.default") {
			i.token(w)
		}
	default:
		i.t.Errorf("Entra ID is asked for %s", r.URL)
		http.NotFound(w, r)
	}
}

func (i *internet) token(w http.ResponseWriter) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.entra++
	fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3599,"expires_on":"%d","resource":"https://containerregistry.azure.net","access_token":"entra-%d"}`, time.Now().Add(time.Hour).Unix(), i.entra)
}

// exchange is /oauth2/exchange of a registry.
func (i *internet) exchange(w http.ResponseWriter, r *http.Request) {
	if i.refuse != nil {
		i.refuse(w, r)
		return
	}
	if !i.field(w, "path", r.Method+" "+r.URL.Path, "POST /oauth2/exchange") ||
		!i.form(w, r, url.Values{"grant_type": {"access_token"}, "service": {r.URL.Host}}) ||
		!i.field(w, "access_token", strings.TrimRight(r.PostForm.Get("access_token"), "0123456789"), "entra-") {
		return
	}
	if os.Getenv("AZURE_TENANT_ID") != "" && !i.field(w, "tenant", r.PostForm.Get("tenant"), tenant) {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.exchanges++
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"refresh_token":"%s"}`, jwt(r.URL.Host, i.exchanges, 3*time.Hour))
}

// jwt is a refresh token as registries write it.
func jwt(host string, n int, life time.Duration) string {
	payload, _ := json.Marshal(map[string]any{"jti": fmt.Sprint(n), "aud": host, "exp": time.Now().Add(life).Unix()})
	return "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
}

// alone keeps this machine's own identity from the test.
func alone(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST",
		"AZURE_SP_ID", "AZURE_SP_PASSWORD", "IDENTITY_ENDPOINT", "MSI_ENDPOINT",
	} {
		t.Setenv(name, "")
		_ = os.Unsetenv(name) // t.Setenv puts it back
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv("HOME", t.TempDir())
}

func wantToken(t *testing.T, p *azure.Provider, host string, n int) auth.Credential {
	t.Helper()
	got, err := p.Credential(t.Context(), host)
	if err != nil {
		t.Errorf("credential of %s: %v", host, err)
		return got
	}
	if got.Username != "00000000-0000-0000-0000-000000000000" || got.Password != "" {
		t.Errorf("credential %v", got)
	}
	parts := strings.Split(got.IdentityToken.Reveal(), ".")
	if len(parts) != 3 {
		t.Fatalf("no token of the registry: %q", got.IdentityToken.Reveal())
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if want := fmt.Sprintf(`"jti":"%d"`, n); !strings.Contains(string(payload), want) || !strings.Contains(string(payload), `"aud":"`+host+`"`) {
		t.Errorf("the token of %s is %s, want %s", host, payload, want)
	}
	return got
}

var principal = azure.Principal{Tenant: tenant, ClientID: "app", ClientSecret: canary}

func TestEveryCloud(t *testing.T) {
	for host, login := range map[string]string{
		"mirror.azurecr.io":    "login.microsoftonline.com",
		"mirror.azurecr.cn":    "login.chinacloudapi.cn",
		"mirror.azurecr.us":    "login.microsoftonline.us",
		"registry.example.com": "login.microsoftonline.com",
	} {
		t.Run(host, func(t *testing.T) {
			alone(t)
			net := &internet{t: t}
			p := azure.New(principal, azure.Options{Transport: net})
			wantToken(t, p, host, 1)
			for _, asked := range net.hosts {
				if asked != login && asked != host && !strings.HasPrefix(asked, "login.microsoft") {
					t.Errorf("%s was asked", asked)
				}
			}
			if net.hosts[len(net.hosts)-1] != host || net.hosts[len(net.hosts)-2] != login {
				t.Errorf("asked %v", net.hosts)
			}
			origin, err := p.Describe(t.Context(), host)
			if err != nil || !strings.Contains(origin.Source, "app") || strings.Contains(origin.Source, canary) || time.Until(origin.Expires) < 2*time.Hour {
				t.Errorf("described as %q until %s", origin.Source, origin.Expires)
			}
		})
	}
}

func TestEveryIdentityOfAMachine(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("pod-token"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		env     map[string]string
		who     azure.Principal
		managed string // the client ID that the identity endpoint is to be asked for, where it is
	}{
		{name: "environment", env: map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": "app", "AZURE_CLIENT_SECRET": canary}},
		{name: "replicant's variables", env: map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_SP_ID": "app", "AZURE_SP_PASSWORD": canary}},
		{name: "workload identity", env: map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": "pod", "AZURE_FEDERATED_TOKEN_FILE": token}},
		{name: "another workload identity", env: map[string]string{"AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": "other", "AZURE_FEDERATED_TOKEN_FILE": token}, who: azure.Principal{ClientID: "pod"}},
		{name: "managed identity", managed: "none"},
		{name: "a user-assigned identity", who: azure.Principal{ClientID: "mine"}, managed: "mine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alone(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			net := &internet{t: t}
			if tt.managed != "" {
				net.metadata = func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Metadata") != "true" { // the library looks whether somebody is there
						http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
						return
					}
					q := r.URL.Query()
					if net.field(w, "resource", q.Get("resource"), "https://containerregistry.azure.net") &&
						net.field(w, "client_id", q.Get("client_id"), strings.TrimPrefix(tt.managed, "none")) {
						w.Header().Set("Content-Type", "application/json")
						net.token(w)
					}
				}
			}
			wantToken(t, azure.New(tt.who, azure.Options{Transport: net}), "mirror.azurecr.io", 1)
			if tt.who != (azure.Principal{}) {
				return
			}
			p := azure.Machine(azure.Options{Transport: net})
			wantToken(t, p, "mirror.azurecr.io", 2)
			if got, err := p.Credential(t.Context(), "quay.io"); err != nil || !got.Anonymous() {
				t.Errorf("quay.io gets %v, %v", got, err)
			}
		})
	}
}

// What replicant did with its variables: they are user and password, without a tenant.
func TestReplicantsVariablesWithoutATenant(t *testing.T) {
	alone(t)
	t.Setenv("AZURE_SP_ID", "app")
	t.Setenv("AZURE_SP_PASSWORD", canary)
	net := &internet{t: t}
	got, err := azure.Machine(azure.Options{Transport: net}).Credential(t.Context(), "mirror.azurecr.io")
	if err != nil || got != (auth.Credential{Username: "app", Password: canary}) || len(net.hosts) != 0 {
		t.Errorf("%v, %v; asked %v", got, err, net.hosts)
	}
}

// The metadata services of other clouds have the same address, and answer.
func TestAMachineThatIsNobody(t *testing.T) {
	for name, metadata := range map[string]http.HandlerFunc{
		"no metadata": nil,
		"EC2": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server", "EC2ws")
			w.WriteHeader(http.StatusUnauthorized)
		},
		"Google": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Metadata-Flavor", "Google")
			http.NotFound(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			alone(t)
			net := &internet{t: t, metadata: metadata}
			start := time.Now()
			if got, err := azure.Machine(azure.Options{Transport: net}).Credential(t.Context(), "mirror.azurecr.io"); err != nil || !got.Anonymous() {
				t.Errorf("%v, %v", got, err)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %s to see that", took)
			}
			_, err := azure.New(azure.Principal{}, azure.Options{Transport: net}).Credential(t.Context(), "mirror.azurecr.io")
			if !failure.Final(err) || !strings.Contains(err.Error(), "az login") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestATokenOfItsOwnForEachRegistry(t *testing.T) {
	faults.Covers(t, "F69")
	alone(t)
	net := &internet{t: t}
	ahead := time.Duration(0)
	p := azure.New(principal, azure.Options{Transport: net, Now: func() time.Time { return time.Now().Add(ahead) }})
	first := wantToken(t, p, "one.azurecr.io", 1)
	wantToken(t, p, "two.azurecr.io", 2)
	wantToken(t, p, "one.azurecr.io", 1)
	p.Refused("two.azurecr.io", first)
	wantToken(t, p, "two.azurecr.io", 2)
	p.Refused("one.azurecr.io", first)
	wantToken(t, p, "one.azurecr.io", 3)
	ahead = 91 * time.Minute // more than half of three hours
	wantToken(t, p, "two.azurecr.io", 4)
	if net.entra != 1 {
		t.Errorf("%d tokens of Entra ID, which one would have done for", net.entra)
	}
}

func TestARegistryThatRefuses(t *testing.T) {
	faults.Covers(t, "F69")
	alone(t)
	for _, tt := range []struct {
		name  string
		code  int
		body  string
		want  string
		final bool
	}{
		{"no role", 401, `{"errors":[{"code":"UNAUTHORIZED","message":"` + canary + `"}]}`, "AcrPull", true},
		{"no such registry", 404, "", "404 Not Found", true},
		{"elsewhere", 307, "", "307", true},
		{"no token", 200, "{}", "holds no refresh token", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			net := &internet{t: t, refuse: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://evil.test/oauth2/exchange")
				w.WriteHeader(tt.code)
				fmt.Fprint(w, tt.body)
			}}
			_, err := azure.New(principal, azure.Options{Transport: net}).Credential(t.Context(), "mirror.azurecr.io")
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "mirror.azurecr.io") ||
				strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "entra-") || failure.Final(err) != tt.final {
				t.Errorf("error %v, final: %t", err, failure.Final(err))
			}
			for _, host := range net.hosts {
				if host == "evil.test" {
					t.Error("it was sent elsewhere")
				}
			}
		})
	}
}

func TestATokenWhoseEndNobodyKnows(t *testing.T) {
	alone(t)
	for _, token := range []string{"opaque", "a.b.c", "e30.e30.e30", "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":"soon"}`)) + ".x"} {
		net := &internet{t: t, refuse: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"refresh_token":%q}`, token) }}
		p := azure.New(principal, azure.Options{Transport: net})
		if got, err := p.Credential(t.Context(), "mirror.azurecr.io"); err != nil || got.IdentityToken.Reveal() != token {
			t.Errorf("%q: %v, %v", token, got, err)
		}
		origin, err := p.Describe(t.Context(), "mirror.azurecr.io")
		if left := time.Until(origin.Expires); err != nil || left < 10*time.Minute || left > 20*time.Minute {
			t.Errorf("%q is used until %s, %v", token, origin.Expires, err)
		}
	}
}

func TestIsHost(t *testing.T) {
	for host, want := range map[string]bool{
		"mirror.azurecr.io": true, "mirror.westeurope.geo.azurecr.io": true, "mirror.azurecr.cn": true, "mirror.azurecr.us": true,
		"azurecr.io": false, ".azurecr.io": false, "azurecr.io.evil.test": false, "evilazurecr.io": false, "mirror.azurecr.io:443": false, "mcr.microsoft.com": false,
	} {
		if got := azure.IsHost(host); got != want {
			t.Errorf("IsHost(%q) = %t", host, got)
		}
	}
}

var _ auth.Describer = (*azure.Provider)(nil)

// The exchange goes over the connections of its registry, with its authority and its client
// certificate, which Entra ID does not see; one that never ends is given up.
func TestTheExchangeIsTheRegistrys(t *testing.T) {
	alone(t)
	ca, err := authority.New()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.Server("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Client(t.TempDir(), "jane")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	net := &internet{t: t}
	hangs := make(chan struct{})
	var hang atomic.Bool
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hang.Load() {
			<-hangs
			return
		}
		if name := r.TLS.PeerCertificates[0].Subject.CommonName; name != "jane" {
			t.Errorf("it was shown %q", name)
		}
		r.URL.Host = r.Host
		net.exchange(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	host := server.Listener.Addr().String()
	trusting := func(asked string) (*http.Transport, error) {
		if asked != host {
			t.Errorf("connections to %s", asked)
		}
		return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{shown}, MinVersion: tls.VersionTLS12}}, nil
	}
	wantToken(t, azure.New(principal, azure.Options{Transport: net, Registry: trusting}), host, 1)
	if slices.Contains(net.hosts, host) {
		t.Error("the exchange went over Entra ID's connections")
	}

	_, err = azure.New(principal, azure.Options{Transport: net, Registry: func(string) (*http.Transport, error) { return nil, errors.New("no such file") }}).Credential(t.Context(), host)
	if err == nil || err.Error() != "no such file" {
		t.Errorf("without its certificates: %v", err)
	}
	hang.Store(true)
	t.Cleanup(func() { close(hangs) })
	_, err = azure.New(principal, azure.Options{Transport: net, Registry: trusting, ExchangeTime: 50 * time.Millisecond}).Credential(t.Context(), host)
	if err == nil || !strings.Contains(err.Error(), host+"/oauth2/exchange: no answer for 50ms") || failure.Final(err) {
		t.Errorf("an exchange that hangs: %v", err)
	}
}
