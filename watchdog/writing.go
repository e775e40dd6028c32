package watchdog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"edgewatch/actions"
)

// Bounds of what waits for the journal. A disk that hangs must keep neither the
// loop nor what a failover stopped.
const (
	saveTimeout   = 15 * time.Second // for the store to begin a write: after it nothing was kept
	hangTimeout   = 30 * time.Second // for a write altogether: after it nobody knows until it returns
	recordTimeout = 40 * time.Second // for a record of a failover: after it the failover ends, and what it stopped is started
	rescueTimeout = 5 * time.Second  // likewise while that is being started, which goes on without its record
)

// written is what became of one Append.
type written struct {
	entries []Entry
	err     error
}

// keep makes the entries durable and takes them in.
func (e *Engine) keep(ctx context.Context, ready *Ready) error {
	if len(ready.Entries) == 0 {
		if e.unsaved == nil && e.hanging == nil {
			e.journal = nil // nothing waits to be written
		}
		return nil
	}
	stored, err := e.write(ctx, ready.Entries)
	if errors.Is(err, ErrJournalUnsure) {
		// What is in the journal now is known again after a restart.
		e.fatal = fmt.Errorf("journal of %s: %w", e.Name(), err)
	}
	if err != nil {
		if e.journal == nil {
			e.log.Error().Err(err).Msg("journal cannot be written: nothing is decided until it can")
		}
		e.journal = err
		e.publish()
		return fmt.Errorf("write the journal of %s: %w", e.Name(), err)
	}
	e.journal = nil
	for _, entry := range stored {
		e.machine.Apply(entry)
		e.auditor.Apply(entry)
		if entry.Kind == KindCommand && ready.Answer.Accepted {
			ready.Answer.Entry = entry.Seq
			if entry.Command.Verb == VerbAdopt {
				e.moveTo(entry.Command.Pool)
			}
		}
		e.log.WithLevel(entry.level()).Uint64("seq", entry.Seq).Str("event", string(entry.Kind)).Str("incident", entry.Incident).Msg(entry.Sentence())
	}
	if e.ports.Wake != nil {
		e.ports.Wake()
	}
	return nil
}

// level is how loudly the log tells the entry: as an error what a person has to
// put right, as a warning what keeps federation from working or edgewatch from
// acting.
func (e Entry) level() zerolog.Level {
	switch {
	case e.Notice != nil:
		return e.Notice.level()
	case e.ChainEnd != nil && !e.ChainEnd.Outcome.OK, e.Step != nil && e.Step.Phase == actions.Failed, e.Decision != nil && e.Decision.BlockedBy == GuardLease:
		return zerolog.ErrorLevel
	case e.Pool != nil && e.Pool.Tripped, e.Chain != nil, e.Decision != nil && (e.Decision.Will == WillHold || e.Decision.Will == WillAsk):
		return zerolog.WarnLevel
	}
	return zerolog.InfoLevel
}

func (n *Notice) level() zerolog.Level {
	switch n.Kind {
	case NoticeFederationGone, NoticePartnerLost:
		return zerolog.ErrorLevel
	case NoticeRefused, // beside the error itself, which save logs
		NoticeActiveGone, NoticeOldPoolGone, NoticeHeld, NoticeClock, NoticeDegraded, NoticeServerDown, NoticeServerGone, NoticeDNSBlind, NoticeWitnessSilent:
		return zerolog.WarnLevel
	case NoticeDrift:
		if n.Pool != "" {
			return zerolog.WarnLevel
		}
	case NoticeStarted, NoticeOldPoolBack, NoticePartnerBack, NoticePauseEnded, NoticeRecovered, NoticeServerBack, NoticeProven, NoticeDNSBack, NoticeWitnessBack:
	}
	return zerolog.InfoLevel
}

// write appends to the journal and waits for that, but not for ever. One that
// has not returned is the last: there are never two at a time.
func (e *Engine) write(ctx context.Context, entries []Entry) ([]Entry, error) {
	if e.hanging != nil {
		return nil, errors.New("an earlier write hangs, as its disk may: nothing more is written until it returns")
	}
	done := make(chan written, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
		defer cancel()
		stored, err := e.ports.Journal.Append(ctx, entries)
		done <- written{stored, err}
	}()
	late := time.NewTimer(hangTimeout)
	defer late.Stop()
	select {
	case w := <-done:
		return w.entries, w.err
	case <-late.C:
		e.hanging = done
		return nil, fmt.Errorf("a write has not returned for %s, as if the disk hung: %w", Span(hangTimeout), errHangs)
	}
}

// returned takes in what became of a write that was given up. What it kept
// nobody went by: that is read back at the next start, as after a crash.
func (e *Engine) returned(w written) {
	e.hanging = nil
	if w.err == nil {
		w.err = fmt.Errorf("%w: a write that was given up was kept after all", ErrJournalUnsure)
	}
	if errors.Is(w.err, ErrJournalUnsure) {
		e.fatal = fmt.Errorf("journal of %s: %w", e.Name(), w.err)
	}
	e.log.Error().Err(w.err).Msg("the journal's write that hung has returned")
}

// errHangs is the end of the wait for one write, not for those that it holds up.
var errHangs = errors.New("whether it is kept is not known yet")

var errLate = errors.New("the journal does not answer")

// record hands a record to the loop and returns when it is durable, or when it
// has taken too long: it may be kept then, though nothing follows from it. The
// loop serves records for as long as a chain runs.
func (e *Engine) record(r actions.Record) error {
	wait := recordTimeout
	if r.Rescue {
		wait = rescueTimeout
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	done := make(chan error, 1)
	select {
	case e.records <- record{r, done}:
	case <-late.C:
		return errLate
	}
	select {
	case err := <-done:
		return err
	case <-late.C:
		return errLate
	}
}
