package watchdog

import (
	"context"
	"errors"
)

// Errors of Supervisor.
var (
	ErrNoFederation = errors.New("no such federation")
	ErrStopping     = errors.New("edgewatch is stopping")
)

// Supervisor holds the engines of a process.
type Supervisor struct {
	engines []*Engine
	journal Journal
}

// Snapshots returns the newest snapshot of every federation, in the order of
// the configuration. It never blocks.
func (s *Supervisor) Snapshots() []*Snapshot { panic("todo") }

// Submit hands cmd to its federation and returns when it is durable or
// refused. A refusal is an Answer, not an error; an error says that nothing
// is known to have changed.
func (s *Supervisor) Submit(ctx context.Context, cmd Command) (Answer, error) { panic("todo") }

// History returns the newest n entries, oldest first, of one federation.
func (s *Supervisor) History(ctx context.Context, federation string, n int) ([]Entry, error) {
	panic("todo")
}
