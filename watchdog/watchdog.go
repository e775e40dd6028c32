// Package watchdog decides. It turns rounds of probe results into verdicts,
// verdicts into tripped breakers, and those, under guards, into at most one
// failover at a time per federation. Everything it decides is in the journal
// before anything follows from it; its state is a fold over the journal.
//
// A Machine holds the rules and is pure. An Engine runs one Machine: it owns
// the only goroutine that touches it. A Supervisor holds the engines of a
// process and is what every surface (Slack, HTTP, CLI) talks to.
package watchdog

import (
	"fmt"
	"slices"
	"time"
)

// Mode is how far edgewatch may go by itself.
type Mode string

// The modes of a federation. An empty mode is ModeObserve.
const (
	ModeObserve Mode = "observe" // says what it would do, and does nothing
	ModeApprove Mode = "approve" // asks a person, and acts when one approves
	ModeAuto    Mode = "auto"    // fails over by itself
)

// State is where a federation's machine is.
type State uint8

// Watching is the zero: nothing is wrong as far as anybody knows.
const (
	Watching         State = iota
	Confirming             // the active pool looks bad; not long or not often enough to act
	AwaitingApproval       // the active pool counts as down, a candidate is ready, and a person is asked
	Held                   // the active pool counts as down, or nobody can tell for long, and a guard keeps edgewatch from acting
	FailingOver            // a chain is running, up to its verify step
	Verifying              // the chain's verify step is running
	Faulted                // a chain failed after the route moved; it is retried, and people are needed
)

var stateWords = []string{"watching", "confirming", "awaiting_approval", "held", "failing_over", "verifying", "faulted"}

// String is the word used in JSON, metrics, logs and Slack.
func (s State) String() string {
	if int(s) < len(stateWords) {
		return stateWords[s]
	}
	return fmt.Sprintf("invalid(%d)", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(b []byte) error {
	i := slices.Index(stateWords, string(b))
	if i < 0 {
		return fmt.Errorf("unknown state %q", b)
	}
	*s = State(i)
	return nil
}

// Verdict is what one round says of one pool.
type Verdict uint8

// Inconclusive is the harmless zero: it never counts as down.
const (
	Inconclusive Verdict = iota
	PoolUp               // at least min_up servers answer
	PoolDegraded         // up, with servers down or trouble that federation may feel
	PoolDown             // no server answers, the fault is theirs, and the canaries answer
)

var verdictWords = []string{"inconclusive", "up", "degraded", "down"}

// String is the word used in JSON, metrics, logs and Slack.
func (v Verdict) String() string {
	if int(v) < len(verdictWords) {
		return verdictWords[v]
	}
	return fmt.Sprintf("invalid(%d)", uint8(v))
}

// MarshalText implements encoding.TextMarshaler.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *Verdict) UnmarshalText(b []byte) error {
	i := slices.Index(verdictWords, string(b))
	if i < 0 {
		return fmt.Errorf("unknown verdict %q", b)
	}
	*v = Verdict(i)
	return nil
}

// Will is what a Decision announces.
type Will string

// What edgewatch will do.
const (
	WillWatch    Will = "watch"    // nothing: all is well, or it is too early to tell
	WillFailover Will = "failover" // move federation to Decision.To
	WillFailback Will = "failback" // return federation to Decision.To, in the configured window
	WillAsk      Will = "ask"      // ask a person whether to move federation to Decision.To
	WillHold     Will = "hold"     // nothing, although the active pool counts as down, or nobody can tell for long: BlockedBy says why
	WillFinish   Will = "finish"   // carry the running failover through
)

// Wills lists everything that a Decision can announce, for metrics that must
// exist from the start.
func Wills() []Will {
	return []Will{WillWatch, WillFailover, WillFailback, WillAsk, WillHold, WillFinish}
}

// Guard names what keeps edgewatch from acting.
type Guard string

// The guards, in the order they are asked. The words stand in metrics.
const (
	GuardNone        Guard = ""
	GuardLease       Guard = "lease"        // this process may not act any more: the state file is no longer its own
	GuardUnconfirmed Guard = "unconfirmed"  // a failed failover wants a person's ack first
	GuardEvidence    Guard = "evidence"     // the last round is stale, or this process has not watched long enough
	GuardCanaries    Guard = "canaries"     // the fault may be ours: the canaries do not answer
	GuardUnclear     Guard = "unclear"      // for UnclearTime the active pool was seen neither up nor down
	GuardWitness     Guard = "witness"      // a witness sees the active pool answering, or too few see it down
	GuardHold        Guard = "hold"         // held by a person until release
	GuardPause       Guard = "pause"        // paused by a person for a time
	GuardCooldown    Guard = "cooldown"     // a failover ended a short while ago
	GuardBudget      Guard = "budget"       // as many automatic failovers as the window allows
	GuardDrift       Guard = "drift"        // DNS leads partners elsewhere, or nobody knows where
	GuardCandidate   Guard = "no_candidate" // no other pool is ready to take over
	GuardMode        Guard = "mode"         // observe: acting is a person's
	GuardApproval    Guard = "approval"     // approve: a person is asked, has denied, or did not answer in time
)

// Guards lists every guard that can block, for metrics that must exist from
// the start.
func Guards() []Guard {
	return []Guard{
		GuardLease, GuardUnconfirmed, GuardEvidence, GuardCanaries, GuardUnclear, GuardWitness, GuardHold, GuardPause, GuardCooldown,
		GuardBudget, GuardDrift, GuardCandidate, GuardMode, GuardApproval,
	}
}

// Decision is what edgewatch will do about a federation and why; made by one
// function, shown by every surface.
type Decision struct {
	State     State     `json:"state"`
	Will      Will      `json:"will"`
	To        string    `json:"to,omitempty"`         // the pool that takes over, or would
	Because   string    `json:"because"`              // one sentence for a person
	BlockedBy Guard     `json:"blocked_by,omitempty"` // hold: the first guard that blocks
	NextAt    time.Time `json:"next_at,omitzero"`     // when it will be looked at again by itself, if that is a known moment
}
