package failure

import (
	"fmt"
	"runtime/debug"
)

// Panic is a panic that was contained: a fault of this program, which one item met. It is
// of the kind ErrPermanent.
type Panic struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (p *Panic) Error() string {
	return fmt.Sprintf("the program stumbled over it, please report this: %q", fmt.Sprint(p.Value))
}

// Unwrap returns the kind.
func (*Panic) Unwrap() error { return ErrPermanent }

// Contain turns a panic of the function that defers it into its error: what one item
// does to the program is no reason for the others to end. It must be deferred itself.
func Contain(err *error) {
	if value := recover(); value != nil {
		*err = &Panic{Value: value, Stack: debug.Stack()}
	}
}
