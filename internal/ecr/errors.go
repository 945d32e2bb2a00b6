package ecr

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
)

// translate gives an AWS error the kind that the program acts on, and words it as
// "operation: code: message": the SDK's own text buries these in request ids and
// endpoints. The original stays in the chain.
//
// An error about credentials is returned as what it is: it is no answer to operation,
// which never was called.
func translate(operation string, err error) error {
	if err == nil {
		return nil
	}
	if credentials, ok := errors.AsType[*credentialsError](err); ok {
		return credentials
	}
	e := &callError{operation: operation, err: err}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		e.code = api.ErrorCode()
		e.kind = kindOf(e.code)
	}
	return e
}

// callError is a call to AWS that failed.
type callError struct {
	operation string
	code      string // what AWS answered, "" where it did not answer
	kind      error  // nil where the code says nothing about what to do
	err       error
}

func (e *callError) Error() string {
	text := e.operation + ": " + reason(e.err)
	if hint := hintOf(e.err); hint != "" {
		text += " (" + hint + ")"
	}
	return text
}

func (e *callError) Unwrap() []error {
	if e.kind == nil {
		return []error{e.err}
	}
	return []error{e.kind, e.err}
}

// kindOf sorts AWS error codes. The credential errors are those of the common error
// list of AWS's query and JSON protocols.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/CommonErrors.html
func kindOf(code string) error {
	switch code {
	case "RepositoryNotFoundException", "ImageNotFoundException":
		return registry.ErrNotFound
	case "OptInRequired", "UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure",
		"InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "RequestExpired",
		"ExpiredToken", "ExpiredTokenException", "InvalidIdentityToken", "IDPRejectedClaim",
		"MissingAuthenticationToken", "MissingAuthenticationTokenException":
		return registry.ErrDenied
	case "InvalidParameterException", "LimitExceededException", "ValidationException", "ValidationError",
		"InvalidTagParameterException", "TooManyTagsException":
		return registry.ErrPermanent
	}
	if lacksPermission(code) {
		return registry.ErrDenied
	}
	if _, throttled := retry.DefaultThrottleErrorCodes[code]; throttled {
		return registry.ErrThrottled
	}
	return nil
}

// hasNone reports whether a repository has no policy of the kind that was asked for.
func hasNone(err error) bool {
	e, ok := errors.AsType[*callError](err)
	return ok && (e.code == "LifecyclePolicyNotFoundException" || e.code == "RepositoryPolicyNotFoundException")
}

func lacksPermission(code string) bool {
	return code == "AccessDenied" || code == "AccessDeniedException" || code == "UnauthorizedOperation"
}

// refused reports whether the caller, who is known to AWS, lacks the permission for
// this one call. Bad credentials are not that: with them no call succeeds.
func refused(err error) bool {
	e, ok := errors.AsType[*callError](err)
	return ok && lacksPermission(e.code)
}

// reason is the part of an SDK error that a person can use, in one line: the answer's
// code and message, else what went wrong on the way.
func reason(err error) string {
	var text string
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		text = answer(api, err)
	} else if request, ok := errors.AsType[*url.Error](err); ok {
		text = request.Error()
	} else if operation, ok := errors.AsType[*smithy.OperationError](err); ok {
		text = operation.Err.Error()
	} else {
		text = strings.TrimPrefix(err.Error(), "failed to refresh cached credentials, ")
	}
	if given, ok := errors.AsType[*retry.MaxAttemptsError](err); ok {
		text = fmt.Sprintf("%s (tried %d times)", text, given.Attempt)
	}
	return oneLine(text)
}

// answer words what AWS said. Something else than AWS, such as a proxy, says nothing
// but a status.
func answer(api smithy.APIError, err error) string {
	code, message := api.ErrorCode(), api.ErrorMessage()
	var response interface{ HTTPStatusCode() int }
	if code == "UnknownError" && errors.As(err, &response) {
		code = fmt.Sprintf("HTTP status %d", response.HTTPStatusCode())
	}
	if message == "" || message == "UnknownError" {
		return code
	}
	return code + ": " + message
}

// hintOf adds what AWS's own words leave out. A Region that is not enabled for an
// account answers as if the credentials were wrong, and a Region that does not exist
// does not answer.
func hintOf(err error) string {
	if lookup, ok := errors.AsType[*net.DNSError](err); ok && lookup.IsNotFound {
		return "is there such a Region?"
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return ""
	}
	switch api.ErrorCode() {
	case "UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure", "OptInRequired":
		return "the access key is not valid, or the Region is not enabled for the account"
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return "log in to AWS again"
	}
	return ""
}
