package watchdog

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"edgewatch/actions"
)

// Rules are what a federation's machine goes by.
type Rules struct {
	Federation string
	Mode       Mode
	Pools      []string            // in priority order, the preferred one first
	Domains    []string            // of which it is looked at what partners find; what the journal says of others no longer counts
	Addresses  []string            // of the pools' servers, with ports; that another one was told to be down no longer counts
	Servers    map[string][]string // of each pool, as failovers name them; what was left stopped on others is nobody's any more. Empty: not known
	Unable     string              // why no failover is possible at all, e.g. what is not configured; empty when one is
	OwnSRV     bool                // each pool has SRV records of its own: which of them partners prefer is not for a failover to change

	Cooldown     time.Duration // after an automatic failover, before the next one
	Budget       int           // automatic failovers allowed …
	BudgetWindow time.Duration // … in this time, counted by incident
	MaxAttempts  int           // pools tried in one incident before a person must ack
	RetryEvery   time.Duration // a chain that failed after the route moved is tried again after this, then at doubled distances
	MaxRetries   int           // … this often
	RetryFailed  time.Duration // a pool whose failover failed may be a candidate again after this

	ApprovalTimeout time.Duration // mode approve: how long a person is waited for. 0: without end
	ApprovalThen    LateApproval  // … and what happens then
	Unproven        Unproven      // what follows when the route moved and the pool that took over turns out to be down
	Failback        FailbackRules

	Witnesses []string // others, by URL, that watch the same pools and are asked before edgewatch acts by itself; that another one was told to be silent no longer counts
	MinDown   int      // so many of them must see the active pool down too

	StartupGrace time.Duration // after the start of the process, before it acts by itself
	EvidenceAge  time.Duration // a round older than this proves nothing
	ReadinessAge time.Duration // a readiness older than this proves nothing
	PartnerAge   time.Duration // likewise what partners find. 0: nobody looks at it
	ResumeWithin time.Duration // a move that a person ordered longer ago and that is not known to have happened is not carried on
}

// prefers reports whether pool a stands before pool b.
func (r *Rules) prefers(a, b string) bool { return slices.Index(r.Pools, a) < slices.Index(r.Pools, b) }

// bringsBack is what leads partners to the pool that carries federation.
func (r *Rules) bringsBack(pool string) string {
	if r.OwnSRV {
		return fmt.Sprintf("let its SRV records be preferred to the others again, by hand; failover %s REASON does not", pool)
	}
	return fmt.Sprintf("failover %s REASON brings the records back", pool)
}

// LateApproval is what edgewatch does when nobody answered its question.
type LateApproval string

// What follows a question that nobody answered. An empty one is ApprovalHolds.
const (
	ApprovalHolds LateApproval = "hold"
	ApprovalActs  LateApproval = "failover"
)

// Unproven is what edgewatch does about a failover that is not through when
// the breaker of the pool that took over trips.
type Unproven string

// What follows a failover that is not through. An empty one is UnprovenRetries.
const (
	UnprovenRetries Unproven = "retry" // the same failover is tried again, then a person is needed
	UnprovenNext    Unproven = "next"  // once it was tried again, the next candidate takes over
)

// FailbackRules say when federation may return to a preferred pool.
type FailbackRules struct {
	Auto      bool          // in the window, by itself
	StableFor time.Duration // the pool must have answered for so long
	From, To  time.Duration // the window of automatic failback, as times of day in UTC; over midnight when To is less
}

// open reports whether automatic failback is allowed at that time of day.
func (r *FailbackRules) open(at time.Time) bool {
	at = at.UTC()
	day := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second
	if r.From <= r.To {
		return r.From <= day && day < r.To
	}
	return day >= r.From || day < r.To
}

// retryAfter is how long to wait before the chain is tried again, when it was
// tried again n times before: a host that refuses our logon must not be asked
// so often that the account is locked.
func (r *Rules) retryAfter(n int) time.Duration {
	const slowest = 4 // sixteen times as long
	return r.RetryEvery << min(n, slowest)
}

