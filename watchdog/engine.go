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
	// Plan generates a move of this federation; it contacts nobody. Where from
	// is "", it is what starts the services of to and nothing else.
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
	glance   chan struct{} // asks for a look at what partners find now
	dead     chan struct{} // closed when the loop has ended

	// Owned by the loop.
	machine   *Machine
	auditor   *Auditor
	detectors map[string]*detector // of the pools
	servers   servers
	unclear   map[string]time.Time // by pool: first of the rounds in a row that we could trust and that told neither up nor down
	looked    time.Time            // when the last round was taken in, by the wall clock
	levels    Levels
	since     time.Time   // when Run began, by the monotonic clock …
	sinceWall time.Time   // … and by the wall clock
	began     time.Time   // of the newest round, by the monotonic clock
	testified []Testimony // what the witnesses last said
	partner   []PartnerView
	unled     int                     // see Round …
	led       int                     // … likewise
	seen      time.Time               // wall time at which partner was looked at; zero: not since moved
	glimpsed  time.Time               // by the monotonic clock: when that look began
	last      *Round                  // the newest round, for those who look
	moved     time.Time               // when a chain last ended: what partners found before is no evidence
	chain     string                  // of the running chain's goroutine, "" when there is none
	endChain  context.CancelCauseFunc // ends it
	booted    bool                    // that this life began is durable, and what the last one left undone taken up
	unsaved   *Ended                  // an end that could not be made durable yet
	confessed map[string]bool         // promises, by number, whose breach was refused and told
	journal   error                   // why the newest entries could not be kept; nil when they were
	hanging   <-chan written          // what becomes of an Append that was waited for in vain; nil when there is none
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
		rounds: make(chan *Round), surveys: make(chan survey), glance: make(chan struct{}, 1), dead: make(chan struct{}),
		machine: NewMachine(s.Rules), auditor: NewAuditor(s.Rules), detectors: map[string]*detector{}, servers: servers{},
		unclear: map[string]time.Time{}, confessed: map[string]bool{},
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
	err := replay(ctx, e.ports.Journal, e.Name(), func(entry Entry) {
		e.machine.Apply(entry)
		e.auditor.Apply(entry)
	})
	if err != nil {
		return err
	}
	e.publish()
	return nil
}

// Run watches and acts until ctx ends. A failover that is running then is
// ended with its services started again; Run returns when nothing of this
// federation runs any more. An error means that the journal can no longer be
// relied on.
func (e *Engine) Run(ctx context.Context) error {
	kept := make(chan struct{})
	defer e.await(kept)
	defer close(e.dead)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(ErrStopping)
	s := &surveyor{engine: e, wanted: make(chan struct{}, 1)}
	e.since, e.sinceWall = time.Now(), e.ports.Now().Round(0)
	e.levels.Since = e.ports.Now()
	_ = e.boot(ctx) // do tries again
	e.work.Go(func() { s.run(ctx) })
	e.work.Go(func() { s.glances(ctx) })
	go func() {
		defer close(kept)
		e.ports.Rounds.run(ctx)
	}()

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
			e.levels.Ending = ctx.Err() != nil // it may be what ended the chain
			e.finish(ctx, end)
		case w := <-e.hanging:
			e.returned(w)
		case <-ctx.Done():
			e.drain(ctx)
			return e.fatal
		}
	}
	cancel(e.fatal)
	e.drain(ctx)
	return e.fatal
}

// await waits until nothing of this federation runs any more, but not for ever
// for rounds to be recorded, which a disk that hangs prevents.
func (e *Engine) await(kept <-chan struct{}) {
	e.work.Wait()
	late := time.NewTimer(hangTimeout)
	defer late.Stop()
	select {
	case <-kept:
	case <-late.C:
	}
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
	return active.Bad > 0 && !active.Tripped() || blocked == GuardCandidate || blocked == GuardDrift || r.Outdated || slices.ContainsFunc(r.Partner, e.unsettled) || e.blindness()
}

// drain serves what still runs of a failover, whose own context has ended,
// until it is over: its services are being started again.
func (e *Engine) drain(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	e.levels.Ending = true
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
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
		case w := <-e.hanging:
			e.returned(w)
		case <-alive.C:
			e.tellAlive()
		}
	}
	e.retryUnsaved(ctx)
}

// aliveEvery is how often an ending engine tells that it is alive: the start of
// services takes minutes, and whoever watches the loop must not cut it short.
const aliveEvery = 10 * time.Second

// tellAlive publishes anew what was published last.
func (e *Engine) tellAlive() {
	if s := e.snapshot.Load(); s != nil {
		now := *s
		now.At = e.ports.Now()
		if e.fatal != nil {
			now.JournalError = e.fatal.Error()
		}
		e.snapshot.Store(&now)
	}
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
	if e.fatal != nil {
		return Ready{}, e.fatal // what the journal holds must be read back first
	}
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

// follows is what follows from the event as things stand. It changes nothing. A
// panic of the machine has changed nothing either: the engine ends in order,
// with what a failover stopped started again, and its next life goes on where
// the journal ends, without that event.
func (e *Engine) follows(ev Event) (ready Ready) {
	defer func() {
		if p := recover(); p != nil {
			e.fatal = fmt.Errorf("a defect in edgewatch, report it: on %q: %v", ev.event(), p)
			e.log.Error().Err(e.fatal).Bytes("stack", debug.Stack()).Msg("edgewatch ends, and goes on at its next start")
			ready = Ready{Refused: e.fatal.Error(), Answer: Answer{Text: e.fatal.Error()}}
		}
	}()
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
	case errors.Is(err, ErrJournalUnsure), errors.Is(err, errHangs):
		o.reply <- reply{err: fmt.Errorf("%w: %w", ErrUnsure, err)}
	case err != nil:
		o.reply <- reply{err: err}
	default:
		o.reply <- reply{answer: ready.Answer}
	}
}

// finish takes the end of a chain in. An end that cannot be written now is
// written later: until then the chain counts as running.
func (e *Engine) finish(ctx context.Context, end Ended) {
	e.chain = ""
	if c := e.machine.fold.chain; c != nil && (end.Outcome.OK || end.Outcome.RouteMoved && !end.Outcome.Unsure) {
		e.moveTo(c.To)
	}
	e.unsaved = nil
	if _, err := e.do(ctx, end); err != nil {
		e.unsaved = &end
	}
	e.lookAgain()
}

// moveTo gives the pool that carries federation now a clean slate: what its
// breaker made of it as a standby is no evidence, nor is what partners found
// while federation was elsewhere.
func (e *Engine) moveTo(pool string) {
	e.renew(pool)
	e.ports.Rounds.began(pool)
	e.levels.Round = nil
	e.partner, e.seen, e.glimpsed, e.moved = nil, time.Time{}, time.Time{}, time.Now()
	e.unled, e.led = 0, 0
	e.lookAgain()
}

// renew gives the pool and its servers detectors that have seen nothing.
func (e *Engine) renew(pool string) {
	e.detectors[pool] = e.newborn()
	delete(e.unclear, pool)
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
// refused; see Supervisor.Submit for its errors.
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
		return Answer{}, fmt.Errorf("%w: wait for the answer of %s: %w", ErrUnsure, e.Name(), context.Cause(ctx))
	}
}
