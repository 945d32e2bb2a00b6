package ecr

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"go.uber.org/zap"
)

// apiAttempts outlasts ECR's throttling of a busy account, which answers with errors
// for tens of seconds.
const apiAttempts = 8

// The longest pauses between attempts. All of a call's pauses together come to some
// 45 seconds where AWS throttles, and to some 15 where it cannot be reached, which
// patience seldom mends.
const (
	throttlePause = 20 * time.Second
	outagePause   = 5 * time.Second
)

// tuning is what tests change, so that they need not wait.
type tuning struct {
	attemptTimeout time.Duration
	backoff        retry.BackoffDelayer
}

// retryer is the SDK's own in the mode of the AWS configuration, with a few changes.
// It has more patience. It does not take LimitExceeded for throttling: at ECR that
// says that a quota is full, and no waiting empties it. It tries again after an answer
// that was cut off. And it counts attempts for each call, not for all together: the
// SDK's common purse of retries is empty after a hundred, which a listing of a thousand
// repositories in a busy account spends.
func retryer(mode aws.RetryMode, opts Options) func() aws.Retryer {
	patient := func(o *retry.StandardOptions) {
		o.MaxAttempts = apiAttempts
		o.RateLimiter = ratelimit.None
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(fullQuota)}, o.Retryables...)
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(cutOff), retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{
			http.StatusRequestTimeout: {}, http.StatusTooManyRequests: {},
		}})
		o.Backoff = pauses{
			throttled: cmp.Or[retry.BackoffDelayer](opts.tuning.backoff, retry.NewExponentialJitterBackoff(throttlePause)),
			otherwise: cmp.Or[retry.BackoffDelayer](opts.tuning.backoff, retry.NewExponentialJitterBackoff(outagePause)),
			log:       opts.Log,
		}
	}
	return func() aws.Retryer {
		if mode == aws.RetryModeAdaptive {
			return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
				o.StandardOptions = append(o.StandardOptions, patient)
			})
		}
		return retry.NewStandard(patient)
	}
}

func fullQuota(err error) aws.Ternary {
	if _, full := errors.AsType[*types.LimitExceededException](err); full {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

func cutOff(err error) aws.Ternary {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// pauses chooses the pause before the next attempt, and says so in the log: a minute
// of silence looks like a hang.
type pauses struct {
	throttled, otherwise retry.BackoffDelayer
	log                  *zap.Logger
}

// BackoffDelay implements retry.BackoffDelayer.
func (p pauses) BackoffDelay(attempt int, err error) (time.Duration, error) {
	delayer := p.otherwise
	if retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool() {
		delayer = p.throttled
	}
	pause, fail := delayer.BackoffDelay(attempt, err)
	p.log.Debug("a call to AWS failed and will be tried again", zap.Int("attempt", attempt), zap.Duration("pause", pause), zap.String("error", reason(err)))
	return pause, fail
}
