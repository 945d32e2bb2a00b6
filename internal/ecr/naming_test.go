package ecr_test

import (
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// An operator's word on a host holds for its password and for its API, and goes before what
// discovery learns.
func TestName(t *testing.T) {
	server := startAccounts(t)
	theirs := server.Separate(t, third, region)
	create(t, server, "app", ecrlocal.RepositoryOptions{Account: third})
	_, registries := connect(t, server.URL, ecr.Options{})
	access := ecr.Access{Role: ecr.Role{ARN: thirdRole, ExternalID: "tenant-7", SessionName: "blue"}}
	if err := registries.Name(t.Context(), theirs, ecr.Location{Account: third, Region: region}, access); err != nil {
		t.Fatal(err)
	}
	show(t, registries, theirs)
	target := ecr.NewTarget(nil, registries)
	repo := repositoryOn(server, "app")
	repo.Host = theirs
	if _, err := target.Snapshot(t.Context(), repo, nil); err != nil {
		t.Error(err)
	}
	for _, e := range server.Journal() {
		if e.Op != "AssumeRole" && e.Principal != principals[third] {
			t.Errorf("%s came from %s", e.Op, e.Principal)
		}
	}
	registries.Learn(theirs, ecr.Location{Account: other, Region: region}, open(t, ecr.Options{}))
	if at, _ := registries.Locate(theirs); at.Account != third {
		t.Errorf("it is %s now", at)
	}
}

// A registry at AWS's own name has the API that is named for it, as behind a VPC endpoint.
func TestNameWithAnEndpoint(t *testing.T) {
	usual, endpoint := ecrlocaltest.Start(t), ecrlocaltest.Start(t)
	create(t, endpoint, "app", ecrlocal.RepositoryOptions{})
	_, registries := connect(t, usual.URL, ecr.Options{})
	if err := registries.Name(t.Context(), repositoryAtAWS.Host, ecr.Location{}, ecr.Access{Endpoint: endpoint.URL}); err != nil {
		t.Fatal(err)
	}
	if _, err := registries.Mutability(t.Context(), repositoryAtAWS); err != nil {
		t.Error(err)
	}
	password(t, registries, repositoryAtAWS.Host)
	wantRequests(t, endpoint, "GetAuthorizationToken", 1)
	if n := len(usual.Journal()); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
	if err := registries.Name(t.Context(), "registry.example.com", ecr.Location{Account: account}, ecr.Access{}); err == nil {
		t.Error("a host without a Region was taken")
	}
}

// A registry is spoken to as the profile that is named for it, on both faces, and never as
// the keys of the environment, nor through the session's role; the role that is named with a
// profile is assumed by it.
func TestNameWithAProfile(t *testing.T) {
	server := ecrlocaltest.Start(t, ecrlocaltest.WithCredentials(ecrlocal.Credentials{
		AccessKeys: map[string]ecrlocal.AccessKey{
			ecrlocaltest.AccessKey: {Account: account},
			"AKIATHEIRS":           {Account: other, User: "ci"},
			"AKIATHIRD":            {Account: third, User: "robot"},
		},
		Roles: map[string]ecrlocal.Role{thirdRole: {}},
	}))
	keys(t, server.URL)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", writeFile(t, "[theirs]\naws_access_key_id = AKIATHEIRS\naws_secret_access_key = s\n"+
		"[third]\naws_access_key_id = AKIATHIRD\naws_secret_access_key = s\n"))
	for _, tt := range []struct {
		of, principal, source string
		access                ecr.Access
	}{
		{other, "arn:aws:iam::" + other + ":user/ci", "the AWS profile theirs", ecr.Access{Profile: "theirs"}},
		{third, principals[third], thirdRole, ecr.Access{Profile: "third", Role: ecr.Role{ARN: thirdRole, SessionName: "blue"}}},
	} {
		host := server.Separate(t, tt.of, region)
		create(t, server, "app", ecrlocal.RepositoryOptions{Account: tt.of})
		before := len(server.Journal())
		registries := ecr.NewRegistries(open(t, ecr.Options{Role: ecr.Role{ARN: role}}), nil)
		if err := registries.Name(t.Context(), host, ecr.Location{Account: tt.of, Region: region}, tt.access); err != nil {
			t.Fatal(err)
		}
		show(t, registries, host)
		if _, err := registries.Mutability(t.Context(), ref.Repository{Host: host, Path: "app"}); err != nil {
			t.Error(err)
		}
		if origin, err := registries.Describe(t.Context(), host); err != nil || !strings.HasSuffix(origin.Source, " by "+tt.source) {
			t.Errorf("it comes from %q, %v", origin.Source, err)
		}
		asked := server.Journal()[before:]
		for _, e := range asked {
			switch {
			case e.Op == "AssumeRole" && e.Principal != "arn:aws:iam::"+third+":user/robot":
				t.Errorf("the role was assumed by %s", e.Principal)
			case e.Op != "AssumeRole" && e.Principal != tt.principal:
				t.Errorf("%s came from %s", e.Op, e.Principal)
			}
		}
		if len(asked) < 3 {
			t.Errorf("%d requests", len(asked))
		}
	}
	_, registries := connect(t, server.URL, ecr.Options{})
	for _, err := range []error{
		registries.Name(t.Context(), repositoryAtAWS.Host, ecr.Location{}, ecr.Access{Profile: "nobody"}),
		registries.NamePublic(t.Context(), "public.ecr.aws", ecr.Access{Profile: "nobody"}),
	} {
		if err == nil || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("a profile that does not exist: %v", err)
		}
	}
}

// ECR Public is written to with the password of us-east-1, whatever Region is meant
// otherwise. It is read without any, unless an operator named it.
func TestPublicPasswords(t *testing.T) {
	for host, at := range map[string]string{"public.ecr.aws": "us-east-1", "ecr-public.aws.com": "us-east-1"} {
		server := ecrlocaltest.Start(t)
		_, registries := connect(t, server.URL, ecr.Options{})
		reading := registries.Reading()
		if cred, err := reading.Credential(t.Context(), host); err != nil || !cred.Anonymous() {
			t.Errorf("%s is read with %v, %v", host, cred, err)
		}
		wantRequests(t, server, getToken, 0)
		for range 2 {
			password(t, registries, host)
		}
		wantRequests(t, server, getToken, 1)
		if err := registries.NamePublic(t.Context(), host, ecr.Access{}); err != nil {
			t.Fatal(err)
		}
		if cred, err := reading.Credential(t.Context(), host); err != nil || cred.Anonymous() {
			t.Errorf("%s was named, and is read with %v, %v", host, cred, err)
		}
		registries.Refused(host, password(t, registries, host))
		wantRequests(t, server, getToken, 1)
		password(t, registries, host)
		wantRequests(t, server, getToken, 2)
		for _, e := range server.Journal() {
			if e.Region != "public" && e.Region != at {
				t.Errorf("%s went to %s", e.Op, e.Region)
			}
		}
	}
}
