package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"edgewatch/watchdog"
)

const (
	readLimit = 256 // journal entries per read
	maxRepeat = 10  // posts between two looks at what must be edited
	// firstSince bounds how old a journal's entries may be that are told by
	// an edgewatch that was never connected to Slack before.
	firstSince = 24 * time.Hour
)

// outbox tells the journal to Slack. One goroutine owns it.
type outbox struct {
	s      *Slack
	st     *state
	dirty  bool                 // st holds more than what is saved
	posted bool                 // and part of that is a post: nothing more is posted before it is saved
	unsure bool                 // the next post may have happened already without our knowing
	last   time.Time            // when the newest message was posted or edited
	edited map[string]time.Time // when each incident's message was last edited
	wake   <-chan struct{}
	waiter chan struct{} // closed when everything is told
	fails  int           // failures in a row
	posts  int           // posts since the last look at what must be edited
	tries  map[name]int  // how often each message failed in its full form since all went well
}

func newOutbox(s *Slack) *outbox {
	// A process that died may have posted without saving that it did, so the
	// first post is looked up.
	return &outbox{s: s, unsure: true, edited: map[string]time.Time{}, tries: map[name]int{}, wake: s.o.Wake}
}

// run works until ctx ends.
func (b *outbox) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait, err := b.round(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			b.s.failed.Add(1)
			b.fails++
			// Being asked to go slower now and then is no trouble.
			if retryAfter(err) == 0 || b.fails >= 3 {
				b.s.raise("outbox", err)
			}
			sleep(ctx, b.backoff(err))
			continue
		}
		b.fails = 0
		clear(b.tries)
		b.s.raise("outbox", nil)
		if b.waiter != nil {
			close(b.waiter)
			b.waiter = nil
		}
		b.idle(ctx, wait)
	}
	if b.dirty {
		_ = b.save(ctx) // nothing depends on it: it only saves a look at Slack
	}
}

// round loads what is not loaded, and tells everything there is to tell. A
// panic is one bad entry's or ours: it is raised, and tried again slowly.
func (b *outbox) round(ctx context.Context) (wait time.Duration, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("slack: tell the journal: panic: %v – report this as a bug of edgewatch", r)
		}
	}()
	if b.st == nil {
		if err := b.load(ctx); err != nil {
			return 0, err
		}
	}
	return b.drain(ctx)
}

func (b *outbox) load(ctx context.Context) error {
	data, err := b.s.o.Cursors.LoadCursor(ctx, cursorName)
	if err != nil {
		return fmt.Errorf("slack: load the cursor: %w – check edgewatch's state file", err)
	}
	if data != nil {
		if b.st, err = readState(data, b.s.o.Channel); err == nil {
			return nil
		}
		b.s.o.Log.Error().Err(err).Msg("slack cursor is unreadable, beginning with the last day")
	}
	st := newState(b.s.o.Channel)
	if err := b.skipOld(ctx, st); err != nil {
		return err
	}
	b.st, b.dirty = st, true
	return nil
}

// skipOld passes over what happened long before Slack was first set up.
func (b *outbox) skipOld(ctx context.Context, st *state) error {
	since := time.Now().Add(-firstSince)
	for {
		entries, err := b.s.o.Journal.Read(ctx, "", st.After, readLimit)
		if err != nil {
			return journalError(err)
		}
		for _, e := range entries {
			if !e.At.Before(since) {
				return nil
			}
			st.After = e.Seq
		}
		if len(entries) == 0 {
			return nil
		}
	}
}

func journalError(err error) error {
	return fmt.Errorf("slack: read the journal: %w – check edgewatch's state file", err)
}

// drain tells the journal up to its end, then edits what is stale. It answers
// how long the rest of the editing may wait.
func (b *outbox) drain(ctx context.Context) (time.Duration, error) {
	for {
		if b.posted {
			if err := b.save(ctx); err != nil {
				return 0, err
			}
		}
		entries, err := b.s.o.Journal.Read(ctx, "", b.st.After, readLimit)
		if err != nil {
			return 0, journalError(err)
		}
		if len(entries) == 0 {
			b.s.setBacklog(0, time.Time{})
			break
		}
		for len(entries) > 0 {
			b.s.setBacklog(len(entries), entries[0].At)
			n, err := b.take(ctx, entries)
			if err != nil {
				return 0, err
			}
			entries = entries[n:]
		}
	}
	wait, err := b.refresh(ctx)
	if err == nil && b.dirty {
		err = b.save(ctx)
	}
	return wait, err
}

