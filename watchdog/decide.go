package watchdog

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// decide is the one place where it is decided what edgewatch does and why.
// It changes nothing.
func decide(at time.Time, levels Levels, rules *Rules, f *fold) Decision {
	q := &question{at: at, levels: levels, rules: rules, fold: f, pool: levels.Round.Pool(f.active)}
	switch {
	case f.running():
		return q.finishing()
	case levels.Lease != "":
		return q.hold(GuardLease, time.Time{}, levels.Lease)
	case f.faulted():
		if d := q.down(); d.Will == WillFailover && q.overtaken() {
			return d
		}
		return q.retrying()
	case f.confirm != "" && f.unfinished():
		return q.hold(GuardUnconfirmed, time.Time{}, fmt.Sprintf("%s: once what it stopped at is mended, take it up again with retry; or do the rest by hand, then adopt %s REASON", f.confirm, f.active))
	case f.confirm != "" && f.undone != "" && !f.tripped[f.active]:
		return q.hold(GuardUnconfirmed, time.Time{}, fmt.Sprintf("%s: failover %s REASON brings route and records there; or do the rest by hand, then adopt %[2]s REASON", f.confirm, f.active))
	case f.confirm != "":
		return q.hold(GuardUnconfirmed, time.Time{}, f.confirm+"; a person's ack is needed before edgewatch acts again")
	case levels.Round == nil && f.chain != nil && f.chain.endedAt.After(levels.Since) && !f.chain.outcome.Interrupted:
		return q.watch(f.active + " carries federation from now on; its first round of probes is under way")
	case levels.Round == nil:
		return q.watch("no round of probes is complete yet")
	case at.Sub(levels.Round.At) > rules.EvidenceAge:
		return q.hold(GuardEvidence, time.Time{}, fmt.Sprintf("the last complete round is %s old", Span(at.Sub(levels.Round.At).Round(time.Second))))
	}
	return q.judge()
}

// question is one decision being made.
type question struct {
	at     time.Time
	levels Levels
	rules  *Rules
	fold   *fold
	pool   PoolRound // the active pool in the newest round
}

// judge decides on fresh evidence with nothing running.
func (q *question) judge() Decision {
	answers := q.pool.Verdict == PoolUp || q.pool.Verdict == PoolDegraded
	frozen := q.levels.Round.Frozen
	active := q.fold.active
	switch {
	case !answers && frozen != "":
		return q.hold(GuardEvidence, time.Time{}, fmt.Sprintf("%s does not answer, but our own fault is possible: %s", active, frozen))
	case !answers && !q.levels.Round.Canaries.OK:
		return q.hold(GuardCanaries, time.Time{}, fmt.Sprintf("%s does not answer, but our own fault is possible: %s", active, q.levels.Round.Canaries.Why))
	case q.pool.Breaker.Tripped():
		return q.down()
	case q.fold.tripped[active] && !answers:
		return q.hold(GuardEvidence, time.Time{}, fmt.Sprintf("%s counted as down before and has not been watched long enough since: %s", active, q.pool.Why))
	case !q.pool.Unclear.IsZero():
		return q.hold(GuardUnclear, time.Time{}, fmt.Sprintf("nobody can tell since %s whether %s is up or down (%s): nothing moves by itself while that is so; if federation is dead, failover POOL REASON",
			clock(q.pool.Unclear), active, q.pool.Why))
	case q.pool.Breaker.Bad > 0:
		return Decision{State: Confirming, Will: WillWatch, Because: fmt.Sprintf("%s does not answer since %s (%s): making sure", active, clock(q.pool.Breaker.Since), q.pool.Why)}
	case q.pool.Verdict == Inconclusive:
		return q.watch(fmt.Sprintf("it is unclear how %s is: %s", active, q.pool.Why))
	}
	if to := q.home(); to != "" {
		return Decision{State: Watching, Will: WillFailback, To: to, Because: fmt.Sprintf(
			"%s answers since %s and is ready, and the window of automatic failback is open", to, clock(q.fold.back[to]))}
	}
	return q.watch(fmt.Sprintf("%s answers: %s", active, q.pool.Why) + q.fold.unproven.doubt(active) + q.staying())
}

