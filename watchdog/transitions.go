package watchdog

import (
	"cmp"
	"fmt"

	"edgewatch/actions"
)

// eventName is an event's column in the transition table. A command's column
// is its verb.
type eventName string

// The columns that are no verbs.
const (
	onBooted   eventName = "start"
	onTick     eventName = "tick"
	onRecorded eventName = "step record"
	onEnded    eventName = "end of a failover"
)

func (Booted) event() eventName      { return onBooted }
func (Tick) event() eventName        { return onTick }
func (s Submitted) event() eventName { return eventName(s.Command.Verb) }
func (Recorded) event() eventName    { return onRecorded }
func (Ended) event() eventName       { return onEnded }

// row is one cell of the transition table: what to do, or why not.
type row struct {
	do     func(*step)
	refuse string // {move} stands for what the running or last chain is called
}

const (
	noChain     = "no failover is running"
	oneAtATime  = "a {move} is running: one at a time; follow it with status, or abort it"
	finishFirst = "the last {move} moved the route and is not through; it is tried again by itself. To stop that and choose another pool, abort it or ack first"
	notAsked    = "edgewatch asks for no approval now; why tells how things stand"
	noQuestion  = notAsked + ", and failover POOL REASON moves federation without being asked"
)

// transitions is every state × event. What is not in it is refused by name.
var transitions = map[State]map[eventName]row{
	Watching:         idle(nil),
	Confirming:       idle(nil),
	Held:             idle(nil),
	AwaitingApproval: idle(map[Verb]row{VerbApprove: {do: (*step).approved}}),
	FailingOver:      busy(),
	Verifying:        busy(),
	Faulted: idle(map[Verb]row{
		VerbFailover:   {refuse: finishFirst},
		VerbSwitchover: {refuse: finishFirst},
		VerbFailback:   {refuse: finishFirst},
		VerbAbort:      {do: (*step).aborted},
	}),
}

// idle is the row of a state in which no chain runs, but for the verbs given.
func idle(but map[Verb]row) map[eventName]row {
	rows := map[eventName]row{
		onBooted:                  {do: (*step).booted},
		onTick:                    {do: (*step).tick},
		onRecorded:                {refuse: noChain},
		onEnded:                   {refuse: noChain},
		eventName(VerbFailover):   {do: (*step).failover},
		eventName(VerbSwitchover): {do: (*step).switchover},
		eventName(VerbFailback):   {do: (*step).failback},
		eventName(VerbHold):       {do: (*step).held},
		eventName(VerbRelease):    {do: (*step).released},
		eventName(VerbPause):      {do: (*step).paused},
		eventName(VerbResume):     {do: (*step).resumed},
		eventName(VerbApprove):    {refuse: noQuestion},
		eventName(VerbDeny):       {do: (*step).denied},
		eventName(VerbAbort):      {refuse: noChain},
		eventName(VerbRetry):      {do: (*step).retried},
		eventName(VerbSkipStep):   {do: (*step).skipped},
		eventName(VerbAdopt):      {do: (*step).adopted},
		eventName(VerbAck):        {do: (*step).acked},
	}
	for verb, r := range but {
		rows[eventName(verb)] = r
	}
	return rows
}

// busy is the row of a state in which a chain is running.
func busy() map[eventName]row {
	return map[eventName]row{
		onBooted:                  {do: (*step).booted},
		onTick:                    {do: (*step).tick},
		onRecorded:                {do: (*step).recorded},
		onEnded:                   {do: (*step).ended},
		eventName(VerbFailover):   {refuse: oneAtATime},
		eventName(VerbSwitchover): {refuse: oneAtATime},
		eventName(VerbFailback):   {refuse: oneAtATime},
		eventName(VerbHold):       {do: (*step).held},
		eventName(VerbRelease):    {do: (*step).released},
		eventName(VerbPause):      {do: (*step).paused},
		eventName(VerbResume):     {do: (*step).resumed},
		eventName(VerbApprove):    {refuse: oneAtATime},
		eventName(VerbDeny):       {refuse: "the {move} is running already: abort ends it"},
		eventName(VerbAbort):      {do: (*step).aborted},
		eventName(VerbRetry):      {refuse: oneAtATime},
		eventName(VerbSkipStep):   {refuse: "a {move} is running: a step can be left out once it has stopped there"},
		eventName(VerbAdopt):      {refuse: "a {move} is running: abort it first, or wait for its end"},
		eventName(VerbAck):        {refuse: "a {move} is running: there is nothing to acknowledge yet"},
	}
}

func (s *step) tick() {}

func (s *step) recorded() {
	r := s.Event.(Recorded).Record
	if r.Chain != s.fold.chain.ID {
		s.ready = s.refuse(fmt.Sprintf("the record is of failover %s, but %s is running", r.Chain, s.fold.chain.ID))
		return
	}
	if s.Levels.Lease != "" && r.Phase == actions.Started && !r.Rescue {
		s.ready = s.refuse("nothing is begun: " + s.Levels.Lease)
		return
	}
	s.emit(Entry{Kind: KindStep, Step: &r})
}

// undecided: edgewatch ends in the middle of the move, and it is not certain that
// federation has moved.
func (s *step) undecided(out actions.Outcome) bool {
	c := s.fold.chain
	return !out.OK && out.RouteMoved && !c.happened() && (out.Unsure || out.Interrupted && c.Dropped == "")
}

func (s *step) ended() {
	e := s.Event.(Ended)
	if e.Chain != s.fold.chain.ID {
		s.ready = s.refuse(fmt.Sprintf("failover %s ended, but %s is running", e.Chain, s.fold.chain.ID))
		return
	}
	c := s.fold.chain
	if e.lost {
		e.Outcome.Step, e.Outcome.Stopped = cmp.Or(c.at, actions.Preflight), c.progress.StillStopped(c.Owed)
		e.Outcome.RouteMoved = c.progress.Moved(c.Kind)
	}
	if c.moved {
		e.Outcome.RouteMoved, e.Outcome.Unsure = true, false
	}
	if e.lost && c.Dropped != "" {
		e.Outcome.Unsure = e.Outcome.RouteMoved && !c.happened()
	}
	if s.Levels.Ending && s.undecided(e.Outcome) {
		return // it stays as it is for the next process, which decides whether it is carried on
	}
	if e.Outcome.Interrupted && !e.Outcome.RouteMoved && c.Trigger != TriggerAuto && !c.Asked {
		e.Outcome.Error += "; it is not carried on by itself: order it again if it is still wanted"
	}
	s.emit(Entry{Kind: KindChainEnd, ChainEnd: &ChainEnd{ID: e.Chain, Kind: s.fold.chain.Kind, Repair: s.fold.chain.Repair, Outcome: e.Outcome}})
}
