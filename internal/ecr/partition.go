package ecr

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// stsRegion is where a role is assumed: in the configured Region, unless that is of
// another partition than the role. The STS of one partition knows nothing of another's
// roles and keys, and a configured Region may be no more than a default.
func stsRegion(roleARN, configured string) string {
	role, err := arn.Parse(roleARN)
	if err != nil || role.Partition == partitionOf(configured) {
		return configured
	}
	for _, p := range partitions() {
		if p.name == role.Partition {
			return p.region
		}
	}
	return configured
}

// partitionOf is the AWS partition of a Region.
func partitionOf(region string) string {
	for _, p := range partitions() {
		if strings.HasPrefix(region, p.prefix) {
			return p.name
		}
	}
	return "" // not reached: the last of them has every other Region
}

// A partition is a part of AWS with accounts and Regions of its own.
type partition struct {
	name   string // in ARNs
	prefix string // of its Regions' names
	region string // one that is enabled for every account in it
}

// partitions are those whose Regions can be told by their names, and aws, of which all
// others are.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
func partitions() []partition {
	return []partition{
		{"aws-cn", "cn-", "cn-north-1"},
		{"aws-us-gov", "us-gov-", "us-gov-west-1"},
		{"aws-eusc", "eusc-", "eusc-de-east-1"},
		{"aws-iso", "us-iso-", "us-iso-east-1"},
		{"aws-iso-b", "us-isob-", "us-isob-east-1"},
		{"aws-iso-e", "eu-isoe-", "eu-isoe-west-1"},
		{"aws-iso-f", "us-isof-", "us-isof-south-1"},
		{"aws", "", DefaultRegion},
	}
}
