package actions

import (
	"errors"
	"fmt"
	"strings"
)

// Kind classes an error by what may happen next.
type Kind uint8

// AskHuman is the zero: an error that nobody classed stops the chain.
const (
	AskHuman      Kind = iota
	Transient          // nothing was changed; trying again may help
	Indeterminate      // sent, and the answer was lost: only a Check tells
	Rejected           // understood and refused: trying again cannot help
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case AskHuman:
		return "ask a human"
	case Transient:
		return "transient"
	case Indeterminate:
		return "indeterminate"
	case Rejected:
		return "rejected"
	}
	return fmt.Sprintf("invalid(%d)", uint8(k))
}

// Error is what a Task answers: it names the host, what was being done there
// and the next thing a person should do.
type Error struct {
	Kind Kind
	Host string // where it happened
	Op   string // what was being done, e.g. "Stop-CsWindowsService", "UPDATE contoso.com"
	Next string // the next thing to do, as an instruction; may be empty
	Err  error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %v", e.Host, e.Op, e.Err)
	if e.Next != "" {
		fmt.Fprintf(&b, " – %s", e.Next)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf classes err: the kind of the first *Error in its tree, else AskHuman.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return AskHuman
}

// ErrAborted is the cause with which the context of a run is cancelled when a
// person ends it; AbortedBy wraps it.
var ErrAborted = errors.New("aborted")

// AbortedBy is an ErrAborted that says who ended the run and why.
func AbortedBy(who, why string) error { return fmt.Errorf("%w by %s: %s", ErrAborted, who, why) }

// Join is errors.Join on one line: what people read stands in tables, logs
// and messages.
func Join(errs ...error) error {
	joined := errors.Join(errs...)
	if joined == nil {
		return nil
	}
	return oneLine{joined}
}

type oneLine struct{ error }

// Error implements error.
func (e oneLine) Error() string { return strings.ReplaceAll(e.error.Error(), "\n", "; ") }

// Unwrap gives the errors that were joined.
func (e oneLine) Unwrap() error { return e.error }
