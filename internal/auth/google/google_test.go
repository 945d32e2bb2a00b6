package google_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth/google"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

const (
	platform = "https://www.googleapis.com/auth/cloud-platform"
	account  = "mirror@project.iam.gserviceaccount.com"
	canary   = "hunter2"
)

// services are Google's token services and a metadata server, which check every field
// that is documented. What they issue is numbered.
type services struct {
	*httptest.Server
	t   *testing.T
	key *rsa.PrivateKey

	mu     sync.Mutex
	issued int
	asked  []string // the paths
	refuse http.HandlerFunc
}

func newServices(t *testing.T) *services {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &services{t: t, key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.oauth)
	mux.HandleFunc("POST /v1/token", s.federation)
	mux.HandleFunc("POST /v1/impersonate", s.impersonation)
	mux.HandleFunc("GET /computeMetadata/v1/", s.metadata)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.Path)
		refuse := s.refuse
		s.mu.Unlock()
		if refuse != nil {
			refuse(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// field refuses a request of which a field is not as documented.
func (s *services) field(w http.ResponseWriter, name, got, want string) bool {
	if got == want {
		return true
	}
	s.t.Errorf("%s is %q, want %q", name, got, want)
	http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
	return false
}

func (s *services) form(w http.ResponseWriter, r *http.Request, want url.Values) bool {
	if !s.field(w, "Content-Type", r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") || r.ParseForm() != nil {
		return false
	}
	for name := range want {
		if !s.field(w, name, r.PostForm.Get(name), want.Get(name)) {
			return false
		}
	}
	return true
}

func (s *services) issue(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued++
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":"ya29.%d","token_type":"Bearer","expires_in":3600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`, s.issued)
}

// oauth is https://oauth2.googleapis.com/token: for a service account's signed JWT, and
// for the refresh token of a person.
func (s *services) oauth(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("grant_type") == "refresh_token" {
		if s.form(w, r, url.Values{"client_id": {"id"}, "client_secret": {canary}, "refresh_token": {canary}}) {
			s.issue(w)
		}
		return
	}
	if !s.form(w, r, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}}) {
		return
	}
	claims, err := s.verify(r.PostForm.Get("assertion"))
	if err != nil {
		s.t.Errorf("assertion: %v", err)
		http.Error(w, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`, http.StatusBadRequest)
		return
	}
	life := time.Unix(claims.Expires, 0).Sub(time.Unix(claims.Issued, 0))
	if s.field(w, "iss", claims.Issuer, account) && s.field(w, "scope", claims.Scope, platform) &&
		s.field(w, "aud", claims.Audience, s.URL+"/token") && s.field(w, "lives an hour at most", fmt.Sprint(life > 0 && life <= time.Hour), "true") {
		s.issue(w)
	}
}

type claims struct {
	Issuer   string `json:"iss"`
	Scope    string `json:"scope"`
	Audience string `json:"aud"`
	Expires  int64  `json:"exp"`
	Issued   int64  `json:"iat"`
}

func (s *services) verify(assertion string) (claims, error) {
	var c claims
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return c, errors.New("not three parts")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return c, err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return c, err
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(raw, &c)
}

// federation is https://sts.googleapis.com/v1/token.
func (s *services) federation(w http.ResponseWriter, r *http.Request) {
	if s.form(w, r, url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"audience":             {"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/eks/providers/eks"},
		"scope":                {platform},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"subject_token_type":   {"urn:ietf:params:oauth:token-type:jwt"},
		"subject_token":        {"pod-token"},
	}) {
		s.issue(w)
	}
}

// impersonation is generateAccessToken of the IAM Credentials API.
func (s *services) impersonation(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Scope    []string `json:"scope"`
		Lifetime string   `json:"lifetime"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		s.t.Error(err)
	}
	if s.field(w, "Authorization", r.Header.Get("Authorization"), "Bearer ya29.1") &&
		s.field(w, "scope", strings.Join(body.Scope, " "), platform) && s.field(w, "lifetime", body.Lifetime, "3600s") {
		fmt.Fprintf(w, `{"accessToken":"ya29.impersonated","expireTime":"%s"}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}
}

func (s *services) metadata(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Metadata-Flavor", "Google")
	switch path := strings.TrimPrefix(r.URL.Path, "/computeMetadata/v1/"); {
	case !s.field(w, "Metadata-Flavor", r.Header.Get("Metadata-Flavor"), "Google"):
	case path == "project/project-id":
		fmt.Fprint(w, "project")
	case path == "instance/service-accounts/default/token" && s.field(w, "scopes", r.URL.Query().Get("scopes"), platform):
		s.issue(w)
	default:
		http.NotFound(w, r)
	}
}

func (s *services) serviceAccount() string {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.json(map[string]any{
		"type": "service_account", "client_email": account, "private_key_id": "1", "token_uri": s.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
}

func (s *services) person() string {
	return s.json(map[string]any{"type": "authorized_user", "client_id": "id", "client_secret": canary, "refresh_token": canary, "token_uri": s.URL + "/token"})
}

func (s *services) workload(impersonate bool) string {
	token := filepath.Join(s.t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("pod-token"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	c := map[string]any{
		"type": "external_account", "token_url": s.URL + "/v1/token",
		"audience":           "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/eks/providers/eks",
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "credential_source": map[string]any{"file": token},
	}
	if impersonate {
		c["service_account_impersonation_url"] = s.URL + "/v1/impersonate"
	}
	return s.json(c)
}

func (s *services) json(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(raw)
}

// alone keeps this machine's own credentials from the test.
func alone(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
}

func wantToken(t *testing.T, p auth.Provider, host, want string) {
	t.Helper()
	got, err := p.Credential(t.Context(), host)
	if err != nil || got != google.AccessToken(auth.Secret(want)) || got.Username != "oauth2accesstoken" {
		t.Errorf("credential of %s is %v %q, %v; want %q", host, got, got.Password.Reveal(), err, want)
	}
}

func TestEveryKindOfKey(t *testing.T) {
	for _, tt := range []struct {
		name  string
		key   func(*services) string
		want  string
		asked int
	}{
		{"service account", (*services).serviceAccount, "ya29.1", 1},
		{"a person's", (*services).person, "ya29.1", 1},
		{"in base64", func(s *services) string {
			return base64.StdEncoding.EncodeToString([]byte(s.serviceAccount())) + "\n"
		}, "ya29.1", 1},
		{"workload identity federation", func(s *services) string { return s.workload(false) }, "ya29.1", 1},
		{"federation and a service account", func(s *services) string { return s.workload(true) }, "ya29.impersonated", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alone(t)
			s := newServices(t)
			key := tt.key(s)
			p, err := google.Key(auth.Secret(key), google.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wantToken(t, p, "europe-docker.pkg.dev", tt.want)
			wantToken(t, p, "registry.example.com", tt.want) // whoever the operator names
			origin, err := p.Describe(t.Context(), "gcr.io")
			if err != nil || !strings.Contains(origin.Source, "Google") || time.Until(origin.Expires) < 50*time.Minute || time.Until(origin.Expires) > time.Hour {
				t.Errorf("described as %q until %s", origin.Source, origin.Expires)
			}
			if len(s.asked) != tt.asked {
				t.Errorf("asked %v", s.asked)
			}

			file := filepath.Join(t.TempDir(), "adc.json")
			if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.name == "in base64" {
				return // Google's own programs take JSON alone
			}
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
			s.issued = 0
			wantToken(t, google.Default(google.Options{}), "gcr.io", tt.want)
		})
	}
}

// The library asks whether this is Google's cloud once in a process.
func TestTheMetadataServer(t *testing.T) {
	if host := os.Getenv("TEST_METADATA"); host == "" {
		s := newServices(t)
		again(t, "TEST_METADATA=1", "GCE_METADATA_HOST="+strings.TrimPrefix(s.URL, "http://"))
		if s.issued != 1 {
			t.Errorf("%d tokens were issued", s.issued)
		}
		return
	}
	alone(t)
	p := google.Machine(google.Options{})
	wantToken(t, p, "eu.gcr.io", "ya29.1")
	wantToken(t, p, "europe-docker.pkg.dev", "ya29.1")
	if got, err := p.Credential(t.Context(), "quay.io"); err != nil || !got.Anonymous() {
		t.Errorf("quay.io gets %v, %v", got, err)
	}
}

// again runs the test that calls it in a process of its own.
func again(t *testing.T, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAMachineThatIsNobody(t *testing.T) {
	alone(t)
	if os.Getenv("TEST_NOBODY") == "" {
		again(t, "TEST_NOBODY=1", "GCE_METADATA_HOST=")
		return
	}
	if got, err := google.Machine(google.Options{}).Credential(t.Context(), "gcr.io"); err != nil || !got.Anonymous() {
		t.Errorf("%v, %v", got, err)
	}
	_, err := google.Default(google.Options{}).Credential(t.Context(), "gcr.io")
	if !errors.Is(err, failure.ErrDenied) || !strings.Contains(err.Error(), "gcloud auth application-default login") {
		t.Errorf("error %v", err)
	}
}

// What somebody named has to be there, also where nothing need be.
func TestCredentialsThatCannotBeRead(t *testing.T) {
	alone(t)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none.json"))
	for _, p := range []auth.Provider{google.Default(google.Options{}), google.Machine(google.Options{})} {
		if got, err := p.Credential(t.Context(), "gcr.io"); !failure.Final(err) || !strings.Contains(err.Error(), "none.json") {
			t.Errorf("%v, %v", got, err)
		}
	}
	for name, key := range map[string]string{"empty": "", "a password": canary, "no type": `{"private_key":"` + canary + `"}`, "base64 of a password": base64.StdEncoding.EncodeToString([]byte(canary))} {
		if _, err := google.Key(auth.Secret(key), google.Options{}); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	p, err := google.Key(`{"type":"gdch_of_the_future"}`, google.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Credential(t.Context(), "gcr.io"); !failure.Final(err) || !strings.Contains(err.Error(), "gdch_of_the_future") {
		t.Errorf("error %v", err)
	}
}

func TestATokenServiceThatRefuses(t *testing.T) {
	faults.Covers(t, "F69")
	alone(t)
	for _, tt := range []struct {
		name  string
		code  int
		body  string
		want  string
		final bool
	}{
		{"a revoked key", 400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`, "invalid_grant: Invalid JWT Signature.", true},
		{"no permission", 403, `{"error":"unauthorized_client"}`, "unauthorized_client", true},
		{"no OAuth2", 403, "<html>" + canary, "403 Forbidden", true},
		{"an outage", 503, "<html>" + canary, "503 Service Unavailable", false},
		{"too much", 429, "", "429", false},
		{"elsewhere", 307, "", "307", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServices(t)
			other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				t.Errorf("%s was asked elsewhere", r.URL.Path)
			}))
			t.Cleanup(other.Close)
			s.refuse = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", other.URL+"/token")
				w.WriteHeader(tt.code)
				fmt.Fprint(w, tt.body)
			}
			p, err := google.Key(auth.Secret(s.serviceAccount()), google.Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.Credential(t.Context(), "gcr.io")
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), canary) || failure.Final(err) != tt.final {
				t.Errorf("error %v, final: %t", err, failure.Final(err))
			}
		})
	}
}

func TestIsHost(t *testing.T) {
	for host, want := range map[string]bool{
		"gcr.io": true, "eu.gcr.io": true, "mirror.gcr.io": true, "europe-docker.pkg.dev": true, "us-central1-docker.pkg.dev": true,
		"evilgcr.io": false, "gcr.io.evil.test": false, "docker.pkg.dev.evil.test": false, "europe-npm.pkg.dev": false, "pkg.dev": false,
		"gcr.io:5000": false, "quay.io": false, "": false,
	} {
		if got := google.IsHost(host); got != want {
			t.Errorf("IsHost(%q) = %t", host, got)
		}
	}
}

var _ auth.Describer = (*google.Provider)(nil)
