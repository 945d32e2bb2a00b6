package registry

import (
	"errors"
	"fmt"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// The kinds of failure that the program acts on, under the names that callers of this
// package know them by. Package failure has them all, and says what each means.
var (
	ErrNotFound    = failure.ErrNotFound
	ErrDenied      = failure.ErrDenied
	ErrThrottled   = failure.ErrThrottled
	ErrImmutable   = failure.ErrImmutable
	ErrReadOnly    = failure.ErrReadOnly
	ErrUnsupported = failure.ErrUnsupported
	ErrForbidden   = failure.ErrForbidden
	ErrPermanent   = failure.ErrPermanent
	ErrRefused     = failure.ErrRefused
	ErrCorrupt     = failure.ErrCorrupt
	ErrStalled     = failure.ErrStalled
	ErrExpired     = failure.ErrExpired
)

// Final reports whether trying again is pointless, see failure.Final.
func Final(err error) bool { return failure.Final(err) }

// Side says which end of a copy an error belongs to.
type Side string

// The sides.
const (
	SideSource Side = "upstream"
	SideTarget Side = "destination"
)

// Error says which operation failed, on which side, for which reference.
type Error struct {
	Op   string // "resolve", "read manifest", "copy blob", …
	Side Side
	Ref  ref.Reference
	Err  error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %s %s: %v", e.Op, e.Side, e.Ref, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// OnSide returns the side err happened on, "" where it does not say.
func OnSide(err error) Side {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Side
	}
	return ""
}
