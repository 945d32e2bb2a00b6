package ecr

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// Role is an IAM role to assume. The zero Role is none.
type Role struct {
	ARN         string
	ExternalID  string // what the role's trust policy asks for, "" for nothing
	SessionName string // how its sessions are called in CloudTrail, "" for ecr-mirror-sync
}

// sessionName is how the sessions of roles are called.
const sessionName = "ecr-mirror-sync"

// renewAhead is how long before their end the credentials of an assumed role are
// replaced, so that none expires between signing and arrival.
const renewAhead = 5 * time.Minute

// assumed are the credentials of a role that base may assume.
func assumed(base aws.Config, role Role) aws.CredentialsProvider {
	there := func(o *sts.Options) { o.Region = stsRegion(role.ARN, base.Region) }
	provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(base, there), role.ARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = cmp.Or(role.SessionName, sessionName)
		o.ExternalID = optional(role.ExternalID)
	})
	return aws.NewCredentialsCache(provider, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = renewAhead })
}

// lateSTS takes the exchanges for roles that the AWS configuration names to the STS that
// the complete configuration names. The SDK makes its own clients for that before it
// has read AWS_ENDPOINT_URL, and would take a pod's token past an emulator or a VPC
// endpoint to AWS.
type lateSTS struct{ client *sts.Client }

// AssumeRoleWithWebIdentity implements stscreds.AssumeRoleWithWebIdentityAPIClient.
func (l *lateSTS) AssumeRoleWithWebIdentity(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput, opts ...func(*sts.Options)) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	return l.client.AssumeRoleWithWebIdentity(ctx, in, opts...)
}

// options makes the configuration use l.
func (l *lateSTS) options(o *config.LoadOptions) error {
	o.WebIdentityRoleCredentialOptions = func(o *stscreds.WebIdentityRoleOptions) { o.Client = l }
	o.AssumeRoleCredentialOptions = func(o *stscreds.AssumeRoleOptions) { o.Client = redirected{o.Client, l} }
	return nil
}

// redirected is a client that signs with credentials of its own, and goes where l does.
type redirected struct {
	stscreds.AssumeRoleAPIClient
	to *lateSTS
}

// AssumeRole implements stscreds.AssumeRoleAPIClient.
func (r redirected) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, opts ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	there := func(o *sts.Options) { o.BaseEndpoint = r.to.client.Options().BaseEndpoint }
	return r.AssumeRoleAPIClient.AssumeRole(ctx, in, append(slices.Clone(opts), there)...)
}

// configuredRole is the role that the AWS configuration itself assumes, as IRSA's
// environment does; "" where there is none. Where a profile is named, the environment's
// does not count.
func configuredRole(base aws.Config, profile string) string {
	for _, source := range base.ConfigSources {
		switch source := source.(type) {
		case config.EnvConfig:
			if source.WebIdentityTokenFilePath != "" && profile == "" {
				return source.RoleARN
			}
		case config.SharedConfig:
			return source.RoleARN
		}
	}
	return ""
}

// explained passes credentials on, and words the failure to get any.
func explained(provider aws.CredentialsProvider, role string, log *zap.Logger) aws.CredentialsProvider {
	return &explainer{provider: provider, role: role, log: log}
}

type explainer struct {
	provider aws.CredentialsProvider
	role     string
	log      *zap.Logger
}

// Retrieve implements aws.CredentialsProvider.
func (e *explainer) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := e.provider.Retrieve(ctx)
	if err == nil || ctx.Err() != nil {
		return creds, err
	}
	if _, already := errors.AsType[*credentialsError](err); already {
		return creds, err
	}
	e.log.Debug("no AWS credentials", zap.Error(err))
	return creds, &credentialsError{role: e.role, none: e.endsAtMetadata(), err: err}
}

// endsAtMetadata reports whether nothing in the configuration names credentials, so
// that the SDK's chain has come to its end, the metadata service of an EC2 instance.
func (e *explainer) endsAtMetadata() bool {
	from, ok := e.provider.(aws.CredentialProviderSource)
	return ok && slices.Equal(from.ProviderSources(), []aws.CredentialSource{aws.CredentialSourceIMDS})
}

// credentialsError says that there are no credentials to sign a call with, and what to
// do. It belongs to the whole session, not to the call that happened to ask first.
type credentialsError struct {
	role string // being assumed, "" where none is
	none bool   // whether nothing was configured at all
	err  error
}

func (e *credentialsError) Error() string {
	switch {
	case e.none:
		return "no AWS credentials: none in the environment or the AWS configuration, and no role of this instance or pod; " +
			"set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the instance or pod a role"
	case e.role != "":
		return "no AWS credentials: assuming role " + e.role + ": " + reason(e.err)
	}
	return "no AWS credentials: " + reason(e.err)
}

func (e *credentialsError) Unwrap() []error {
	kind := error(nil)
	if api, ok := errors.AsType[smithy.APIError](e.err); ok {
		kind = kindOf(api.ErrorCode())
	} else if e.none {
		kind = registry.ErrDenied
	}
	if kind == nil {
		return []error{e.err}
	}
	return []error{kind, e.err}
}

// RetryableError tells the SDK's retryer that the call is not to be repeated: the
// providers have tried again where that helps, and each repetition may take seconds.
func (*credentialsError) RetryableError() bool { return false }
