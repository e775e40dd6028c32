package watchdog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"edgewatch/actions"
)

// command is the operator's order that is being looked at.
func (s *step) command() Command { return s.Event.(Submitted).Command }

// repeated is the answer to an order that was accepted before, whatever the
// state is by now: a surface that lost the answer asks again under the same
// id. Another order under that id is refused.
func (s *step) repeated() (Ready, bool) {
	cmd := s.command()
	if cmd.ID == "" {
		return Ready{}, false
	}
	for _, a := range s.fold.accepted {
		switch {
		case a.ID != cmd.ID:
		case a.Verb != cmd.Verb || a.Pool != cmd.Pool || a.For != cmd.For || a.Step != cmd.Step:
			return s.refuse(fmt.Sprintf("nothing is done: another order was accepted under the id %q before (%s); give every order an id of its own", cmd.ID, a.sentence())), true
		default:
			return Ready{Answer: Answer{Accepted: true, Text: "this command was accepted before; nothing more is done", Entry: a.seq}}, true
		}
	}
	return Ready{}, false
}

// accept makes the order an entry and answers it.
func (s *step) accept(format string, args ...any) {
	cmd := s.command()
	s.ready.Answer = Answer{Accepted: true, Text: fmt.Sprintf(format, args...)}
	s.emit(Entry{Kind: KindCommand, Command: &cmd})
}

// no refuses the order.
func (s *step) no(format string, args ...any) { s.ready = s.refuse(fmt.Sprintf(format, args...)) }

// lacksReason refuses an order without the reason it needs.
func (s *step) lacksReason() bool {
	info, _ := s.command().Verb.Info()
	if !info.Reason || strings.TrimSpace(s.command().Reason) != "" {
		return false
	}
	s.no("%s needs a reason, for those who read the history", info.Verb)
	return true
}

// impossible refuses a move to a pool that no plan can be made for.
func (s *step) impossible() bool {
	cmd := s.command()
	switch {
	case !knows(s.rules.Pools, cmd.Pool):
		s.no("%s", unknownWord("pool", cmd.Pool, s.rules.Pools))
	case s.rules.Unable != "":
		s.no("no failover is possible: %s", s.rules.Unable)
	default:
		return s.lacksReason()
	}
	return true
}

// answers is how the active pool was just seen answering: PoolUp, PoolDegraded,
// or Inconclusive when it was not.
func (s *step) answers() Verdict {
	r := s.Levels.Round
	if r == nil || r.Frozen != "" || s.At.Sub(r.At) > s.rules.EvidenceAge {
		return Inconclusive
	}
	p := r.Pool(s.fold.active)
	if p.Breaker.Tripped() || p.Verdict == PoolDown {
		return Inconclusive
	}
	return p.Verdict
}

// astray names the pool that partners are led to instead of the active one,
// or another pool when they are led to several, to none, or cannot reach the
// active one; "" when they find federation where it is.
func (f *fold) astray(pools []string) string {
	wrong := len(f.lost) > 0
	for _, domain := range slices.Sorted(maps.Keys(f.drift)) {
		pool := f.drift[domain]
		if pool != f.active && knows(pools, pool) {
			return pool
		}
		wrong = wrong || pool != "" && pool != f.active
	}
	for _, pool := range pools {
		if wrong && pool != f.active {
			return pool
		}
	}
	return ""
}

