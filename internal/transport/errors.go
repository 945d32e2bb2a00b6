package transport

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	orasauth "oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
)

// StatusError is a registry's refusal, as it worded it. It unwraps to the kind of
// registry error that its status and code mean, if any.
type StatusError struct {
	Method  string
	URL     string // without query: a pre-signed URL's signature is a secret
	Status  int
	Code    string // the OCI error code, "" where the body carried none
	Message string // one line, control characters escaped, "" where the body has no words
	After   time.Duration

	token bool          // the token service refused, not the registry
	skew  time.Duration // of the registry's clock, where that is far off and may be the reason
}

func (e *StatusError) Error() string {
	said := strings.TrimSpace(e.Code + " " + e.Message)
	switch {
	case said != "":
	case e.Status < 300:
		said = http.StatusText(e.Status) + ", which is no answer to this request"
	default:
		said = http.StatusText(e.Status)
	}
	switch {
	case e.skew > 0:
		said += fmt.Sprintf("; clock skew: the registry's clock is %s ahead of this machine's", e.skew)
	case e.skew < 0:
		said += fmt.Sprintf("; clock skew: the registry's clock is %s behind this machine's", -e.skew)
	}
	return fmt.Sprintf("%s %s: %d %s", e.Method, e.URL, e.Status, said)
}

// RetryAfter is how long the registry asked to be left alone.
func (e *StatusError) RetryAfter() time.Duration { return e.After }

// Unwrap returns the kind of the error, nil for what may pass by itself.
func (e *StatusError) Unwrap() error {
	switch {
	case e.Status == http.StatusTooManyRequests, e.Code == "TOOMANYREQUESTS":
		return registry.ErrThrottled
	case e.Status == http.StatusRequestTimeout:
		return nil
	case e.token && e.Status < 500:
		return registry.ErrDenied // whatever it says: an image is never absent because of a token
	case e.immutable():
		return registry.ErrImmutable
	case e.Code == "BLOB_UPLOAD_UNKNOWN":
		return nil // a lost upload session, not a lost repository: the next one may live
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden:
		return registry.ErrDenied
	case e.Status == http.StatusNotFound:
		return registry.ErrNotFound
	case e.Status == http.StatusMethodNotAllowed, e.Status == http.StatusNotImplemented:
		return registry.ErrUnsupported
	case e.Status >= 500:
		return nil
	case e.Status >= 400:
		return registry.ErrRefused
	}
	return registry.ErrPermanent // no refusal, and no answer to the request either
}

// immutable recognizes the answers of registries to overwriting an immutable tag: the
// specification has no code for it, so ECR says TAG_INVALID and others say it in
// words.
func (e *StatusError) immutable() bool {
	if e.Method != http.MethodPut || e.Status < 400 || e.Status >= 500 {
		return false
	}
	said := strings.ToLower(e.Code + " " + e.Message)
	return strings.Contains(said, "immutable") || strings.Contains(said, "does not allow updating") // Nexus
}

// expired reports that something was too old: a password, a token, a pre-signed URL.
func (e *StatusError) expired() bool {
	return (e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized) &&
		strings.Contains(strings.ToLower(e.Message), "expired")
}

// stale reports that a refusal is of what the request was sent with, rather than of
// what it asked for. ECR refuses an expired password with 403 DENIED, which no
// client's 401 handling sees.
func (e *StatusError) stale(used *attempt) bool {
	if e.token { // 400 is OAuth2's answer to a refresh token it does not know
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusBadRequest
	}
	if e.expired() {
		return true
	}
	// The registry itself looked at a password and did not know it. After a bearer
	// token, 401 is how some registries deny access.
	return e.Status == http.StatusUnauthorized && used.bearer == ""
}

// maxErrorBody is how much of an error's body is read, and maxErrorCode how long its
// code can be, in bytes.
const (
	maxErrorBody = 64 << 10
	maxErrorCode = 64
)

