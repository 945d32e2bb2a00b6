package ecrlocaltest_test

import (
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"go.uber.org/goleak"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, ecrlocaltest.IgnoreRegistryGoroutine())
}

// TestEnv loads the environment as a child process does and reaches the server with it.
func TestEnv(t *testing.T) {
	run := ecrlocaltest.Start(t, func(o *ecrlocal.Options) { o.Region = "eu-west-1" })
	if err := run.CreateRepository("app", ecrlocal.RepositoryOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	for _, variable := range run.Env() {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	loaded, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := ecr.NewFromConfig(loaded).DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil || len(out.Repositories) != 1 || *out.Repositories[0].RepositoryUri != run.Host+"/app" {
		t.Errorf("got %+v, %v; want %s/app", out, err, run.Host)
	}
}

// TestPassword logs into the registry with it, and leaves no trace until then.
func TestPassword(t *testing.T) {
	run := ecrlocaltest.Start(t)
	password := run.Password("", "")
	if n := len(run.Journal()); n != 0 {
		t.Errorf("the journal has %d entries already", n)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, run.URL+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("AWS", password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || run.Journal()[0].Account != run.Account() {
		t.Errorf("got %d for the account %s, want 200 for %s", resp.StatusCode, run.Journal()[0].Account, run.Account())
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestStartRegistry asks a plain registry something, makes it fail, and counts.
func TestStartRegistry(t *testing.T) {
	registry := ecrlocaltest.StartRegistry(t)
	get := func(path string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, registry.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	registry.FailNext("tags-list", 1, ecrlocal.Fault{Status: 503})
	got := []int{get("/v2/"), get("/v2/app/tags/list"), get("/v2/app/tags/list"), get("/v2/app/manifests/1")}
	if want := []int{200, 503, 404, 404}; !slices.Equal(got, want) {
		t.Errorf("statuses are %v, want %v", got, want)
	}
	var journal []string
	for _, e := range registry.Journal() {
		journal = append(journal, e.Op+" "+e.Repository+" "+e.Reference)
	}
	if want := []string{"ping  ", "tags-list app ", "tags-list app ", "manifest-get app 1"}; !slices.Equal(journal, want) {
		t.Errorf("the journal is %q, want %q", journal, want)
	}
	registry.ResetJournal()
	if n := len(registry.Journal()); n != 0 {
		t.Errorf("after a reset it has %d entries", n)
	}
	http.DefaultClient.CloseIdleConnections()
}
