package dockerhub

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
)

// refusalError is an answer other than 200. It unwraps to the kind of error that its
// status means, if any.
type refusalError struct {
	method  string
	url     string // without query
	status  int
	message string // one line, "" where the body has no words
	after   time.Duration
}

func (e *refusalError) Error() string {
	return fmt.Sprintf("%s %s: %d %s", e.method, e.url, e.status, cmp.Or(e.message, http.StatusText(e.status)))
}

// RetryAfter is how long Docker Hub asked to be left alone.
func (e *refusalError) RetryAfter() time.Duration { return e.after }

func (e *refusalError) Unwrap() error {
	switch {
	case e.status == http.StatusTooManyRequests:
		return failure.ErrThrottled
	case e.status == http.StatusUnauthorized, e.status == http.StatusForbidden:
		return failure.ErrDenied
	case e.status == http.StatusNotFound:
		return failure.ErrNotFound
	case e.status == http.StatusRequestTimeout, e.status >= 500:
		return nil
	}
	return failure.ErrPermanent
}

func refusal(resp *http.Response) *refusalError {
	e := &refusalError{
		method: resp.Request.Method,
		url:    redact.URL(resp.Request.URL),
		status: resp.StatusCode,
		after:  retry.ParseAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err == nil {
		e.message = redact.Line(redact.Text(messageOf(body)), redact.MaxLine)
	}
	return e
}

// messageOf finds the words in an error's body, in any of the documented forms. A web
// page has nothing to say that the status does not.
func messageOf(body []byte) string {
	var said struct {
		Message string `json:"message"`
		Detail  string `json:"detail"`
		Text    string `json:"text"`
	}
	_ = json.Unmarshal(body, &said) // a field of another type leaves the others
	return cmp.Or(said.Message, said.Detail, said.Text)
}
