package watchdog

import (
	"errors"
	"slices"
	"strings"
	"time"

	"edgewatch/actions"
)

// Verb is what an operator asks for.
type Verb string

// The verbs that change something. Reading (status, why, history) is no
// command.
const (
	VerbFailover   Verb = "failover"   // the active pool is down or nobody can tell: move federation to Pool
	VerbSwitchover Verb = "switchover" // the active pool answers: move federation to Pool, as planned
	VerbFailback   Verb = "failback"   // return to Pool, which is preferred to the active one, in the documented order: nothing is stopped
	VerbHold       Verb = "hold"       // nothing automatic until release
	VerbRelease    Verb = "release"    // end the hold
	VerbPause      Verb = "pause"      // no automatic failover for For
	VerbResume     Verb = "resume"     // end the pause
	VerbApprove    Verb = "approve"    // carry out the failover to Pool that edgewatch asks for
	VerbDeny       Verb = "deny"       // do not
	VerbAbort      Verb = "abort"      // end the failover that runs or waits to be tried again; what it stopped is started
	VerbRetry      Verb = "retry"      // take the failed failover up again now
	VerbSkipStep   Verb = "skip-step"  // likewise, leaving Step out
	VerbAdopt      Verb = "adopt"      // Pool carries federation: edgewatch takes that for true and changes nothing
	VerbAck        Verb = "ack"        // seen: ends cool-down and what waits for a person
)

// Object is what stands between a verb and the reason.
type Object uint8

// The objects of verbs.
const (
	ObjectNone Object = iota
	ObjectPool
	ObjectDuration
	ObjectStep
)

// String is the object as forms show it; "" for none.
func (o Object) String() string { return [...]string{"", "POOL", "DURATION", "STEP"}[o] }

// Flag is the flag that names the object where it is not the first word,
// without its dashes; "" for none.
func (o Object) Flag() string { return [...]string{"", "to", "for", "step"}[o] }

// VerbInfo is one row of the table of verbs, which every surface shows.
type VerbInfo struct {
	Verb   Verb
	Object Object
	Reason bool   // whether a reason must be given
	Force  bool   // whether --force means something
	Asks   bool   // whether a surface asks "really?" first: it moves federation, or sets edgewatch's judgement aside
	Means  string // what it does, for help texts
}

var verbTable = []VerbInfo{
	{VerbFailover, ObjectPool, true, true, true, "move federation to POOL: the active one is down, or nobody can tell"},
	{VerbSwitchover, ObjectPool, true, true, true, "move federation to POOL as planned, while the active one answers"},
	{VerbFailback, ObjectPool, true, true, true, "return to POOL, the preferred one, in the documented order"},
	{VerbHold, ObjectNone, true, false, false, "nothing automatic until release"},
	{VerbRelease, ObjectNone, false, false, false, "end the hold"},
	{VerbPause, ObjectDuration, true, false, false, "no automatic failover for so long (30m, 2h, 3d)"},
	{VerbResume, ObjectNone, false, false, false, "end the pause"},
	{VerbApprove, ObjectPool, true, false, false, "carry out the failover to POOL that edgewatch asks for"},
	{VerbDeny, ObjectNone, true, false, false, "do not carry out the failover that edgewatch asks for"},
	{VerbAbort, ObjectNone, true, false, true, "end the failover that runs or is to be tried again; what it stopped is started"},
	{VerbRetry, ObjectNone, false, false, false, "take the failed failover up again now"},
	{VerbSkipStep, ObjectStep, true, false, true, "take the failed failover up again without a step that only looks (check-port, verify)"},
	{VerbAdopt, ObjectPool, true, false, true, "POOL carries federation: take that for true, change nothing"},
	{VerbAck, ObjectNone, false, false, false, "seen: ends cool-down and what waits for a person"},
}

// Verbs returns the table of verbs, in the order people read it. The caller
// owns the copy.
func Verbs() []VerbInfo { return slices.Clone(verbTable) }

// Info is the verb's row of the table, and whether there is such a verb.
func (v Verb) Info() (VerbInfo, bool) {
	i := slices.IndexFunc(verbTable, func(row VerbInfo) bool { return row.Verb == v })
	if i < 0 {
		return VerbInfo{}, false
	}
	return verbTable[i], true
}

// Validate says that there is no such verb, with the nearest there is; nil
// when there is.
func (v Verb) Validate() error {
	if _, ok := v.Info(); ok {
		return nil
	}
	known := make([]string, len(verbTable))
	for i, row := range verbTable {
		known[i] = string(row.Verb)
	}
	return errors.New(unknownWord("command", string(v), known))
}

// settles reports whether an order says where federation should be, or that a
// person has seen where it is.
func (v Verb) settles() bool {
	switch v {
	case VerbFailover, VerbSwitchover, VerbFailback, VerbApprove, VerbRetry, VerbSkipStep, VerbAdopt, VerbAck:
		return true
	case VerbHold, VerbRelease, VerbPause, VerbResume, VerbDeny, VerbAbort:
	}
	return false
}

// Form is how the order is typed, e.g. "failover POOL REASON…".
func (i VerbInfo) Form() string {
	words := []string{string(i.Verb)}
	if i.Object != ObjectNone {
		words = append(words, i.Object.String())
	}
	if i.Reason {
		return strings.Join(append(words, "REASON…"), " ")
	}
	return strings.Join(append(words, "[REASON…]"), " ")
}

// Command is an operator's order. It is accepted when its entry is durable.
type Command struct {
	ID         string           `json:"id"` // idempotency key, given by the surface; the same id is accepted once
	Federation string           `json:"federation"`
	Verb       Verb             `json:"verb"`
	Pool       string           `json:"pool,omitempty"`  // of verbs whose object is a pool
	For        time.Duration    `json:"for,omitempty"`   // pause: how long; never without an end
	Step       actions.StepName `json:"step,omitempty"`  // skip-step: which
	Force      bool             `json:"force,omitempty"` // do it although the machine advises against it; never past a preflight
	Dry        bool             `json:"dry,omitempty"`   // only say what the answer would be now: nothing is done, kept or told
	Reason     string           `json:"reason"`
	Actor      string           `json:"actor"` // who, as the surface knows them: "U012AB3CD (anna)", "root@host"
	Via        string           `json:"via"`   // the surface: "slack", "cli", "api"
}

// Answer is what a command was answered with.
type Answer struct {
	Accepted bool   `json:"accepted"`
	Text     string `json:"text"`            // one sentence for the operator: what happens now, or why not
	Entry    uint64 `json:"entry,omitempty"` // Seq of the durable entry, when accepted
}
