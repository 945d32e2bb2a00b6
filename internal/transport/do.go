package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"go.uber.org/zap"
	orasauth "oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/retry"
)

// call is one request to a registry, in the form that can be sent again.
type call struct {
	method string
	repo   ref.Repository // none for what is the registry's own
	path   string         // below /v2/<repository>/, or
	url    *url.URL       // in full, for an upload location or a next page
	query  url.Values     // added to path
	header http.Header
	body   []byte         // sent again at each attempt
	push   bool           // ask for a token that may push
	reads  ref.Repository // ask for one that may also pull from this other repository
	remove bool           // ask for a token that may delete
	accept []int          // statuses that are success
	blob   bool           // it asks about a blob
	base   bool           // it is for the API's base, and needs a token that allows nothing
}

// answer is what a call that carries no blob brought.
type answer struct {
	status int
	header http.Header
	from   *url.URL // who answered, after redirects
	length int64    // of the body, -1 where the registry did not say
	body   []byte
}

// unread is the limit of an answer whose body nobody wants.
const unread = -1

// small performs a call that carries no blob, again and again where that is worth it.
// Each attempt has the request deadline, which does not run while the attempt waits for
// its turn. The body of the answer is read whole, at most limit bytes of it.
func (h *host) small(ctx context.Context, c call, limit int64) (a answer, err error) {
	op := h.operations.of(c)
	err = retry.Do(ctx, h.policy(ctx), func(ctx context.Context) error {
		a, err = h.attempt(ctx, op, c, limit)
		for err != nil && h.breaker.waited(err) && ctx.Err() == nil {
			a, err = h.attempt(ctx, op, c, limit) // to be the one that finds out costs no attempt
		}
		return err
	})
	return a, err
}

// attempt sends a call when it is its turn.
func (h *host) attempt(ctx context.Context, op *operation, c call, limit int64) (answer, error) {
	turn, err := h.turn(ctx, op)
	if err != nil {
		return answer{}, err
	}
	a, err := h.beside(ctx, c, limit)
	turn.end(err, int64(len(a.body)))
	return a, err
}

// beside has a worker send a call once, when one is free: there are as many as the host
// may have small requests of all kinds under way.
func (h *host) beside(ctx context.Context, c call, limit int64) (a answer, err error) {
	waited := h.workers.do(ctx, func() {
		defer failure.Contain(&err)
		a, err = h.exchange(ctx, c, limit)
	})
	if waited != nil {
		return answer{}, waited
	}
	return a, err
}

// errNoAnswer is the cause of a small request's deadline. Like a stalled stream it
// means that waiting longer is pointless and asking again is not.
var errNoAnswer = fmt.Errorf("no answer in time: %w", registry.ErrStalled)

// exchange sends a call once and reads the answer, all under the request deadline.
func (h *host) exchange(ctx context.Context, c call, limit int64) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.opts.RequestTimeout, errNoAnswer)
	defer cancel()
	resp, err := h.once(ctx, c, c.reader(), int64(len(c.body)))
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	defer drain(resp.Body)
	a := answer{status: resp.StatusCode, header: resp.Header, from: resp.Request.URL, length: resp.ContentLength}
	if limit == unread {
		return a, nil
	}
	if a.body, err = readAtMost(resp, limit); err != nil {
		return answer{}, fmt.Errorf("%s %s: reading the answer: %w", c.method, redact.URL(a.from), causeOf(ctx, err))
	}
	return a, nil
}

// policy is how a call of this host is repeated.
func (h *host) policy(ctx context.Context) retry.Policy {
	return retry.Policy{
		Times: h.opts.RetryTimes,
		Final: registry.Final,
		Repeated: func(err error, pause time.Duration) {
			h.log.Debug("trying again", zap.Error(err), zap.Duration("pause", pause))
			if h.opts.Tracer != nil {
				h.opts.Tracer.Repeated(ctx, err, pause)
			}
		},
	}
}

// once sends a call one time, but for the one repetition that authentication may need,
// and turns every status the call does not accept into an error. The body of an
// accepted answer is the caller's to close.
func (h *host) once(ctx context.Context, c call, body io.Reader, size int64) (*http.Response, error) {
	ctx, used := withAttempt(ctx, c.repo.Path)
	resp, err := h.send(ctx, c, body, size)
	h.heard(ctx, c, resp, err, used)
	if err != nil {
		return nil, h.blamed(ctx, err, used)
	}
	here := sameHost(resp.Request.URL, h.address)
	if here && accepts(resp.StatusCode) {
		h.tokens.worked(used)
	}
	if slices.Contains(c.accept, resp.StatusCode) {
		return resp, nil
	}
	refusal := statusError(resp)
	switch {
	case !here && refusal.expired():
		return nil, &expiredError{refusal} // a pre-signed URL: the next one is fresh
	case !here:
		return nil, refusal // a storage host's troubles are not the registry's
	}
	if refusal.After > 0 && !registry.Final(refusal) {
		h.pause.keep(refusal.After)
	}
	return nil, h.blamed(ctx, refusal, used)
}

