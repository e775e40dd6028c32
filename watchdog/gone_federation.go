package watchdog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// GoneFederations are those that stand in a journal and are no longer
// configured, as after one was renamed. No engine runs them, so that nobody
// finishes what they left undone: people are told so at every start, until one
// of them acknowledges it. Methods are safe for concurrent use; nil has none.
type GoneFederations struct {
	journal Journal
	lease   func() error
	now     func() time.Time
	wake    func()
	turn    chan struct{} // holds one token: whoever has it owns all and what is in it
	all     []*goneFederation
	left    atomic.Pointer[[]string]
}

// GoneOptions are what GoneFederations need.
type GoneOptions struct {
	Names   []string // of the federations
	New     []Rules  // of the configured federations that the journal does not know yet: one of them may be a gone one by another name
	Journal Journal
	Lease   func() error // as in Ports; may be nil
	Log     zerolog.Logger
	Now     func() time.Time // wall time that is stored; nil means time.Now
	Wake    func()           // called after entries became durable; must not block. May be nil
}

// goneFederation is one of them.
type goneFederation struct {
	name   string
	fold   fold
	rules  Rules
	unread error    // why its journal cannot be understood
	told   bool     // since it was configured last
	acked  *Command // … and by whom that was acknowledged, nil while it is not
	ackSeq uint64
	due    string // what people are still to be told of this start
}

// ReadGone reads from the journal what the federations left.
func ReadGone(ctx context.Context, o GoneOptions) (*GoneFederations, error) {
	g := &GoneFederations{journal: o.Journal, lease: o.Lease, now: o.Now, wake: o.Wake, turn: make(chan struct{}, 1)}
	if g.now == nil {
		g.now = time.Now
	}
	for _, name := range o.Names {
		f := &goneFederation{name: name, rules: Rules{Federation: name}, fold: newFold("")}
		f.unread = replay(ctx, o.Journal, name, f.apply)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		undone, lost := f.undone(), f.forgotten(g.now(), o.New)
		log := o.Log.With().Str("federation", name).Str("undone", undone).Str("forgotten", lost).Logger()
		switch {
		case f.acked == nil && undone != "":
			log.Error().Msg("a federation that is no longer configured left something undone")
			f.due = f.advice(undone)
		case lost != "" && !f.told:
			log.Warn().Msg("what was said of a federation that is no longer configured counts no more")
		default:
			log.Info().Msg("a federation of the journal is no longer configured")
		}
		if lost != "" && !f.told {
			f.due = join(f.due, fmt.Sprintf("%s is no longer configured: %s", name, lost))
		}
		g.all = append(g.all, f)
	}
	g.publish()
	g.turn <- struct{}{}
	return g, nil
}

func join(a, b string) string { return strings.TrimPrefix(a+". "+b, ". ") }

func (f *goneFederation) apply(e Entry) {
	f.fold.apply(e, &f.rules)
	switch {
	case e.Kind == KindNotice && e.Notice.Kind == NoticeStarted: // it was configured then
		f.told, f.acked = false, nil
	case e.Kind == KindNotice && e.Notice.Kind == NoticeFederationGone:
		f.told, f.due = true, ""
	case e.Kind == KindCommand && e.Command.Verb == VerbAck && f.told:
		f.acked, f.ackSeq = e.Command, e.Seq
	}
}

// undone is what the federation left half done, "" when nothing.
func (f *goneFederation) undone() string {
	if f.unread != nil {
		return "what it left cannot be read: " + f.unread.Error()
	}
	var parts []string
	c := f.fold.chain
	switch {
	case f.fold.running() && c.progress.Touched():
		part := fmt.Sprintf("its %s %s from %s to %s was under way when edgewatch ended", c.word(), c.ID, c.From, c.To)
		if c.moved || c.progress.Moved(c.Kind) {
			part += ", and its route may have moved"
		}
		parts = append(parts, part)
	case f.fold.unseen() && f.fold.confirm != "":
		parts = append(parts, f.fold.confirm)
	case !f.fold.running() && f.fold.halfway():
		parts = append(parts, f.fold.half())
	}
	if stopped := f.stopped(); len(stopped) > 0 {
		parts = append(parts, fmt.Sprintf("services may be STOPPED on %s: run Start-CsWindowsService there", strings.Join(stopped, ", ")))
	}
	return strings.Join(parts, "; ")
}

