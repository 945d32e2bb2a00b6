package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// errChanged says that an object is not, or no longer, what the writer took it for.
var errChanged = errors.New("somebody else wrote the object meanwhile")

// translate words an error of a call in one line, and says what kind it is.
func translate(call string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || registry.OnSide(err) != "" {
		return err
	}
	code, said := words(err)
	if kind := kindOf(code, err); kind != nil {
		return fmt.Errorf("s3:%s: %s: %w", call, said, kind)
	}
	return fmt.Errorf("s3:%s: %w", call, brief{said, err})
}

// brief is an error in other words.
type brief struct {
	said string
	err  error
}

func (b brief) Error() string { return b.said }
func (b brief) Unwrap() error { return b.err }

// words returns what S3 calls an error, and what there is to say about it, without the
// SDK's account of its attempts.
func words(err error) (code, said string) {
	said = err.Error()
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code = api.ErrorCode()
		said = strings.TrimSuffix(code+": "+api.ErrorMessage(), ": ")
	} else if status, _ := answered(err); status != 0 {
		said = http.StatusText(status)
	}
	return code, redact.Line(redact.Text(said), redact.MaxLine)
}

// answered returns status and header of the server's answer; the status is 0 where there was
// none.
func answered(err error) (status int, header http.Header) {
	answer, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok || answer.Response == nil || answer.Response.Response == nil {
		return 0, nil
	}
	return answer.Response.StatusCode, answer.Response.Header
}

// kindOf returns the kind of an error, nil for what may pass by itself.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func kindOf(code string, err error) error {
	switch code {
	case "NoSuchKey", "NoSuchUpload":
		return registry.ErrNotFound
	case "NoSuchBucket":
		return registry.ErrPermanent // and no repository that grows with the first push
	case "PreconditionFailed", "ConditionalRequestConflict":
		return errChanged
	case "SlowDown", "TooManyRequests", "Throttling", "RequestLimitExceeded", "ServiceUnavailable":
		return registry.ErrThrottled
	case "ExpiredToken", "RequestExpired", "TokenRefreshRequired":
		return errors.Join(registry.ErrDenied, registry.ErrExpired)
	case "BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest", "XAmzContentChecksumMismatch":
		return registry.ErrCorrupt
	case "RequestTimeout", "RequestTimeTooSkewed", "IncompleteBody", "InternalError":
		return nil
	}
	status, _ := answered(err)
	return kindOfStatus(status)
}

func kindOfStatus(status int) error {
	switch {
	case status == http.StatusNotFound:
		return registry.ErrNotFound
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return registry.ErrDenied
	case status == http.StatusPreconditionFailed, status == http.StatusConflict:
		return errChanged
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return registry.ErrThrottled
	case status == http.StatusNotImplemented, status == http.StatusMethodNotAllowed:
		return registry.ErrUnsupported
	case status >= http.StatusBadRequest && status < http.StatusInternalServerError:
		return registry.ErrPermanent
	}
	return nil
}