// take tells the first of entries, and those right behind it that belong into
// the same reply. It answers how many it took. After an error nothing was
// taken and take can be called again with the same entries.
func (b *outbox) take(ctx context.Context, entries []watchdog.Entry) (int, error) {
	e := entries[0]
	if isQuiet(e) {
		return 1, b.takeQuiet(ctx, e)
	}
	if err := b.endQuiet(ctx, e.Federation); err != nil {
		return 0, err
	}
	b.st.revive(e)
	if e.Incident == "" {
		return 1, b.takeAlone(ctx, e)
	}
	t := b.st.thread(e)
	t.Incident.fold(e)
	if t.TS == "" {
		if err := b.begin(ctx, t, e); err != nil {
			return 0, err
		}
	}
	if t.Open.takes(e) {
		t.Open.fold(e)
		b.st.After, b.dirty = e.Seq, true
		return 1, nil
	}
	// A reply says all it ever will before the next one is posted.
	if t.Open.stale() {
		if err := b.editStep(ctx, t); err != nil {
			return 0, err
		}
	}
	if e.Step != nil {
		return b.beginStep(ctx, t, entries)
	}
	m := b.event(e, t.TS)
	ts, err := b.reply(ctx, t, m)
	if err != nil {
		return 0, err
	}
	t.Open = nil
	t.LastTS = ts
	b.count(e, m.broadcast)
	return 1, b.told(ctx, e)
}

// begin posts the incident's message.
func (b *outbox) begin(ctx context.Context, t *thread, e watchdog.Entry) error {
	m := t.Incident.message()
	m.at = e.At
	shown := t.Incident.Seen
	ts, err := b.post(ctx, m)
	if err != nil {
		return err
	}
	if m.found {
		shown = 0
	}
	t.TS, t.Shown, t.LastTS, t.Open = ts, shown, "", nil
	if len(b.edited) > 2*maxThreads {
		clear(b.edited)
	}
	b.edited[t.Incident.ID] = time.Now()
	b.st.LastTS = max(b.st.LastTS, ts)
	b.st.prune()
	return b.save(ctx)
}

// beginStep posts the reply for a step with what is known of it.
func (b *outbox) beginStep(ctx context.Context, t *thread, entries []watchdog.Entry) (int, error) {
	e := entries[0]
	p := &stepPost{Federation: e.Federation, First: e.Seq, FirstAt: e.At, Chain: e.Step.Chain, Step: e.Step.Step, Rescue: e.Step.Rescue}
	n := 0
	for n < len(entries) && entries[n].Incident == e.Incident && p.takes(entries[n]) {
		p.fold(entries[n])
		t.Incident.fold(entries[n])
		n++
	}
	m := p.message(t)
	m.at = e.At
	ts, err := b.reply(ctx, t, m)
	if err != nil {
		return 0, err
	}
	p.TS, p.Shown = ts, p.Last
	if m.found {
		p.Shown = p.First
	}
	t.Open, t.LastTS = p, ts
	return n, b.told(ctx, entries[n-1])
}

func (p *stepPost) message(t *thread) *message {
	body := stepDetail(p)
	return &message{
		name:   name{federation: p.Federation, seq: p.First, at: p.FirstAt, part: partEvent, incident: t.Incident.ID},
		thread: t.TS, text: unmark(body), body: body,
	}
}

// event is the message that tells e, as a reply in thread or on its own.
func (b *outbox) event(e watchdog.Entry, thread string) *message {
	body := detail(e)
	if thread == "" && e.Federation != "" {
		body = "*" + esc(e.Federation) + "* " + body
	}
	return &message{
		name: name{federation: e.Federation, seq: e.Seq, at: e.At, part: partEvent, incident: e.Incident},
		at:   e.At, thread: thread, broadcast: loud(e) && b.often(e) == nil, text: b.s.say(e), body: body + b.aside(e),
	}
}

// told moves on past e.
func (b *outbox) told(ctx context.Context, e watchdog.Entry) error {
	b.st.After = e.Seq
	if err := b.save(ctx); err != nil {
		return err
	}
	if b.posts++; b.posts < maxRepeat {
		return nil
	}
	_, err := b.refresh(ctx)
	return err
}

// refresh edits messages that say less than is known, those of running steps
// first, none more often than Coalesce. It answers when to come back, 0 when
// there is nothing left to edit.
func (b *outbox) refresh(ctx context.Context) (wait time.Duration, err error) {
	b.posts = 0
	if err := b.calm(ctx); err != nil {
		return 0, err
	}
	for _, q := range b.st.Quiet {
		if err := b.editQuiet(ctx, q); err != nil {
			return 0, err
		}
	}
	for _, t := range b.st.byAge() {
		if t.Open.stale() {
			if err := b.editStep(ctx, t); err != nil {
				return 0, err
			}
		}
		if !t.stale() {
			continue
		}
		if due := time.Until(b.edited[t.Incident.ID].Add(b.s.o.Timing.Coalesce)); due > 0 && b.waiter == nil {
			if wait == 0 || due < wait {
				wait = due
			}
			continue
		}
		if err := b.editIncident(ctx, t); err != nil {
			return 0, err
		}
	}
	return wait, nil
}

