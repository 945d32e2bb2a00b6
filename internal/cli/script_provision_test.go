package cli_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/rogpeppe/go-internal/testscript"
)

// template PREFIX MODE makes a creation template for pushes.
func (s *stage) template(ts *testscript.TestScript, neg bool, args []string) {
	_, err := s.api.CreateRepositoryCreationTemplate(s.t.Context(), &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: aws.String(args[0]), ImageTagMutability: types.ImageTagMutability(args[1]),
		AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForCreateOnPush},
	})
	check(ts, neg, err)
}

// has NAME [SETTING…] insists that an ECR repository exists and has these settings, such as
// scan=true and mutability=IMMUTABLE; with "!", that there is none.
func (s *stage) has(ts *testscript.TestScript, neg bool, args []string) {
	out, err := s.api.DescribeRepositories(s.t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: args[:1]})
	check(ts, neg, err)
	if neg {
		return
	}
	have := s.settings(&out.Repositories[0])
	for _, want := range args[1:] {
		if !slices.Contains(have, want) {
			ts.Fatalf("%s has the settings %q, and %s was expected", args[0], have, want)
		}
	}
}

// settings writes the settings of a repository as has takes them.
func (s *stage) settings(r *types.Repository) []string {
	var exclusions []string
	for _, f := range r.ImageTagMutabilityExclusionFilters {
		exclusions = append(exclusions, aws.ToString(f.Filter))
	}
	have := []string{
		fmt.Sprintf("scan=%t", r.ImageScanningConfiguration.ScanOnPush),
		"encryption=" + string(r.EncryptionConfiguration.EncryptionType),
		"key=" + aws.ToString(r.EncryptionConfiguration.KmsKey),
		"mutability=" + string(r.ImageTagMutability),
		"exclusions=" + strings.Join(exclusions, ","),
	}
	if p, err := s.api.GetLifecyclePolicy(s.t.Context(), &ecr.GetLifecyclePolicyInput{RepositoryName: r.RepositoryName}); err == nil {
		have = append(have, "lifecycle="+aws.ToString(p.LifecyclePolicyText))
	}
	if p, err := s.api.GetRepositoryPolicy(s.t.Context(), &ecr.GetRepositoryPolicyInput{RepositoryName: r.RepositoryName}); err == nil {
		have = append(have, "policy="+aws.ToString(p.PolicyText))
	}
	return have
}
