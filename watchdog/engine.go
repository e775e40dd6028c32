package watchdog

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"edgewatch/actions"
)

// Settings are what one federation's engine goes by.
type Settings struct {
	Rules   Rules
	Breaker BreakerRules
	Watch   WatchRules
	Runner  actions.Runner // Record is set by the engine
}

// Ports are what an engine asks and what it acts with.
type Ports struct {
	Senses
	// Plan generates a move of this federation; it contacts nobody.
	Plan func(kind actions.PlanKind, from, to string) (*actions.Plan, error)
	// Lease says why this process may not act any more, nil while it may. It
	// is asked before everything that is decided and must not block. May be nil.
	Lease   func() error
	Journal Journal
	Log     zerolog.Logger
	Now     func() time.Time // wall time that is stored; nil means time.Now
	Wake    func()           // called after entries became durable; must not block. May be nil
	Rounds  *Recorder        // keeps what the rounds found; may be nil
}

// Engine runs one federation: one goroutine owns machine and detectors, and
// everything else sends it messages or reads its snapshot.
type Engine struct {
	settings Settings
	ports    Ports
	log      zerolog.Logger
	snapshot atomic.Pointer[Snapshot]
	delay    time.Duration // of the first round; set before Run

	commands chan order
	records  chan record
	ended    chan Ended
	rounds   chan *Round
	surveys  chan survey
	dead     chan struct{} // closed when the loop has ended

	// Owned by the loop.
	machine   *Machine
	auditor   *Auditor
	detectors map[string]*detector // of the pools
	servers   servers
	looked    time.Time // when the last round was taken in, by the wall clock
	levels    Levels
	since     time.Time   // when Run began, by the monotonic clock …
	sinceWall time.Time   // … and by the wall clock
	began     time.Time   // of the newest round, by the monotonic clock
	testified []Testimony // what the witnesses last said
	partner   []PartnerView
	seen      time.Time               // wall time at which partner was looked at; zero: not since moved
	glimpsed  time.Time               // by the monotonic clock: when that look began
	last      *Round                  // the newest round, for those who look
	moved     time.Time               // when a chain last ended: what partners found before is no evidence
	chain     string                  // of the running chain's goroutine, "" when there is none
	endChain  context.CancelCauseFunc // ends it
	booted    bool                    // that this life began is durable, and what the last one left undone taken up
	unsaved   *Ended                  // an end that could not be made durable yet
	journal   error                   // why the newest entries could not be kept; nil when they were
	fatal     error
	work      sync.WaitGroup
}

type order struct {
	cmd   Command
	reply chan<- reply
}

type reply struct {
	answer Answer
	err    error
}

type record struct {
	record actions.Record
	reply  chan<- error
}

// NewEngine returns an engine that has not begun.
func NewEngine(s Settings, p Ports) *Engine {
	if p.Now == nil {
		p.Now = time.Now
	}
	e := &Engine{
		settings: s, ports: p, log: p.Log.With().Str("component", "engine").Logger(),
		commands: make(chan order), records: make(chan record), ended: make(chan Ended),
		rounds: make(chan *Round), surveys: make(chan survey), dead: make(chan struct{}),
		machine: NewMachine(s.Rules), auditor: NewAuditor(s.Rules), detectors: map[string]*detector{}, servers: servers{},
		levels: Levels{Readiness: map[string]Readiness{}},
	}
	for _, pool := range s.Rules.Pools {
		e.detectors[pool] = newDetector(s.Breaker)
	}
	p.Rounds.began(FreshAll)
	return e
}

// Name is the federation's name.
func (e *Engine) Name() string { return e.settings.Rules.Federation }

// Snapshot is the newest snapshot; nil before Run has replayed the journal.
func (e *Engine) Snapshot() *Snapshot { return e.snapshot.Load() }