func (b *outbox) editIncident(ctx context.Context, t *thread) error {
	seen := t.Incident.Seen
	m := t.Incident.message()
	m.at = time.Time{}
	err := b.edit(ctx, t.TS, m)
	b.edited[t.Incident.ID] = time.Now()
	switch {
	case err == nil:
	case code(err) == "message_not_found":
		// Somebody deleted it: the next event begins a new one.
		t.TS, t.LastTS, t.Open = "", "", nil
	case giveUp(err):
		b.s.o.Log.Warn().Err(err).Str("incident", t.Incident.ID).Msg("slack refused an edit, its thread has everything")
	default:
		return err
	}
	t.Shown, b.dirty = seen, true
	return nil
}

func (b *outbox) editStep(ctx context.Context, t *thread) error {
	p := t.Open
	err := b.edit(ctx, p.TS, p.message(t))
	if err != nil && !giveUp(err) {
		return err
	}
	if err != nil {
		// The reply cannot be edited, so what is new is said in a new one.
		b.s.o.Log.Warn().Err(err).Str("incident", t.Incident.ID).Msg("slack refused an edit, posting a new reply")
		n := p.message(t)
		n.name.seq, n.name.at = p.Last, p.LastAt
		ts, err := b.reply(ctx, t, n)
		if err != nil {
			return err
		}
		p.TS, t.LastTS = ts, ts
		p.First, p.FirstAt, p.Shown = p.Last, p.LastAt, p.Last
		return b.save(ctx)
	}
	p.Shown, b.dirty = p.Last, true
	return nil
}

// giveUp reports whether an edit can never succeed: Slack itself says so.
func giveUp(err error) bool {
	k := classify(err)
	return k == gone || k == refused && code(err) != ""
}

// reply posts into t's thread. A thread that is gone is begun anew.
func (b *outbox) reply(ctx context.Context, t *thread, m *message) (string, error) {
	ts, err := b.post(ctx, m)
	if err != nil && classify(err) == gone {
		t.TS, t.LastTS, t.Open = "", "", nil
	}
	return ts, err
}

// save makes st durable, even while stopping: what Slack has must be known.
func (b *outbox) save(ctx context.Context) error {
	b.dirty = true
	data, err := json.Marshal(b.st)
	if err != nil {
		return fmt.Errorf("slack: write the cursor: %w – report this as a bug of edgewatch", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := b.s.o.Cursors.SaveCursor(ctx, cursorName, data); err != nil {
		return fmt.Errorf("slack: save the cursor: %w – check edgewatch's state file", err)
	}
	b.dirty, b.posted = false, false
	return nil
}

// pace waits until the next message may be sent.
func (b *outbox) pace(ctx context.Context) error {
	sleep(ctx, time.Until(b.last.Add(b.s.o.Pace)))
	b.last = time.Now()
	return ctx.Err()
}

// backoff is how long to wait after err, which ended the b.fails-th round in
// a row.
func (b *outbox) backoff(err error) time.Duration {
	t := b.s.o.Timing
	if d := retryAfter(err); d > 0 {
		return d + b.jitter(d/10)
	}
	if k := classify(err); k == blocked || k == refused {
		return t.Slow
	}
	d := t.RetryMin << min(b.fails-1, 16)
	if d <= 0 || d > t.RetryMax {
		d = t.RetryMax
	}
	return d/2 + b.jitter(d/2)
}

// idle waits for the next thing to do.
func (b *outbox) idle(ctx context.Context, wait time.Duration) {
	if wait <= 0 || wait > b.s.o.Timing.Poll {
		wait = b.s.o.Timing.Poll
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case b.waiter = <-b.s.flush:
	case _, open := <-b.wake:
		if !open {
			b.wake = nil // nobody wakes us any more: the journal is polled
		}
	}
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// jitter is a part of d, by chance.
func (b *outbox) jitter(d time.Duration) time.Duration {
	if b.s.o.Jitter != nil {
		return time.Duration(b.s.o.Jitter() * float64(d))
	}
	return time.Duration(rand.Float64() * float64(d)) // #nosec G404 -- spreads retries, guards nothing
}

// say is the entry in one sentence. It never fails: an entry that cannot be
// told is named.
func (s *Slack) say(e watchdog.Entry) (text string) {
	defer func() {
		if recover() != nil || text == "" {
			text = unmark(detail(e))
		}
	}()
	return oneLine(e.Sentence())
}