func (s *step) failover() {
	cmd := s.command()
	f := &s.fold
	astray := f.astray(s.rules.Pools)
	switch {
	case s.impossible():
	case cmd.Pool == f.active && f.unfinished():
		s.takeUp()
	case cmd.Pool == f.active && f.undone != "":
		s.finish()
	case cmd.Pool == f.active && astray == "" && s.rules.PartnerAge > 0 && s.seen() == nil:
		s.no("%s carries federation already, and where DNS leads partners was not looked at yet: that is being done now, so ask again in a minute", cmd.Pool)
	case cmd.Pool == f.active && astray == "" && s.found():
		s.no("%s carries federation already, and DNS leads partners to it: there is nothing to bring back", cmd.Pool)
	case cmd.Pool == f.active && astray == "":
		s.no("%s carries federation already", cmd.Pool)
	case cmd.Pool == f.active:
		s.accept("bringing route and records back to %s now; what is right already is left alone", cmd.Pool)
		s.startChain(actions.Failover, astray, cmd.Pool, cmd)
	case s.answers() == PoolUp && astray == "" && !cmd.Force:
		s.no("%s answers, and a failover is for a pool that does not. For a planned move: switchover %s REASON. To fail over all the same: failover %s --force REASON", f.active, cmd.Pool, cmd.Pool)
	default:
		s.accept("failing over from %s to %s now%s", f.active, cmd.Pool, s.dissent())
		s.startChain(actions.Failover, f.active, cmd.Pool, cmd)
	}
}

// unplanned refuses a planned move to where federation is, or away from where
// it has only half arrived.
func (s *step) unplanned() bool {
	f := &s.fold
	switch pool := s.command().Pool; {
	case pool == f.active:
		s.no("%s carries federation already", pool)
	case f.unfinished():
		s.no("the last %s to %s is not through: retry it, or say adopt %s REASON once what is left was done by hand", f.chain.word(), f.active, f.active)
	case f.undone != "":
		s.no("%s: failover %s REASON brings the rest there, or say adopt %[2]s REASON once it was done by hand", f.half(), f.active)
	default:
		return false
	}
	return true
}

// unready refuses a planned move to a pool that could not take over as far as
// anybody knows, unless somebody insists.
func (s *step) unready() bool {
	cmd := s.command()
	why := s.Levels.lacks(cmd.Pool, s.At, s.rules.ReadinessAge)
	if why == "" || cmd.Force {
		return false
	}
	s.no("%s. To try it all the same (its preflight still has to pass): %s %s --force REASON", why, cmd.Verb, cmd.Pool)
	return true
}

func (s *step) switchover() {
	cmd := s.command()
	f := &s.fold
	switch {
	case s.impossible() || s.unplanned():
	case s.answers() == Inconclusive && !cmd.Force:
		s.no("%s was not seen answering just now, and a switchover is for a pool that does. If it is down: failover %s REASON", f.active, cmd.Pool)
	case s.unready():
	default:
		s.accept("switching over from %s to %s now", f.active, cmd.Pool)
		s.startChain(actions.Switchover, f.active, cmd.Pool, cmd)
	}
}

func (s *step) failback() {
	cmd := s.command()
	f := &s.fold
	quarantine := f.quarantine(cmd.Pool, s.At, s.rules)
	switch {
	case s.impossible() || s.unplanned():
	case s.rules.prefers(f.active, cmd.Pool):
		s.no("%s is not preferred to %s, so that there is nothing to fail back: switchover %s REASON", cmd.Pool, f.active, cmd.Pool)
	case quarantine != "" && !cmd.Force:
		s.no("%s. To return all the same: failback %s --force REASON", quarantine, cmd.Pool)
	case s.unready():
	default:
		s.accept("failing back from %s to %s now", f.active, cmd.Pool)
		s.startChain(actions.Failback, f.active, cmd.Pool, cmd)
	}
}

func (s *step) approved() {
	cmd := s.command()
	d := decide(s.At, s.Levels, s.rules, &s.fold)
	switch {
	case s.impossible():
	case d.Will != WillAsk:
		s.no("edgewatch does not ask for that any more: %s", d.Because)
	case cmd.Pool != d.To:
		s.no("edgewatch asks for a failover to %s, not to %s", d.To, cmd.Pool)
	default:
		s.accept("approved: failing over from %s to %s now", s.fold.active, d.To)
		s.startChain(actions.Failover, s.fold.active, d.To, cmd)
	}
}

