package watchdog

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// refusal is what the auditor refused.
type refusal struct {
	err     error
	promise string // that would have been broken
	number  string // of that promise, such as I2: one that is broken again and again is told once, whatever else its text says
	done    bool   // the event itself is done: only what was decided beside it is not
}

// save makes what follows from an event durable and takes it in, but for what
// would break a promise. An error means that the event changed nothing.
func (e *Engine) save(ctx context.Context, ready *Ready) error {
	r := e.audit(ready)
	if err := e.keep(ctx, ready); err != nil || r == nil {
		return err
	}
	if !e.confessed[r.number] {
		e.log.Error().Err(r.err).Msg("entries refused")
	}
	e.confessed[r.number], e.journal = true, r.err
	e.publish()
	if r.done {
		return nil
	}
	return r.err
}

// audit takes out of ready what would break a promise. What the event itself
// means is written and done as a whole or not at all. Of what was noticed and
// decided beside it, what was seen before the offender stays, because people
// must learn it all the same, and so must they that edgewatch refused itself.
func (e *Engine) audit(ready *Ready) *refusal {
	sound, err := e.auditor.sound(ready.Entries)
	if err == nil {
		return nil
	}
	r := &refusal{
		err:     fmt.Errorf("a defect in edgewatch, report it: %w; nothing of it is done", err),
		promise: errors.Unwrap(err).Error(), done: sound >= ready.own,
	}
	r.number, _, _ = strings.Cut(r.promise, ":")
	offender, incident := ready.Entries[sound], e.machine.fold.incident
	var kept []Entry
	for i, entry := range ready.Entries[:sound] {
		if r.done && (i < ready.own || entry.Kind == KindPool || entry.Kind == KindNotice) {
			kept, incident = append(kept, entry), entry.Incident
		}
	}
	if !e.confessed[r.number] {
		kept = append(kept, Entry{At: offender.At, Federation: offender.Federation, Incident: incident, Kind: KindNotice, Notice: &Notice{
			Kind: NoticeRefused, Text: fmt.Sprintf("edgewatch refuses what it was about to do: it would break a promise (%s). "+
				"This is a defect in edgewatch, and it does nothing of the kind until that is over: restart it, report it, keep the state file; "+
				"meanwhile act by hand, as edgewatch plan tells", r.promise),
		}})
	}
	ready.Entries = kept
	ready.Effects = ready.Effects[:ready.ownEffects]
	return r
}
