package aws_test

import (
	"maps"
	"slices"
)

// The narrowest resources to which AWS can scope an action in any account.
const (
	everything   = "*"
	repositories = "arn:aws:ecr:*:*:repository/*"
	public       = "arn:aws:ecr-public::*:repository/*"
	bucket       = "arn:aws:s3:::example-bucket"
	states       = bucket + "/ecr-mirror-sync/*"
	contents     = bucket + "/v2/*"
	otherRole    = "arn:aws:iam::444455556666:role/ecr-mirror-sync"
)

// permission is one thing that the program may have to be allowed.
type permission struct {
	action string
	on     []string // where it can be scoped to; the policies choose among these

	// calls are the methods of the SDK that need it, as service.Method of their package.
	calls []string

	// pushed means that the registry asks for it when images are pushed or pulled, without
	// any call of the SDK.
	pushed bool

	// besides names the action that cannot be used without this one.
	besides string
}

// permissions is every action that the policies allow, and why.
func permissions() []permission {
	return []permission{
		{action: "tag:GetResources", on: []string{everything}, calls: []string{"resourcegroupstaggingapi.GetResources"}},
		{action: "ecr:GetAuthorizationToken", on: []string{everything}, calls: []string{"ecr.GetAuthorizationToken"}},
		{action: "ecr:BatchCheckLayerAvailability", on: []string{repositories}, pushed: true},
		{action: "ecr:BatchDeleteImage", on: []string{repositories}, calls: []string{"ecr.BatchDeleteImage"}},
		{action: "ecr:BatchGetImage", on: []string{repositories}, calls: []string{"ecr.BatchGetImage"}, pushed: true},
		{action: "ecr:CompleteLayerUpload", on: []string{repositories}, pushed: true},
		{action: "ecr:CreateRepository", on: []string{repositories}, calls: []string{"ecr.CreateRepository"}},
		{action: "ecr:DescribeRepositories", on: []string{repositories}, calls: []string{"ecr.DescribeRepositories"}},
		{action: "ecr:GetDownloadUrlForLayer", on: []string{repositories}, pushed: true},
		{action: "ecr:GetLifecyclePolicy", on: []string{repositories}, calls: []string{"ecr.GetLifecyclePolicy"}},
		{action: "ecr:GetRepositoryPolicy", on: []string{repositories}, calls: []string{"ecr.GetRepositoryPolicy"}},
		{action: "ecr:InitiateLayerUpload", on: []string{repositories}, pushed: true},
		{action: "ecr:ListImageReferrers", on: []string{repositories}, pushed: true},
		{action: "ecr:ListImages", on: []string{repositories}, calls: []string{"ecr.ListImages"}, pushed: true},
		{action: "ecr:ListTagsForResource", on: []string{repositories}, calls: []string{"ecr.ListTagsForResource"}},
		{action: "ecr:PutImage", on: []string{repositories}, pushed: true},
		{action: "ecr:PutImageScanningConfiguration", on: []string{repositories}, calls: []string{"ecr.PutImageScanningConfiguration"}},
		{action: "ecr:PutImageTagMutability", on: []string{repositories}, calls: []string{"ecr.PutImageTagMutability"}},
		{action: "ecr:PutLifecyclePolicy", on: []string{repositories}, calls: []string{"ecr.PutLifecyclePolicy"}},
		{action: "ecr:SetRepositoryPolicy", on: []string{repositories}, calls: []string{"ecr.SetRepositoryPolicy"}},
		{action: "ecr:TagResource", on: []string{repositories}, calls: []string{"ecr.TagResource"}},
		{action: "ecr:UntagResource", on: []string{repositories}, calls: []string{"ecr.UntagResource"}},
		{action: "ecr:UploadLayerPart", on: []string{repositories}, pushed: true},
		{action: "ecr-public:BatchCheckLayerAvailability", on: []string{public}, calls: []string{"ecrpublic.BatchCheckLayerAvailability"}, pushed: true},
		{action: "ecr-public:CompleteLayerUpload", on: []string{public}, pushed: true},
		{action: "ecr-public:CreateRepository", on: []string{public}, calls: []string{"ecrpublic.CreateRepository"}},
		{action: "ecr-public:DescribeRegistries", on: []string{everything}, calls: []string{"ecrpublic.DescribeRegistries"}},
		{action: "ecr-public:DescribeRepositories", on: []string{public}, calls: []string{"ecrpublic.DescribeRepositories"}},
		{action: "ecr-public:GetAuthorizationToken", on: []string{everything}, calls: []string{"ecrpublic.GetAuthorizationToken"}},
		{action: "ecr-public:InitiateLayerUpload", on: []string{public}, pushed: true},
		{action: "ecr-public:PutImage", on: []string{public}, pushed: true},
		{action: "ecr-public:TagResource", on: []string{public}, besides: "ecr-public:CreateRepository"},
		{action: "ecr-public:UploadLayerPart", on: []string{public}, pushed: true},
		{action: "sts:GetServiceBearerToken", on: []string{everything}, besides: "ecr-public:GetAuthorizationToken"},
		{action: "sts:AssumeRole", on: []string{otherRole}, calls: []string{"sts.AssumeRole"}},
		{action: "sts:TagSession", on: []string{otherRole}, besides: "sts:AssumeRole"},
		{action: "s3:AbortMultipartUpload", on: []string{contents, states}, calls: []string{"s3.AbortMultipartUpload"}},
		{action: "s3:DeleteObject", on: []string{contents}, calls: []string{"s3.DeleteObject"}},
		{action: "s3:GetObject", on: []string{contents, states}, calls: []string{"s3.GetObject", "s3.HeadObject"}},
		{action: "s3:ListBucket", on: []string{bucket}, calls: []string{"s3.ListObjectsV2", "s3.HeadBucket"}},
		{action: "s3:PutObject", on: []string{contents, states}, calls: []string{
			"s3.PutObject", "s3.CopyObject", "s3.CreateMultipartUpload", "s3.UploadPart", "s3.CompleteMultipartUpload",
		}},
	}
}

