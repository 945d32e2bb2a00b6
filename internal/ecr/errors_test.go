package ecr_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecr"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/testkit/faults"
)

// wrapped is err as the SDK returns it, with a request id and all.
func wrapped(status int, err error) error {
	return &smithy.OperationError{ServiceID: "ECR", OperationName: "ListImages", Err: &retry.MaxAttemptsError{
		Attempt: 8,
		Err: &awshttp.ResponseError{
			RequestID: "0d7a1c2e-request-id",
			ResponseError: &smithyhttp.ResponseError{
				Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
				Err:      err,
			},
		},
	}}
}

func TestTranslateKinds(t *testing.T) {
	kinds := []error{registry.ErrNotFound, registry.ErrDenied, registry.ErrThrottled, registry.ErrPermanent}
	for code, want := range map[string]error{
		"RepositoryNotFoundException":         registry.ErrNotFound,
		"ImageNotFoundException":              registry.ErrNotFound,
		"AccessDenied":                        registry.ErrDenied,
		"AccessDeniedException":               registry.ErrDenied,
		"UnauthorizedOperation":               registry.ErrDenied,
		"OptInRequired":                       registry.ErrDenied,
		"UnrecognizedClientException":         registry.ErrDenied,
		"InvalidClientTokenId":                registry.ErrDenied,
		"InvalidSignatureException":           registry.ErrDenied,
		"SignatureDoesNotMatch":               registry.ErrDenied,
		"ExpiredToken":                        registry.ErrDenied,
		"ExpiredTokenException":               registry.ErrDenied,
		"InvalidIdentityToken":                registry.ErrDenied,
		"MissingAuthenticationToken":          registry.ErrDenied,
		"MissingAuthenticationTokenException": registry.ErrDenied,
		"Throttling":                          registry.ErrThrottled,
		"ThrottlingException":                 registry.ErrThrottled,
		"ThrottledException":                  registry.ErrThrottled,
		"TooManyRequestsException":            registry.ErrThrottled,
		"RequestLimitExceeded":                registry.ErrThrottled,
		"SlowDown":                            registry.ErrThrottled,
		"InvalidParameterException":           registry.ErrPermanent,
		"ValidationException":                 registry.ErrPermanent,
		"LimitExceededException":              registry.ErrPermanent, // of throttling in the SDK's opinion
		"ServerException":                     nil,
		"KmsException":                        nil,
		"":                                    nil,
	} {
		err := ecr.Translate("ecr:ListImages", wrapped(400, &smithy.GenericAPIError{Code: code, Message: "m"}))
		for _, kind := range kinds {
			if got := errors.Is(err, kind); got != errors.Is(want, kind) {
				t.Errorf("%s is %q: %t", code, kind, got)
			}
		}
	}
}

