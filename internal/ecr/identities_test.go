package ecr_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// EKS Pod Identity gives a pod the address of an agent on its node, and a file with a token
// to show there. The agent here answers to nothing but the documented request.
// https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html
func TestPodIdentity(t *testing.T) {
	server := ecrlocaltest.Start(t, ecrlocaltest.WithCredentials(ecrlocal.Credentials{
		AccessKeys: map[string]ecrlocal.AccessKey{"AKIAPOD": {Account: account}},
	}))
	create(t, server, "ext/nginx", ecrlocal.RepositoryOptions{})
	var asked atomic.Int32
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != http.MethodGet || r.URL.Path != "/v1/credentials" || r.Header.Get("Authorization") != "pod-token" {
			http.Error(w, `{"code":"AccessDeniedException"}`, http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"AccessKeyId":"AKIAPOD","SecretAccessKey":"s","Token":"t","AccountId":"%s","Expiration":"%s"}`,
			account, time.Now().Add(6*time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(agent.Close)
	token := writeFile(t, "pod-token")
	pod := []string{"AWS_ENDPOINT_URL=" + server.URL, "AWS_REGION=" + region, "AWS_CONTAINER_CREDENTIALS_FULL_URI=" + agent.URL + "/v1/credentials"}

	environment(t, append(pod, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="+token)...)
	session := open(t, ecr.Options{})
	registries := ecr.NewRegistries(session, nil)
	findings, err := ecr.NewFinder(session, registries, ecr.FinderOptions{Keys: defaultKeys}).Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ext/nginx"}, described(findings)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the agent was asked %d times, and once is enough", n)
	}

	// The token of another pod.
	environment(t, append(pod, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="+writeFile(t, "other-token"))...)
	session = open(t, ecr.Options{})
	_, err = ecr.NewFinder(session, ecr.NewRegistries(session, nil), ecr.FinderOptions{Keys: defaultKeys}).Find(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "no AWS credentials: ") || strings.Contains(err.Error(), "other-token") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
}

// IRSA: what goes to STS is the pod's token, for the role that its environment names, under
// the session name that it gives, and unsigned.
func TestWebIdentityRequest(t *testing.T) {
	local := ecrlocaltest.Start(t)
	var form http.Header
	var signed string
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") == "" {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			if r.Form.Get("Action") == "AssumeRoleWithWebIdentity" {
				form, signed = http.Header(r.Form), r.Header.Get("Authorization")
			}
			w.Header().Set("Content-Type", "text/xml")
			fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>`+
				`<AccessKeyId>AKIAIRSA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration>`+
				`</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
			return
		}
		local.ServeHTTP(w, r)
	}))
	t.Cleanup(sts.Close)
	environment(t, "AWS_ENDPOINT_URL="+sts.URL, "AWS_REGION="+region, "AWS_ROLE_ARN="+role,
		"AWS_ROLE_SESSION_NAME=my-pod", "AWS_WEB_IDENTITY_TOKEN_FILE="+writeFile(t, "ey.pod.token"))
	registries := ecr.NewRegistries(open(t, ecr.Options{}), nil)
	if _, err := registries.Host(t.Context(), region); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"RoleArn": role, "WebIdentityToken": "ey.pod.token", "RoleSessionName": "my-pod", "Version": "2011-06-15"}
	for key, value := range want {
		if got := strings.Join(form[key], "|"); got != value {
			t.Errorf("%s is %q, want %q", key, got, value)
		}
	}
	if signed != "" {
		t.Errorf("the exchange was signed: %s", signed)
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