// needNothing are the calls that every identity may make.
func needNothing() []string {
	return []string{
		"sts.GetCallerIdentity",
		"sts.AssumeRoleWithWebIdentity", // the role's trust policy decides
	}
}

// document is one file of this directory.
type document struct {
	file       string
	statements []statement
}

func allow(sid string, on oneOrMore, actions ...string) statement {
	return statement{Sid: sid, Effect: "Allow", Action: slices.Sorted(slices.Values(actions)), Resource: on}
}

// with adds a condition.
func (s statement) with(operator, key string, values ...string) statement {
	conditions := maps.Clone(s.Condition)
	if conditions == nil {
		conditions = make(map[string]map[string]oneOrMore)
	}
	conditions[operator] = map[string]oneOrMore{key: values}
	s.Condition = conditions
	return s
}

// ownKeys are the resource tags that make a mirror. Other people's may decide about access.
func ownKeys() []string { return []string{"upstream-*", "ignore-tags"} }

// documents are all policies. Trust policies, which others read than those who attach
// these, are written by hand.
func documents() []document {
	find := allow("FindRepositoriesByResourceTag", oneOrMore{everything}, "tag:GetResources")
	signIn := allow("SignInToRegistry", oneOrMore{everything}, "ecr:GetAuthorizationToken")
	compare := []string{"ecr:DescribeRepositories", "ecr:ListImages", "ecr:BatchGetImage"}
	reuse := append(slices.Clone(compare), "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer")
	discoverToo := func(reads []string) []string { return append(slices.Clone(reads), "ecr:ListTagsForResource") }
	read := func(actions []string) statement {
		return allow("ReadRepositories", oneOrMore{repositories}, actions...)
	}
	write := allow("WriteImages", oneOrMore{repositories},
		"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage")
	seeStates := allow("SeeWhetherThereIsAState", oneOrMore{bucket}, "s3:ListBucket")
	keepState := allow("KeepState", oneOrMore{states}, "s3:GetObject", "s3:PutObject")

	return []document{
		{"iam-policy-list.json", []statement{find, read(discoverToo(compare))}},
		{"iam-policy-copy.json", []statement{signIn, read(reuse), write}},
		{"iam-policy-sync.json", []statement{find, signIn, read(discoverToo(reuse)), write}},
		{"iam-policy-sync-tagged.json", []statement{
			find, signIn, read(discoverToo(reuse)),
			write.with("Null", "aws:ResourceTag/upstream-image", "false"),
		}},
		{"iam-policy-create.json", []statement{allow("CreateRepositories", oneOrMore{repositories},
			"ecr:CreateRepository", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy", "ecr:TagResource")}},
		{"iam-policy-reconcile.json", []statement{
			allow("CompareSettings", oneOrMore{repositories},
				"ecr:DescribeRepositories", "ecr:ListTagsForResource", "ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy"),
			allow("ApplySettings", oneOrMore{repositories},
				"ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy", "ecr:TagResource"),
		}},
		{"iam-policy-track.json", []statement{
			allow("ReadRepositories", oneOrMore{repositories}, "ecr:DescribeRepositories", "ecr:ListTagsForResource"),
			allow("WriteResourceTags", oneOrMore{repositories}, "ecr:TagResource", "ecr:UntagResource").
				with("ForAllValues:StringLike", "aws:TagKeys", ownKeys()...),
		}},
		{"iam-policy-prune.json", []statement{
			allow("RemoveTags", oneOrMore{repositories}, "ecr:BatchDeleteImage"), keepState, seeStates,
		}},
		{"iam-policy-source.json", []statement{signIn, allow("ReadImages", oneOrMore{repositories},
			append(slices.Clone(compare), "ecr:GetDownloadUrlForLayer", "ecr:ListImageReferrers")...)}},
		{"iam-policy-public.json", []statement{
			allow("SignInToECRPublic", oneOrMore{everything},
				"ecr-public:DescribeRegistries", "ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"),
			allow("WriteImages", oneOrMore{public},
				"ecr-public:BatchCheckLayerAvailability", "ecr-public:CompleteLayerUpload", "ecr-public:DescribeRepositories",
				"ecr-public:InitiateLayerUpload", "ecr-public:PutImage", "ecr-public:UploadLayerPart"),
			allow("CreateRepositories", oneOrMore{public}, "ecr-public:CreateRepository", "ecr-public:TagResource"),
		}},
		{"iam-policy-s3.json", []statement{
			allow("SeeWhatTheBucketHolds", oneOrMore{bucket}, "s3:ListBucket"),
			allow("WriteImages", oneOrMore{contents, states}, "s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"),
			allow("RemoveImages", oneOrMore{contents}, "s3:DeleteObject"),
		}},
		{"iam-policy-assume-role.json", []statement{
			allow("TakeTheMirrorsRoleInAnotherAccount", oneOrMore{otherRole}, "sts:AssumeRole", "sts:TagSession"),
		}},
		{"scp-upstream-tags.json", []statement{
			statement{
				Sid: "LeaveTheMirrorsResourceTagsAlone", Effect: "Deny", Resource: oneOrMore{everything},
				Action: oneOrMore{"ecr:CreateRepository", "ecr:TagResource", "ecr:UntagResource"},
			}.with("ForAnyValue:StringLike", "aws:TagKeys", ownKeys()...).
				with("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:role/ecr-mirror-sync-owner"),
		}},
	}
}
