package sim

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"edgewatch/watchdog"
)

// memory is what a store of the product is to a process.
type memory interface {
	watchdog.Journal
	watchdog.Cursors
	watchdog.Reader
}

// appendFault is what happens to one Append.
type appendFault int

const (
	appendWorks appendFault = iota
	crashBefore             // the process dies, nothing is kept
	crashAfter              // the process dies, the entries are kept
	unsureKept              // nobody knows, and they are
	unsureLost              // nobody knows, and they are not
)

// store is the journal as one life of the process sees it: with the faults of
// the disk, and with its own death.
type store struct {
	p *process
	memory
	writes atomic.Int32 // that are under way
}

var errNoSpace = errors.New("no space left on device")

func (s *store) full() bool {
	w := s.p.run.world
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.diskFull
}

// stall waits while the disk hangs, which no context ends. A process that has
// ended meanwhile writes no more.
func (s *store) stall() error {
	if err := s.p.pass("store"); err != nil {
		return err
	}
	w := s.p.run.world
	for {
		w.mu.Lock()
		left := time.Until(w.diskHangs)
		w.mu.Unlock()
		if left <= 0 {
			return s.p.pass("store")
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-s.p.gone:
			t.Stop()
			return errDead
		}
	}
}

// Append implements watchdog.Journal.
func (s *store) Append(ctx context.Context, entries []watchdog.Entry) ([]watchdog.Entry, error) {
	if s.writes.Add(1) > 1 && !s.p.dead.Load() {
		s.p.run.violate("I8", "the journal is written twice at the same time")
	}
	defer s.writes.Add(-1)
	if err := s.stall(); err != nil {
		return nil, err
	}
	if s.full() {
		return nil, fmt.Errorf("append to journal: %w", errNoSpace)
	}
	fault := s.p.run.appendFault(entries)
	if fault == crashBefore {
		s.p.die("before these were kept: " + entries[0].Sentence())
		return nil, s.p.pass("store")
	}
	if fault == unsureLost {
		s.p.run.notef("the journal does not know whether it kept this (it did not): %s", entries[0].Sentence())
		return nil, watchdog.ErrJournalUnsure
	}
	stored, err := s.memory.Append(ctx, entries)
	if err != nil {
		return nil, err
	}
	for _, e := range stored {
		s.p.run.kept(e)
	}
	switch fault {
	case crashAfter:
		s.p.die("after this was kept: " + entries[len(entries)-1].Sentence())
		return nil, s.p.pass("store")
	case unsureKept:
		s.p.run.notef("the journal does not know whether it kept this (it did)")
		return nil, watchdog.ErrJournalUnsure
	case appendWorks, crashBefore, unsureLost:
	}
	return stored, nil
}

// Read implements watchdog.Journal.
func (s *store) Read(ctx context.Context, federation string, after uint64, limit int) ([]watchdog.Entry, error) {
	if err := s.p.pass("store"); err != nil {
		return nil, err
	}
	return s.memory.Read(ctx, federation, after, limit)
}

// SaveCursor implements watchdog.Cursors.
func (s *store) SaveCursor(ctx context.Context, name string, data []byte) error {
	if err := s.stall(); err != nil {
		return err
	}
	if s.full() {
		return errNoSpace
	}
	return s.memory.SaveCursor(ctx, name, data)
}

// LoadCursor implements watchdog.Cursors.
func (s *store) LoadCursor(ctx context.Context, name string) ([]byte, error) {
	if err := s.p.pass("store"); err != nil {
		return nil, err
	}
	return s.memory.LoadCursor(ctx, name)
}
