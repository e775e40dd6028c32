package watchdog

import "time"

// Verb is what an operator asks for.
type Verb string

// The verbs that change something. Reading (status, why, history) is no
// command.
const (
	VerbFailover Verb = "failover" // move federation to Pool now, whatever the breaker says
	VerbPause    Verb = "pause"    // no automatic failover for For
	VerbResume   Verb = "resume"   // end the pause
	VerbAck      Verb = "ack"      // seen: ends cool-down and a hold after a failed failover
)

// Command is an operator's order. It is accepted when its entry is durable.
type Command struct {
	ID         string        `json:"id"` // idempotency key, given by the surface; the same id is accepted once
	Federation string        `json:"federation"`
	Verb       Verb          `json:"verb"`
	Pool       string        `json:"pool,omitempty"` // failover: the target
	For        time.Duration `json:"for,omitempty"`  // pause: how long; never without an end
	Reason     string        `json:"reason"`
	Actor      string        `json:"actor"` // who, as the surface knows them: "U012AB3CD (anna)", "root@host"
	Via        string        `json:"via"`   // the surface: "slack", "cli", "api"
}

// Answer is what a command was answered with.
type Answer struct {
	Accepted bool   `json:"accepted"`
	Text     string `json:"text"`            // one sentence for the operator: what happens now, or why not
	Entry    uint64 `json:"entry,omitempty"` // Seq of the durable entry, when accepted
}
