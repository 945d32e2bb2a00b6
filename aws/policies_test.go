package aws_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A policy is an IAM policy document, as far as the files here use the language.
type policy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Sid       string
	Effect    string
	Principal map[string]string
	Action    oneOrMore
	Resource  string
	Condition map[string]map[string]oneOrMore
}

// oneOrMore is a JSON string or a list of them: IAM takes both.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(raw []byte) error {
	if raw[0] == '"' {
		*o = make(oneOrMore, 1)
		return json.Unmarshal(raw, &(*o)[0])
	}
	return json.Unmarshal(raw, (*[]string)(o))
}

const (
	everything   = "*"
	repositories = "arn:aws:ecr:*:*:repository/*"
	bucket       = "arn:aws:s3:::example-bucket"
	states       = bucket + "/ecr-mirror-sync/*"
	public       = "arn:aws:ecr-public::*:repository/*"
)

// scope is every action the policies may allow, and the narrowest resource that AWS
// can scope it to in any account.
var scope = map[string]string{
	"tag:GetResources":                       everything,
	"ecr:GetAuthorizationToken":              everything,
	"ecr:BatchCheckLayerAvailability":        repositories,
	"ecr:BatchDeleteImage":                   repositories,
	"ecr:BatchGetImage":                      repositories,
	"ecr:CompleteLayerUpload":                repositories,
	"ecr:DescribeRepositories":               repositories,
	"ecr:GetDownloadUrlForLayer":             repositories,
	"ecr:InitiateLayerUpload":                repositories,
	"ecr:ListImages":                         repositories,
	"ecr:ListTagsForResource":                repositories,
	"ecr:PutImage":                           repositories,
	"ecr:TagResource":                        repositories,
	"ecr:UntagResource":                      repositories,
	"ecr:UploadLayerPart":                    repositories,
	"ecr:CreateRepository":                   repositories,
	"ecr:GetLifecyclePolicy":                 repositories,
	"ecr:GetRepositoryPolicy":                repositories,
	"ecr:ListImageReferrers":                 repositories,
	"ecr:PutImageScanningConfiguration":      repositories,
	"ecr:PutImageTagMutability":              repositories,
	"ecr:PutLifecyclePolicy":                 repositories,
	"ecr:SetRepositoryPolicy":                repositories,
	"ecr-public:DescribeRegistries":          everything,
	"ecr-public:GetAuthorizationToken":       everything,
	"sts:GetServiceBearerToken":              everything,
	"ecr-public:BatchCheckLayerAvailability": public,
	"ecr-public:CompleteLayerUpload":         public,
	"ecr-public:CreateRepository":            public,
	"ecr-public:DescribeRepositories":        public,
	"ecr-public:InitiateLayerUpload":         public,
	"ecr-public:PutImage":                    public,
	"ecr-public:TagResource":                 public,
	"ecr-public:UploadLayerPart":             public,
	"s3:GetObject":                           states,
	"s3:ListBucket":                          bucket,
	"s3:PutObject":                           states,
}

