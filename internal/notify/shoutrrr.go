package notify

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// Shoutrrr sends through the service that a URL of the library's names. The URL is a secret.
type Shoutrrr struct {
	address string
	service string
}

// NewShoutrrr returns the receiver behind a URL such as teams://… or smtp://….
func NewShoutrrr(address string) (*Shoutrrr, error) {
	if _, err := url.Parse(address); err != nil {
		return nil, errShoutrrr
	}
	service, _, err := new(router.ServiceRouter).ExtractServiceName(address)
	if err != nil || service == "" {
		return nil, errShoutrrr
	}
	return &Shoutrrr{address: address, service: service}, nil
}

var errShoutrrr = errors.New("expected a URL of a service that shoutrrr knows, such as teams://…") // not quoted: it is a secret

// Send implements Sender. The library knows no context and quotes URLs in its errors: it is
// left behind when ctx ends, and what it says is not repeated.
func (s *Shoutrrr) Send(ctx context.Context, m Message) error {
	sent := make(chan error, 1)
	go func() { sent <- s.send(m) }()
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
		return fmt.Errorf("send through %s: %w", s.service, ctx.Err())
	}
}

func (s *Shoutrrr) send(m Message) error {
	service, err := router.New(nil, s.address)
	if err != nil {
		return fmt.Errorf("%q: shoutrrr does not take this URL; what it says may hold the secret", s.service)
	}
	for _, err := range service.Send(m.Text(), &types.Params{}) {
		switch {
		case errors.Is(err, router.ErrServiceTimeout):
			return fmt.Errorf("send through %s: no answer in %s", s.service, router.DefaultTimeout)
		case err != nil:
			return fmt.Errorf("send through %s: the message was not taken; what shoutrrr says may hold the secret", s.service)
		}
	}
	return nil
}