func TestTranslateKeepsTheOriginal(t *testing.T) {
	err := ecr.Translate("ecr:ListImages", wrapped(400, &types.RepositoryNotFoundException{}))
	if _, ok := errors.AsType[*types.RepositoryNotFoundException](err); !ok {
		t.Error("the SDK's error is not in the chain")
	}
	if _, ok := errors.AsType[*smithy.OperationError](err); !ok {
		t.Error("the SDK's operation error is not in the chain")
	}
	if err := ecr.Translate("ecr:ListImages", nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestTranslateWording(t *testing.T) {
	api := func(code, message string) error { return &smithy.GenericAPIError{Code: code, Message: message} }
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{
			"an answer", wrapped(400, api("RepositoryNotFoundException", "The repository with name 'x' does not exist")),
			"ecr:ListImages: RepositoryNotFoundException: The repository with name 'x' does not exist (tried 8 times)",
		},
		{
			"an answer of one attempt", &smithy.OperationError{ServiceID: "ECR", OperationName: "ListImages", Err: api("AccessDeniedException", "no")},
			"ecr:ListImages: AccessDeniedException: no",
		},
		{"no message", &smithy.OperationError{Err: api("ServerException", "")}, "ecr:ListImages: ServerException"},
		{"several lines", &smithy.OperationError{Err: api("ServerException", "a\n\tb")}, "ecr:ListImages: ServerException: a b"},
		{"no answer of AWS's", wrapped(503, api("UnknownError", "UnknownError")), "ecr:ListImages: HTTP status 503 (tried 8 times)"},
		{
			"a Region that is not enabled", &smithy.OperationError{Err: api("UnrecognizedClientException", "The security token included in the request is invalid.")},
			"ecr:ListImages: UnrecognizedClientException: The security token included in the request is invalid. (the access key is not valid, or the Region is not enabled for the account)",
		},
		{
			"an ended session", &smithy.OperationError{Err: api("ExpiredTokenException", "expired")},
			"ecr:ListImages: ExpiredTokenException: expired (log in to AWS again)",
		},
		{
			"no connection", wrapped(0, &url.Error{Op: "Post", URL: "https://api.ecr.us-east-1.amazonaws.com/", Err: errors.New("connection refused")}),
			`ecr:ListImages: Post "https://api.ecr.us-east-1.amazonaws.com/": connection refused (tried 8 times)`,
		},
		{
			"no such Region", &url.Error{Op: "Post", URL: "https://api.ecr.mars-1.amazonaws.com/", Err: &net.DNSError{Err: "no such host", Name: "api.ecr.mars-1.amazonaws.com", IsNotFound: true}},
			`ecr:ListImages: Post "https://api.ecr.mars-1.amazonaws.com/": lookup api.ecr.mars-1.amazonaws.com: no such host (is there such a Region?)`,
		},
		{"something else", &smithy.OperationError{ServiceID: "ECR", Err: errors.New("no reason")}, "ecr:ListImages: no reason"},
		{"not the SDK's", errors.New("no reason"), "ecr:ListImages: no reason"},
	} {
		if got := ecr.Translate("ecr:ListImages", test.err).Error(); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
}

func TestTranslateKeepsCancellation(t *testing.T) {
	err := ecr.Translate("ecr:ListImages", &smithy.OperationError{Err: &smithy.CanceledError{Err: context.Canceled}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is no cancellation any more", err)
	}
}

// An API that answers nothing was waited for without end: the SDK's clients have no
// timeout of their own.
func TestCallsHaveATimeout(t *testing.T) {
	url := scripted(t, nil, func(w http.ResponseWriter, r request) bool {
		if strings.Contains(r.http.Header.Get("Amz-Sdk-Request"), "attempt=1;") {
			<-r.http.Context().Done() // until the client goes away
			return true
		}
		say(w, object{"authorizationData": []object{{"authorizationToken": "QVdTOnB3", "expiresAt": time.Now().Add(time.Hour).Unix()}}})
		return true
	})
	keys(t, url)
	session, err := ecr.Open(t.Context(), ecr.Impatient(ecr.Options{}, 50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	cred, err := ecr.NewRegistries(session, nil).Credential(t.Context(), hostIn("us-east-1"))
	if err != nil || cred.Password.Reveal() != "pw" {
		t.Errorf("after a call without an answer: %v, %v", cred, err)
	}
}

// counting answers every call of op with fail until it has done so failures times.
func counting(op string, failures int, fail func(http.ResponseWriter)) (script, func() int) {
	var calls atomic.Int64
	return func(w http.ResponseWriter, r request) bool {
		if r.op != op {
			return false
		}
		if calls.Add(1) <= int64(failures) {
			fail(w)
			return true
		}
		say(w, object{})
		return true
	}, func() int { return int(calls.Load()) }
}

func TestRetries(t *testing.T) {
	faults.Covers(t, "F57")
	refusing := func(code string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { refuse(w, code, "m") }
	}
	status := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(code) }
	}
	for _, test := range []struct {
		name  string
		fail  func(http.ResponseWriter)
		calls int
	}{
		{"ThrottlingException", refusing("ThrottlingException"), ecr.APIAttempts},
		{"ThrottledException", refusing("ThrottledException"), ecr.APIAttempts},
		{"server error", status(http.StatusInternalServerError), ecr.APIAttempts},
		{"429 without a code", status(http.StatusTooManyRequests), ecr.APIAttempts},
		{"cut connection", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, ecr.APIAttempts},
		{"cut answer", cutAnswer, ecr.APIAttempts},
		// A full quota is "too much" to the SDK too, which would try again for a minute.
		{"LimitExceededException", refusing("LimitExceededException"), 1},
		{"AccessDeniedException", refusing("AccessDeniedException"), 1},
		{"RepositoryNotFoundException", refusing("RepositoryNotFoundException"), 1},
		{"InvalidParameterException", refusing("InvalidParameterException"), 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			play, calls := counting("ListImages", 1000, test.fail)
			_, registries := connect(t, scripted(t, nil, play), ecr.Options{})
			_, err := ecr.NewTarget(nil, registries).Snapshot(t.Context(), repositoryAtAWS, nil)
			if err == nil || calls() != test.calls {
				t.Errorf("%d calls and error %v, want %d calls", calls(), err, test.calls)
			}
			if err != nil && strings.Contains(err.Error(), "request-id") {
				t.Errorf("the error shows a request id: %v", err)
			}
		})
	}
}

// cutAnswer promises more than it sends.
func cutAnswer(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"imageIds":[`))
}

func TestRetriesSucceed(t *testing.T) {
	play, calls := counting("ListImages", ecr.APIAttempts-1, func(w http.ResponseWriter) { refuse(w, "ThrottlingException", "Rate exceeded") })
	_, registries := connect(t, scripted(t, nil, play), ecr.Options{})
	if _, err := ecr.NewTarget(nil, registries).Snapshot(t.Context(), repositoryAtAWS, nil); err != nil || calls() != ecr.APIAttempts {
		t.Errorf("%d calls and error %v", calls(), err)
	}
}

// The SDK lets all calls of a client share a hundred retries. A listing of many
// repositories in a busy account spent them, and then failed at the first throttling.
func TestRetriesAreNotShared(t *testing.T) {
	url := scripted(t, nil, func(w http.ResponseWriter, _ request) bool {
		refuse(w, "ThrottlingException", "Rate exceeded")
		return true
	})
	_, registries := connect(t, url, ecr.Options{})
	target := ecr.NewTarget(nil, registries)
	for i := range 20 {
		_, err := target.Snapshot(t.Context(), repositoryAtAWS, nil)
		if want := fmt.Sprintf("(tried %d times)", ecr.APIAttempts); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("call %d: %v, want %s", i+1, err, want)
		}
	}
}

// A throttled call waits longer than one that cannot reach AWS, and none for ever. The
// pauses are drawn: of so many, one comes near the bound.
func TestPausesGrowAndEnd(t *testing.T) {
	for _, test := range []struct {
		err  error
		most time.Duration // of one pause
	}{
		{&smithy.GenericAPIError{Code: "ThrottlingException"}, 20 * time.Second},
		{&url.Error{Op: "Post", Err: errors.New("connection refused")}, 5 * time.Second},
	} {
		var longest time.Duration
		for range 500 {
			pauses := ecr.Pauses(test.err)
			if len(pauses) != ecr.APIAttempts-1 {
				t.Fatalf("%d pauses", len(pauses))
			}
			for i, pause := range pauses {
				longest = max(longest, pause)
				if most := min(2<<i*time.Second, test.most); pause < 0 || pause > most {
					t.Errorf("%v: pause %d lasts %s, want at most %s", test.err, i+1, pause, most)
				}
			}
		}
		if longest < test.most/2 {
			t.Errorf("%v: no pause is longer than %s", test.err, longest)
		}
	}
}