// accepts reports whether a status says that the registry knows who is asking.
func accepts(status int) bool {
	return status != http.StatusUnauthorized && status != http.StatusForbidden && status < 500
}

// blamed marks a refusal as worth repeating where it is the credential's fault and the
// next attempt will have another one.
func (h *host) blamed(ctx context.Context, err error, used *attempt) error {
	status, ok := errors.AsType[*StatusError](err)
	if !ok || !status.stale(used) || !h.tokens.renew(ctx, used) {
		return err
	}
	return &expiredError{status}
}

// expiredError is a refusal that the next attempt's fresh credential, or URL, will cure.
// Where there is no next attempt it is a refusal like others.
type expiredError struct{ status *StatusError }

func (e *expiredError) Error() string   { return e.status.Error() }
func (e *expiredError) Unwrap() []error { return []error{e.status, registry.ErrExpired} }

// send puts a call on the wire, with its scheme, credentials and headers.
func (h *host) send(ctx context.Context, c call, body io.Reader, size int64) (*http.Response, error) {
	scheme, err := h.scheme.get(ctx)
	if err != nil {
		return nil, err
	}
	target := c.url
	if target == nil {
		target = &url.URL{Scheme: scheme, Host: h.address, Path: c.apiPath(), RawQuery: c.query.Encode()}
	}
	req, err := http.NewRequestWithContext(orasauth.WithScopesForHost(ctx, target.Host, scopes(c)...), c.method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %w", c.method, redact.URL(target), redact.Error(err), registry.ErrPermanent)
	}
	maps.Copy(req.Header, c.header)
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	began := time.Now()
	resp, err := h.auth.Do(req)
	switch {
	case err == nil:
		if line := h.log.Check(zap.DebugLevel, "request"); line != nil {
			line.Write(zap.String("method", c.method), zap.String("url", redact.URL(target)),
				zap.Int("status", resp.StatusCode), zap.Duration("took", time.Since(began)))
		}
		return resp, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s %s: %w", c.method, redact.URL(target), context.Cause(ctx))
	}
	return nil, networkError(err)
}

// causeOf names the reason why ctx ended in place of the bare "context canceled" that
// came of it.
func causeOf(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(err, cause) {
		return cause
	}
	return err
}

func (c call) reader() io.Reader {
	if len(c.body) == 0 {
		return http.NoBody
	}
	return bytes.NewReader(c.body)
}

// apiPath is where a call without a URL of its own goes.
func (c call) apiPath() string {
	if c.repo.Path == "" || c.base {
		return "/v2/" + c.path
	}
	return "/v2/" + c.repo.Path + "/" + c.path
}

// scopes are what a token must allow for the call.
func scopes(c call) []string {
	if c.base {
		return nil
	}
	if c.reads == (ref.Repository{}) {
		return []string{scope(c)}
	}
	return []string{scope(c), orasauth.ScopeRepository(c.reads.Path, orasauth.ActionPull)}
}

// scope is what a token must allow in the call's own repository.
func scope(c call) string {
	switch {
	case c.repo.Path == "":
		return orasauth.ScopeRegistryCatalog // the one thing of its own that a registry is asked for
	case c.push:
		return orasauth.ScopeRepository(c.repo.Path, orasauth.ActionPull, orasauth.ActionPush)
	case c.remove:
		return orasauth.ScopeRepository(c.repo.Path, orasauth.ActionPull, orasauth.ActionDelete)
	}
	return orasauth.ScopeRepository(c.repo.Path, orasauth.ActionPull)
}

// readAtMost reads an answer to its end and refuses more than limit bytes, before they
// are all in memory.
func readAtMost(resp *http.Response, limit int64) ([]byte, error) {
	tooLong := fmt.Errorf("it is longer than %d bytes: %w", limit, registry.ErrPermanent)
	if resp.Request.Method != http.MethodHead && resp.ContentLength > limit {
		return nil, tooLong
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, tooLong
	}
	return b, nil
}