// retrying: the chain stopped after the route had moved.
func (q *question) retrying() Decision {
	f := q.fold
	d := Decision{
		State: Faulted, Will: WillFinish, To: f.chain.To, NextAt: f.retryAt,
		Because: fmt.Sprintf("the %s to %s stopped at %s after the route had moved and is tried again at %s: %s", f.chain.word(), f.chain.To, f.chain.outcome.Step, clock(f.retryAt), f.chain.outcome.Error),
	}
	if f.chain.Dropped != "" {
		d.Because = fmt.Sprintf("the %s to %s had moved federation when edgewatch ended, as is seen now: it is not left half done, and carried through at %s; abort ends that",
			f.chain.word(), f.chain.To, clock(f.retryAt))
		if len(f.chain.outcome.Stopped) > 0 {
			d.Because += ": " + f.chain.outcome.Error
		}
	}
	if f.hold != nil {
		d.BlockedBy, d.NextAt = GuardHold, time.Time{}
		d.Because = fmt.Sprintf("the %s to %s stopped at %s after the route had moved, and %s holds edgewatch back (%s): it is tried again after release, or now with retry: %s",
			f.chain.word(), f.chain.To, f.chain.outcome.Step, f.hold.Actor, f.hold.Reason, f.chain.outcome.Error)
	}
	if f.hold == nil && q.rules.Mode == ModeObserve && f.chain.own() {
		d.BlockedBy, d.NextAt = GuardMode, time.Time{}
		d.Because = fmt.Sprintf("the %s to %s stopped at %s after the route had moved, and mode is observe by now: retry carries it through, adopt %s REASON takes it for done: %s",
			f.chain.word(), f.chain.To, f.chain.outcome.Step, f.chain.To, f.chain.outcome.Error)
	}
	return d
}

// overtaken reports whether a failover that is not through is given up for
// the next candidate: it was tried again, and the pool that took over is down
// by all evidence.
func (q *question) overtaken() bool {
	r := q.levels.Round
	return q.rules.Unproven == UnprovenNext && q.fold.chain.Retry > 0 && q.fold.attempts < q.rules.MaxAttempts &&
		r != nil && r.Frozen == "" && r.Canaries.OK && q.at.Sub(r.At) <= q.rules.EvidenceAge && q.pool.Breaker.Tripped()
}

// home is the pool that federation may return to by itself now, "" when there
// is none or something stands against it. It asks the guards of a failover but
// for the witnesses, who are asked about a pool that looks bad, and the pool
// must have answered for long enough under this process's eyes.
func (q *question) home() string {
	f, r := q.fold, q.rules
	if !r.Failback.Auto || r.Mode != ModeAuto || r.Unable != "" || !r.Failback.open(q.at) || f.incident != "" || f.halfway() || f.stays != "" {
		return ""
	}
	if q.levels.Round.Frozen != "" || q.pool.Verdict != PoolUp || q.at.Before(q.levels.Since.Add(max(r.StartupGrace, r.Failback.StableFor))) ||
		f.hold != nil || f.pause != nil && q.at.Before(f.pause.Until) || q.at.Before(f.cooldown) ||
		r.Budget > 0 && f.recent(q.at.Add(-r.BudgetWindow)) >= r.Budget || q.drift() != "" {
		return ""
	}
	for _, p := range r.Pools {
		_, back := f.back[p]
		there := q.levels.Round.Pool(p)
		switch {
		case p == f.active:
			return ""
		case back && f.quarantine(p, q.at, r) == "" && there.Verdict == PoolUp && there.Healthy >= healthyRounds && !there.Breaker.Tripped() &&
			q.levels.lacks(p, q.at, r.ReadinessAge) == "":
			return p
		}
	}
	return ""
}

// staying is why federation does not go home by itself, where it would
// otherwise; "" when nobody has to do anything about it.
func (q *question) staying() string {
	f, r := q.fold, q.rules
	switch {
	case f.halfway():
		return fmt.Sprintf("; %s: failover %s REASON brings the rest there, or say adopt %[2]s REASON once it was done by hand", f.half(), f.active)
	case f.stays == "" || !r.Failback.Auto || r.Mode != ModeAuto || f.active == r.Pools[0]:
		return ""
	}
	return fmt.Sprintf("; federation does not return to %s by itself until somebody says ack, because %s", r.Pools[0], f.stays)
}

