package dockerhub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/registry/redact"
)

// tokenUse is how long an access token is used: half of the ten minutes that it lives.
const tokenUse = 5 * time.Minute

// session is the login that the private repositories of a namespace need.
type session struct {
	turn *semaphore.Weighted // guards what follows, and can be waited for under a context

	token auth.Secret
	of    auth.Credential // who logged in for it
	since time.Time

	warned sync.Once
}

func newSession() session { return session{turn: semaphore.NewWeighted(1)} }

// token returns what requests are authorized with, "" where there is no credential. A
// login that is refused is an error: to go on as nobody would make private repositories
// look absent.
func (c *Client) token(ctx context.Context) (auth.Secret, error) {
	cred, err := c.opts.Credentials.Credential(ctx, host)
	if err != nil {
		return "", fmt.Errorf("credential for %s: %w", host, err)
	}
	if cred.Username == "" || cred.Password == "" {
		if !cred.Anonymous() {
			c.session.warned.Do(func() {
				c.opts.Log.Warn("the credential for docker.io is a token that Docker Hub's API does not take; private repositories are not listed")
			})
		}
		return "", nil
	}
	s := &c.session
	if err := s.turn.Acquire(ctx, 1); err != nil {
		return "", context.Cause(ctx)
	}
	defer s.turn.Release(1)
	if s.token != "" && s.of == cred && time.Since(s.since) < tokenUse {
		return s.token, nil
	}
	began := time.Now()
	token, err := c.login(ctx, cred)
	if err != nil {
		return "", fmt.Errorf("logging in to Docker Hub as %s: %w", redact.Line(cred.Username, redact.MaxLine), err)
	}
	s.token, s.of, s.since = token, cred, began
	return token, nil
}

// login exchanges a password, or an access token of a person or an organization, for a
// bearer token.
// https://docs.docker.com/reference/api/hub/latest/#tag/authentication-api/operation/AuthCreateAccessToken
func (c *Client) login(ctx context.Context, cred auth.Credential) (auth.Secret, error) {
	body, err := json.Marshal(map[string]string{"identifier": cred.Username, "secret": cred.Password.Reveal()})
	if err != nil {
		return "", err
	}
	var answer struct {
		Token auth.Secret `json:"access_token"`
	}
	err = c.ask(ctx, request{method: http.MethodPost, url: c.hub.JoinPath("/v2/auth/token"), body: body}, &answer)
	switch {
	case errors.Is(err, failure.ErrDenied):
		c.opts.Credentials.Refused(host, cred)
		return "", err
	case err != nil:
		return "", err
	case answer.Token == "":
		return "", fmt.Errorf("the answer has no access token: %w", failure.ErrPermanent)
	}
	return answer.Token, nil
}