// statusError reads a refusal and closes its body.
func statusError(resp *http.Response) *StatusError {
	defer resp.Body.Close()
	defer drain(resp.Body)
	e := &StatusError{
		Method: resp.Request.Method,
		URL:    redact.URL(resp.Request.URL),
		Status: resp.StatusCode,
		After:  retry.ParseAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		e.skew = skew(resp.Header, time.Now())
	}
	if isWebPage(resp.Header) {
		return e // it has nothing to say that the status does not
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return e // the status alone says most of it
	}
	code, message := parseErrorBody(body)
	e.said(code, message)
	return e
}

// muchSkew is how far two clocks are apart when tokens and signatures begin to be refused
// for it. AWS's limit is the same.
const muchSkew = 5 * time.Minute

// skew is how far the clock of who answered is ahead of ours, 0 where that is little or
// not known.
func skew(answer http.Header, now time.Time) time.Duration {
	theirs, err := http.ParseTime(answer.Get("Date"))
	if err != nil {
		return 0
	}
	if ahead := theirs.Sub(now).Round(time.Second); ahead.Abs() > muchSkew {
		return ahead
	}
	return 0
}

// said sets the registry's words, made safe to show.
func (e *StatusError) said(code, message string) {
	e.Code = redact.Line(code, maxErrorCode)
	e.Message = redact.Line(redact.Text(message), redact.MaxLine-maxErrorCode-1)
}

// parseErrorBody reads the error form of the distribution specification, and that of
// the storage services that registries redirect to; any other text is taken as it is.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
func parseErrorBody(body []byte) (code, message string) {
	var answer struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &answer) == nil && len(answer.Errors) > 0 {
		var messages []string
		for _, e := range answer.Errors {
			messages = append(messages, e.Message)
		}
		return answer.Errors[0].Code, strings.Join(messages, "; ")
	}
	var stored struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if xml.Unmarshal(body, &stored) == nil {
		return stored.Code, stored.Message // and not the request it quotes, tokens included
	}
	return "", string(body)
}

// networkError judges an error that came instead of an answer.
func networkError(err error) error {
	if errors.Is(err, orasauth.ErrBasicCredentialNotFound) {
		return fmt.Errorf("the registry asks for a password and none is known for it: %w", registry.ErrDenied)
	}
	if token, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		return tokenError(token)
	}
	said := redact.Error(err)
	if hint := advice(err); hint != "" {
		said = fmt.Errorf("%w (%s)", said, hint)
	}
	if final(err) {
		return finalError{said}
	}
	return said
}

// finalError is an error of the kind ErrPermanent that says all there is to say itself.
type finalError struct{ error }

func (e finalError) Unwrap() []error { return []error{e.error, registry.ErrPermanent} }

// advice is what whoever named a host can do about its not being reached, "" for nothing.
func advice(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "is the name of the registry right?"
	}
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return "tls.ca of a configuration file, and --src-cert-dir, name authorities to trust"
	}
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return "--insecure-registry lets a host speak plain HTTP"
	}
	return ""
}

// final reports that a network error is a fact about the host and not an accident: it
// does not exist, or cannot prove who it is.
func final(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.IsNotFound && !dns.IsTemporary
	}
	_, unproven := errors.AsType[*tls.CertificateVerificationError](err)
	return unproven || refusedRealm(err)
}

// refusedRealm recognizes the authentication library's refusal of a token service: it has
// no kind of error for that.
func refusedRealm(err error) bool {
	said := err.Error()
	return strings.Contains(said, "bearer realm ") || strings.Contains(said, "redirect of token request rejected")
}

// tokenError words a token service's refusal like a registry's.
func tokenError(e *errcode.ErrorResponse) error {
	status := &StatusError{Method: e.Method, URL: redact.URL(e.URL), Status: e.StatusCode, token: true}
	if len(e.Errors) > 0 {
		status.said(e.Errors[0].Code, e.Errors[0].Message)
	}
	return status
}

// drain reads what is left of a body, within reason, so that the connection can be used
// again.
func drain(body io.Reader) { _, _ = io.Copy(io.Discard, io.LimitReader(body, maxErrorBody)) }
