package watchdog

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// fold is the state of a federation: what its journal adds up to. It is
// changed by apply alone, live and in replay.
type fold struct {
	lastSeq   uint64
	wrote     time.Time // of the newest entry …
	latest    time.Time // … and of the latest: a clock that shows less is behind, or this one was ahead
	active    string
	gone      string   // the pool that was it until it was no longer configured; "" once it is settled which one is
	decision  Decision // the last one recorded
	told      []told   // the newest decisions recorded
	heard     string   // the newest incident with a decision recorded
	incident  string   // the open incident, "" when there is none
	incidents int      // the largest number that one was ever named by
	attempts  int      // failovers of the open incident that count as tried
	charged   bool     // an automatic failover of the open incident is in autos
	tripped   map[string]bool
	degraded  map[string]bool
	down      map[string]bool      // addresses of servers that were told to be down
	quit      map[string]bool      // pools that did not answer when federation left them and have not been seen back
	back      map[string]time.Time // those that were: since when
	shaky     map[string]bool      // those that were and died again: they are believed later
	owed      map[string][]string  // servers that a chain to their pool stopped and did not see running again
	drift     map[string]string
	lost      map[string]bool // domains whose partners cannot reach an active pool that answers
	blind     bool            // people were told that nothing can be learned from DNS
	silent    map[string]bool // witnesses, by URL, that were told to be silent
	hold      *Hold
	pause     *Pause
	pausing   time.Duration // as the pause was ordered for so long
	ask       *ask          // what a person is asked in the open incident
	denied    *Command      // who said no to it, and why
	aborting  string        // who ordered the running chain to end
	over      string        // the newest chain of which a person said that nothing is left to do
	unproven  *unproven     // replaced, never changed
	undone    string        // what brought federation to the active pool and is not through, in a word
	cooldown  time.Time
	autos     []time.Time // incidents with an automatic failover, failbacks aside: when it began
	failed    map[string]time.Time
	stays     string        // why federation does not go home by itself until a person speaks
	homeward  string        // the pool that stays is about: once federation is there, it is over
	leapt     time.Duration // how far the clock was set since this process began, as far as that was told
	chain     *chainFold    // the running failover, else the last one
	confirm   string        // what a person has to acknowledge before the next automatic failover
	retryAt   time.Time     // faulted: when the chain is tried again
	accepted  []accepted    // the newest commands, for idempotency
}

type accepted struct {
	Command
	seq uint64
}

// keptCommands is how many command ids are remembered.
const keptCommands = 256

func newFold(active string) fold {
	return fold{
		active:   active,
		tripped:  map[string]bool{},
		degraded: map[string]bool{},
		down:     map[string]bool{},
		quit:     map[string]bool{},
		back:     map[string]time.Time{},
		shaky:    map[string]bool{},
		owed:     map[string][]string{},
		drift:    map[string]string{},
		lost:     map[string]bool{},
		silent:   map[string]bool{},
		failed:   map[string]time.Time{},
	}
}