var (
	discovery = []string{"tag:GetResources", "ecr:DescribeRepositories", "ecr:ListTagsForResource"}
	comparing = []string{"ecr:ListImages", "ecr:BatchGetImage"}
	pushing   = []string{
		"ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:InitiateLayerUpload",
		"ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
	}
	readingLayers     = []string{"ecr:GetDownloadUrlForLayer"}
	pruning           = []string{"ecr:BatchDeleteImage", "s3:GetObject", "s3:PutObject", "s3:ListBucket"}
	creating          = []string{"ecr:CreateRepository", "ecr:TagResource", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy"}
	comparingSettings = []string{"ecr:DescribeRepositories", "ecr:ListTagsForResource", "ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy"}
	applyingSettings  = []string{"ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability"}
	source            = []string{"ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:ListImages", "ecr:ListImageReferrers", "ecr:DescribeRepositories"}
	publicWriting     = []string{
		"ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken", "ecr-public:DescribeRegistries", "ecr-public:DescribeRepositories",
		"ecr-public:BatchCheckLayerAvailability", "ecr-public:InitiateLayerUpload", "ecr-public:UploadLayerPart", "ecr-public:CompleteLayerUpload", "ecr-public:PutImage",
		"ecr-public:CreateRepository", "ecr-public:TagResource",
	}
	tagging = []string{"ecr:DescribeRepositories", "ecr:ListTagsForResource", "ecr:TagResource", "ecr:UntagResource"}
)

// ownKeys is the one condition that a policy may have: who writes a rule's resource tags,
// and removes them, may write those that make a mirror. Who creates repositories gives them
// whatever resource tags the file names.
var ownKeys = map[string]map[string]oneOrMore{"ForAllValues:StringLike": {"aws:TagKeys": {"upstream-*", "ignore-tags"}}}

func TestPoliciesAllowWhatTheVerbsCallAndNothingElse(t *testing.T) {
	tests := []struct {
		file string
		want []string
	}{
		{"iam-policy-list.json", slices.Concat(discovery, comparing)},
		{"iam-policy-copy.json", slices.Concat([]string{"ecr:DescribeRepositories"}, comparing, pushing, readingLayers)},
		{"iam-policy-sync.json", slices.Concat(discovery, comparing, pushing, readingLayers)},
		{"iam-policy-track.json", tagging},
		{"iam-policy-prune.json", pruning},
		{"iam-policy-create.json", slices.Concat(creating, comparingSettings, applyingSettings)},
		{"iam-policy-source.json", source},
		{"iam-policy-public.json", publicWriting},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			var got []string
			for _, s := range read(t, tt.file).Statement {
				var condition map[string]map[string]oneOrMore
				if slices.Contains(s.Action, "ecr:UntagResource") {
					condition = ownKeys
				}
				if s.Effect != "Allow" || s.Principal != nil || !cmp.Equal(s.Condition, condition) {
					t.Errorf("%s: effect %s, principal %v, condition %v; want an Allow with the condition %v", s.Sid, s.Effect, s.Principal, s.Condition, condition)
				}
				for _, action := range s.Action {
					if want := scope[action]; s.Resource != want {
						t.Errorf("%s allows %s on %q, want %q", s.Sid, action, s.Resource, want)
					}
				}
				got = append(got, s.Action...)
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("actions (-want +got)\n%s", diff)
			}
		})
	}
}

func TestRolesAreTakenOnlyByTheMirror(t *testing.T) {
	const cluster = "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
	tests := []struct {
		file string
		want statement
	}{
		{"trust-policy-irsa.json", statement{
			Principal: map[string]string{"Federated": "arn:aws:iam::111122223333:oidc-provider/" + cluster},
			Action:    oneOrMore{"sts:AssumeRoleWithWebIdentity"},
			Condition: map[string]map[string]oneOrMore{"StringEquals": {
				cluster + ":aud": {"sts.amazonaws.com"},
				cluster + ":sub": {"system:serviceaccount:ecr-mirror-sync:ecr-mirror-sync"},
			}},
		}},
		{"trust-policy-pod-identity.json", statement{
			Principal: map[string]string{"Service": "pods.eks.amazonaws.com"},
			Action:    oneOrMore{"sts:AssumeRole", "sts:TagSession"},
			Condition: map[string]map[string]oneOrMore{"StringEquals": {
				"aws:RequestTag/eks-cluster-arn":            {"arn:aws:eks:us-east-1:111122223333:cluster/example"},
				"aws:RequestTag/kubernetes-namespace":       {"ecr-mirror-sync"},
				"aws:RequestTag/kubernetes-service-account": {"ecr-mirror-sync"},
			}},
		}},
		{"iam-policy-assume-role.json", statement{
			Action:   oneOrMore{"sts:AssumeRole", "sts:TagSession"},
			Resource: "arn:aws:iam::444455556666:role/ecr-mirror-sync",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			got := read(t, tt.file).Statement
			tt.want.Sid, tt.want.Effect = got[0].Sid, "Allow"
			if diff := cmp.Diff([]statement{tt.want}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

var sid = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// IAM refuses a document with two equal Sids or with other characters in one.
func TestSidsAreUnique(t *testing.T) {
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no policies found: %v", err)
	}
	for _, file := range files {
		p := read(t, file)
		if p.Version != "2012-10-17" {
			t.Errorf("%s has version %q", file, p.Version)
		}
		seen := map[string]bool{}
		for _, s := range p.Statement {
			if !sid.MatchString(s.Sid) || seen[s.Sid] {
				t.Errorf("%s: Sid %q is repeated or not made of letters and digits", file, s.Sid)
			}
			seen[s.Sid] = true
		}
	}
}

func read(t *testing.T, file string) policy {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var p policy
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return p
}
