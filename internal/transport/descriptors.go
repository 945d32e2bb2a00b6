package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// How long a connection waits for a descriptor. A process that may have a dozen of them
// gets by: its requests take turns.
const (
	roomTime   = 30 * time.Second
	firstLook  = 5 * time.Millisecond
	looksApart = 200 * time.Millisecond
)

// room makes room for connections where the process may open no more files. What stands
// in the way are mostly idle connections to other registries, kept for requests to come: a
// sync whose destination was given twelve descriptors held all of them there, and told
// after a minute that upstream did not answer.
type room struct {
	log  *zap.Logger
	once sync.Once // for the warning: what is missing is missing for the whole process

	idle func() // closes the idle connections to all hosts
}

// dialling returns dial, but it waits where there are no descriptors, and closes idle
// connections meanwhile.
func (r *room) dialling(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		end := time.Now().Add(roomTime)
		for pause := firstLook; ; pause = min(2*pause, looksApart) {
			conn, err := dial(ctx, network, address)
			if err == nil || !noDescriptors(err) {
				return conn, err
			}
			r.once.Do(func() {
				r.log.Warn("this process may open too few files for its connections and goes on with few; raise the limit (ulimit -n)", zap.Error(err))
			})
			if time.Now().Add(pause).After(end) {
				return nil, fmt.Errorf("%w, for %s; raise the limit of open files (ulimit -n)", err, roomTime)
			}
			r.idle()
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
			}
		}
	}
}

// noDescriptors reports whether an error is this machine's want of file descriptors. The
// resolver tells it in words alone.
func noDescriptors(err error) bool {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return true
	}
	lookup, ok := errors.AsType[*net.DNSError](err)
	return ok && (strings.Contains(lookup.Err, syscall.EMFILE.Error()) || strings.Contains(lookup.Err, syscall.ENFILE.Error()))
}