func (f *fold) clone() fold {
	c := *f
	c.tripped, c.degraded, c.quit = maps.Clone(f.tripped), maps.Clone(f.degraded), maps.Clone(f.quit)
	c.down, c.shaky, c.silent = maps.Clone(f.down), maps.Clone(f.shaky), maps.Clone(f.silent)
	c.drift, c.lost, c.failed, c.back = maps.Clone(f.drift), maps.Clone(f.lost), maps.Clone(f.failed), maps.Clone(f.back)
	c.owed = maps.Clone(f.owed) // its lists are replaced, never changed
	c.autos, c.accepted, c.told = slices.Clone(f.autos), slices.Clone(f.accepted), slices.Clone(f.told)
	c.pause, c.hold, c.ask, c.denied = copied(f.pause), copied(f.hold), copied(f.ask), copied(f.denied)
	if f.chain != nil {
		ch := *f.chain
		ch.progress = f.chain.progress.Clone()
		ch.steps = slices.Clone(f.chain.steps)
		c.chain = &ch
	}
	return c
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

func (f *fold) running() bool { return f.chain != nil && f.chain.outcome == nil }

// faulted: the route moved and the failover is not through.
func (f *fold) faulted() bool { return !f.running() && !f.retryAt.IsZero() }

// unfinished: the last failover moved the route and did not get through.
func (f *fold) unfinished() bool {
	return f.failedChain() && f.chain.outcome.RouteMoved && f.chain.To == f.active
}

// halfway: what brought federation to the active pool is not through, be it the
// last failover or one before it.
func (f *fold) halfway() bool { return f.unfinished() || f.undone != "" }

// half says so.
func (f *fold) half() string { return fmt.Sprintf("the %s to %s is not through", f.undone, f.active) }

// failedChain: the last failover ended without being through, and nobody said
// that nothing is left to do.
func (f *fold) failedChain() bool {
	return f.chain != nil && f.chain.outcome != nil && !f.chain.outcome.OK && f.chain.ID != f.over
}

// state is where the fold stands in the transition table.
func (f *fold) state() State {
	switch {
	case f.running() && f.chain.verifying():
		return Verifying
	case f.running():
		return FailingOver
	case f.faulted():
		return Faulted
	case f.decision.Will == WillFailover || f.decision.Will == WillFailback:
		return Watching // it ran and is over; the next event decides anew
	}
	return f.decision.State
}

// apply is the only way that state changes. rules give the durations that a
// fact starts.
func (f *fold) apply(e Entry, rules *Rules) {
	f.lastSeq = max(f.lastSeq, e.Seq)
	f.incidents = max(f.incidents, numberOf(e.Incident, incidentMark))
	f.rewind(e.At, rules)
	if f.wrote = e.At; e.At.After(f.latest) {
		f.latest = e.At
	}
	switch e.Kind {
	case KindPool:
		f.applyPool(e)
	case KindDecision:
		f.decided(e, rules)
	case KindCommand:
		f.applyCommand(e)
	case KindChain:
		f.applyChain(e)
	case KindStep:
		f.applyStep(e)
	case KindChainEnd:
		f.applyChainEnd(e, rules)
	case KindNotice:
		f.applyNotice(e)
	}
}

func (f *fold) applyPool(e Entry) {
	f.tripped[e.Pool.Pool] = e.Pool.Tripped
	if e.Pool.Pool != f.active {
		return
	}
	switch {
	case e.Pool.Tripped:
		f.leaveRest()
		f.open(e)
	case (f.halfway() || f.unseen()) && (f.faulted() || f.confirm != ""):
		// The incident ends with its failover, or with an ack.
	case f.halfway() && (!f.unfinished() || f.chain.Repair):
		f.confirm = f.half() // a move away from it failed since, or was not begun
	default:
		f.close()
		f.confirm = ""
	}
}

// leaveRest: to bring the rest to a pool that is dead helps nobody, where it was
// there before.
func (f *fold) leaveRest() {
	if f.undone != "" && f.confirm == f.half() {
		f.confirm = ""
	}
	if f.unfinished() && f.chain.Repair && !f.chain.outcome.Aborted {
		f.retryAt, f.confirm = time.Time{}, ""
	}
}

// open begins the incident that the entry carries.
func (f *fold) open(e Entry) {
	if e.Incident == "" || e.Incident == f.incident {
		return
	}
	f.incident = e.Incident
	f.ask, f.denied = nil, nil
	f.attempts, f.charged = 0, false
}

func (f *fold) close() {
	f.incident = ""
	f.ask, f.denied = nil, nil
	f.attempts, f.charged = 0, false
	clear(f.failed)
}

func (f *fold) applyCommand(e Entry) {
	cmd := *e.Command
	f.told = nil // whoever spoke is told again
	f.accepted = append(f.accepted, accepted{cmd, e.Seq})
	if len(f.accepted) > keptCommands {
		f.accepted = f.accepted[1:]
	}
	if cmd.Verb.settles() {
		f.stays = ""
	}
	if f.chain == nil && (cmd.Verb == VerbRetry || cmd.Verb == VerbAbort) {
		return // of a failover that the journal does not tell of
	}
	switch cmd.Verb {
	case VerbHold:
		f.cutQuestion()
		f.hold = &Hold{Since: e.At, Actor: cmd.Actor, Via: cmd.Via, Reason: cmd.Reason, told: e.At}
	case VerbRelease:
		f.hold = nil
	case VerbPause:
		f.cutQuestion()
		f.pause, f.pausing = &Pause{Until: e.At.Add(cmd.For), Actor: cmd.Actor, Via: cmd.Via, Reason: cmd.Reason}, cmd.For
	case VerbResume:
		f.pause = nil
	case VerbAck:
		if f.running() { // else it is refused
			f.dismiss(e.At)
		}
		f.confirm, f.cooldown, f.retryAt, f.unproven = "", time.Time{}, time.Time{}, nil
		f.attempts = 0
		f.ask, f.denied = nil, nil
		clear(f.failed)
		if !f.tripped[f.active] {
			f.close()
		}
	case VerbFailover, VerbSwitchover, VerbFailback, VerbApprove, VerbSkipStep:
		f.confirm = ""
	case VerbRetry:
		f.confirm = ""
		delete(f.failed, f.chain.To)
	case VerbDeny:
		f.denied = &cmd
	case VerbAbort:
		f.abort(cmd)
	case VerbAdopt:
		f.adopt(cmd.Pool)
	}
}

// abort ends the running chain, or the wait for another try.
func (f *fold) abort(cmd Command) {
	if f.running() {
		f.aborting = cmd.Actor
		return
	}
	f.retryAt = time.Time{}
	f.confirm = fmt.Sprintf("the %s to %s was aborted by %s", f.chain.word(), f.chain.To, cmd.Actor)
}

// adopt takes a person's word that the pool carries federation.
func (f *fold) adopt(pool string) {
	f.leave(f.active, false)
	if f.chain != nil {
		f.over = f.chain.ID
	}
	f.takeOver(pool)
	delete(f.owed, pool) // what was left to do there was done by hand
	f.confirm, f.retryAt, f.cooldown = "", time.Time{}, time.Time{}
	clear(f.drift)
	clear(f.lost)
	f.close()
}

// leave notes that federation was moved off a pool that was dead, or that
// nobody saw answering. One that was well all along, or was seen back since,
// will not come back.
func (f *fold) leave(pool string, unseen bool) {
	if _, back := f.back[pool]; (f.tripped[pool] || unseen) && !back {
		f.quit[pool] = true
	}
}

// takeOver makes the pool the active one, with a clean slate.
func (f *fold) takeOver(pool string) {
	f.active, f.gone, f.unproven, f.undone = pool, "", nil, ""
	f.tripped[pool] = false
	delete(f.quit, pool)
	delete(f.back, pool)
	delete(f.shaky, pool)
	if pool == f.homeward {
		f.stays = ""
	}
}

func (f *fold) applyNotice(e Entry) {
	n := e.Notice
	switch n.Kind {
	case NoticeClock:
		f.leapt += n.By
		f.latest = f.latest.Add(min(0, n.By)) // it was ahead, and is put right
		f.advance(n.By)
	case NoticePauseEnded:
		f.pause = nil
	case NoticeOldPoolBack:
		delete(f.quit, n.Pool)
		f.back[n.Pool] = e.At
	case NoticeOldPoolGone:
		delete(f.back, n.Pool)
		f.quit[n.Pool], f.shaky[n.Pool] = true, true
	case NoticeHeld:
		if f.hold != nil {
			f.hold.told = e.At
		}
	case NoticeDrift:
		f.drift[n.Domain] = n.Pool
	case NoticePartnerLost:
		f.lost[n.Domain] = true
	case NoticePartnerBack:
		delete(f.lost, n.Domain)
	case NoticeDegraded:
		f.degraded[n.Pool] = true
	case NoticeRecovered:
		delete(f.degraded, n.Pool)
	case NoticeServerDown:
		f.down[n.Server] = true
	case NoticeServerBack:
		delete(f.down, n.Server)
	case NoticeProven:
		f.unproven = nil
	case NoticeDNSBlind, NoticeDNSBack:
		f.blind = n.Kind == NoticeDNSBlind
	case NoticeWitnessSilent:
		f.silent[n.Witness] = true
	case NoticeWitnessBack:
		delete(f.silent, n.Witness)
	case NoticeStarted:
		if n.Pool != f.active { // so earlier versions told that it is no longer configured
			f.forget(n.Pool)
		}
		f.told, f.leapt = nil, n.By
	case NoticeActiveGone:
		gone := f.active
		f.forget(n.Pool)
		f.gone = gone
	case NoticeServerGone:
		f.settle(n.Pool, n.Server)
	case NoticeRefused, NoticeFederationGone: // changes nothing
	}
}
