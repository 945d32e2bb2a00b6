package ecr

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"go.uber.org/zap"
)

// Translate is what every answer of AWS goes through.
var Translate = translate

// The bounds that tests count against.
const (
	APIAttempts  = apiAttempts
	RenewalPause = renewalPause
)

// Quick returns opts without pauses between attempts.
func Quick(opts Options) Options {
	opts.tuning.backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	return opts
}

// Impatient is Quick, with a bound on each attempt.
func Impatient(opts Options, attempt time.Duration) Options {
	opts = Quick(opts)
	opts.tuning.attemptTimeout = attempt
	return opts
}

// Pauses returns the pauses before the attempts of one call, as they are outside of
// tests, where every attempt fails with err.
func Pauses(err error) []time.Duration {
	retryer := retryer(aws.RetryModeStandard, Options{Log: zap.NewNop()})()
	var all []time.Duration
	for attempt := 1; attempt < retryer.MaxAttempts(); attempt++ {
		pause, err := retryer.RetryDelay(attempt, err)
		if err != nil {
			panic(err)
		}
		all = append(all, pause)
	}
	return all
}

// RenewLate does what a caller does that found a password due just before another
// caller's fetch ended.
func (r *Registries) RenewLate(ctx context.Context, region string) error {
	_, err := r.token(r.session, region).renew(ctx)
	return err
}

// ReplaceCredentials makes s get its credentials from provider. It is called before the
// first call to AWS.
func (s *Session) ReplaceCredentials(provider aws.CredentialsProvider) {
	s.base.Credentials = explained(provider, "", s.log)
}