// Replay brings the machine to where the journal ends. It is called once,
// before Run.
func (e *Engine) Replay(ctx context.Context) error {
	const batch = 1000
	for {
		entries, err := e.ports.Journal.Read(ctx, e.Name(), e.machine.LastSeq(), batch)
		if err != nil {
			return fmt.Errorf("replay the journal of %s: %w", e.Name(), err)
		}
		for _, entry := range entries {
			e.machine.Apply(entry)
			e.auditor.Apply(entry)
		}
		if len(entries) < batch {
			e.publish()
			return nil
		}
	}
}

// Run watches and acts until ctx ends. A failover that is running then is
// ended with its services started again; Run returns when nothing of this
// federation runs any more. An error means that the journal can no longer be
// relied on.
func (e *Engine) Run(ctx context.Context) error {
	defer e.work.Wait()
	defer close(e.dead)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(ErrStopping)
	s := &surveyor{engine: e, wanted: make(chan struct{}, 1)}
	e.since, e.sinceWall = time.Now(), e.ports.Now().Round(0)
	e.levels.Since = e.ports.Now()
	_ = e.boot(ctx) // do tries again
	e.work.Go(func() { s.run(ctx) })
	e.work.Go(func() { e.ports.Rounds.run(ctx) })

	due, dueWall := time.Now().Add(e.delay), e.ports.Now().Add(e.delay)
	timer := time.NewTimer(e.delay)
	defer timer.Stop()
	for e.fatal == nil {
		select {
		case <-timer.C:
			late := time.Since(due)
			leapt := e.ports.Now().Round(0).Sub(dueWall.Round(0)) - late
			_ = e.boot(ctx)
			e.retryUnsaved(ctx)
			e.checkLease()
			doubt := e.doubts()
			e.work.Go(func() { e.look(ctx, late, leapt, doubt) })
		case r := <-e.rounds:
			began := r.At // still with its monotonic reading
			e.took(r)
			seen := r.seen(e.machine.Active(), time.Now(), e.settings.Watch.Interval)
			_, _ = e.do(ctx, Tick{})
			e.ports.Rounds.take(seen)
			if e.needsSurvey(r) {
				s.hurry()
			}
			wait := e.settings.Watch.wait(r.Pool(e.machine.Active()), time.Since(began))
			due, dueWall = time.Now().Add(wait), e.ports.Now().Add(wait)
			timer.Reset(wait)
		case v := <-e.surveys:
			e.surveyed(v)
			_, _ = e.do(ctx, Tick{})
		case o := <-e.commands:
			e.obey(ctx, o)
		case r := <-e.records:
			_, err := e.do(ctx, Recorded{r.record})
			r.reply <- err
		case end := <-e.ended:
			e.finish(ctx, end)
		case <-ctx.Done():
			e.drain(ctx)
			return e.fatal
		}
	}
	cancel(e.fatal)
	e.drain(ctx)
	return e.fatal
}

// boot tells the machine that this life began, until that is durable: before,
// nothing is decided, and nothing takes up what the last life left undone. What
// could not be kept shows in the snapshot.
func (e *Engine) boot(ctx context.Context) error {
	if e.booted {
		return nil
	}
	_, err := e.step(ctx, Booted{})
	e.booted = err == nil
	return err
}

// needsSurvey reports whether a failover may follow soon, or would have if
// there were a pool to take over, or what partners find is old news.
func (e *Engine) needsSurvey(r *Round) bool {
	active := r.Pool(e.machine.Active()).Breaker
	blocked := e.Snapshot().Decision.BlockedBy
	return active.Bad > 0 && !active.Tripped() || blocked == GuardCandidate || blocked == GuardDrift || r.Outdated || slices.ContainsFunc(r.Partner, e.unsettled)
}

// drain serves what still runs of a failover, whose own context has ended,
// until it is over: its services are being started again.
func (e *Engine) drain(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	e.levels.Ending = true
	for e.chain != "" {
		select {
		case r := <-e.records:
			err := e.fatal
			if err == nil {
				_, err = e.do(ctx, Recorded{r.record})
			}
			r.reply <- err
		case end := <-e.ended:
			if e.fatal != nil {
				e.chain = ""
				return
			}
			e.finish(ctx, end)
		case o := <-e.commands:
			o.reply <- reply{err: ErrStopping}
		}
	}
	e.retryUnsaved(ctx)
}

