package watchdog

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"edgewatch/probe"
)

// decide is the one place where it is decided what edgewatch does and why.
// It changes nothing.
func decide(at time.Time, levels Levels, rules *Rules, f *fold) Decision {
	q := &question{at: at, levels: levels, rules: rules, fold: f, pool: levels.Round.Pool(f.active)}
	switch {
	case f.running():
		return q.finishing()
	case f.faulted():
		return Decision{
			State: Faulted, Will: WillFinish, To: f.chain.To, NextAt: f.retryAt,
			Because: fmt.Sprintf("the failover to %s stopped at %s after the route had moved and is tried again at %s: %s", f.chain.To, f.chain.outcome.Step, clock(f.retryAt), f.chain.outcome.Error),
		}
	case f.confirm != "" && f.unfinished():
		return q.hold(GuardUnconfirmed, time.Time{}, fmt.Sprintf("%s: once what it stopped at is mended, take it up again with failover %s REASON, or ack and do the rest by hand", f.confirm, f.active))
	case f.confirm != "":
		return q.hold(GuardUnconfirmed, time.Time{}, f.confirm+"; a person's ack is needed before edgewatch acts again")
	case levels.Round == nil:
		return q.watch("no round of probes is complete yet")
	case at.Sub(levels.Round.At) > rules.EvidenceAge:
		return q.hold(GuardEvidence, time.Time{}, fmt.Sprintf("the last complete round is %s old", at.Sub(levels.Round.At).Round(time.Second)))
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
	case q.pool.Breaker.Bad > 0:
		return Decision{State: Confirming, Will: WillWatch, Because: fmt.Sprintf("%s does not answer since %s (%s): making sure", active, clock(q.pool.Breaker.Since), q.pool.Why)}
	case q.pool.Verdict == Inconclusive:
		return q.watch(fmt.Sprintf("it is unclear how %s is: %s", active, q.pool.Why))
	}
	return q.watch(fmt.Sprintf("%s answers: %s", active, q.pool.Why))
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
		return q.hold(GuardEvidence, grace, fmt.Sprintf("%s is down, but edgewatch has only just started: acting from %s on", active, clock(grace)))
	}
	if p := f.pause; p != nil && q.at.Before(p.Until) {
		return q.hold(GuardPause, p.Until, fmt.Sprintf("%s is down, but %s paused automatic failover until %s: %s", active, p.Actor, clock(p.Until), p.Reason))
	}
	if q.at.Before(f.cooldown) {
		return q.hold(GuardCooldown, f.cooldown, fmt.Sprintf("%s is down, but an automatic failover ended a short while ago: cooling down until %s, or until an ack", active, clock(f.cooldown)))
	}
	if n := f.recent(q.at.Add(-r.BudgetWindow)); r.Budget > 0 && n >= r.Budget && !f.charged {
		return q.hold(GuardBudget, time.Time{}, fmt.Sprintf("%s is down, but there were %s within %s already: more needs a person", active, automatic(n), r.BudgetWindow))
	}
	to, why := q.candidate()
	if to == "" {
		return q.hold(GuardCandidate, time.Time{}, fmt.Sprintf("%s is down and no other pool is ready: %s", active, why))
	}
	because := fmt.Sprintf("%s is down since %s (%s) and %s is ready", active, clock(q.pool.Breaker.Since), q.pool.Why, to)
	switch r.Mode {
	case ModeAuto:
		return Decision{State: FailingOver, Will: WillFailover, To: to, Because: because}
	case ModeApprove:
		d := q.hold(GuardMode, time.Time{}, because+fmt.Sprintf(": approve it with failover %s REASON", to))
		d.To = to
		return d
	case ModeObserve:
	}
	d := q.hold(GuardMode, time.Time{}, because+": would fail over now, but mode is observe")
	d.To = to
	return d
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
		ready := q.levels.Readiness[p]
		failedAt, failed := q.fold.failed[p]
		switch {
		case failed && q.at.Sub(failedAt) < q.rules.RetryFailed:
			reasons = append(reasons, fmt.Sprintf("%s: its failover failed at %s", p, clock(failedAt)))
		case ready.At.IsZero():
			reasons = append(reasons, p+": its readiness is not known yet")
		case q.at.Sub(ready.At) > q.rules.ReadinessAge:
			reasons = append(reasons, fmt.Sprintf("%s: its readiness was last checked at %s", p, clock(ready.At)))
		case !ready.Ready:
			reasons = append(reasons, fmt.Sprintf("%s: %s", p, ready.Why))
		default:
			return p, ""
		}
	}
	if len(reasons) == 0 {
		return "", "there is no other pool"
	}
	return "", strings.Join(reasons, "; ")
}

func (q *question) finishing() Decision {
	c := q.fold.chain
	d := Decision{State: q.fold.state(), Will: WillFinish, To: c.To, BlockedBy: GuardNone}
	at := "about to begin"
	if n := len(c.steps); n > 0 {
		at = "at " + string(c.steps[n-1].name)
	}
	d.Because = fmt.Sprintf("the failover from %s to %s is running, %s", c.From, c.To, at)
	return d
}

