package watchdog

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// NoFederationError is an ErrNoFederation that names the federations there are.
// Its Name is "" when none was said and there are several.
type NoFederationError struct {
	Name  string
	Known []string
}

// Error is the sentence for people.
func (e NoFederationError) Error() string {
	switch {
	case len(e.Known) == 0:
		return fmt.Sprintf("%s: %q", ErrNoFederation, e.Name)
	case e.Name == "":
		return "there are several federations: say which with -f: " + strings.Join(e.Known, " or ")
	}
	return fmt.Sprintf("%s: %q: known are %s", ErrNoFederation, e.Name, strings.Join(e.Known, ", "))
}

// Unwrap gives the kind.
func (NoFederationError) Unwrap() error { return ErrNoFederation }

// Supervisor holds the engines of a process, one per federation. It is what
// every surface talks to.
type Supervisor struct {
	engines []*Engine
	journal Reader
	gone    *GoneFederations // nil when there are none
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

// Mind lets every snapshot show what the gone federations left undone, and
// people acknowledge that. It is called at most once, before anything else.
func (s *Supervisor) Mind(gone *GoneFederations) { s.gone = gone }

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

// aliveUntil tells that an engine that has ended is no loop that stands still,
// while others of its process still end: they start services, and whoever
// watches the loops would cut that short.
func (e *Engine) aliveUntil(over <-chan struct{}) {
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		e.tellAlive()
		select {
		case <-alive.C:
		case <-over:
			return
		}
	}
}

// Snapshots returns the newest snapshot of every federation, in the order of
// the configuration. It never blocks; before Run there are none.
func (s *Supervisor) Snapshots() []*Snapshot {
	out := make([]*Snapshot, 0, len(s.engines))
	left := s.gone.Left()
	for _, e := range s.engines {
		snap := e.Snapshot()
		if snap == nil {
			continue
		}
		if len(left) > 0 {
			with := *snap
			with.Gone = left
			snap = &with
		}
		out = append(out, snap)
	}
	return out
}

// Submit hands cmd to its federation and returns when it is durable or
// refused. A refusal is an Answer, not an error. After ErrUnsure cmd may have
// been accepted, which its history tells, and its ID may be submitted again;
// after any other error nothing was changed. An empty Federation means the only
// one; an unknown one is a NoFederationError. One that is gone takes an ack and
// nothing else.
func (s *Supervisor) Submit(ctx context.Context, cmd Command) (Answer, error) {
	if s.gone.knows(cmd.Federation) {
		return s.gone.submit(ctx, cmd)
	}
	e, err := s.engine(cmd.Federation)
	if err != nil {
		return Answer{}, err
	}
	cmd.Federation = e.Name()
	return e.Submit(ctx, cmd)
}

// History returns the newest n entries, oldest first, of one federation, which
// may be gone.
func (s *Supervisor) History(ctx context.Context, federation string, n int) ([]Entry, error) {
	if s.gone.knows(federation) {
		return s.journal.Last(ctx, federation, n)
	}
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
	return nil, NoFederationError{name, names}
}