// Levels are what is true now as far as anybody knows, restated with every
// event: an edge that came during a hold would be lost, a level is not.
type Levels struct {
	Ending    bool          // edgewatch is stopping: what happened is kept, nothing is begun
	Lease     string        // why this process may not act any more; empty while it may
	Since     time.Time     // when this process began to watch
	Leapt     time.Duration // how far the wall clock was set since this process began, or the machine slept
	Round     *Round        // the newest complete round; nil before the first
	Readiness map[string]Readiness
	Survey    time.Time // when it is checked next, at the latest; passed while it is; zero until it was for the first time
	Hearings  []Hearing // how the witnesses have answered lately, in their order; empty before they were first asked
}

// Input is one thing that happened, when, and the levels at that moment.
type Input struct {
	At     time.Time
	Levels Levels
	Event  Event
}

// Event is what happened: Booted, Tick, Submitted, Recorded or Ended.
type Event interface{ event() eventName }

type (
	// Booted is the first event of a process.
	Booted struct{}
	// Tick is a finished round, a fresh readiness or mere time.
	Tick struct{}
	// Submitted is an operator's command.
	Submitted struct{ Command Command }
	// Recorded is something the runner wants durable before it goes on.
	Recorded struct{ Record actions.Record }
	// Ended is a chain that nothing runs of any more.
	Ended struct {
		Chain   string
		Outcome actions.Outcome

		lost bool // what ran it died of a defect: what it stopped is known from its records alone
	}
)

// Ready is what follows from an Input: entries to make durable, all or none
// and in order, and then, once they were applied, effects to start.
type Ready struct {
	Entries []Entry
	Effects []Effect
	Answer  Answer // to a Submitted; Entry is filled in by the engine
	Refused string // why the event is impossible now; nothing else is set then

	own, ownEffects int // so many of Entries and Effects are the event's own; the rest is what was noticed and decided beside it
}

// Effect is something to start once the entries are durable.
type Effect struct {
	Chain    ChainStart
	Progress actions.Progress // where the chain stands
	Abort    string           // not empty: nothing is started, but the chain that runs is ended, for this reason
}

// Machine holds the rules of one federation. It has no clock, I/O, goroutine
// or lock: Step says what follows from an input, Apply alone changes state.
type Machine struct {
	rules Rules
	fold  fold
}

// NewMachine returns a machine that has seen nothing.
func NewMachine(rules Rules) *Machine {
	return &Machine{rules: rules, fold: newFold(rules.Pools[0])}
}

// Apply folds a durable entry in, live and in replay alike.
func (m *Machine) Apply(e Entry) { m.fold.apply(e, &m.rules) }

// State is where the machine stands.
func (m *Machine) State() State { return m.fold.state() }

// Active is the pool that carries federation, as far as edgewatch knows.
func (m *Machine) Active() string { return m.fold.active }

// LastSeq is the newest entry applied.
func (m *Machine) LastSeq() uint64 { return m.fold.lastSeq }

// Step says what follows from in. It changes nothing.
func (m *Machine) Step(in Input) Ready {
	s := &step{Input: in, rules: &m.rules, fold: m.fold.clone()}
	if order, ok := in.Event.(Submitted); ok {
		if err := order.Command.Verb.Validate(); err != nil { // it could be the name of another event
			return s.refuse(err.Error())
		}
		if ready, ok := s.repeated(); ok {
			return ready
		}
		if in.Levels.Lease != "" {
			return s.refuse("nothing can be done from here: " + in.Levels.Lease)
		}
	}
	row := transitions[s.fold.state()][in.Event.event()]
	if row.refuse != "" {
		return s.refuse(s.named(row.refuse))
	}
	if row.do == nil {
		return s.refuse(fmt.Sprintf("%s is not possible while %s", in.Event.event(), s.fold.state()))
	}
	s.reckon()
	row.do(s)
	if s.ready.Refused != "" {
		return s.ready
	}
	s.ready.own, s.ready.ownEffects = len(s.ready.Entries), len(s.ready.Effects)
	s.settle()
	return s.ready
}

// named is text that calls the running or last chain by its word.
func (s *step) named(text string) string {
	if s.fold.chain == nil {
		return text
	}
	return strings.ReplaceAll(text, "{move}", s.fold.chain.word())
}

// Decide says what would follow from the levels alone: for status and why.
func (m *Machine) Decide(at time.Time, levels Levels) Decision {
	return decide(at, levels, &m.rules, &m.fold)
}

