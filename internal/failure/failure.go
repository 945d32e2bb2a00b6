// Package failure holds the few kinds of error that the program acts on. It imports
// nothing, so that deciding what an error means needs no registry and no engine.
//
// Whoever talks to a vendor translates its errors to a kind once, and keeps the
// original in the chain. Everyone else asks with errors.Is and never reads error texts.
package failure

import (
	"errors"
	"fmt"
)

// The kinds.
var (
	ErrNotFound    = errors.New("not found")
	ErrDenied      = errors.New("access denied")
	ErrThrottled   = errors.New("throttled")
	ErrImmutable   = errors.New("tag is immutable")
	ErrReadOnly    = errors.New("target is read-only")
	ErrUnsupported = errors.New("not supported")
	// ErrExpired marks a refusal of a credential that has been replaced since: trying
	// again may well succeed. Such an error is of the kind ErrDenied as well.
	ErrExpired = errors.New("credential expired")
	// ErrForbidden means that policy, not a registry, refuses.
	ErrForbidden = errors.New("not allowed")
	// ErrPermanent marks a failure that trying again cannot mend, such as a request
	// the registry found malformed.
	ErrPermanent = errors.New("permanent failure")
	// ErrRefused is an ErrPermanent of a registry that has looked at what it was sent,
	// such as a manifest that names what the registry has not got.
	ErrRefused = fmt.Errorf("refused: %w", ErrPermanent)
	// ErrCorrupt means that bytes did not have the digest or size they were asked for by.
	ErrCorrupt = errors.New("content does not match its digest")
	// ErrStalled means that no byte moved for as long as the watchdog allows.
	ErrStalled = errors.New("stalled")
)

// Final reports whether trying again is pointless: absence, refusal and malformed
// requests stay what they are. Everything else (an outage, a cut connection, a wrong
// byte, an expired credential) may pass.
func Final(err error) bool {
	return !is(err, ErrExpired) && is(err, ErrNotFound, ErrDenied, ErrImmutable, ErrReadOnly, ErrUnsupported, ErrForbidden, ErrPermanent)
}

// ForPerson reports whether err waits for somebody to change something: what is
// absent, refused, or of a kind that cannot be mirrored. Other failures are this run's.
func ForPerson(err error) bool {
	return is(err, ErrNotFound, ErrDenied, ErrImmutable, ErrUnsupported, ErrForbidden)
}

func is(err error, kinds ...error) bool {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
