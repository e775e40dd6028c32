package watchdog

import (
	"fmt"
	"time"
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
	refuse string
}

const (
	noChain     = "no failover is running"
	oneAtATime  = "a failover is running: one at a time; follow it with status"
	finishFirst = "the last failover moved the route and is not through; it is tried again by itself. To stop that and choose another pool, ack first"
)

// transitions is every state × event. What is not in it is refused by name.
var transitions = map[State]map[eventName]row{
	Watching:    idle,
	Confirming:  idle,
	Held:        idle,
	FailingOver: busy,
	Verifying:   busy,
	Faulted: {
		onBooted:                {do: (*step).booted},
		onTick:                  {do: (*step).tick},
		onRecorded:              {refuse: noChain},
		onEnded:                 {refuse: noChain},
		eventName(VerbFailover): {refuse: finishFirst},
		eventName(VerbPause):    {do: (*step).paused},
		eventName(VerbResume):   {do: (*step).resumed},
		eventName(VerbAck):      {do: (*step).acked},
	},
}

// idle is the row of states in which no chain exists.
var idle = map[eventName]row{
	onBooted:                {do: (*step).booted},
	onTick:                  {do: (*step).tick},
	onRecorded:              {refuse: noChain},
	onEnded:                 {refuse: noChain},
	eventName(VerbFailover): {do: (*step).ordered},
	eventName(VerbPause):    {do: (*step).paused},
	eventName(VerbResume):   {do: (*step).resumed},
	eventName(VerbAck):      {do: (*step).acked},
}

// busy is the row of states in which a chain is running.
var busy = map[eventName]row{
	onBooted:                {do: (*step).booted},
	onTick:                  {do: (*step).tick},
	onRecorded:              {do: (*step).recorded},
	onEnded:                 {do: (*step).ended},
	eventName(VerbFailover): {refuse: oneAtATime},
	eventName(VerbPause):    {do: (*step).paused},
	eventName(VerbResume):   {do: (*step).resumed},
	eventName(VerbAck):      {refuse: "a failover is running: there is nothing to acknowledge yet"},
}

func (s *step) tick() {}

// booted tells that edgewatch started and takes up what the last process
// left undone.
func (s *step) booted() {
	active, text := s.fold.active, ""
	switch {
	case !knows(s.rules.Pools, active):
		active = s.rules.Pools[0]
		text = fmt.Sprintf("the journal's active pool %s is no longer configured: %s is taken as active", s.fold.active, active)
	case s.fold.running():
		text = fmt.Sprintf("the failover %s to %s was under way when edgewatch ended: taking it up", s.fold.chain.ID, s.fold.chain.To)
	default:
		text = fmt.Sprintf("watching %s in mode %s", active, s.rules.Mode)
	}
	s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeStarted, Pool: active, Text: text}})
	if s.fold.running() {
		s.continueChain()
	}
}

func (s *step) recorded() {
	r := s.Event.(Recorded).Record
	if r.Chain != s.fold.chain.ID {
		s.ready = s.refuse(fmt.Sprintf("the record is of failover %s, but %s is running", r.Chain, s.fold.chain.ID))
		return
	}
	s.emit(Entry{Kind: KindStep, Step: &r})
}

func (s *step) ended() {
	e := s.Event.(Ended)
	if e.Chain != s.fold.chain.ID {
		s.ready = s.refuse(fmt.Sprintf("failover %s ended, but %s is running", e.Chain, s.fold.chain.ID))
		return
	}
	s.emit(Entry{Kind: KindChainEnd, ChainEnd: &ChainEnd{ID: e.Chain, Outcome: e.Outcome}})
}

// accept makes the command an entry, once per id, and answers it.
func (s *step) accept(text string) bool {
	cmd := s.Event.(Submitted).Command
	for _, a := range s.fold.accepted {
		if a.id == cmd.ID && cmd.ID != "" {
			s.ready.Answer = Answer{Accepted: true, Text: "this command was accepted before; nothing more is done", Entry: a.seq}
			return false
		}
	}
	s.ready.Answer = Answer{Accepted: true, Text: text}
	s.emit(Entry{Kind: KindCommand, Command: &cmd})
	return true
}

func (s *step) ordered() {
	cmd := s.Event.(Submitted).Command
	astray := s.fold.astray(s.rules.Pools)
	switch {
	case !knows(s.rules.Pools, cmd.Pool):
		s.ready = s.refuse(unknownWord("pool", cmd.Pool, s.rules.Pools))
	case cmd.Pool == s.fold.active && !s.fold.unfinished() && astray == "":
		s.ready = s.refuse(fmt.Sprintf("%s carries federation already", cmd.Pool))
	case s.rules.Unable != "":
		s.ready = s.refuse("no failover is possible: " + s.rules.Unable)
	case cmd.Reason == "":
		s.ready = s.refuse("a failover needs a reason, for those who read the history")
	case cmd.Pool == s.fold.active && !s.fold.unfinished():
		if s.accept(fmt.Sprintf("bringing route and records back to %s now; what is right already is left alone", cmd.Pool)) {
			s.startChain(astray, cmd.Pool, cmd.Via, cmd.Actor, cmd.Reason)
		}
	case cmd.Pool == s.fold.active:
		if s.accept(fmt.Sprintf("the failover %s to %s is taken up again now", s.fold.chain.ID, cmd.Pool)) {
			s.continueChain()
		}
	case s.accept(fmt.Sprintf("failing over from %s to %s now", s.fold.active, cmd.Pool)):
		s.startChain(s.fold.active, cmd.Pool, cmd.Via, cmd.Actor, cmd.Reason)
	}
}

// MaxPause is the longest pause: one that nobody remembers must end by itself.
const MaxPause = 30 * 24 * time.Hour

func (s *step) paused() {
	cmd := s.Event.(Submitted).Command
	switch {
	case cmd.For <= 0:
		s.ready = s.refuse("a pause needs an end: say for how long, e.g. pause 2h reason")
	case cmd.For > MaxPause:
		s.ready = s.refuse("a pause may last 30 days at most")
	case cmd.Reason == "":
		s.ready = s.refuse("a pause needs a reason, for those who find edgewatch not acting")
	default:
		text := fmt.Sprintf("automatic failover is paused until %s; a failover command still works", clock(s.At.Add(cmd.For)))
		if s.fold.running() {
			text += "; the failover that is running is carried through"
		}
		s.accept(text)
	}
}

func (s *step) resumed() {
	if s.fold.pause == nil {
		if s.repeated() {
			s.accept("")
			return
		}
		s.ready = s.refuse("nothing is paused")
		return
	}
	s.accept("automatic failover is on again")
}

func (s *step) acked() {
	f := &s.fold
	switch {
	case s.repeated():
		s.accept("")
	case f.incident == "" && f.confirm == "" && f.retryAt.IsZero() && !s.At.Before(f.cooldown):
		s.ready = s.refuse("there is nothing to acknowledge")
	case !f.retryAt.IsZero():
		s.accept(fmt.Sprintf("acknowledged: the failover to %s is not tried again by itself", f.chain.To))
	default:
		s.accept("acknowledged: cool-down and holds that waited for a person have ended")
	}
}

// repeated reports whether this very command was accepted before.
func (s *step) repeated() bool {
	id := s.Event.(Submitted).Command.ID
	for _, a := range s.fold.accepted {
		if id != "" && a.id == id {
			return true
		}
	}
	return false
}