// step is one Step on its way: a copy of the state on which each entry is
// tried as it is made, so that later rules see what earlier ones decided.
type step struct {
	Input
	rules *Rules
	fold  fold
	ready Ready
}

func (s *step) emit(e Entry) {
	e.At, e.Federation = s.At.UTC(), s.rules.Federation
	if e.Incident == "" {
		e.Incident = s.fold.incident
	}
	s.ready.Entries = append(s.ready.Entries, e)
	s.fold.apply(e, s.rules)
}

func (s *step) refuse(why string) Ready {
	return Ready{Refused: why, Answer: Answer{Text: why}}
}

// startChain begins a failover, switchover or failback.
func (s *step) startChain(kind actions.PlanKind, from, to string, by Command) {
	incident := s.nextIncident()
	start := ChainStart{
		ID: s.nextChain(incident), Kind: kind, From: from, To: to,
		Trigger: by.Via, Actor: by.Actor, Reason: by.Reason, Asked: by.Verb == VerbApprove, Repair: to == s.fold.active,
		Unseen:   from == s.fold.active && s.answers() == Inconclusive,
		Detected: s.Levels.Round.Pool(from).Breaker.Since, Owed: slices.Clone(s.fold.owed[to]),
	}
	s.emit(Entry{Kind: KindChain, Incident: incident, Chain: &start})
	s.ready.Effects = append(s.ready.Effects, Effect{Chain: start})
}

// itself is who orders what edgewatch decides.
func itself(because string) Command { return Command{Via: TriggerAuto, Reason: because} }

// continueChain runs the last chain on from where it stands.
func (s *step) continueChain() { s.continueAs(s.fold.chain.ChainStart, "") }

// continueAs runs it on as start says, or, where it is dropped for a reason, to
// its end.
func (s *step) continueAs(start ChainStart, dropped string) {
	start.Retry++
	start.Dropped = dropped
	incident := s.fold.incident
	if incident == "" {
		incident = s.fold.chain.incident
	}
	effect := Effect{Chain: start, Progress: s.fold.chain.progress.Clone()}
	s.emit(Entry{Kind: KindChain, Incident: incident, Chain: &start})
	s.ready.Effects = append(s.ready.Effects, effect)
}

// settle brings the levels to bear: whatever the event was, what is true now
// is noticed, decided and, when nothing stands against it, begun.
func (s *step) settle() {
	if s.Levels.Ending {
		return
	}
	s.noticeGone()
	s.notice()
	d := decide(s.At, s.Levels, s.rules, &s.fold)
	// Its deadline counts from the entry that asks first; one that moved is told.
	asks := d.Will == WillAsk && (s.fold.ask == nil || s.fold.ask.cut || !d.NextAt.Equal(s.fold.decision.NextAt))
	first := s.fold.incident != "" && s.fold.heard != s.fold.incident // it tells why nothing is done, however often others did
	if !s.fold.running() && (asks || first || d.changed(s.fold.decision) && !s.fold.flaps(d, s.At)) {
		s.emit(Entry{Kind: KindDecision, Decision: &d}) // while a chain runs, its own entries tell
	}
	switch {
	case d.Will == WillFailover:
		s.startChain(actions.Failover, s.fold.active, d.To, itself(d.Because))
	case d.Will == WillFailback:
		s.startChain(actions.Failback, s.fold.active, d.To, itself(d.Because))
	case d.Will == WillFinish && s.fold.faulted() && d.BlockedBy == GuardNone && (s.due() || s.restarted()):
		s.continueChain()
	}
}

// due reports whether the time has come to try the failover again. More time
// to wait than there ever was means that the clock was set back, and a
// failover that is half done must not wait for as long.
func (s *step) due() bool {
	left := s.fold.retryAt.Sub(s.At)
	return left <= 0 || left > s.rules.retryAfter(s.fold.chain.Retry)
}

// restarted reports whether this is the first event of a process and the one
// before it ended in the middle of a chain: nothing speaks against the target
// then, and waiting would only make the outage longer.
func (s *step) restarted() bool {
	_, booted := s.Event.(Booted)
	return booted && s.fold.chain.outcome.Interrupted
}

// changed reports whether a person should be told again: wording and times
// alone are no change.
func (d Decision) changed(from Decision) bool {
	return d.State != from.State || d.Will != from.Will || d.To != from.To || d.BlockedBy != from.BlockedBy
}
