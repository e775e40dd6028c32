package watchdog

import (
	"fmt"
	"slices"
	"time"

	"edgewatch/actions"
)

// chainFold is one failover as the journal tells it.
type chainFold struct {
	ChainStart
	incident  string
	startedAt time.Time
	endedAt   time.Time
	seen      time.Time // of its newest record, or of its start
	progress  actions.Progress
	steps     []stepFold
	at        actions.StepName // of the newest record of this run; "" before it
	outcome   *actions.Outcome // nil while it runs
	rescued   bool             // this run has begun to start services because it failed or was to end
	late      bool             // it began after people were asked
	moved     bool             // an earlier run of it ended where federation may have moved: what is seen later takes nothing back
}

type stepFold struct {
	name    actions.StepName
	record  actions.Record // the newest of the step as a whole
	started time.Time
}

func (c *chainFold) verifying() bool { return c.at == actions.Verify }

func (f *fold) applyChain(e Entry) {
	late := f.ask != nil
	f.retryAt = time.Time{}
	f.ask, f.denied = nil, nil
	if f.chain != nil && f.chain.ID == e.Chain.ID {
		f.chain.outcome, f.chain.endedAt, f.chain.seen = nil, time.Time{}, e.At
		f.chain.at, f.chain.rescued = "", false
		f.chain.Skip, f.chain.Dropped = e.Chain.Skip, e.Chain.Dropped
		if e.Chain.Dropped == "" { // else nothing is tried
			f.chain.Retry = e.Chain.Retry
		}
		if f.incident == "" { // it goes on
			f.incident, f.charged = e.Incident, f.chain.spends()
		}
		return
	}
	f.open(e)
	f.attempts++
	if e.Chain.spends() && !f.charged {
		f.autos, f.charged = append(f.autos, e.At), true
	}
	f.chain = &chainFold{ChainStart: *e.Chain, incident: e.Incident, startedAt: e.At, seen: e.At, late: late}
}

func (f *fold) applyStep(e Entry) {
	if f.chain == nil {
		return
	}
	f.chain.progress.Add(*e.Step)
	f.chain.at, f.chain.seen = e.Step.Step, e.At
	f.chain.rescued = f.chain.rescued || e.Step.Rescue
	if e.Step.Target != "" {
		return
	}
	i := slices.IndexFunc(f.chain.steps, func(s stepFold) bool { return s.name == e.Step.Step })
	if i < 0 {
		f.chain.steps = append(f.chain.steps, stepFold{name: e.Step.Step})
		i = len(f.chain.steps) - 1
	}
	s := &f.chain.steps[i]
	s.record = *e.Step
	if e.Step.Phase == actions.Started {
		s.started = e.At
	}
}

func (f *fold) applyChainEnd(e Entry, rules *Rules) {
	if f.chain == nil {
		return
	}
	out := e.ChainEnd.Outcome
	f.chain.outcome, f.chain.endedAt = &out, e.At
	if f.owed[f.chain.To] = out.Stopped; len(out.Stopped) == 0 {
		delete(f.owed, f.chain.To)
	}
	f.told = nil
	aborted := f.aborting
	f.aborting = ""
	switch {
	case out.OK:
		f.leave(f.chain.From, f.chain.Unseen)
		f.takeOver(f.chain.To)
		f.close()
		if len(out.Skipped) > 0 {
			f.unproven = &unproven{f.chain.word() + " " + f.chain.ID, stepList(out.Skipped)}
		}
		if f.chain.Trigger == TriggerAuto {
			f.cooldown = e.At.Add(rules.Cooldown)
		}
	case f.unseen():
		f.confirm = fmt.Sprintf("the %s to %s was not carried on, and whether it had moved federation could not be seen (Get-CsSite and DNS tell: adopt %[2]s REASON if it has, failover %[2]s REASON if only a part of it)", f.chain.word(), f.chain.To)
	case out.RouteMoved:
		f.stuck(e.At, aborted, rules)
	case !f.tripped[f.active] && f.undone != "":
		f.confirm = f.half()
	case !f.tripped[f.active]:
		f.close() // a move away from a healthy pool: with it ends what it opened
		if !f.chain.Repair && rules.prefers(f.chain.To, f.chain.From) && (aborted != "" || !out.Interrupted) {
			f.stays, f.homeward = f.chain.fate(aborted), f.chain.To
		}
	case aborted != "":
		f.attempts = max(f.attempts-1, 0)
		f.confirm = fmt.Sprintf("the %s to %s was aborted by %s", f.chain.word(), f.chain.To, aborted)
	case out.Interrupted && !f.chain.progress.Touched():
		f.attempts = max(f.attempts-1, 0)
	default:
		if !out.Unrecorded && !out.Interrupted { // else it is not the pool that failed, but so often is often enough
			f.failed[f.chain.To] = e.At
		}
		if f.attempts >= rules.MaxAttempts {
			f.confirm = "failovers of this incident failed " + times(f.attempts)
		}
	}
}

// stuck: the route moved, and the failover is not through.
func (f *fold) stuck(at time.Time, aborted string, rules *Rules) {
	f.leave(f.chain.From, f.chain.Unseen)
	f.takeOver(f.chain.To)
	f.chain.moved, f.undone = true, f.chain.word()
	switch {
	case aborted != "":
		f.confirm = fmt.Sprintf("the %s to %s was aborted by %s after its route had moved", f.chain.word(), f.chain.To, aborted)
	case f.chain.Dropped != "" && f.chain.Retry < rules.MaxRetries:
		f.retryAt = at // it was only seen whether it has moved, and it has
	case f.chain.Retry < rules.MaxRetries:
		f.retryAt = at.Add(rules.retryAfter(f.chain.Retry))
	default:
		f.confirm = "the " + f.chain.word() + " to " + f.chain.To + " is not through and was tried " + times(f.chain.Retry+1)
	}
}