// stopped names the servers that nobody saw running since they were stopped.
func (f *goneFederation) stopped() []string {
	owed := maps.Clone(f.fold.owed)
	if c := f.fold.chain; f.fold.running() {
		owed[c.To] = c.progress.StillStopped(c.Owed)
	}
	var out []string
	for _, pool := range slices.Sorted(maps.Keys(owed)) {
		for _, server := range owed[pool] {
			out = append(out, fmt.Sprintf("%s of %s", server, pool))
		}
	}
	return out
}

// forgotten is what the federation knew, and none that is configured knows; ""
// when nothing that matters.
func (f *goneFederation) forgotten(at time.Time, others []Rules) string {
	var parts []string
	if c := f.fold.chain; f.fold.running() && !c.progress.Touched() {
		parts = append(parts, fmt.Sprintf("its %s %s to %s, which had touched nothing, is not carried on", c.word(), c.ID, c.To))
	}
	if incident := f.fold.incident; incident != "" && !f.fold.running() && f.undone() == "" {
		part := fmt.Sprintf("its incident %s is closed", incident)
		if active := f.fold.active; f.fold.tripped[active] {
			part += fmt.Sprintf(", though %s was not seen answering since", active)
		}
		parts = append(parts, part)
	}
	if h := f.fold.hold; h != nil {
		parts = append(parts, fmt.Sprintf("that %s held it since %s (%s) counts no more", h.Actor, clock(h.Since), h.Reason))
	}
	if p := f.fold.pause; p != nil && at.Before(p.Until) {
		parts = append(parts, fmt.Sprintf("that %s paused it until %s (%s) counts no more", p.Actor, clock(p.Until), p.Reason))
	}
	for _, r := range others {
		if active := f.fold.active; knows(r.Pools, active) && r.Pools[0] != active {
			parts = append(parts, fmt.Sprintf("%s carried federation there, and %s, which is new, takes %s for the active pool: if %[1]s is, adopt %[1]s REASON -f %[2]s", active, r.Federation, r.Pools[0]))
		}
	}
	return strings.Join(parts, "; ")
}

// advice says what to do about what was left undone.
func (f *goneFederation) advice(undone string) string {
	return fmt.Sprintf("%s is no longer configured, and %s. If nobody moved federation since, call it %[1]s again in the configuration and restart: edgewatch takes it up. Else put it right by hand, then: ack -f %[1]s", f.name, undone)
}

// publish makes visible what is left.
func (g *GoneFederations) publish() {
	var left []string
	for _, f := range g.all {
		if undone := f.undone(); undone != "" && f.acked == nil {
			left = append(left, f.advice(undone))
		}
	}
	g.left.Store(&left)
}

// Left tells, a sentence or more for each federation, what was left undone and
// is not acknowledged. It never blocks; the caller changes nothing in it.
func (g *GoneFederations) Left() []string {
	if g == nil {
		return nil
	}
	return *g.left.Load()
}

// Tell makes durable what people are to be told of this start, each thing once
// however often it is called. After an error it is called again, later.
func (g *GoneFederations) Tell(ctx context.Context) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	var entries []Entry
	for _, f := range g.all {
		entries = append(entries, f.notice(g.now())...)
	}
	_, err := g.keep(ctx, entries)
	return err
}

// notice is what is still to be told of the federation.
func (f *goneFederation) notice(at time.Time) []Entry {
	if f.due == "" {
		return nil
	}
	return []Entry{{At: at.UTC(), Federation: f.name, Incident: f.incident(), Kind: KindNotice, Notice: &Notice{Kind: NoticeFederationGone, Text: f.due}}}
}