func (q *question) watch(because string) Decision {
	return Decision{State: Watching, Will: WillWatch, Because: because}
}

func (q *question) hold(g Guard, next time.Time, because string) Decision {
	return Decision{State: Held, Will: WillHold, BlockedBy: g, NextAt: next, Because: because}
}

// notice tells what became true or ended, once each.
func (s *step) notice() {
	f, round := &s.fold, s.Levels.Round
	if f.pause != nil && !s.At.Before(f.pause.Until) {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticePauseEnded, Text: fmt.Sprintf("the pause by %s (%s) has ended", f.pause.Actor, f.pause.Reason)}})
	}
	if round == nil || f.running() {
		return // levels are restated: what is still true after the failover is told then
	}
	for _, name := range s.rules.Pools {
		s.noticePool(round.Pool(name))
	}
	s.noticeDrift(round)
	s.noticePartners(round)
}

// How many degraded rounds in a row are worth telling, and how many without
// trouble end that: one flapping server must not fill a channel.
const (
	degradedRounds = 3
	healthyRounds  = 30
)

func (s *step) noticePool(p PoolRound) {
	f := &s.fold
	answers := p.Verdict == PoolUp || p.Verdict == PoolDegraded
	if f.quit[p.Pool] && p.Pool != f.active && answers && !p.Breaker.Tripped() {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeOldPoolBack, Pool: p.Pool, Text: fmt.Sprintf(
			"%s answers again. Federation stays on %s: edgewatch never fails back by itself. Check %s, then: failover %s REASON", p.Pool, f.active, p.Pool, p.Pool)}})
	}
	if p.Pool != f.active {
		return // a standby may not listen on 5269 before it holds the route
	}
	switch {
	case p.Breaker.Tripped() && !f.tripped[p.Pool]:
		s.emit(Entry{Kind: KindPool, Incident: s.nextIncident(), Pool: &PoolChange{
			Pool: p.Pool, Tripped: true, Bad: p.Breaker.Bad, Since: p.Breaker.Since, Results: p.Results, Vantage: s.Levels.Round.Vantage,
		}})
	case !p.Breaker.Tripped() && f.tripped[p.Pool] && answers:
		s.emit(Entry{Kind: KindPool, Pool: &PoolChange{Pool: p.Pool, Results: p.Results}})
	}
	s.noticeServers(p)
	if p.Degraded >= degradedRounds && !f.degraded[p.Pool] {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeDegraded, Pool: p.Pool, Text: fmt.Sprintf("%s answers, with trouble: %s", p.Pool, p.Why)}})
	}
	if p.Healthy >= healthyRounds && f.degraded[p.Pool] {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeRecovered, Pool: p.Pool, Text: fmt.Sprintf("%s is without trouble again: %s", p.Pool, p.Why)}})
	}
}

func (s *step) noticeDrift(round *Round) {
	for _, v := range round.Partner {
		was := s.fold.drift[v.Domain]
		switch {
		case v.Pool != "" && v.Pool != s.fold.active && v.Pool != was:
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeDrift, Domain: v.Domain, Pool: v.Pool, Text: s.driftText(v)}})
		case v.Pool == s.fold.active && was != "":
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeDrift, Domain: v.Domain, Text: fmt.Sprintf(
				"DNS leads partners of %s to %s again, where federation is", v.Domain, s.fold.active)}})
		}
	}
}

func (s *step) driftText(v PartnerView) string {
	text := fmt.Sprintf("DNS leads partners of %s to %s, but %s carries federation as far as edgewatch knows: %s. If %s is right, failover %s REASON brings the records back",
		v.Domain, v.Pool, s.fold.active, v.Text, s.fold.active, s.fold.active)
	if knows(s.rules.Pools, v.Pool) {
		text += fmt.Sprintf("; if %s is, failover %s REASON makes it so and stops nothing that is there already", v.Pool, v.Pool)
	}
	return text
}

// noticePartners tells when partners cannot reach a pool that answers us:
// DNS or the way to it is wrong, and no failover by itself would mend that.
func (s *step) noticePartners(round *Round) {
	active := round.Pool(s.fold.active)
	answers := active.Verdict == PoolUp || active.Verdict == PoolDegraded
	for _, v := range round.Partner {
		lost := s.fold.lost[v.Domain]
		switch {
		case v.Level == probe.Down && answers && !lost:
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticePartnerLost, Domain: v.Domain, Text: fmt.Sprintf(
				"%s answers, but partners of %s do not find it: %s. Look at DNS; failover %s REASON brings route and records back to it", s.fold.active, v.Domain, v.Text, s.fold.active)}})
		case v.Level.Answers() && lost:
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticePartnerBack, Domain: v.Domain, Text: fmt.Sprintf(
				"partners of %s reach federation again: %s", v.Domain, v.Text)}})
		}
	}
}

func knows(names []string, name string) bool { return slices.Contains(names, name) }
