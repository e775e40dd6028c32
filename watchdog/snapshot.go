package watchdog

import (
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
)

// Snapshot is one federation at one moment, immutable once published. Every
// surface (status, why, Slack, health, metrics) shows this and nothing else.
type Snapshot struct {
	Federation   string          `json:"federation"`
	At           time.Time       `json:"at"` // when it was made
	Mode         Mode            `json:"mode"`
	State        State           `json:"state"`
	Active       string          `json:"active"`   // the pool that carries federation, as far as edgewatch knows
	Decision     Decision        `json:"decision"` // what it will do next and why, or what keeps it from acting
	Pools        []PoolStatus    `json:"pools"`    // in priority order
	Canaries     CanaryStatus    `json:"canaries"`
	Lease        string          `json:"lease_lost,omitempty"` // why this process may not act any more
	Hold         *Hold           `json:"hold,omitempty"`
	Pause        *Pause          `json:"pause,omitempty"`
	Approval     *Approval       `json:"approval,omitempty"` // what a person is asked now
	Cooldown     time.Time       `json:"cooldown_until,omitzero"`
	Unproven     string          `json:"unproven,omitempty"` // steps that the last move left out, while nothing else has shown that it worked
	Guessed      string          `json:"guessed,omitempty"`  // why it is not certain that Active is the pool that carries federation
	Incident     string          `json:"incident,omitempty"`
	Newest       string          `json:"-"`               // the newest incident, also when it is over
	Chain        *ChainStatus    `json:"chain,omitempty"` // the running failover, else the last one
	Partner      []PartnerView   `json:"partner,omitempty"`
	PartnerAt    time.Time       `json:"partner_at,omitzero"`     // when Partner was looked at
	Witnesses    []WitnessStatus `json:"witnesses,omitempty"`     // who is asked before edgewatch acts by itself
	Vantage      string          `json:"vantage,omitempty"`       // where the evidence was gathered: the host of this process
	Frozen       string          `json:"frozen,omitempty"`        // why our own loop or clock could not be trusted in the last round
	Gone         []string        `json:"gone,omitempty"`          // what federations that are no longer configured left undone: the same in all snapshots of a process
	JournalError string          `json:"journal_error,omitempty"` // why the journal cannot be written: nothing is decided until it can
	HistoryError string          `json:"history_error,omitempty"` // why rounds cannot be recorded: no decision depends on that
	LastRound    time.Time       `json:"last_round,omitzero"`
	Began        time.Time       `json:"-"`        // of the last round, with its monotonic reading: a clock that was set does not change its age
	Interval     time.Duration   `json:"interval"` // the normal distance between rounds
	LastSeq      uint64          `json:"last_seq"` // the newest journal entry that it includes
}

// PoolStatus is one pool in a Snapshot.
type PoolStatus struct {
	Name      string         `json:"name"`
	Active    bool           `json:"active"`
	Verdict   Verdict        `json:"verdict"`       // of the last round
	Why       string         `json:"why,omitempty"` // the verdict in words
	Breaker   Breaker        `json:"breaker"`
	Servers   []probe.Result `json:"servers"` // the last round, one result per address
	States    []ServerState  `json:"states"`  // what several rounds say of each, in the same order
	Readiness Readiness      `json:"readiness"`
	Uptime    []Uptime       `json:"uptime,omitempty"` // of the last day, month and quarter

	// Stopped names servers of the pool whose services a failover stopped and
	// nobody saw running since, as far as edgewatch knows.
	Stopped []string `json:"stopped,omitempty"`

	// Quarantined says why no failback to the pool is advised: it did not answer
	// when federation left it and has not for long enough since.
	Quarantined string `json:"quarantined,omitempty"`
}

// Breaker is the circuit breaker of one pool.
type Breaker struct {
	State BreakerState `json:"state"`
	Bad   int          `json:"bad"`            // consecutive bad rounds
	Since time.Time    `json:"since,omitzero"` // first of them, or when it tripped
}

// BreakerState is a circuit breaker's state.
type BreakerState string

// The states of a breaker. Everything but BreakerClosed counts as tripped.
const (
	BreakerClosed   BreakerState = "closed"
	BreakerHalfOpen BreakerState = "half_open"
	BreakerOpen     BreakerState = "open"
)

// Tripped reports whether the pool counts as down.
func (b Breaker) Tripped() bool { return b.State != BreakerClosed && b.State != "" }

// Readiness is whether a pool could take over: its preflight, run for real.
type Readiness struct {
	At    time.Time `json:"at,omitzero"` // when it was last checked; zero: never
	Ready bool      `json:"ready"`
	Why   string    `json:"why,omitempty"` // what is missing, when not ready
}

// CanaryStatus is whether the outside world answers at all: when it does
// not, the fault may be ours, and nothing is concluded from failed probes.
type CanaryStatus struct {
	Good  int    `json:"good"`
	Total int    `json:"total"`
	OK    bool   `json:"ok"`
	Why   string `json:"why,omitempty"`
}

// Pause is a hold on automatic failover that ends by itself.
type Pause struct {
	Until  time.Time `json:"until"`
	Actor  string    `json:"actor"`
	Via    string    `json:"via"`
	Reason string    `json:"reason"`
}

// Hold keeps edgewatch from doing anything by itself until a person ends it.
type Hold struct {
	Since  time.Time `json:"since"`
	Actor  string    `json:"actor"`
	Via    string    `json:"via"`
	Reason string    `json:"reason"`

	told time.Time // when people were last reminded
}

// Approval is the question whether edgewatch may fail over.
type Approval struct {
	To    string       `json:"to"`             // the pool that would take over
	Since time.Time    `json:"since"`          // when it was asked
	Until time.Time    `json:"until,omitzero"` // how long an answer is waited for; zero: without end
	Then  LateApproval `json:"then"`           // what edgewatch does without one
}

// ChainStatus is a failover in a Snapshot.
type ChainStatus struct {
	ChainStart
	StartedAt time.Time        `json:"started_at"`
	EndedAt   time.Time        `json:"ended_at,omitzero"`
	Steps     []StepStatus     `json:"steps"`
	Outcome   *actions.Outcome `json:"outcome,omitempty"` // nil while it runs
}

// StepStatus is one step of a ChainStatus.
type StepStatus struct {
	Step      actions.StepName `json:"step"`
	State     StepState        `json:"state"`
	Already   bool             `json:"already,omitempty"` // it is done, and nothing had to be changed: all was found as it should be
	StartedAt time.Time        `json:"started_at,omitzero"`
	Took      time.Duration    `json:"took,omitempty"`
	Error     string           `json:"error,omitempty"`
}

// StepState is where a step of a failover stands.
type StepState string

// The states of a step.
const (
	StepWaiting StepState = "waiting"
	StepRunning StepState = "running"
	StepDone    StepState = "done"
	StepFailed  StepState = "failed"
	StepSkipped StepState = "skipped" // left out on a person's order
)

// PartnerView is what a federating partner would find for one domain.
type PartnerView struct {
	Domain string      `json:"domain"`
	Level  probe.Level `json:"level"`
	Pool   string      `json:"pool,omitempty"` // the pool its addresses belong to; several names, with " and " between them, when they belong to several
	Text   string      `json:"text"`

	lost, found int // surveys in a row in which the domain's partners did not reach the pool, or did
}
