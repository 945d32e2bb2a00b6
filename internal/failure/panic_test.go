package failure_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
)

func TestContain(t *testing.T) {
	stumble := func(value any) (err error) {
		defer failure.Contain(&err)
		if value != nil {
			panic(value)
		}
		return errors.New("its own")
	}
	if err := stumble(nil); err == nil || err.Error() != "its own" {
		t.Errorf("error %v", err)
	}
	err := stumble("over a\nstone")
	p, ok := errors.AsType[*failure.Panic](err)
	if !ok || !failure.Final(err) || !strings.Contains(string(p.Stack), "TestContain") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q", err)
	}
}
