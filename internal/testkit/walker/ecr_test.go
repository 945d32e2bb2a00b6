package walker_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal/ecrlocaltest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/imagetest"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/walker"
)

// The same graph goes into a registry and into ECR, and the walker finds both the same.
func TestSameInRegistryAndECR(t *testing.T) {
	registry := serve(t, honest)
	local := ecrlocaltest.Start(t)
	client := ecr.NewFromConfig(local.AWSConfig(""))
	if _, err := client.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("team/app")}); err != nil {
		t.Fatal(err)
	}
	answer, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := base64.StdEncoding.DecodeString(*answer.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	username, password, _ := strings.Cut(string(decoded), ":")

	if _, err := imagetest.Push(t.Context(), nil, local.URL, "team/app", "1", index, imagetest.Basic(username, password)); err != nil {
		t.Fatal(err)
	}
	for _, deep := range []bool{false, true} {
		mirrored, err := walker.Check(t.Context(), walker.Options{
			Base: local.URL, Repository: "team/app", Reference: "1", Username: username, Password: password, Deep: deep,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := walker.Same(check(t, registry, walker.Options{Deep: deep}), mirrored); err != nil {
			t.Errorf("deep %t: %v", deep, err)
		}
	}
}
