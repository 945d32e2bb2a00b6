package ecrlocal_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

const theirs = "444455556666"

// at is r for another address.
func (r *registry) at(host string) *registry {
	there := *r
	there.base = "http://" + host
	return &there
}

// tokenFor is a registry client with a token for the registry of an account.
func tokenFor(t *testing.T, run *ecrlocaltest.Running, region, account string) *registry {
	t.Helper()
	out, err := ecr.NewFromConfig(run.AWSConfig(region)).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{
		RegistryIds: []string{account}, //nolint:staticcheck // deprecated, but clients send it
	})
	if err != nil {
		t.Fatal(err)
	}
	r := anonymous(t, aws.ToString(out.AuthorizationData[0].ProxyEndpoint))
	r.auth = "Basic " + aws.ToString(out.AuthorizationData[0].AuthorizationToken)
	return r
}

// TestOwnAddresses gives two registries addresses of their own, which the API then names, and
// leaves a third where it was.
func TestOwnAddresses(t *testing.T) {
	run := ecrlocaltest.Start(t)
	abroad, other := run.Separate(t, "", "eu-west-1"), run.Separate(t, theirs, "")
	for _, row := range []struct{ account, region, host string }{
		{"111122223333", "eu-west-1", abroad},
		{theirs, "us-east-1", other},
		{"111122223333", "us-east-1", run.Host},
		{theirs, "eu-west-1", run.Host},
	} {
		client := ecr.NewFromConfig(run.AWSConfig(row.region))
		created, err := client.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: new("app"), RegistryId: &row.account})
		if err != nil {
			t.Fatal(err)
		}
		described, err := client.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RegistryId: &row.account})
		if err != nil {
			t.Fatal(err)
		}
		r := tokenFor(t, run, row.region, row.account)
		got := []string{aws.ToString(created.Repository.RepositoryUri), aws.ToString(described.Repositories[0].RepositoryUri), r.base}
		if diff := cmp.Diff([]string{row.host + "/app", row.host + "/app", "http://" + row.host}, got); diff != "" {
			t.Errorf("addresses of %s in %s (-want +got):\n%s", row.account, row.region, diff)
		}
		r.pushImage("app", row.account+row.region, row.account+row.region)
		if got := tagsOf(t, r.do("GET", "/v2/app/tags/list", nil)); len(got) != 1 || got[0] != row.account+row.region {
			t.Errorf("%s in %s has the tags %v", row.account, row.region, got)
		}
	}
}

// TestWrongAddress shows passwords at the addresses of other registries.
func TestWrongAddress(t *testing.T) {
	run := ecrlocaltest.Start(t)
	abroad, other := run.Separate(t, "", "eu-west-1"), run.Separate(t, theirs, "eu-west-1")
	for _, row := range []struct {
		account, region, host string
		want                  string
	}{
		{"111122223333", "eu-west-1", abroad, "200"},
		{theirs, "eu-west-1", other, "200"},
		{theirs, "eu-west-1", abroad, "403 DENIED"},
		{"111122223333", "us-east-1", abroad, "403 DENIED"},
		{"111122223333", "eu-west-1", other, "403 DENIED"},
	} {
		r := tokenFor(t, run, row.region, row.account).at(row.host)
		run.ResetJournal()
		if a := r.do("GET", "/v2/", nil); a.String() != row.want {
			t.Errorf("a password for %s in %s at %s: %s, want %s", row.account, row.region, row.host, a, row.want)
		}
		// The journal says whose registry was asked, and by whom.
		asked := map[string]string{abroad: "111122223333", other: theirs}[row.host]
		if e := run.Journal()[0]; e.Account != asked || e.Region != "eu-west-1" || e.Principal != "arn:aws:iam::111122223333:user/ecrlocal" {
			t.Errorf("journal: %+v", e)
		}
	}
	r := anonymous(t, "http://"+abroad)
	for path, want := range map[string]string{"/v2/": "401 UNAUTHORIZED", "/": "404", "/token/": "404"} {
		if a := r.do("GET", path, nil); a.String() != want {
			t.Errorf("%s without a password: %s, want %s", path, a, want)
		}
	}
}

// TestPublicNamesAtOwnAddresses are those of private repositories.
func TestPublicNamesAtOwnAddresses(t *testing.T) {
	run := ecrlocaltest.Start(t)
	publicLogin(t, run, "open").pushImage("public-111122223333/open", "1", "one")
	run.Separate(t, "", "")
	if a := login(t, run).at(run.Separate(t, theirs, "")).do("GET", "/v2/public-111122223333/open/manifests/1", nil); a.String() != "403 DENIED" {
		t.Errorf("another's registry: %s", a)
	}
	if a := tokenFor(t, run, "us-east-1", "111122223333").do("GET", "/v2/public-111122223333/open/manifests/1", nil); a.String() != "404 NAME_UNKNOWN" {
		t.Errorf("the private registry: %s", a)
	}
}

// TestPlainRegistryAtItsOwnAddress wants no token to know which registry is meant.
func TestPlainRegistryAtItsOwnAddress(t *testing.T) {
	run := ecrlocaltest.Start(t, ecrlocaltest.WithQuirks(ecrlocal.PlainOCI()))
	r := anonymous(t, "http://"+run.Separate(t, theirs, "eu-west-1"))
	r.pushImage("app", "1", "one")
	out, err := ecr.NewFromConfig(run.AWSConfig("eu-west-1")).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RegistryId: new(theirs)})
	if err != nil || len(out.Repositories) != 1 {
		t.Errorf("the registry holds %+v, %v", out, err)
	}
}

// TestAddressWithoutAHost is told to each client with the host by which the client came.
func TestAddressWithoutAHost(t *testing.T) {
	run := ecrlocaltest.Start(t)
	if _, err := run.RegistryAt("", "", ":5101"); err != nil {
		t.Fatal(err)
	}
	for base, want := range map[string]string{
		run.URL: "http://127.0.0.1:5101",
		strings.Replace(run.URL, "127.0.0.1", "localhost", 1): "http://localhost:5101",
	} {
		config := run.AWSConfig("")
		config.BaseEndpoint = &base
		out, err := ecr.NewFromConfig(config).GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
		if err != nil {
			t.Fatal(err)
		}
		if got := aws.ToString(out.AuthorizationData[0].ProxyEndpoint); got != want {
			t.Errorf("through %s the endpoint is %s, want %s", base, got, want)
		}
	}
}

// TestRegistryAtRefuses is one row per call that cannot be meant.
func TestRegistryAtRefuses(t *testing.T) {
	run := ecrlocaltest.Start(t)
	run.Separate(t, "", "")
	for _, row := range []struct{ account, region, address, want string }{
		{"", "", "127.0.0.1:1", "has an address already"},
		{"1", "", "127.0.0.1:1", `no registry "1"`},
		{"", "Europe", "127.0.0.1:1", `the Region "Europe"`},
		{"", "public", "127.0.0.1:1", `the Region "public"`},
		{"", "eu-west-1", "127.0.0.1", "missing port"},
	} {
		if _, err := run.RegistryAt(row.account, row.region, row.address); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: %v", row, err)
		}
	}
}
