package ecr_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

func TestSessionRegion(t *testing.T) {
	for _, test := range []struct {
		name string
		env  []string
		want string
	}{
		{"nothing said", nil, "us-east-1"},
		{"AWS_REGION", []string{"AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-2"}, "eu-west-1"},
		{"AWS_DEFAULT_REGION", []string{"AWS_DEFAULT_REGION=eu-west-2"}, "eu-west-2"},
	} {
		environment(t, test.env...)
		if got := open(t, ecr.Options{}).Region(); got != test.want {
			t.Errorf("%s: Region() = %q, want %q", test.name, got, test.want)
		}
	}
}

func TestSessionEndpoint(t *testing.T) {
	for _, test := range []struct {
		name string
		env  []string
		want string
	}{
		{"AWS itself", nil, ""},
		{"of all services", []string{"AWS_ENDPOINT_URL=http://127.0.0.1:5100"}, "http://127.0.0.1:5100"},
		{"of ECR", []string{"AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_ENDPOINT_URL_ECR=http://127.0.0.1:2"}, "http://127.0.0.1:2"},
		{"of another service", []string{"AWS_ENDPOINT_URL_STS=http://127.0.0.1:1"}, ""},
		{"ignored", []string{"AWS_ENDPOINT_URL=http://127.0.0.1:5100", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true"}, ""},
	} {
		environment(t, test.env...)
		if got := open(t, ecr.Options{}).Endpoint(); got != test.want {
			t.Errorf("%s: Endpoint() = %q, want %q", test.name, got, test.want)
		}
	}
}

func TestOpenReportsABadConfiguration(t *testing.T) {
	environment(t, "AWS_PROFILE=nowhere")
	_, err := ecr.Open(t.Context(), ecr.Options{})
	const want = `AWS configuration: there is no profile "nowhere": see AWS_PROFILE, and aws configure list-profiles`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, expected %s", err, want)
	}
}

// headers lists the User-Agent of every request to an API that only throttles.
func headers(t *testing.T, opts ecr.Options, env ...string) []string {
	t.Helper()
	var agents []string
	url := scripted(t, nil, func(w http.ResponseWriter, r request) bool {
		agents = append(agents, r.http.UserAgent())
		refuse(w, "ThrottlingException", "Rate exceeded")
		return true
	})
	keys(t, url)
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	_, err := ecr.NewTarget(nil, ecr.NewRegistries(open(t, opts), nil)).Snapshot(t.Context(), repositoryAtAWS, nil)
	if err == nil {
		t.Fatal("no error from an API that always fails")
	}
	return agents
}

// The program's name was given as the SDK's application id, in place of the one that
// whoever runs it had set.
func TestUserAgent(t *testing.T) {
	for _, test := range []struct {
		product, id string
		want        []string
	}{
		{"ecr-mirror-sync", "", []string{" ecr-mirror-sync"}},
		{"ecr-mirror-sync/1.2.3", "", []string{" ecr-mirror-sync/1.2.3"}},
		{"ecr-mirror-sync", "team-blue", []string{" ecr-mirror-sync", "app/team-blue"}},
		{"", "team-blue", []string{"app/team-blue"}},
	} {
		got := headers(t, ecr.Options{UserAgent: test.product}, "AWS_SDK_UA_APP_ID="+test.id, "AWS_MAX_ATTEMPTS=1")
		for _, want := range test.want {
			if len(got) != 1 || !strings.Contains(got[0], want) {
				t.Errorf("%q with application id %q: User-Agent %q, want %q in it", test.product, test.id, got, want)
			}
		}
	}
}

// AWS_MAX_ATTEMPTS and AWS_RETRY_MODE had no effect.
func TestRetriesFollowTheConfiguration(t *testing.T) {
	for env, want := range map[string]int{
		"AWS_MAX_ATTEMPTS=":       ecr.APIAttempts,
		"AWS_MAX_ATTEMPTS=2":      2,
		"AWS_RETRY_MODE=standard": ecr.APIAttempts,
	} {
		if agents := headers(t, ecr.Options{}, env); len(agents) != want {
			t.Errorf("%s: %d attempts, want %d", env, len(agents), want)
		}
	}
}

// The adaptive mode, which slows down all calls of a client after a throttled one, is
// had by asking for it.
func TestAdaptiveRetries(t *testing.T) {
	for mode, want := range map[string]string{"": "m/E", "standard": "m/E", "adaptive": "m/F"} {
		var agent string
		keys(t, scripted(t, nil, func(w http.ResponseWriter, r request) bool {
			agent = r.http.UserAgent()
			say(w, object{})
			return true
		}))
		t.Setenv("AWS_RETRY_MODE", mode)
		if _, err := ecr.NewTarget(nil, ecr.NewRegistries(open(t, ecr.Options{}), nil)).Snapshot(t.Context(), repositoryAtAWS, nil); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(agent, want) { // the letter by which the SDK tells AWS its mode
			t.Errorf("mode %q: User-Agent %q, want %q in it", mode, agent, want)
		}
	}
}

// A retried call is told of in the debug log: a minute of silence looks like a hang.
func TestRetriesAreLogged(t *testing.T) {
	log, logs := observed()
	server := ecrlocaltest.Start(t)
	server.FailNext("GetResources", 2, refusal("ThrottlingException", "Rate exceeded"))
	if got := found(t, server.URL, ecr.Options{Log: log}, ecr.FinderOptions{}); len(got) != 0 {
		t.Errorf("found %v", got)
	}
	lines := logs.FilterMessageSnippet("will be tried again").FilterLevelExact(zapcore.DebugLevel).All()
	if len(lines) != 2 || lines[0].ContextMap()["error"] != "ThrottlingException: Rate exceeded" {
		t.Errorf("logged %v", lines)
	}
}

const role = "arn:aws:iam::" + other + ":role/mirrors/sync"

// roles are credentials of an account that has nothing but the right to assume roles.
func roles(deny ...string) ecrlocaltest.Option {
	return ecrlocaltest.WithCredentials(ecrlocal.Credentials{AccessKeys: map[string]ecrlocal.AccessKey{
		ecrlocaltest.AccessKey: {Account: account, Deny: append([]string{"ecr:*", "tag:*"}, deny...)},
	}})
}

func TestRoleIsAssumed(t *testing.T) {
	server := ecrlocaltest.Start(t, roles())
	create(t, server, "ext/nginx", ecrlocal.RepositoryOptions{Account: other})
	create(t, server, "ext/foreign", ecrlocal.RepositoryOptions{})
	got := found(t, server.URL, ecr.Options{Role: ecr.Role{ARN: role}}, ecr.FinderOptions{Regions: []string{region, "eu-west-1"}})
	if diff := cmp.Diff([]string{"ext/nginx"}, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	wantRequests(t, server, "AssumeRole", 1)
}

// That the role may be the caller's account's other name matters to the route: it is
// the role's account whose tags the tagging API shows.
func TestRoleDecidesTheRoute(t *testing.T) {
	server := ecrlocaltest.Start(t, roles())
	create(t, server, "ext/nginx", ecrlocal.RepositoryOptions{Account: other})
	got := found(t, server.URL, ecr.Options{Role: ecr.Role{ARN: role}, RegistryID: other}, ecr.FinderOptions{})
	if diff := cmp.Diff([]string{"ext/nginx"}, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	wantRequests(t, server, "ListTagsForResource", 0)
	wantRequests(t, server, "GetCallerIdentity", 1)
}

// A role that may not be assumed read as if the call for which it was to be assumed had
// been denied, and so discovery went on to try the other route.
func TestRoleIsDenied(t *testing.T) {
	log, logs := observed()
	server := ecrlocaltest.Start(t, roles("sts:AssumeRole"))
	_, err := find(t, server.URL, ecr.Options{Role: ecr.Role{ARN: role}, Log: log}, ecr.FinderOptions{Regions: []string{region}})
	if err == nil || !errors.Is(err, registry.ErrDenied) {
		t.Fatalf("error %v", err)
	}
	if got := err.Error(); !strings.HasPrefix(got, "no AWS credentials: assuming role "+role+": AccessDenied: ") || strings.Contains(got, "\n") {
		t.Errorf("error %q", got)
	}
	if got := warnings(logs); len(got) != 0 {
		t.Errorf("warnings %q", got)
	}
	wantRequests(t, server, "AssumeRole", 1)
}

// irsa is what EKS puts into the environment of a pod whose service account has a role.
func irsa(t *testing.T, server *ecrlocaltest.Running, token string) {
	t.Helper()
	environment(t, "AWS_ENDPOINT_URL="+server.URL, "AWS_ROLE_ARN="+role, "AWS_WEB_IDENTITY_TOKEN_FILE="+token)
}

// The client with which the SDK exchanges web identities is made while the configuration
// is read. It had no Region where only our default names one, and it knew nothing of
// AWS_ENDPOINT_URL: the token went to AWS, past the emulator.
func TestWebIdentity(t *testing.T) {
	server := ecrlocaltest.Start(t, roles())
	create(t, server, "ext/nginx", ecrlocal.RepositoryOptions{Account: other})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	irsa(t, server, token)
	session := open(t, ecr.Options{})
	findings, err := ecr.NewFinder(session, ecr.NewRegistries(session, nil), ecr.FinderOptions{Keys: defaultKeys}).Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ext/nginx"}, described(findings)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	wantRequests(t, server, "AssumeRoleWithWebIdentity", 1)
}

// The same is so of roles that profiles name.
func TestProfileWithARole(t *testing.T) {
	server := ecrlocaltest.Start(t, roles())
	create(t, server, "ext/nginx", ecrlocal.RepositoryOptions{Account: other})
	file := filepath.Join(t.TempDir(), "config")
	profiles := "[profile sync]\nrole_arn=" + role + "\nsource_profile=base\n[profile base]\naws_access_key_id=" + ecrlocaltest.AccessKey + "\naws_secret_access_key=secret\n"
	if err := os.WriteFile(file, []byte(profiles), 0o600); err != nil {
		t.Fatal(err)
	}
	environment(t, "AWS_ENDPOINT_URL="+server.URL, "AWS_CONFIG_FILE="+file, "AWS_PROFILE=sync")
	server.FailNext("AssumeRole", 1, ecrlocal.Fault{Status: http.StatusForbidden, Code: "AccessDenied", Message: "no"})
	session := open(t, ecr.Options{})
	finder := ecr.NewFinder(session, ecr.NewRegistries(session, nil), ecr.FinderOptions{Keys: defaultKeys})
	_, err := finder.Find(t.Context())
	if want := "no AWS credentials: assuming role " + role + ": AccessDenied: no"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	findings, err := finder.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ext/nginx"}, described(findings)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	wantRequests(t, server, "AssumeRole", 2)
}

func TestWebIdentityWithoutAToken(t *testing.T) {
	faults.Covers(t, "F60")
	server := ecrlocaltest.Start(t, roles())
	missing := filepath.Join(t.TempDir(), "token")
	irsa(t, server, missing)
	session := open(t, ecr.Options{})
	_, err := ecr.NewRegistries(session, nil).Credential(t.Context(), hostIn("us-east-1"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"no AWS credentials: assuming role " + role, missing} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

// The token file is read anew for each exchange, since the kubelet replaces it.
func TestWebIdentityIsRefused(t *testing.T) {
	faults.Covers(t, "F60")
	server := ecrlocaltest.Start(t, roles())
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	irsa(t, server, token)
	server.FailNext("AssumeRoleWithWebIdentity", 1, ecrlocal.Fault{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Not authorized to perform sts:AssumeRoleWithWebIdentity"})
	session := open(t, ecr.Options{Role: ecr.Role{ARN: "arn:aws:iam::" + other + ":role/second"}})
	registries := ecr.NewRegistries(session, nil)
	_, err := registries.Credential(t.Context(), hostIn("us-east-1"))
	want := "no AWS credentials: assuming role " + role + ": AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if err := os.WriteFile(token, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := registries.Credential(t.Context(), hostIn("us-east-1")); err != nil {
		t.Errorf("with a token: %v", err)
	}
}

// Without credentials the SDK's error is a paragraph about a metadata service.
func TestNoCredentials(t *testing.T) {
	environment(t)
	session := open(t, ecr.Options{})
	finder := ecr.NewFinder(session, ecr.NewRegistries(session, nil), ecr.FinderOptions{Keys: defaultKeys, Regions: []string{"eu-west-1", "eu-west-2"}})
	_, err := finder.Find(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "no AWS credentials: ") || !strings.Contains(err.Error(), "set AWS_PROFILE") {
		t.Fatalf("error %v", err)
	}
	if strings.Contains(err.Error(), "\n") || !errors.Is(err, registry.ErrDenied) {
		t.Errorf("error %q", err)
	}
}

// A metadata service that knows no role is the end of the SDK's chain too, and what the
// SDK has to say on the way there belongs into the log. It went to stderr as it was,
// between JSON lines and progress bars.
func TestNoRoleAtTheMetadataService(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path)
		code := http.StatusNotFound
		if strings.HasSuffix(r.URL.Path, "/api/token") {
			code = http.StatusForbidden
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(func() {
		metadata.CloseClientConnections()
		metadata.Close()
	})
	environment(t, "AWS_EC2_METADATA_DISABLED=", "AWS_EC2_METADATA_SERVICE_ENDPOINT="+metadata.URL)
	log, logs := observed()
	_, err := ecr.NewRegistries(open(t, ecr.Options{Log: log}), nil).Credential(t.Context(), hostIn("us-east-1"))
	if err == nil || !strings.HasPrefix(err.Error(), "no AWS credentials: none in the environment") {
		t.Errorf("error %v", err)
	}
	if got := warnings(logs); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "AWS SDK: ") }) {
		t.Errorf("warnings %q, want the SDK's about its way to the role", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if n := len(slices.DeleteFunc(slices.Clone(asked), func(p string) bool { return !strings.Contains(p, "security-credentials") })); n != 1 {
		t.Errorf("asked for a role %d times: %q", n, asked)
	}
}

// unreachable are credentials that would come from a service that cannot be reached.
type unreachable struct{ asked int }

func (u *unreachable) Retrieve(context.Context) (aws.Credentials, error) {
	u.asked++
	return aws.Credentials{}, &net.OpError{Op: "dial", Err: errors.New("no route to host")}
}

// Every attempt of every call asked for credentials anew, so that without a metadata
// service it took a minute to learn that there are none.
func TestCredentialsAreAskedForOnce(t *testing.T) {
	environment(t)
	session := open(t, ecr.Options{})
	provider := &unreachable{}
	session.ReplaceCredentials(provider)
	_, err := ecr.NewRegistries(session, nil).Credential(t.Context(), hostIn("us-east-1"))
	if want := "no AWS credentials: dial: no route to host"; err == nil || err.Error() != want || provider.asked != 1 {
		t.Errorf("asked %d times, error %v, want %s", provider.asked, err, want)
	}
}

// A caller that gives up while credentials are fetched is not told that there are none.
func TestGivingUpIsNoLackOfCredentials(t *testing.T) {
	environment(t)
	session := open(t, ecr.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	session.ReplaceCredentials(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		cancel()
		return aws.Credentials{}, context.Canceled
	}))
	_, err := ecr.NewTarget(nil, ecr.NewRegistries(session, nil)).Snapshot(ctx, repositoryAtAWS, nil)
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "credentials:") && strings.HasPrefix(err.Error(), "no AWS") {
		t.Errorf("error %v", err)
	}
}
