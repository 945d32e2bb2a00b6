package ecrlocal_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// TestTokens is one row per way to present a token.
func TestTokens(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c))
	good := login(t, run)
	token := good.password()
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for _, row := range []struct {
		name, auth string
		after      time.Duration
		want       string
		message    string
	}{
		{"good", basic("AWS", token), 0, "200", ""},
		{"none", "", 0, "401 UNAUTHORIZED", ""},
		{"bearer", "Bearer " + token, 0, "401 UNAUTHORIZED", ""},
		{"other user", basic("admin", token), 0, "403 DENIED", "invalid"},
		{"garbage", basic("AWS", "garbage"), 0, "403 DENIED", "invalid"},
		{"forged", basic("AWS", token+"x"), 0, "403 DENIED", "invalid"},
		{"just before it expires", basic("AWS", token), 12*time.Hour - time.Second, "200", ""},
		{"expired", basic("AWS", token), time.Second, "403 DENIED", "Your authorization token has expired. Reauthenticate and try again."},
	} {
		c.Advance(row.after)
		r := anonymous(t, run.URL)
		r.auth = row.auth
		a := r.do("GET", "/v2/", nil)
		if a.String() != row.want || !strings.Contains(string(a.body), row.message) {
			t.Errorf("%s: got %s %s, want %s and %q", row.name, a, a.body, row.want, row.message)
		}
	}
}

func TestTokenTTL(t *testing.T) {
	c := ecrlocaltest.NewClock()
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c), func(o *ecrlocal.Options) { o.TokenTTL = time.Minute })
	out, err := api(run).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	data := out.AuthorizationData[0]
	if !data.ExpiresAt.Equal(c.Now().Add(time.Minute)) || aws.ToString(data.ProxyEndpoint) != run.URL {
		t.Errorf("expires %v at %s, want a minute from %v at %s", data.ExpiresAt, aws.ToString(data.ProxyEndpoint), c.Now(), run.URL)
	}
}