// down decides once the active pool counts as down: the guards in their
// order, then the failover.
func (q *question) down() Decision {
	f, r := q.fold, q.rules
	active := f.active
	if q.pool.Verdict != PoolDown {
		return q.hold(GuardEvidence, time.Time{}, fmt.Sprintf("%s counts as down, but the last round says %s (%s): waiting to see", active, q.pool.Verdict, q.pool.Why))
	}
	if grace := q.levels.Since.Add(r.StartupGrace); q.at.Before(grace) {
		return q.hold(GuardEvidence, grace, fmt.Sprintf("%s is down, but edgewatch watches only since %s: deciding from %s on", active, clock(q.levels.Since), clock(grace)))
	}
	if why := q.doubt(); why != "" {
		return q.hold(GuardWitness, time.Time{}, fmt.Sprintf("%s is down as seen from here, but %s", active, why))
	}
	if h := f.hold; h != nil {
		return q.hold(GuardHold, time.Time{}, fmt.Sprintf("%s is down, but %s holds edgewatch back until release: %s", active, h.Actor, h.Reason))
	}
	if p := f.pause; p != nil && q.at.Before(p.Until) {
		return q.hold(GuardPause, p.Until, fmt.Sprintf("%s is down, but %s paused automatic failover until %s: %s", active, p.Actor, clock(p.Until), p.Reason))
	}
	if q.at.Before(f.cooldown) {
		return q.hold(GuardCooldown, f.cooldown, fmt.Sprintf("%s is down, but an automatic move ended a short while ago: cooling down until %s, or until an ack", active, clock(f.cooldown)))
	}
	if n := f.recent(q.at.Add(-r.BudgetWindow)); r.Budget > 0 && n >= r.Budget && !f.charged {
		return q.hold(GuardBudget, f.autos[len(f.autos)-r.Budget].Add(r.BudgetWindow), fmt.Sprintf("%s is down, but there were %s within %s already: more needs a person", active, Count(n, "automatic failover", "automatic failovers"), Span(r.BudgetWindow)))
	}
	if why := q.drift(); why != "" {
		return q.hold(GuardDrift, time.Time{}, fmt.Sprintf("%s is down, but %s", active, why))
	}
	to, why := q.candidate()
	if to == "" {
		return q.hold(GuardCandidate, time.Time{}, fmt.Sprintf("%s is down and no other pool is ready: %s", active, why))
	}
	because := fmt.Sprintf("%s is down since %s (%s) and %s is ready", active, clock(q.pool.Breaker.Since), q.pool.Why, to)
	switch {
	case f.denied != nil && r.Mode != ModeObserve: // whatever the mode was then
		return q.denied(to, because)
	case r.Mode == ModeAuto:
		return Decision{State: FailingOver, Will: WillFailover, To: to, Because: because}
	case r.Mode == ModeApprove:
		return q.ask(to, because)
	}
	d := q.hold(GuardMode, time.Time{}, because+": would fail over now, but mode is observe")
	d.To = to
	return d
}

// drift is why it is doubtful that the active pool carries federation at all:
// DNS leads partners to another pool, which answers, and nobody told
// edgewatch; or nobody knows where DNS leads. A pool that was failed over
// from and returned draws partners without anybody's doing, and is no doubt.
func (q *question) drift() string {
	if q.rules.PartnerAge == 0 {
		return ""
	}
	round := q.levels.Round
	if round.Seen.IsZero() {
		return "what partners find in DNS was not looked at yet: edgewatch waits until it knows where they are led"
	}
	if age(q.at, round.Seen) > q.rules.PartnerAge {
		return fmt.Sprintf("what partners find in DNS was last seen at %s: edgewatch waits until it knows where they are led", clock(round.Seen))
	}
	for _, v := range round.Partner {
		_, back := q.fold.back[v.Pool]
		there := round.Pool(v.Pool).Verdict
		switch {
		case v.Pool == "" || v.Pool == q.fold.active || back || q.fold.quit[v.Pool]:
		case knows(q.rules.Pools, v.Pool) && (there == PoolUp || there == PoolDegraded):
			return fmt.Sprintf("DNS leads partners of %s to %s, which answers: if somebody moved federation there, adopt %s REASON; if not, failover POOL REASON", v.Domain, v.Pool, v.Pool)
		case v.Level.Answers() && !slices.ContainsFunc(v.places(), func(p string) bool { return knows(q.rules.Pools, p) }):
			return fmt.Sprintf("DNS leads partners of %s to %s, and something answers there (%s): if somebody moved federation there, hold edgewatch; if not, failover POOL REASON", v.Domain, v.Pool, v.Text)
		}
	}
	if !learned(round.Partner) {
		return "nothing can be learned from DNS about where partners are led: edgewatch waits until it can, or for failover POOL REASON"
	}
	return ""
}

