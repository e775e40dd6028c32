// Package watchdogtest helps to test what stands around the watchdog: one
// contract suite for every store (TestJournal, TestCursors, TestRoundLog) and
// MemJournal and MemRounds, stores in memory that fail on request; the journal
// also doubts and dies.
package watchdogtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"edgewatch/watchdog"
)

// ErrCrashed is what calls into a crashed MemJournal return in the end. No
// real store returns it: it stands for a process that is no more.
var ErrCrashed = errors.New("this process has crashed")

// MemJournal is a watchdog.Journal and watchdog.Cursors in memory. Its zero
// value is empty and ready. All methods are safe for concurrent use. Entries
// pass through JSON both ways, so that a test sees what a real store would
// give back after a restart.
type MemJournal struct {
	mu      sync.Mutex
	entries [][]byte
	cursors map[string][]byte
	plan    []fault
	died    chan struct{} // closed when the crash happens; nil when none is planned
	crashed bool
	freed   chan struct{} // closed by Reopen
}

var (
	_ watchdog.Journal = (*MemJournal)(nil)
	_ watchdog.Cursors = (*MemJournal)(nil)
)

// fault is what happens to one Append to come.
type fault struct {
	err   error // returned, wrapped
	kept  bool  // the entries are kept nevertheless
	crash bool
}

// FailNext lets the next unplanned Append fail with an error that wraps err;
// nothing is kept. Called n times it fails the next n Appends.
func (j *MemJournal) FailNext(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.plan = append(j.plan, fault{err: err})
}

// UnsureNext lets the next unplanned Append fail with
// watchdog.ErrJournalUnsure; kept says what reading back will find.
func (j *MemJournal) UnsureNext(kept bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.plan = append(j.plan, fault{err: watchdog.ErrJournalUnsure, kept: kept})
}

// CrashAt plans the death of the process inside the nth Append from now (1 is
// the next one; it replaces other plans for that Append). kept says whether
// that Append's entries are durable. Like a dead process, that Append does
// not return, and neither does any later call, until its context ends or
// Reopen is called; it then returns ErrCrashed. The channel is closed at the
// moment of the crash: a test then cancels what it runs and goes on with
// Reopen.
func (j *MemJournal) CrashAt(n int, kept bool) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.plan) < n {
		j.plan = append(j.plan, fault{})
	}
	j.plan[n-1] = fault{crash: true, kept: kept}
	j.died, j.freed = make(chan struct{}), make(chan struct{})
	return j.died
}

// Reopen returns what the next process would find: the same entries and
// cursors, no planned faults. The old journal is dead afterwards and all
// calls into it return ErrCrashed at once.
func (j *MemJournal) Reopen() *MemJournal {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.crashLocked()
	select {
	case <-j.freed:
	default:
		close(j.freed)
	}
	next := &MemJournal{entries: slices.Clone(j.entries), cursors: map[string][]byte{}}
	for name, data := range j.cursors {
		next.cursors[name] = slices.Clone(data)
	}
	return next
}

// Append implements watchdog.Journal.
func (j *MemJournal) Append(ctx context.Context, entries []watchdog.Entry) ([]watchdog.Entry, error) {
	if err := j.enter(ctx); err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		j.mu.Unlock()
		return nil, nil
	}
	var f fault
	if len(j.plan) > 0 {
		f, j.plan = j.plan[0], j.plan[1:]
	}
	var out []watchdog.Entry
	var err error
	if f.err == nil && !f.crash || f.kept {
		out, err = j.keepLocked(entries)
	}
	if f.crash {
		j.crashLocked()
		j.mu.Unlock()
		return nil, j.await(ctx)
	}
	j.mu.Unlock()
	if f.err != nil {
		return nil, fmt.Errorf("append %d entries: %w", len(entries), f.err)
	}
	return out, err
}

// Read implements watchdog.Journal.
func (j *MemJournal) Read(ctx context.Context, federation string, after uint64, limit int) ([]watchdog.Entry, error) {
	if err := j.enter(ctx); err != nil {
		return nil, err
	}
	defer j.mu.Unlock()
	var out []watchdog.Entry
	for i := after; i < uint64(len(j.entries)) && len(out) < limit; i++ {
		e, err := decode(j.entries[i])
		if err != nil {
			return nil, err
		}
		if federation == "" || e.Federation == federation {
			out = append(out, e)
		}
	}
	return out, nil
}

// Last returns the newest n entries, oldest first, of that federation, or of
// all when federation is "".
func (j *MemJournal) Last(ctx context.Context, federation string, n int) ([]watchdog.Entry, error) {
	j.mu.Lock()
	limit := len(j.entries)
	j.mu.Unlock()
	all, err := j.Read(ctx, federation, 0, limit)
	return all[max(0, len(all)-max(0, n)):], err
}

// LoadCursor implements watchdog.Cursors.
func (j *MemJournal) LoadCursor(ctx context.Context, name string) ([]byte, error) {
	if err := j.enter(ctx); err != nil {
		return nil, err
	}
	defer j.mu.Unlock()
	return slices.Clone(j.cursors[name]), nil
}

// SaveCursor implements watchdog.Cursors.
func (j *MemJournal) SaveCursor(ctx context.Context, name string, data []byte) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.mu.Unlock()
	if j.cursors == nil {
		j.cursors = map[string][]byte{}
	}
	j.cursors[name] = append([]byte{}, data...)
	return nil
}

// enter takes the lock for a living process and keeps a dead one waiting.
func (j *MemJournal) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	if !j.crashed {
		return nil
	}
	j.mu.Unlock()
	return j.await(ctx)
}

func (j *MemJournal) await(ctx context.Context) error {
	j.mu.Lock()
	freed := j.freed
	j.mu.Unlock()
	select {
	case <-freed:
	case <-ctx.Done():
	}
	return ErrCrashed
}

func (j *MemJournal) crashLocked() {
	if j.crashed {
		return
	}
	j.crashed = true
	if j.freed == nil {
		j.freed = make(chan struct{})
	}
	if j.died != nil {
		close(j.died)
	}
}

func (j *MemJournal) keepLocked(entries []watchdog.Entry) ([]watchdog.Entry, error) {
	var kept [][]byte
	var out []watchdog.Entry
	for i, e := range entries {
		e.Seq = uint64(len(j.entries) + i + 1)
		e.At = e.At.UTC()
		b, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("encode entry: %w", err)
		}
		if e, err = decode(b); err != nil {
			return nil, err
		}
		kept, out = append(kept, b), append(out, e)
	}
	j.entries = append(j.entries, kept...)
	return out, nil
}

func decode(b []byte) (watchdog.Entry, error) {
	var e watchdog.Entry
	if err := json.Unmarshal(b, &e); err != nil {
		return watchdog.Entry{}, fmt.Errorf("decode entry: %w", err)
	}
	return e, nil
}