// TestNamespaces keeps accounts and Regions apart, on both faces.
func TestNamespaces(t *testing.T) {
	run := ecrlocaltest.Start(t, ecrlocaltest.WithCredentials(ecrlocal.Credentials{AccessKeys: map[string]ecrlocal.AccessKey{
		ecrlocaltest.AccessKey: {Account: "111122223333"},
		"OTHER":                {Account: "444455556666"},
	}}))
	mine, abroad := api(run), ecr.NewFromConfig(run.AWSConfig("eu-west-1"))
	theirs := ecr.NewFromConfig(withKey(run, "OTHER"))

	for name, client := range map[string]*ecr.Client{"mine": mine, "abroad": abroad, "theirs": theirs} {
		if _, err := client.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: new("app")}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		loginAs(t, run, client).pushImage("app", name, name)
	}
	for name, client := range map[string]*ecr.Client{"mine": mine, "abroad": abroad, "theirs": theirs} {
		if got := tagsOf(t, loginAs(t, run, client).do("GET", "/v2/app/tags/list", nil)); len(got) != 1 || got[0] != name {
			t.Errorf("%s has the tags %v", name, got)
		}
	}

	// Another account is reached by its id, on the API and with a token for it.
	described, err := mine.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RegistryId: new("444455556666")})
	if err != nil || aws.ToString(described.Repositories[0].RegistryId) != "444455556666" {
		t.Errorf("across accounts: %+v, %v", described, err)
	}
	out, err := mine.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{
		RegistryIds: []string{"444455556666"}, //nolint:staticcheck // deprecated, but clients send it
	})
	if err != nil {
		t.Fatal(err)
	}
	r := anonymous(t, run.URL)
	r.auth = "Basic " + aws.ToString(out.AuthorizationData[0].AuthorizationToken)
	if got := tagsOf(t, r.do("GET", "/v2/app/tags/list", nil)); len(got) != 1 || got[0] != "theirs" {
		t.Errorf("with a token for the other account the tags are %v", got)
	}
	// The tagging API has no such parameter: it sees the caller's account alone.
	if err := run.CreateRepository("tagged", ecrlocal.RepositoryOptions{Account: "444455556666", Tags: map[string]string{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
	if got := found(t, run, &resourcegroupstaggingapi.GetResourcesInput{}); len(got) != 0 {
		t.Errorf("the tagging API shows %v of another account", got)
	}
}

// TestDenials is one row per request and the action that is denied.
func TestDenials(t *testing.T) {
	for _, row := range []struct {
		action string
		do     func(*testing.T, *ecrlocaltest.Running) string
	}{
		{"tag:GetResources", func(t *testing.T, run *ecrlocaltest.Running) string {
			_, err := tagging(run).GetResources(t.Context(), &resourcegroupstaggingapi.GetResourcesInput{})
			return apiDenial(t, err)
		}},
		{"ecr:ListImages", func(t *testing.T, run *ecrlocaltest.Running) string {
			_, err := api(run).ListImages(t.Context(), &ecr.ListImagesInput{RepositoryName: new("app")})
			return apiDenial(t, err)
		}},
		{"sts:GetCallerIdentity", func(t *testing.T, run *ecrlocaltest.Running) string {
			_, err := sts.NewFromConfig(run.AWSConfig("")).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
			return strings.Replace(apiDenial(t, err), "AccessDenied ", "AccessDeniedException ", 1)
		}},
		{"ecr:ListImages", registryDenial("GET", "/v2/app/tags/list")},
		{"ecr:BatchGetImage", registryDenial("GET", "/v2/app/manifests/1")},
		{"ecr:BatchGetImage", registryDenial("HEAD", "/v2/app/manifests/1")},
		{"ecr:PutImage", registryDenial("PUT", "/v2/app/manifests/1")},
		{"ecr:BatchDeleteImage", registryDenial("DELETE", "/v2/app/manifests/1")},
		{"ecr:BatchCheckLayerAvailability", registryDenial("HEAD", "/v2/app/blobs/sha256:0")},
		{"ecr:GetDownloadUrlForLayer", registryDenial("GET", "/v2/app/blobs/sha256:0")},
		{"ecr:InitiateLayerUpload", registryDenial("POST", "/v2/app/blobs/uploads/")},
		{"ecr:InitiateLayerUpload", registryDenial("POST", "/v2/app/blobs/uploads/?mount=sha256:0&from=x")},
		{"ecr:UploadLayerPart", registryDenial("PATCH", "/v2/app/blobs/uploads/id")},
		{"ecr:CompleteLayerUpload", registryDenial("PUT", "/v2/app/blobs/uploads/id")},
		{"ecr:ListImageReferrers", registryDenial("GET", "/v2/app/referrers/sha256:0")},
		{"ecr:DescribeRepositories", registryDenial("GET", "/v2/_catalog")},
	} {
		t.Run(row.action, func(t *testing.T) {
			for _, deny := range []string{row.action, "other:Action"} {
				run := ecrlocaltest.Start(t, ecrlocaltest.WithCredentials(ecrlocal.Credentials{AccessKeys: map[string]ecrlocal.AccessKey{
					ecrlocaltest.AccessKey: {Account: "111122223333", User: "alice", Deny: []string{deny}},
				}}))
				create(t, run, "app")
				if deny != row.action {
					if got := row.do(t, run); strings.Contains(got, "not authorized") {
						t.Errorf("without the denial: %s", got)
					}
					continue
				}
				got := row.do(t, run)
				if !strings.HasPrefix(got, "AccessDeniedException ") ||
					!strings.Contains(got, "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: "+row.action+" on resource: ") &&
						!strings.HasSuffix(got, "bodiless") {
					t.Errorf("got %s", got)
				}
			}
		})
	}
}

// apiDenial reports an error of the API with its code, or that there was none.
func apiDenial(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "allowed"
	}
	return errorCode(t, err) + " " + err.Error()
}

// registryDenial reports a registry request in the words of the API: a 403 DENIED is an
// AccessDeniedException with the message, or without any body on HEAD.
func registryDenial(method, path string) func(*testing.T, *ecrlocaltest.Running) string {
	return func(t *testing.T, run *ecrlocaltest.Running) string {
		a := login(t, run).do(method, path, nil)
		if a.status == 403 && method == "HEAD" && len(a.body) == 0 {
			return "AccessDeniedException bodiless"
		}
		if a.String() == "403 DENIED" {
			return "AccessDeniedException " + string(a.body)
		}
		return a.String()
	}
}

// TestUnknownKeys are refused once a credentials file says which keys there are.
func TestUnknownKeys(t *testing.T) {
	run := ecrlocaltest.Start(t, ecrlocaltest.WithCredentials(ecrlocal.Credentials{}))
	_, err := api(run).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if got := errorCode(t, err); got != "UnrecognizedClientException" {
		t.Errorf("ECR: got %q", got)
	}
	_, err = sts.NewFromConfig(run.AWSConfig("")).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if got := errorCode(t, err); got != "InvalidClientTokenId" {
		t.Errorf("STS: got %q", got)
	}
}

// TestWebIdentity is IRSA end to end: a token file, a role, and what the role may do.
func TestWebIdentity(t *testing.T) {
	c := ecrlocaltest.NewClock()
	role := "arn:aws:iam::444455556666:role/eks/mirror"
	run := ecrlocaltest.Start(t, ecrlocaltest.WithClock(c), ecrlocaltest.WithCredentials(ecrlocal.Credentials{
		Roles: map[string]ecrlocal.Role{role: {Deny: []string{"ecr:Put*"}}},
	}))
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("a.web.identity"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := run.AWSConfig("")
	config.Credentials = nil // AssumeRoleWithWebIdentity is not signed
	provider := stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(config), role, stscreds.IdentityTokenFile(file),
		func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = "pod" })
	config.Credentials = provider

	who, err := sts.NewFromConfig(config).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{aws.ToString(who.Account), aws.ToString(who.Arn)}
	if diff := cmp.Diff([]string{"444455556666", "arn:aws:sts::444455556666:assumed-role/mirror/pod"}, got); diff != "" {
		t.Errorf("caller (-want +got):\n%s", diff)
	}

	client := ecr.NewFromConfig(config)
	created, err := client.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: new("app")})
	if err != nil || aws.ToString(created.Repository.RegistryId) != "444455556666" {
		t.Fatalf("created %+v, %v; want it in the role's account", created, err)
	}
	r := loginAs(t, run, client)
	r.pushBlob("app", []byte("blobs may be pushed"))
	if a := r.do("PUT", "/v2/app/manifests/1", []byte("{}")); a.String() != "403 DENIED" {
		t.Errorf("a denied push: %s, want 403 DENIED", a)
	}

	// The session ends before the token does; the token keeps what is denied to the role.
	issued, err := provider.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config.Credentials = credentials.NewStaticCredentialsProvider(issued.AccessKeyID, issued.SecretAccessKey, issued.SessionToken)
	c.Advance(time.Hour)
	_, err = ecr.NewFromConfig(config).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if got := errorCode(t, err); got != "ExpiredTokenException" {
		t.Errorf("an hour later: %q, want ExpiredTokenException", got)
	}
	if a := r.do("PUT", "/v2/app/manifests/1", []byte("{}")); a.String() != "403 DENIED" {
		t.Errorf("a denied push with a live token: %s, want 403 DENIED", a)
	}
	if a := r.do("GET", "/v2/app/tags/list", nil); a.String() != "200" {
		t.Errorf("an allowed request with a live token: %s", a)
	}
}