// denied takes a no wherever people were asked in the open incident, even while
// edgewatch would not act just now: a no that is turned away would be missed.
func (s *step) denied() {
	switch {
	case s.lacksReason():
	case s.fold.ask == nil:
		s.no(notAsked)
	default:
		s.accept("denied: edgewatch does not fail over in this incident, unless an ack lets it ask again")
	}
}

func (s *step) held() {
	switch {
	case s.lacksReason():
	case s.fold.hold != nil:
		s.no("%s holds it already, since %s: %s", s.fold.hold.Actor, clock(s.fold.hold.Since), s.fold.hold.Reason)
	default:
		s.accept("held: edgewatch does nothing by itself until release%s", s.carriedThrough())
	}
}

func (s *step) released() {
	if s.fold.hold == nil {
		s.no("nothing is held")
		return
	}
	s.accept("released: edgewatch acts by itself again, as far as its mode allows")
}

// MaxPause is the longest pause: one that nobody remembers must end by itself.
const MaxPause = 30 * 24 * time.Hour

func (s *step) paused() {
	cmd := s.command()
	switch {
	case cmd.For <= 0:
		s.no("a pause needs an end: say for how long, e.g. pause 2h reason")
	case cmd.For > MaxPause:
		s.no("a pause may last 30 days at most")
	case s.lacksReason():
	default:
		s.accept("automatic failover is paused until %s%s; a failover command still works%s", clock(s.At.Add(cmd.For)), s.insteadOf(), cmp.Or(s.carriedThrough(), s.triedAgain()))
	}
}

// insteadOf is the pause that a new one replaces, be it longer or shorter.
func (s *step) insteadOf() string {
	p := s.fold.pause
	if p == nil || !s.At.Before(p.Until) {
		return ""
	}
	return fmt.Sprintf(", instead of until %s by %s for %q", clock(p.Until), p.Actor, p.Reason)
}

// carriedThrough is what an order that stops automatic failover does not stop.
func (s *step) carriedThrough() string {
	if s.fold.running() {
		return fmt.Sprintf("; the %s that is running is carried through", s.fold.chain.word())
	}
	return ""
}

// triedAgain is what a pause does not stop either, while a hold would.
func (s *step) triedAgain() string {
	if d := decide(s.At, s.Levels, s.rules, &s.fold); d.Will == WillFinish && d.BlockedBy == GuardNone {
		return fmt.Sprintf("; the %s to %s, which is not through, is tried again at %s all the same, until hold or abort", s.fold.chain.word(), s.fold.chain.To, clock(d.NextAt))
	}
	return ""
}

func (s *step) resumed() {
	if s.fold.pause == nil {
		s.no("nothing is paused")
		return
	}
	s.accept("automatic failover is on again")
}

func (s *step) aborted() {
	f := &s.fold
	switch {
	case s.lacksReason():
	case !f.running():
		s.accept("aborted: the %s to %s is not tried again by itself", f.chain.word(), f.chain.To)
	case f.aborting != "":
		s.no("%s has aborted it already; follow its end with status", f.aborting)
	default:
		s.accept("aborting %s %s: what it stopped is started again; nothing that it changed is rolled back", f.chain.word(), f.chain.ID)
		cmd := s.command()
		s.ready.Effects = append(s.ready.Effects, Effect{Chain: f.chain.ChainStart, Abort: fmt.Sprintf("%s: %s", cmd.Actor, cmd.Reason)})
	}
}

