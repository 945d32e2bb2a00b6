package ecr_test

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// collect returns what a lister yields, until its error.
func collect(list iter.Seq2[string, error]) (all []string, err error) {
	for path, err := range list {
		if err != nil {
			return all, err
		}
		all = append(all, path)
	}
	return all, nil
}

// More repositories than on any page, and pages shorter than asked for. They need no
// resource tags.
func TestListsEveryPage(t *testing.T) {
	server := ecrlocaltest.Start(t)
	var want []string
	for i := range 1100 {
		name := fmt.Sprintf("many/r%04d", i)
		create(t, server, name, ecrlocal.RepositoryOptions{Tags: map[string]string{}})
		want = append(want, name)
	}
	_, registries := connect(t, server.URL, ecr.Options{})
	if _, err := registries.Host(t.Context(), region); err != nil {
		t.Fatal(err)
	}
	server.ResetJournal()
	got, err := collect(registries.Repositories(t.Context(), server.Host))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, listed (-want +got):\n%s", err, diff)
	}
	wantRequests(t, server, "DescribeRepositories", 2)
	if n := len(server.Journal()); n != 2 {
		t.Errorf("%d requests in all", n)
	}
}

func TestListsShortPages(t *testing.T) {
	server := ecrlocaltest.Start(t, func(o *ecrlocal.Options) { o.PageSizeCap = 7 })
	var want []string
	for i := range 20 {
		name := fmt.Sprintf("few/r%02d", i)
		create(t, server, name, ecrlocal.RepositoryOptions{})
		want = append(want, name)
	}
	_, registries := connect(t, server.URL, ecr.Options{})
	if _, err := registries.Host(t.Context(), region); err != nil {
		t.Fatal(err)
	}
	got, err := collect(registries.Repositories(t.Context(), server.Host))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, listed (-want +got):\n%s", err, diff)
	}
	// Who has seen enough may leave.
	for path, err := range registries.Repositories(t.Context(), server.Host) {
		if path != want[0] || err != nil {
			t.Errorf("the loop went on to %s, %v", path, err)
		}
		break
	}
}

// The account and the Region are the host's, whoever asks.
func TestListsTheHostsRegistry(t *testing.T) {
	var asked []string
	_, registries := connect(t, scripted(t, nil, func(w http.ResponseWriter, r request) bool {
		asked = append(asked, field(t, r, "registryId")+" "+strings.Split(r.http.Header.Get("Authorization"), "/")[2])
		say(w, object{"repositories": []object{{"repositoryName": "app"}}})
		return true
	}), ecr.Options{})
	got, err := collect(registries.Repositories(t.Context(), other+".dkr.ecr.eu-west-1.amazonaws.com"))
	if diff := cmp.Diff([]string{"app"}, got); diff != "" || err != nil {
		t.Errorf("error %v, listed (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{other + " eu-west-1"}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// A part of a listing is never yielded: what is missing from it would be taken for gone.
func TestListingFails(t *testing.T) {
	server := ecrlocaltest.Start(t, func(o *ecrlocal.Options) { o.PageSizeCap = 1 })
	for _, name := range []string{"one", "two"} {
		create(t, server, name, ecrlocal.RepositoryOptions{})
		createPublic(t, server, name)
	}
	_, registries := connect(t, server.URL, ecr.Options{})
	if _, err := registries.Host(t.Context(), region); err != nil {
		t.Fatal(err)
	}
	for operation, list := range map[string]iter.Seq2[string, error]{
		"ecr":        registries.Repositories(t.Context(), server.Host),
		"ecr-public": registries.PublicRepositories(t.Context()),
	} {
		calls := 0
		fault := refusal("AccessDeniedException", "no")
		fault.Match = func(ecrlocal.Entry) bool { calls++; return calls == 2 }
		server.FailNext("DescribeRepositories", 1, fault)
		got, err := collect(list)
		if want := operation + ":DescribeRepositories: AccessDeniedException: no"; !errors.Is(err, registry.ErrDenied) || err.Error() != want || len(got) != 0 {
			t.Errorf("%s: %q, %v", operation, got, err)
		}
	}
	if got, err := collect(registries.Repositories(t.Context(), "docker.io")); !errors.Is(err, registry.ErrUnsupported) || len(got) != 0 {
		t.Errorf("another registry: %q, %v", got, err)
	}
}

func createPublic(t *testing.T, server *ecrlocaltest.Running, name string) {
	t.Helper()
	if _, err := ecrpublic.NewFromConfig(server.AWSConfig("")).CreateRepository(t.Context(), &ecrpublic.CreateRepositoryInput{RepositoryName: &name}); err != nil {
		t.Fatal(err)
	}
}

// The paths are those with which one pulls: the alias is a part of them.
func TestListsThePublicRegistry(t *testing.T) {
	server := ecrlocaltest.Start(t, func(o *ecrlocal.Options) { o.PageSizeCap = 100 })
	create(t, server, "private", ecrlocal.RepositoryOptions{})
	var want []string
	for i := range 120 {
		name := fmt.Sprintf("open/r%03d", i)
		createPublic(t, server, name)
		want = append(want, "public-"+account+"/"+name)
	}
	_, registries := connect(t, server.URL, ecr.Options{})
	server.ResetJournal()
	got, err := collect(registries.PublicRepositories(t.Context()))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, listed (-want +got):\n%s", err, diff)
	}
	wantRequests(t, server, "DescribeRepositories", 2)
}

// The API is in one Region, whatever the AWS configuration says.
func TestPublicAPIIsInOneRegion(t *testing.T) {
	for uri, want := range map[string][]string{
		"public.ecr.aws/alias/team/app": {"alias/team/app"},
		"public.ecr.aws":                nil,
		"":                              nil,
	} {
		var region string
		keys(t, scripted(t, nil, func(w http.ResponseWriter, r request) bool {
			region = strings.Split(r.http.Header.Get("Authorization"), "/")[2]
			say(w, object{"repositories": []object{{"repositoryName": "app", "repositoryUri": uri}}})
			return true
		}))
		t.Setenv("AWS_REGION", "eu-west-1")
		got, err := collect(ecr.NewRegistries(open(t, ecr.Options{}), nil).PublicRepositories(t.Context()))
		if !slices.Equal(got, want) || (err == nil) != (want != nil) || region != "us-east-1" {
			t.Errorf("%q in %s: %q, %v", uri, region, got, err)
		}
	}
}
