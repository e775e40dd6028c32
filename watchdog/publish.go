package watchdog

import (
	"slices"
	"time"

	"edgewatch/actions"
)

// publish makes what is known now visible to every surface.
func (e *Engine) publish() {
	now := e.ports.Now()
	f := &e.machine.fold
	s := &Snapshot{
		Federation: e.Name(),
		At:         now,
		Mode:       e.settings.Rules.Mode,
		State:      f.state(),
		Active:     f.active,
		Decision:   e.machine.Decide(now, e.levels),
		Incident:   f.incident,
		Newest:     f.newest(e.Name()),
		Interval:   e.settings.Watch.Interval,
		LastSeq:    f.lastSeq,
		Partner:    e.partner,
		PartnerAt:  e.seen,
		Vantage:    e.settings.Watch.Vantage,
	}
	s.Lease, s.Hold = e.levels.Lease, copied(f.hold)
	if !f.running() && !f.faulted() && s.Decision.Will != WillFailover && s.Decision.Will != WillFailback {
		s.State = s.Decision.State // which the journal need not hold, if it flaps
	}
	s.HistoryError = e.ports.Rounds.Error()
	if e.journal != nil {
		s.JournalError = e.journal.Error()
	}
	if now.Before(f.cooldown) {
		s.Cooldown = f.cooldown
	}
	if f.pause != nil && now.Before(f.pause.Until) {
		p := *f.pause
		s.Pause = &p
	}
	if s.Decision.Will == WillAsk {
		s.Approval = e.approval(s.Decision, now)
	}
	if f.chain != nil {
		s.Chain = f.chain.status()
	}
	s.Unproven, s.Guessed = f.unproven.left(), f.guessed()
	round := e.shown()
	if round != nil {
		s.LastRound, s.Canaries, s.Frozen, s.Began = round.At, round.Canaries, round.Frozen, e.began
	}
	s.Witnesses = e.witnesses(f.active)
	for _, name := range e.settings.Rules.Pools {
		p := round.Pool(name)
		if p.Breaker.State == "" {
			p.Breaker.State = BreakerClosed
		}
		s.Pools = append(s.Pools, PoolStatus{
			Name: name, Active: name == f.active, Verdict: p.Verdict, Why: p.Why, Breaker: p.Breaker,
			Servers: p.Results, States: p.States, Readiness: e.levels.Readiness[name], Uptime: e.ports.Rounds.Uptime(name), Stopped: f.owed[name], Quarantined: f.quarantine(name, now, &e.settings.Rules),
		})
	}
	e.snapshot.Store(s)
}

// approval is what a person is asked for a snapshot.
func (e *Engine) approval(d Decision, now time.Time) *Approval {
	a := &Approval{To: d.To, Since: now, Until: d.NextAt, Then: e.settings.Rules.ApprovalThen}
	if since, asked := e.machine.fold.ask.from(d.To); asked {
		a.Since = since
	}
	if a.Then == "" {
		a.Then = ApprovalHolds
	}
	return a
}

// shown is the newest round for those who look. Right after federation moved it
// is one that decides nothing any more, and says nothing of the pool that took
// over.
func (e *Engine) shown() *Round {
	if e.levels.Round != nil || e.last == nil {
		return e.levels.Round
	}
	r := *e.last
	r.Pools = slices.Clone(e.last.Pools)
	for i := range r.Pools {
		if r.Pools[i].Pool == e.machine.Active() {
			r.Pools[i] = PoolRound{Pool: r.Pools[i].Pool, Why: "its first round since federation moved is under way"}
		}
	}
	return &r
}

// status is the chain for a snapshot, with the steps still to come.
func (c *chainFold) status() *ChainStatus {
	out := &ChainStatus{ChainStart: c.ChainStart, StartedAt: c.startedAt, EndedAt: c.endedAt, Outcome: c.outcome}
	for _, name := range c.Kind.Steps() {
		st := StepStatus{Step: name, State: StepWaiting}
		for _, s := range c.steps {
			if s.name == name {
				st = s.status(c.outcome != nil, c.endedAt)
			}
		}
		out.Steps = append(out.Steps, st)
	}
	return out
}

func (s stepFold) status(ended bool, at time.Time) StepStatus {
	st := StepStatus{Step: s.name, Took: s.record.Took, Error: s.record.Error, StartedAt: s.started}
	switch s.record.Phase {
	case actions.Finished, actions.Already:
		st.State, st.Already = StepDone, s.record.Unneeded()
	case actions.Skipped:
		st.State = StepSkipped
	case actions.Failed:
		st.State = StepFailed
	case actions.Started:
		st.State = StepRunning
		if ended {
			st.State, st.Took = StepFailed, at.Sub(s.started)
		}
	}
	return st
}