func TestAssumeRole(t *testing.T) {
	run := ecrlocaltest.Start(t)
	client := sts.NewFromConfig(run.AWSConfig(""))
	out, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: new("arn:aws:iam::444455556666:role/mirror"), RoleSessionName: new("ci"), DurationSeconds: new(int32(900)),
	})
	if err != nil {
		t.Fatal(err)
	}
	config := run.AWSConfig("")
	config.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	who, err := sts.NewFromConfig(config).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || aws.ToString(who.Account) != "444455556666" {
		t.Errorf("the caller is %+v, %v", who, err)
	}
	abroad, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: new("arn:aws-cn:iam::444455556666:role/path/mirror"), RoleSessionName: new("ci"),
	})
	if want := "arn:aws-cn:sts::444455556666:assumed-role/mirror/ci"; err != nil || aws.ToString(abroad.AssumedRoleUser.Arn) != want {
		t.Errorf("in another partition: %+v, %v", abroad, err)
	}
	for _, row := range []struct {
		name string
		in   sts.AssumeRoleInput
		want string
	}{
		{"not a role", sts.AssumeRoleInput{RoleArn: new("arn:aws:iam::444455556666:user/mirror"), RoleSessionName: new("ci")}, "ValidationError"},
		{"too short", sts.AssumeRoleInput{RoleArn: new("arn:aws:iam::444455556666:role/m"), RoleSessionName: new("ci"), DurationSeconds: new(int32(1))}, "ValidationError"},
		{"session name of one character", sts.AssumeRoleInput{RoleArn: new("arn:aws:iam::444455556666:role/m"), RoleSessionName: new("s")}, "ValidationError"},
	} {
		if _, err := client.AssumeRole(t.Context(), &row.in); errorCode(t, err) != row.want {
			t.Errorf("%s: got %v, want %s", row.name, err, row.want)
		}
	}
	r := anonymous(t, run.URL)
	for _, row := range []struct{ form, want string }{
		{"Action=GetCallerIdentity", "MissingAuthenticationToken"},
		{"Action=AssumeRoleWithWebIdentity&RoleArn=arn:aws:iam::444455556666:role/m&RoleSessionName=ci", "InvalidIdentityToken"},
	} {
		a := r.do("POST", "/", []byte(row.form), "Content-Type", "application/x-www-form-urlencoded")
		if !strings.Contains(string(a.body), "<Code>"+row.want+"</Code>") {
			t.Errorf("%s: got %d %s, want %s", row.form, a.status, a.body, row.want)
		}
	}
}