// takeUp carries the unfinished failover on. Where the pool that it left is no
// longer configured it cannot be: what is left to do is done anew, as from
// another pool.
func (s *step) takeUp() {
	f := &s.fold
	from := s.elsewhere()
	switch {
	case s.rules.Unable != "":
		s.no("no failover is possible: %s", s.rules.Unable)
	case !s.rootless():
		s.accept("the %s %s to %s is taken up again now", f.chain.word(), f.chain.ID, f.chain.To)
		s.continueChain()
	case from == "":
		s.no("the %s %s cannot be carried on: %s is no longer configured, and no other pool is; do the rest by hand, then adopt %s REASON", f.chain.word(), f.chain.ID, f.chain.From, f.active)
	default:
		s.accept("the %s %s cannot be carried on, as %s is no longer configured: bringing route and records to %s now; what is right already is left alone", f.chain.word(), f.chain.ID, f.chain.From, f.active)
		s.startChain(actions.Failover, from, f.active, s.command())
	}
}

// finish does what is left of the move that brought federation to the active
// pool, and that another one followed which failed.
func (s *step) finish() {
	f := &s.fold
	from := s.elsewhere()
	switch {
	case s.rules.Unable != "":
		s.no("no failover is possible: %s", s.rules.Unable)
	case from == "":
		s.no("%s, and no other pool is configured: do the rest by hand, then adopt %s REASON", f.half(), f.active)
	default:
		s.accept("%s: bringing route and records there now; what is right already is left alone", f.half())
		s.startChain(actions.Failover, from, f.active, s.command())
	}
}

// elsewhere is where federation is brought to the active pool from, although
// partners may find it there: "" when there is no other pool.
func (s *step) elsewhere() string {
	if pool := s.fold.astray(s.rules.Pools); pool != "" {
		return pool
	}
	for _, pool := range s.rules.Pools {
		if pool != s.fold.active {
			return pool
		}
	}
	return ""
}

// rootless: the pool that the last failover left is no longer configured.
func (s *step) rootless() bool { return !knows(s.rules.Pools, s.fold.chain.From) }

func (s *step) retried() {
	f := &s.fold
	switch {
	case f.unfinished():
		s.takeUp()
	case f.undone != "" && !f.tripped[f.active]:
		s.finish()
	case f.failedChain() && f.chain.From == f.active && f.chain.incident == f.incident && f.incident != "":
		cmd := s.command()
		if !knows(s.rules.Pools, f.chain.To) {
			s.no("the %s to %s cannot be tried anew: %[2]s is no longer configured", f.chain.word(), f.chain.To)
			return
		}
		s.accept("the %s to %s is tried anew now", f.chain.word(), f.chain.To)
		s.startChain(f.chain.Kind, f.active, f.chain.To, cmd)
	case f.undone != "":
		s.finish()
	case f.failedChain() && f.chain.Repair && f.chain.To == f.active && !f.tripped[f.active] && s.rules.Unable == "" && knows(s.rules.Pools, f.chain.From):
		s.accept("the repair of federation on %s is tried anew now", f.active)
		s.startChain(actions.Failover, f.chain.From, f.active, s.command())
	default:
		s.no("there is no failed failover to try again")
	}
}

func (s *step) skipped() {
	cmd := s.command()
	f := &s.fold
	switch {
	case s.lacksReason():
	case !slices.Contains(actions.Steps(), cmd.Step):
		words := make([]string, 0, len(actions.Steps()))
		for _, name := range actions.Steps() {
			words = append(words, string(name))
		}
		s.no("%s", unknownWord("step", string(cmd.Step), words))
	case !actions.Skippable(cmd.Step):
		s.no("%s changes something or guards it, and cannot be left out: mend what stops it, then retry; or do the rest by hand and say adopt POOL REASON", cmd.Step)
	case !f.unfinished():
		s.no("there is no failover that stopped half-way")
	case s.rootless():
		s.no("the %s %s cannot be carried on: %s is no longer configured; retry does anew what is left to do", f.chain.word(), f.chain.ID, f.chain.From)
	case f.chain.outcome.Step != cmd.Step:
		s.no("the %s %s stopped at %s, not at %s", f.chain.word(), f.chain.ID, f.chain.outcome.Step, cmd.Step)
	default:
		s.accept("the %s %s is taken up again now, without %s", f.chain.word(), f.chain.ID, cmd.Step)
		start := f.chain.ChainStart
		start.Skip = map[actions.StepName]string{}
		maps.Copy(start.Skip, f.chain.Skip)
		start.Skip[cmd.Step] = fmt.Sprintf("left out by %s: %s", cmd.Actor, cmd.Reason)
		s.continueAs(start, "")
	}
}

