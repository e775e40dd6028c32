package watchdog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Errors of Supervisor.
var (
	ErrNoFederation = errors.New("no such federation")
	ErrStopping     = errors.New("edgewatch is stopping")
	ErrUnsure       = errors.New("the command may or may not have been accepted")
	ErrLeaseLost    = errors.New("this edgewatch may not act any more")
)

// Supervisor holds the engines of a process, one per federation. It is what
// every surface talks to.
type Supervisor struct {
	engines []*Engine
	journal Reader
}

// Reader is the part of a journal that history needs.
type Reader interface {
	// Last returns the newest n entries of the federation, oldest first.
	Last(ctx context.Context, federation string, n int) ([]Entry, error)
}

// NewSupervisor returns a supervisor of the engines, in the order of the
// configuration. It spreads their first rounds over an interval, so that the
// probes of many federations do not leave all at once; the jitter between
// rounds keeps them apart.
func NewSupervisor(journal Reader, engines ...*Engine) *Supervisor {
	for i, e := range engines {
		e.delay = e.settings.Watch.Interval * time.Duration(i) / time.Duration(len(engines))
	}
	return &Supervisor{engines: engines, journal: journal}
}

// Run replays every federation's journal and runs all engines until ctx ends
// or one of them can go on no longer, which then ends all.
func (s *Supervisor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(ErrStopping)
	for _, e := range s.engines {
		switch err := e.Replay(ctx); {
		case ctx.Err() != nil:
			return nil // stopped before anything began
		case err != nil:
			return err
		}
	}
	var (
		running, waiting sync.WaitGroup
		mu               sync.Mutex
		errs             []error
	)
	over := make(chan struct{})
	running.Add(len(s.engines))
	for _, e := range s.engines {
		waiting.Go(func() {
			if err := e.Run(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				cancel(err)
			}
			running.Done()
			e.aliveUntil(over)
		})
	}
	running.Wait()
	close(over)
	waiting.Wait()
	return errors.Join(errs...)
}

// Snapshots returns the newest snapshot of every federation, in the order of
// the configuration. It never blocks; before Run there are none.
func (s *Supervisor) Snapshots() []*Snapshot {
	out := make([]*Snapshot, 0, len(s.engines))
	for _, e := range s.engines {
		if snap := e.Snapshot(); snap != nil {
			out = append(out, snap)
		}
	}
	return out
}

// Submit hands cmd to its federation and returns when it is durable or
// refused. A refusal is an Answer, not an error. After ErrUnsure cmd may have
// been accepted, which its history tells, and its ID may be submitted again;
// after any other error nothing was changed. An empty Federation means the only
// one; an unknown one is ErrNoFederation.
func (s *Supervisor) Submit(ctx context.Context, cmd Command) (Answer, error) {
	e, err := s.engine(cmd.Federation)
	if err != nil {
		return Answer{}, err
	}
	cmd.Federation = e.Name()
	return e.Submit(ctx, cmd)
}

// History returns the newest n entries, oldest first, of one federation.
func (s *Supervisor) History(ctx context.Context, federation string, n int) ([]Entry, error) {
	e, err := s.engine(federation)
	if err != nil {
		return nil, err
	}
	return s.journal.Last(ctx, e.Name(), n)
}

func (s *Supervisor) engine(name string) (*Engine, error) {
	if name == "" && len(s.engines) == 1 {
		return s.engines[0], nil
	}
	names := make([]string, 0, len(s.engines))
	for _, e := range s.engines {
		if e.Name() == name {
			return e, nil
		}
		names = append(names, e.Name())
	}
	if name == "" {
		return nil, fmt.Errorf("%w: say which with -f: %v", ErrNoFederation, names)
	}
	return nil, fmt.Errorf("%w: %s", ErrNoFederation, unknownWord("federation", name, names))
}