// TestExternalID is asked for where the credentials file says so.
func TestExternalID(t *testing.T) {
	const guarded = "arn:aws:iam::444455556666:role/guarded"
	run := ecrlocaltest.Start(t, ecrlocaltest.WithCredentials(ecrlocal.Credentials{
		AccessKeys: map[string]ecrlocal.AccessKey{ecrlocaltest.AccessKey: {Account: "111122223333", User: "alice"}},
		Roles:      map[string]ecrlocal.Role{guarded: {ExternalID: "tenant-7"}},
	}))
	client := sts.NewFromConfig(run.AWSConfig(""))
	for _, row := range []struct {
		role  string
		given *string
		want  string
	}{
		{guarded, new("tenant-7"), ""},
		{guarded, new("tenant-8"), "AccessDenied"},
		{guarded, nil, "AccessDenied"},
		{"arn:aws:iam::444455556666:role/open", nil, ""},
		{"arn:aws:iam::444455556666:role/open", new("tenant-7"), ""},
	} {
		_, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &row.role, RoleSessionName: new("ci"), ExternalId: row.given})
		if got := errorCode(t, err); got != row.want {
			t.Errorf("%s with %q: %q, want %q", row.role, aws.ToString(row.given), got, row.want)
		}
	}
}

// TestCredentialsFile is one row per file, good or bad.
func TestCredentialsFile(t *testing.T) {
	for _, row := range []struct{ name, content, want string }{
		{"YAML", "accessKeys:\n  A: {account: \"111122223333\", deny: [\"ecr:*\"]}\n", ""},
		{"JSON", `{"accessKeys":{"A":{"account":"111122223333"}},"roles":{"arn:aws:iam::111122223333:role/r":{"deny":["tag:GetResources"]}}}`, ""},
		{"empty", "", ""},
		{"unknown field", "accesskeys: {}\n", "accesskeys"},
		{"bad account", "accessKeys:\n  A: {account: \"1\"}\n", "is not 12 digits"},
		{"bad action", "accessKeys:\n  A: {account: \"111122223333\", deny: [PutImage]}\n", "not of the form service:Action"},
		{"bad role", "roles:\n  mirror: {}\n", "is not a role ARN"},
		{"not YAML", "accessKeys: [", "yaml"},
	} {
		path := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(path, []byte(row.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ecrlocal.LoadCredentials(path)
		if got := fmt.Sprint(err); (err == nil) != (row.want == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}