// do takes one event through the machine, after the start of this life. Were
// anything begun before that is durable, the start would take it for what the
// last life left undone and begin it a second time.
func (e *Engine) do(ctx context.Context, ev Event) (Ready, error) {
	if err := e.boot(ctx); err != nil {
		return Ready{}, err
	}
	return e.step(ctx, ev)
}

// step takes one event through the machine: entries durable first, then
// applied, then effects.
func (e *Engine) step(ctx context.Context, ev Event) (Ready, error) {
	ready := e.follows(ev)
	if ready.Refused != "" {
		return ready, errors.New(ready.Refused)
	}
	if err := e.save(ctx, &ready); err != nil {
		return ready, err
	}
	for _, effect := range ready.Effects {
		if effect.Abort != "" {
			e.end(effect.Chain.ID, fmt.Errorf("%w by %s", actions.ErrAborted, effect.Abort))
			continue
		}
		e.start(ctx, effect)
	}
	e.publish()
	return ready, nil
}

// follows is what follows from the event as things stand. It changes nothing.
func (e *Engine) follows(ev Event) Ready {
	now := e.ports.Now()
	e.levels.Leapt = now.Round(0).Sub(e.sinceWall) - time.Since(e.since)
	e.levels.Lease = e.lease()
	return e.machine.Step(Input{At: now, Levels: e.levels, Event: ev})
}

// lease is why this process may not act any more, "" while it may.
func (e *Engine) lease() string {
	if e.ports.Lease == nil {
		return ""
	}
	if err := e.ports.Lease(); err != nil {
		return err.Error()
	}
	return ""
}

// checkLease ends the running chain when this process may not act any more:
// what it stopped is started again, which whoever acts now would do too.
func (e *Engine) checkLease() {
	if why := e.lease(); why != "" && e.chain != "" {
		e.end(e.chain, fmt.Errorf("%w: %s", ErrLeaseLost, why))
	}
}

// end ends the goroutine of that chain, if it is the one that runs.
func (e *Engine) end(chain string, cause error) {
	if e.chain == chain && e.endChain != nil {
		e.endChain(cause)
	}
}

// saveTimeout bounds one write of the journal.
const saveTimeout = 15 * time.Second

func (e *Engine) save(ctx context.Context, ready *Ready) error {
	if len(ready.Entries) == 0 {
		if e.unsaved == nil {
			e.journal = nil // nothing waits to be written
		}
		return nil
	}
	if e.fatal != nil {
		return e.fatal // what the journal holds must be read back first
	}
	if err := e.auditor.Check(ready.Entries); err != nil {
		err = fmt.Errorf("a defect in edgewatch, report it: %w; nothing of it is done", err)
		e.log.Error().Err(err).Msg("entries refused")
		e.journal = err
		e.publish()
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	stored, err := e.ports.Journal.Append(ctx, ready.Entries)
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
		e.log.Info().Uint64("seq", entry.Seq).Str("event", string(entry.Kind)).Str("incident", entry.Incident).Msg(entry.Sentence())
	}
	if e.ports.Wake != nil {
		e.ports.Wake()
	}
	return nil
}

// obey answers a command once it is durable, or tells that nothing changed.
func (e *Engine) obey(ctx context.Context, o order) {
	if o.cmd.Dry {
		o.reply <- reply{answer: e.follows(Submitted{o.cmd}).Answer}
		return
	}
	ready, err := e.do(ctx, Submitted{o.cmd})
	switch {
	case ready.Refused != "":
		o.reply <- reply{answer: ready.Answer} // a refusal is an answer
	case err != nil:
		o.reply <- reply{err: err}
	default:
		o.reply <- reply{answer: ready.Answer}
	}
}