// incident is the one that went on when the federation was configured last, "" when
// none did: whoever follows it learns that it is over.
func (f *goneFederation) incident() string {
	if c := f.fold.chain; f.fold.incident == "" && (f.fold.running() || f.fold.halfway() || f.fold.unseen() && f.fold.confirm != "") {
		return c.incident
	}
	return f.fold.incident
}

// knows reports whether the federation is one of them.
func (g *GoneFederations) knows(name string) bool { return g.of(name) != nil }

func (g *GoneFederations) of(name string) *goneFederation {
	if g == nil {
		return nil
	}
	for _, f := range g.all {
		if f.name == name {
			return f
		}
	}
	return nil
}

// submit takes an order to a federation that it knows; see Supervisor.Submit.
func (g *GoneFederations) submit(ctx context.Context, cmd Command) (Answer, error) {
	if err := g.take(ctx); err != nil {
		return Answer{}, err
	}
	f := g.of(cmd.Federation)
	answer, given := f.answer(cmd)
	if err := g.mayAct(); err != nil && !given {
		answer = Answer{Text: "nothing can be done from here: " + err.Error()}
	}
	if given || !answer.Accepted || cmd.Dry {
		g.give()
		return answer, nil
	}
	entries := append(f.notice(g.now()), Entry{At: g.now().UTC(), Federation: f.name, Incident: f.incident(), Kind: KindCommand, Command: &cmd})
	stored, err := g.keep(ctx, entries)
	switch {
	case errors.Is(err, ErrJournalUnsure):
		return Answer{}, fmt.Errorf("%w: %w", ErrUnsure, err)
	case err != nil:
		return Answer{}, err
	}
	answer.Entry = stored[len(stored)-1].Seq
	return answer, nil
}

// answer is what cmd comes to, and whether it was given before.
func (f *goneFederation) answer(cmd Command) (a Answer, given bool) {
	done := Answer{Accepted: true, Text: fmt.Sprintf("acknowledged: what %s left undone is told no more", f.name)}
	if f.unread != nil {
		done.Text = fmt.Sprintf("acknowledged until the next start: what %s left cannot be read, and neither can this be then", f.name)
	}
	switch {
	case f.acked != nil && f.acked.ID == cmd.ID:
		done.Entry = f.ackSeq
		return done, true
	case cmd.Verb != VerbAck:
		return Answer{Text: fmt.Sprintf("%s is no longer configured: nothing is possible but ack, once what it left undone was put right by hand", f.name)}, false
	case f.acked != nil || f.undone() == "":
		return Answer{Text: fmt.Sprintf("%s is no longer configured, and there is nothing to acknowledge", f.name)}, false
	}
	return done, false
}

func (g *GoneFederations) mayAct() error {
	if g.lease == nil {
		return nil
	}
	return g.lease()
}

// take waits for the turn, which keep or give give back.
func (g *GoneFederations) take(ctx context.Context) error {
	select {
	case <-g.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for an earlier write of the journal: %w: nothing was changed", context.Cause(ctx))
	}
}

func (g *GoneFederations) give() { g.turn <- struct{}{} }

// keep makes the entries durable and takes them in. It waits no longer than ctx,
// and then nobody knows; the turn is given back once the write has returned.
func (g *GoneFederations) keep(ctx context.Context, entries []Entry) ([]Entry, error) {
	done := make(chan written, 1)
	go func() {
		defer g.give()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
		defer cancel()
		stored, err := g.journal.Append(limited, entries)
		for _, e := range stored {
			g.of(e.Federation).apply(e)
		}
		g.publish()
		if len(stored) > 0 && g.wake != nil {
			g.wake()
		}
		done <- written{stored, err}
	}()
	select {
	case w := <-done:
		return w.entries, w.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: wait for the journal: %w", ErrJournalUnsure, context.Cause(ctx))
	}
}
