package ecr

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
)

var _ auth.Describer = (*Registries)(nil)

// Describe says whose password of ECR opens host, and until when. It fetches the password
// where none is held.
func (r *Registries) Describe(ctx context.Context, host string) (auth.Origin, error) {
	if session, public := r.Public(host); public {
		return described(ctx, r.publicToken(session), "ECR Public")
	}
	at, private, err := r.one(host)
	if err != nil || !private {
		return auth.Origin{}, err
	}
	return described(ctx, r.token(at.session, at.Region), fmt.Sprintf("ECR of %s", at.Location))
}

func described(ctx context.Context, t *token, what string) (auth.Origin, error) {
	held, err := t.get(ctx)
	if err != nil {
		return auth.Origin{}, err
	}
	who, err := t.session.who(ctx)
	if err != nil {
		return auth.Origin{}, err
	}
	return auth.Origin{Source: what + " by " + who, Expires: held.expires}, nil
}

// who says where the AWS credentials of the session come from.
func (s *Session) who(ctx context.Context) (string, error) {
	if s.opts.Role.ARN != "" {
		return s.opts.Role.ARN, nil
	}
	if s.profile != "" {
		return "the AWS profile " + s.profile, nil
	}
	creds, err := s.base.Credentials.Retrieve(ctx)
	if err != nil {
		return "", err
	}
	switch creds.Source {
	case config.CredentialsSourceName:
		return "AWS keys of the environment", nil
	case stscreds.WebIdentityProviderName:
		return "a web identity (IRSA)", nil
	case endpointcreds.ProviderName:
		return "the role of the container (EKS Pod Identity, ECS)", nil
	case ec2rolecreds.ProviderName:
		return "the role of the instance", nil
	case ssocreds.ProviderName:
		return "AWS SSO", nil
	}
	return "AWS credentials of " + creds.Source, nil
}