// start runs a chain in a goroutine of its own.
func (e *Engine) start(ctx context.Context, effect Effect) {
	c := effect.Chain
	ctx, cancel := context.WithCancelCause(ctx)
	e.chain, e.endChain = c.ID, cancel
	runner := e.settings.Runner
	runner.Log = e.ports.Log.With().Str("component", "chain").Str("op", c.ID).Logger()
	runner.Record = func(_ context.Context, r actions.Record) error { return e.record(r) }
	e.work.Go(func() {
		defer cancel(nil)
		out, lost := actions.Outcome{Step: actions.Preflight}, false
		defer func() {
			if p := recover(); p != nil {
				out = actions.Outcome{RouteMoved: true, Error: fmt.Sprintf("a defect in edgewatch: %v\n%s", p, debug.Stack())}
				lost = true
			}
			e.ended <- Ended{Chain: c.ID, Outcome: out, lost: lost}
		}()
		plan, err := e.ports.Plan(c.Kind, c.From, c.To)
		if err == nil {
			plan.Repair, plan.Skip, plan.Owed = c.Repair, c.Skip, c.Owed
		}
		switch {
		case err != nil:
			// Nothing can be done, so that what earlier runs did is all there is to say.
			out.Error = fmt.Sprintf("make the plan from %s to %s: %v", c.From, c.To, err)
			out.RouteMoved = effect.Progress.Begun(actions.SetRoute)
			out.Stopped = effect.Progress.StillStopped(c.Owed)
		case effect.Abandon != "":
			out = runner.Abandon(ctx, plan, c.ID, effect.Progress, effect.Abandon)
		default:
			out = runner.Run(ctx, plan, c.ID, effect.Progress)
		}
	})
}

// record hands a record to the loop and returns when it is durable. The loop
// serves records for as long as a chain runs.
func (e *Engine) record(r actions.Record) error {
	done := make(chan error, 1)
	e.records <- record{r, done}
	return <-done
}

// finish takes the end of a chain in. An end that cannot be written now is
// written later: until then the chain counts as running.
func (e *Engine) finish(ctx context.Context, end Ended) {
	e.chain = ""
	if c := e.machine.fold.chain; c != nil && (end.Outcome.OK || end.Outcome.RouteMoved) {
		e.moveTo(c.To)
	}
	e.unsaved = nil
	if _, err := e.do(ctx, end); err != nil {
		e.unsaved = &end
	}
}

// moveTo gives the pool that carries federation now a clean slate: what its
// breaker made of it as a standby is no evidence, nor is what partners found
// while federation was elsewhere.
func (e *Engine) moveTo(pool string) {
	e.renew(pool)
	e.ports.Rounds.began(pool)
	e.levels.Round = nil
	e.partner, e.seen, e.glimpsed, e.moved = nil, time.Time{}, time.Time{}, time.Now()
}

// renew gives the pool and its servers detectors that have seen nothing.
func (e *Engine) renew(pool string) {
	e.detectors[pool] = e.newborn()
	for _, w := range e.settings.Watch.Pools {
		for _, t := range w.Targets {
			if w.Name == pool && e.servers != nil {
				e.servers[t.Addr] = e.newborn()
			}
		}
	}
}

// newborn is a detector for which rounds that were begun before now are no
// evidence.
func (e *Engine) newborn() *detector {
	d := newDetector(e.settings.Breaker)
	d.last = time.Now()
	return d
}

func (e *Engine) retryUnsaved(ctx context.Context) {
	if e.unsaved != nil {
		e.finish(ctx, *e.unsaved)
	}
}

// Submit hands a command to the engine and returns when it is durable or
// refused.
func (e *Engine) Submit(ctx context.Context, cmd Command) (Answer, error) {
	got := make(chan reply, 1)
	select {
	case e.commands <- order{cmd, got}:
	case <-e.dead:
		return Answer{}, ErrStopping
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("hand the command to %s: %w: nothing was changed", e.Name(), context.Cause(ctx))
	}
	select {
	case r := <-got:
		return r.answer, r.err
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("wait for the answer of %s: %w: look at history whether the command was accepted", e.Name(), context.Cause(ctx))
	}
}
