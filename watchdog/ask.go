package watchdog

import (
	"fmt"
	"maps"
	"time"
)

// ask is the question to a person whether edgewatch may fail over, in the open
// incident.
type ask struct {
	to    string               // the pool that it is about
	since map[string]time.Time // since when it was about which pool: people have their time for each. Replaced, never changed
	cut   bool                 // a person held edgewatch back meanwhile: it is to be asked anew
}

// from is since when people have been asked about the pool.
func (a *ask) from(pool string) (since time.Time, asked bool) {
	if a == nil || a.cut {
		return time.Time{}, false
	}
	since, asked = a.since[pool]
	return since, asked
}

// moved is the question with its moments put elsewhere.
func (a *ask) moved(to func(time.Time) time.Time) *ask {
	if a == nil {
		return nil
	}
	next := &ask{to: a.to, since: map[string]time.Time{}, cut: a.cut}
	for pool, at := range a.since {
		next.since[pool] = to(at)
	}
	return next
}

// unanswered is when the time to answer was over, where edgewatch holds then:
// that it asked stands, whatever it would ask now.
func (a *ask) unanswered(at time.Time, rules *Rules) (end time.Time, over bool) {
	since, asked := time.Time{}, false
	if a != nil {
		since, asked = a.from(a.to)
	}
	end = since.Add(rules.ApprovalTimeout)
	return end, asked && rules.ApprovalTimeout > 0 && rules.ApprovalThen != ApprovalActs && !at.Before(end)
}

// asked is since when people have been asked about the pool, so that their time
// counts from it. It does not where it ended while something else kept edgewatch
// from acting, which they took for the end of the question, or while they were
// asked about another pool.
func (f *fold) asked(pool string, at time.Time, rules *Rules) (since time.Time, asked bool) {
	since, asked = f.ask.from(pool)
	late := rules.ApprovalTimeout > 0 && !at.Before(since.Add(rules.ApprovalTimeout))
	acts := rules.ApprovalThen == ApprovalActs
	if late && (acts && f.decision.Will != WillAsk || !acts && f.ask != nil && f.ask.to != pool) {
		return time.Time{}, false
	}
	return since, asked
}

// cutQuestion notes that somebody held edgewatch back.
func (f *fold) cutQuestion() {
	if f.ask != nil {
		f.ask.cut = true
	}
}

// decided takes in a decision as recorded.
func (f *fold) decided(e Entry, rules *Rules) {
	if d := e.Decision; d.Will == WillAsk {
		since := map[string]time.Time{}
		if f.ask != nil && !f.ask.cut {
			maps.Copy(since, f.ask.since)
		}
		if _, asked := f.asked(d.To, e.At, rules); !asked {
			since[d.To] = e.At
		}
		f.ask = &ask{to: d.To, since: since}
	}
	f.decision = *e.Decision
	f.heard = e.Incident
	f.told = append(f.told, told{f.decision, e.At})
	f.told = f.told[max(0, len(f.told)-keptTold):]
}

// ask asks a person, once in an incident unless people held edgewatch back or
// could not have answered in time, and keeps to what was set for the case that
// nobody does. Whoever is asked about another pool has as much time for that one.
func (q *question) ask(to, because string) Decision {
	f, r := q.fold, q.rules
	d := Decision{State: AwaitingApproval, Will: WillAsk, To: to, BlockedBy: GuardApproval}
	if r.ApprovalTimeout <= 0 {
		d.Because = fmt.Sprintf("%s: approve %s REASON, or deny REASON", because, to)
		return d
	}
	if end, over := f.ask.unanswered(q.at, r); over {
		d = q.hold(GuardApproval, time.Time{}, fmt.Sprintf("%s, but nobody approved until %s: failover %s REASON moves federation all the same, an ack lets edgewatch ask again", because, clock(end), to))
		d.To = to
		return d
	}
	since, asked := f.asked(to, q.at, r)
	if !asked {
		since = q.at
	}
	end := since.Add(r.ApprovalTimeout)
	switch {
	case r.ApprovalThen == ApprovalActs && !q.at.Before(end):
		return Decision{State: FailingOver, Will: WillFailover, To: to, Because: fmt.Sprintf("%s, and nobody answered until %s", because, clock(end))}
	case r.ApprovalThen == ApprovalActs:
		d.NextAt, d.Because = end, fmt.Sprintf("%s: approve %s REASON, or deny REASON; without an answer edgewatch fails over at %s", because, to, clock(end))
	default:
		d.NextAt, d.Because = end, fmt.Sprintf("%s: approve %s REASON, or deny REASON; without an answer edgewatch holds from %s on", because, to, clock(end))
	}
	return d
}

// denied holds because a person said no in the open incident.
func (q *question) denied(to, because string) Decision {
	no := q.fold.denied
	d := q.hold(GuardApproval, time.Time{}, fmt.Sprintf("%s, but %s denied the failover (%q): failover %s REASON moves federation all the same, an ack lets edgewatch ask again", because, no.Actor, no.Reason, to))
	d.To = to
	return d
}