func (s *step) adopted() {
	cmd := s.command()
	f := &s.fold
	switch {
	case !knows(s.rules.Pools, cmd.Pool):
		s.no("%s", unknownWord("pool", cmd.Pool, s.rules.Pools))
	case s.lacksReason():
	case cmd.Pool == f.active && !f.halfway() && f.gone == "":
		s.no("%s carries federation already, as far as edgewatch knows", cmd.Pool)
	default:
		// What was seen of it as a standby, which may not listen before it holds
		// the route, is no evidence: it is watched anew.
		but := Elsewhere(s.seen(), cmd.Pool)
		if but != "" {
			but = fmt.Sprintf(", but %s: it is looked at anew now; if that stays, %s", but, s.rules.bringsBack(cmd.Pool))
		}
		s.Levels.Round = nil
		s.accept("adopted: %s carries federation from now on, as far as edgewatch is concerned; nothing was changed%s", cmd.Pool, but)
	}
}

func (s *step) acked() {
	f := &s.fold
	ends := f.ackEnds(s.At, s.rules)
	switch {
	case !f.retryAt.IsZero():
		s.accept("acknowledged: the %s to %s is not tried again by itself; once the rest was done by hand, say adopt %[2]s REASON", f.chain.word(), f.chain.To)
	case len(ends) > 0:
		s.accept("acknowledged: %s", strings.Join(ends, ", and "))
		s.ready.Answer.Text += s.heldBack() // as things stand with the ack
	case f.incident != "": // others see who has seen it
		s.accept("noted, but there was nothing to end%s", s.heldBack())
	default:
		s.no("there is nothing to acknowledge%s", s.heldBack())
	}
}

// ackEnds is what an ack ends, in words.
func (f *fold) ackEnds(at time.Time, rules *Rules) (ends []string) {
	if f.confirm != "" {
		ends = append(ends, fmt.Sprintf("it waits for no person any more (%s)", f.confirm))
	}
	if at.Before(f.cooldown) {
		ends = append(ends, "the cool-down is over")
	}
	if f.stays != "" && rules.Failback.Auto {
		ends = append(ends, "federation may go home by itself again")
	}
	if f.unproven != nil {
		ends = append(ends, f.unproven.move+" counts as proven")
	}
	switch {
	case f.denied != nil:
		ends = append(ends, fmt.Sprintf("the no of %s does not count any more", f.denied.Actor))
	case f.ask != nil:
		ends = append(ends, "the question is asked anew")
	}
	if pools := slices.Sorted(maps.Keys(f.failed)); len(pools) > 0 && f.confirm == "" {
		ends = append(ends, fmt.Sprintf("what failed with %s does not count any more", strings.Join(pools, " and ")))
	}
	if f.incident != "" && !f.tripped[f.active] {
		ends = append(ends, "incident "+f.incident+" is over")
	}
	return ends
}

// heldBack is what keeps edgewatch from acting, or what it does, as things
// stand now.
func (s *step) heldBack() string {
	d := decide(s.At, s.Levels, s.rules, &s.fold)
	switch f := &s.fold; {
	case f.hold != nil:
		return fmt.Sprintf("; the hold of %s stays until release", f.hold.Actor)
	case f.pause != nil && s.At.Before(f.pause.Until):
		return fmt.Sprintf("; the pause of %s lasts until %s, or until resume", f.pause.Actor, clock(f.pause.Until))
	case d.Will != WillWatch:
		return "; now " + d.sentence()
	}
	return ""
}
