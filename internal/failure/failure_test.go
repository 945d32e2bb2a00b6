package failure_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
)

func TestKinds(t *testing.T) {
	tests := []struct {
		err       error
		final     bool
		forPerson bool
	}{
		{nil, false, false},
		{errors.New("connection reset"), false, false},
		{failure.ErrThrottled, false, false},
		{failure.ErrCorrupt, false, false},
		{failure.ErrStalled, false, false},
		{fmt.Errorf("%w: %w", failure.ErrExpired, failure.ErrDenied), false, true},
		{failure.ErrPermanent, true, false},
		{failure.ErrRefused, true, false},
		{failure.ErrReadOnly, true, false},
		{failure.ErrNotFound, true, true},
		{failure.ErrDenied, true, true},
		{failure.ErrImmutable, true, true},
		{failure.ErrUnsupported, true, true},
		{failure.ErrForbidden, true, true},
		{fmt.Errorf("reading: %w", failure.ErrDenied), true, true},
		{errors.Join(errors.New("other"), failure.ErrNotFound), true, true},
	}
	for _, test := range tests {
		if got := failure.Final(test.err); got != test.final {
			t.Errorf("Final(%v) = %t", test.err, got)
		}
		if got := failure.ForPerson(test.err); got != test.forPerson {
			t.Errorf("ForPerson(%v) = %t", test.err, got)
		}
	}
}
