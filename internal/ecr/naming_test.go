package ecr_test

import (
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

// An operator's word on a host holds for its password and for its API, and goes before what
// discovery learns.
func TestName(t *testing.T) {
	server := startAccounts(t)
	theirs := server.Separate(t, third, region)
	create(t, server, "app", ecrlocal.RepositoryOptions{Account: third})
	_, registries := connect(t, server.URL, ecr.Options{})
	access := ecr.Access{Role: ecr.Role{ARN: thirdRole, ExternalID: "tenant-7", SessionName: "blue"}}
	if err := registries.Name(theirs, ecr.Location{Account: third, Region: region}, access); err != nil {
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
	if err := registries.Name(repositoryAtAWS.Host, ecr.Location{}, ecr.Access{Endpoint: endpoint.URL}); err != nil {
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
	if err := registries.Name("registry.example.com", ecr.Location{Account: account}, ecr.Access{}); err == nil {
		t.Error("a host without a Region was taken")
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
		registries.NamePublic(host, ecr.Access{})
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
