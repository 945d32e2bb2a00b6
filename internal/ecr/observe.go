package ecr

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Observer hears of every request to AWS, each attempt by itself, and of the passwords
// that AWS issues for registries. Its methods are called by many goroutines and return at
// once.
type Observer interface {
	// Answered tells which host was asked, which operation of AWS's (ecr:BatchGetImage), and
	// the status and header of the answer; 0 and nil where there was none. The header may be
	// neither changed nor kept.
	Answered(host, operation string, status int, header http.Header)

	// Throttled tells that AWS found a request one too many.
	Throttled(host string)

	// TokenExpires tells when the password for a registry's host ends.
	TokenExpires(host string, at time.Time)
}

// Tracer follows requests to AWS, each attempt by itself. Its method is called by many
// goroutines and returns at once.
type Tracer interface {
	// Request tells that r is about to be sent, to which host, and for which operation of
	// AWS's. What it returns is called once: with the status of the answer, 0 where there was
	// none, with the bytes of the body that was sent, and with what went wrong. Neither r nor
	// its header may be changed.
	Request(ctx context.Context, r *http.Request, host, operation string) (ended func(status int, bytes int64, err error))
}

// observing lets o hear of all calls, and t follow them, where they are not nil.
func observing(o Observer, t Tracer) []func(*middleware.Stack) error {
	if o == nil && t == nil {
		return nil
	}
	heard := middleware.DeserializeMiddlewareFunc("ecr-mirror-sync.Observer", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		ended := follow(ctx, t, in.Request)
		out, metadata, err := next.HandleDeserialize(ctx, in)
		ended(out.RawResponse, err)
		if o != nil {
			tell(ctx, o, in.Request, out.RawResponse, err)
		}
		return out, metadata, err
	})
	return []func(*middleware.Stack) error{
		// Before all that reads the answer, and so after the loop that repeats: whoever comes
		// first in this step sees an attempt with its error.
		func(stack *middleware.Stack) error { return stack.Deserialize.Add(heard, middleware.Before) },
	}
}

// follow has one attempt followed. What it returns is told the answer.
func follow(ctx context.Context, t Tracer, request any) (ended func(answer any, err error)) {
	asked, ok := request.(*smithyhttp.Request)
	if t == nil || !ok {
		return func(any, error) {}
	}
	end := t.Request(ctx, asked.Request, asked.URL.Host, operationOf(ctx))
	return func(answer any, err error) {
		status := 0
		if answered, ok := answer.(*smithyhttp.Response); ok && answered != nil {
			status = answered.StatusCode
		}
		end(status, max(0, asked.ContentLength), err)
	}
}

// operationOf is what IAM calls the operation that a call is for.
func operationOf(ctx context.Context) string {
	return prefixOf(awsmiddleware.GetServiceID(ctx)) + ":" + awsmiddleware.GetOperationName(ctx)
}

// tell tells of one attempt.
func tell(ctx context.Context, o Observer, request, answer any, err error) {
	asked, ok := request.(*smithyhttp.Request)
	if !ok {
		return
	}
	operation := operationOf(ctx)
	answered, ok := answer.(*smithyhttp.Response)
	if !ok || answered == nil {
		o.Answered(asked.URL.Host, operation, 0, nil)
		return
	}
	o.Answered(asked.URL.Host, operation, answered.StatusCode, answered.Header)
	if throttled(answered.StatusCode, err) {
		o.Throttled(asked.URL.Host)
	}
}

// throttled reports whether an answer says that there are too many requests. ECR says so
// with 400 and a code.
func throttled(status int, err error) bool {
	if status == http.StatusTooManyRequests {
		return true
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	_, known := retry.DefaultThrottleErrorCodes[api.ErrorCode()]
	return known
}

// prefixOf is what IAM calls a service, by the id that the SDK has for it.
func prefixOf(service string) string {
	if service == "Resource Groups Tagging API" {
		return "tag"
	}
	return strings.ToLower(strings.ReplaceAll(service, " ", "-"))
}
