package ecr_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-cmp/cmp"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/provision"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// everySetting is one of each.
func everySetting() provision.Settings {
	return provision.Settings{
		ResourceTags:    map[string]string{"team": "platform", "upstream-image": "docker.io/library/nginx"},
		ScanOnPush:      new(true),
		Encryption:      provision.Encryption{Type: "KMS_DSSE", KMSKey: "alias/mirrors"},
		TagMutability:   provision.TagMutability{Mode: "MUTABLE_WITH_EXCLUSION", Exclusions: []string{"v*", "1.*"}},
		LifecyclePolicy: `{"rules":[` + strings.Repeat(" ", 100) + `]}`,
		Policy:          `{"Statement":[]}`,
	}
}

// provisioning is a target on a local ECR.
func provisioning(t *testing.T, opts ...ecrlocaltest.Option) (*ecrlocaltest.Running, *ecr.Target) {
	t.Helper()
	server := ecrlocaltest.Start(t, opts...)
	_, registries := connect(t, server.URL, ecr.Options{})
	if _, err := registries.Host(t.Context(), region); err != nil {
		t.Fatal(err)
	}
	return server, ecr.NewTarget(nil, registries)
}

// What a repository was made with, it has; and where something else was asked for, every
// difference is found, and goes away when it is told to, but for the encryption.
func TestSettingsRoundTrip(t *testing.T) {
	server, target := provisioning(t)
	repo := repositoryOn(server, "new/app")
	if !target.CanCreateRepository(repo) {
		t.Error("it says that it cannot")
	}
	created, err := target.CreateRepository(t.Context(), repo, everySetting())
	if err != nil || !created {
		t.Fatalf("created %t: %v", created, err)
	}
	if left, err := target.Differences(t.Context(), repo, everySetting()); err != nil || len(left) != 0 {
		t.Errorf("made otherwise: %v, %v", left, err)
	}
	created, err = target.CreateRepository(t.Context(), repo, provision.Settings{})
	if err != nil || created {
		t.Errorf("again: created %t: %v", created, err)
	}

	want := provision.Settings{
		ResourceTags: map[string]string{"team": "core"}, ScanOnPush: new(false), Encryption: provision.Encryption{Type: "AES256"},
		TagMutability: provision.TagMutability{Mode: "IMMUTABLE"}, LifecyclePolicy: `{"rules":[1` + strings.Repeat(" ", 100) + `]}`, Policy: `{"Statement":[1]}`,
	}
	differences, err := target.Differences(t.Context(), repo, want)
	if err != nil || len(differences) != 6 {
		t.Fatalf("%d differences: %v, %v", len(differences), differences, err)
	}
	for _, d := range differences {
		err := target.Reconcile(t.Context(), repo, want, d)
		if d.Fixed() != errors.Is(err, registry.ErrUnsupported) || !d.Fixed() && err != nil {
			t.Errorf("%s: %v", d.Setting, err)
		}
	}
	left, err := target.Differences(t.Context(), repo, want)
	if err != nil || len(left) != 1 || left[0].Setting != provision.EncryptedWith {
		t.Errorf("left: %v, %v", left, err)
	}
	tags, err := client(server).ListTagsForResource(t.Context(), &awsecr.ListTagsForResourceInput{
		ResourceArn: aws.String("arn:aws:ecr:" + region + ":" + account + ":repository/new/app"),
	})
	if err != nil || len(tags.Tags) != 2 {
		t.Errorf("other resource tags went: %v, %v", tags, err)
	}
}

// Nothing is read, or needs permission, that was not asked for.
func TestDifferencesReadWhatIsAskedFor(t *testing.T) {
	server, target := provisioning(t)
	create(t, server, "app", ecrlocal.RepositoryOptions{})
	server.ResetJournal()
	if _, err := target.Differences(t.Context(), repositoryOn(server, "app"), provision.Settings{ScanOnPush: new(true)}); err != nil {
		t.Fatal(err)
	}
	var ops []string
	for _, e := range server.Journal() {
		ops = append(ops, e.Op)
	}
	if diff := cmp.Diff([]string{"DescribeRepositories"}, ops); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Policies that are not there are no error.
	if d, err := target.Differences(t.Context(), repositoryOn(server, "app"), everySetting()); err != nil || len(d) != 6 {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := target.Differences(t.Context(), repositoryOn(server, "none"), everySetting()); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a missing repository: %v", err)
	}
}

// A full registry is asked once; another Region is another registry.
func TestQuotaIsFinal(t *testing.T) {
	server, target := provisioning(t, func(o *ecrlocal.Options) { o.MaxRepositories = 1 })
	if _, err := target.CreateRepository(t.Context(), repositoryOn(server, "one"), provision.Settings{}); err != nil {
		t.Fatal(err)
	}
	server.ResetJournal()
	for _, name := range []string{"two", "three"} {
		_, err := target.CreateRepository(t.Context(), repositoryOn(server, name), provision.Settings{})
		if !errors.Is(err, registry.ErrPermanent) || !strings.Contains(err.Error(), "LimitExceededException") || !strings.Contains(err.Error(), "raise the quota") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantRequests(t, server, "CreateRepository", 1)
}

// A policy that ECR refuses leaves a repository behind, and the error says so.
func TestCreatedWithoutItsPolicy(t *testing.T) {
	server, target := provisioning(t)
	server.FailNext("PutLifecyclePolicy", 1, refusal("InvalidParameterException", "no such rule"))
	created, err := target.CreateRepository(t.Context(), repositoryOn(server, "app"), everySetting())
	want := "the repository was created without its lifecyclePolicy, which reconcile: apply will set: ecr:PutLifecyclePolicy: InvalidParameterException: no such rule"
	if !created || err == nil || err.Error() != want {
		t.Errorf("created %t: %v", created, err)
	}
}
