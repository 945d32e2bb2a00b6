package library

import (
	"context"
	"io"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// session holds a library object that is opened when it is first needed, and anew after
// a failure. The library keeps the first error of an object for ever, also when it was
// only its first user who gave up; and it keeps the password that it was opened with,
// which for ECR lives twelve hours.
type session[T io.Closer] struct {
	repo ref.Repository
	opts Options
	busy chan struct{} // holds one token; who has it may use live
	live *opened[T]
}

// opened is a library object and the credential it uses.
type opened[T io.Closer] struct {
	object T
	cred   auth.Credential
}

func newSession[T io.Closer](repo ref.Repository, opts Options) *session[T] {
	s := &session[T]{repo: repo, opts: opts, busy: make(chan struct{}, 1)}
	s.busy <- struct{}{}
	return s
}

// do calls f with the live object, which open makes where there is none. Errors are
// translated, and cost the object its life.
func (s *session[T]) do(ctx context.Context, open func(context.Context) (T, auth.Credential, error), f func(T) error) error {
	live, err := s.get(ctx, open)
	if err != nil {
		return err
	}
	if err := f(live.object); err != nil {
		s.drop(live)
		return s.opts.translate(ctx, s.repo, live.cred, err)
	}
	return nil
}

// get returns the live object. One that waits for another to open it stops waiting with
// its own context; an attempt that fails is its caller's failure alone.
func (s *session[T]) get(ctx context.Context, open func(context.Context) (T, auth.Credential, error)) (*opened[T], error) {
	select {
	case <-s.busy:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { s.busy <- struct{}{} }()
	if s.live != nil {
		return s.live, nil
	}
	object, cred, err := open(ctx)
	if err != nil {
		return nil, s.opts.translate(ctx, s.repo, cred, err)
	}
	s.live = &opened[T]{object, cred}
	return s.live, nil
}

// drop retires an object. Who still uses it can go on: closing drops idle connections.
func (s *session[T]) drop(o *opened[T]) {
	<-s.busy
	defer func() { s.busy <- struct{}{} }()
	if s.live == o {
		s.live = nil
		_ = o.object.Close()
	}
}

func (s *session[T]) close() error {
	<-s.busy
	defer func() { s.busy <- struct{}{} }()
	if s.live == nil {
		return nil
	}
	o := s.live
	s.live = nil
	return o.object.Close()
}