// candidate is the first pool by priority that could take over, or why none
// can. One that was failed over from and has not been seen answering since
// comes after all others, however well its preflight goes.
func (q *question) candidate() (pool, why string) {
	if q.rules.Unable != "" {
		return "", q.rules.Unable
	}
	var reasons []string
	pools := slices.Clone(q.rules.Pools)
	slices.SortStableFunc(pools, func(a, b string) int {
		switch {
		case q.fold.quit[a] == q.fold.quit[b]:
			return 0
		case q.fold.quit[b]:
			return -1
		}
		return 1
	})
	for _, p := range pools {
		if p == q.fold.active {
			continue
		}
		failedAt, failed := q.fold.failed[p]
		lacks := q.levels.lacks(p, q.at, q.rules.ReadinessAge)
		switch {
		case failed && q.at.Sub(failedAt).Abs() < q.rules.RetryFailed: // Abs: the clock may have been set back
			reasons = append(reasons, fmt.Sprintf("%s: its failover failed at %s", p, clock(failedAt)))
		case lacks != "":
			reasons = append(reasons, lacks)
		default:
			return p, ""
		}
	}
	if len(reasons) == 0 {
		return "", "there is no other pool"
	}
	return "", strings.Join(reasons, "; ")
}

// lacks is why the pool may not take over, "" when it may.
func (l *Levels) lacks(pool string, at time.Time, limit time.Duration) string {
	switch r := l.Readiness[pool]; {
	case r.At.IsZero():
		return pool + ": its readiness is not known yet" + l.checked(at)
	case age(at, r.At) > limit:
		return fmt.Sprintf("%s: its readiness was last checked at %s%s", pool, clock(r.At), l.checked(at))
	case !r.Ready:
		return fmt.Sprintf("%s: %s", pool, r.Why)
	}
	return ""
}

// checked is when readiness is checked next, as far as anybody knows.
func (l *Levels) checked(at time.Time) string {
	switch {
	case l.Survey.IsZero():
		return ""
	case at.Before(l.Survey):
		return fmt.Sprintf("; it is checked at %s at the latest", clock(l.Survey))
	}
	return "; it is being checked"
}

// recent counts the automatic failovers that began after t.
func (f *fold) recent(t time.Time) int {
	n := 0
	for _, at := range f.autos {
		if at.After(t) {
			n++
		}
	}
	return n
}

// quarantine is why federation should not return to the pool yet, "" when
// nothing speaks against it.
func (f *fold) quarantine(pool string, at time.Time, rules *Rules) string {
	if f.quit[pool] {
		return pool + " was not seen answering when federation left it, nor since"
	}
	since, back := f.back[pool]
	if stable := since.Add(rules.Failback.StableFor); back && at.Before(stable) {
		return fmt.Sprintf("%s answers again since %s only and counts as stable from %s on", pool, clock(since), clock(stable))
	}
	return ""
}

func (q *question) finishing() Decision {
	c := q.fold.chain
	d := Decision{State: q.fold.state(), Will: WillFinish, To: c.To, BlockedBy: GuardNone}
	at := "about to begin"
	if c.at != "" {
		at = "at " + string(c.at)
	}
	d.Because = fmt.Sprintf("the %s from %s to %s is running, %s", c.word(), c.From, c.To, at)
	if c.Dropped != "" {
		d.Because = fmt.Sprintf("the %s from %s to %s is not carried on (%s): what it stopped is started, and it is seen whether its route has moved", c.word(), c.From, c.To, c.Dropped)
	}
	return d
}

func (q *question) watch(because string) Decision {
	return Decision{State: Watching, Will: WillWatch, Because: because}
}

func (q *question) hold(g Guard, next time.Time, because string) Decision {
	return Decision{State: Held, Will: WillHold, BlockedBy: g, NextAt: next, Because: because}
}
