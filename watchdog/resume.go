package watchdog

import (
	"cmp"
	"fmt"
	"time"

	"edgewatch/actions"
)

// booted tells that edgewatch started and takes up what the last process
// left undone.
func (s *step) booted() {
	s.noticeGone()
	text := fmt.Sprintf("watching %s in mode %s", s.fold.active, s.rules.Mode)
	if s.fold.lastSeq == 0 {
		text += fmt.Sprintf(". Nothing is known of %s from before, and %s is the first of its pools: if another one carries federation, adopt POOL REASON", s.rules.Federation, s.fold.active)
	}
	dropped := ""
	if s.fold.running() {
		dropped = s.dropped()
		text = fmt.Sprintf("the %s %s to %s was under way when edgewatch ended: ", s.fold.chain.word(), s.fold.chain.ID, s.fold.chain.To)
		switch {
		case s.fold.moot():
			text += "nothing was touched, so that it is abandoned and decided anew"
		case dropped != "":
			text += "it is not carried on, because " + dropped
		default:
			text += "taking it up"
		}
	}
	s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeStarted, Pool: s.fold.active, By: s.Levels.Leapt, Text: text}})
	s.forgetDomains()
	s.forgetOthers()
	if s.fold.running() {
		s.continueAs(s.fold.chain.ChainStart, dropped)
	}
}

// untouchedFor is how long a move that a person ordered may lie untouched, as when
// edgewatch died at once, and is begun all the same.
const untouchedFor = 5 * time.Minute

// awayFor is how long edgewatch may be away in the middle of a move that it began
// by itself and goes on without asking its guards again: as long as what was seen
// before is evidence, and a start after a crash may take.
func (r *Rules) awayFor() time.Duration { return max(30*time.Second, r.EvidenceAge) }

// dropped is why the move that was under way when the last process ended is not
// carried on, "" where it is. One that has happened is: nothing but its end helps.
// Any other may have happened too: whoever abandons it sees.
func (s *step) dropped() string {
	f, c := &s.fold, s.fold.chain
	age, away := s.At.Sub(c.startedAt), s.At.Sub(c.seen) // Abs: under a clock that is behind nobody knows
	switch {
	case f.aborting != "":
		return "it was aborted by " + f.aborting
	case c.Dropped != "":
		return c.Dropped
	case f.moot():
		return "edgewatch ended before anything was touched, and decides anew"
	case c.own() && s.rules.Mode == ModeObserve:
		return "mode is observe by now"
	case c.happened():
		return ""
	case c.Trigger == TriggerAuto && s.rules.Mode == ModeApprove && (!c.late || s.rules.ApprovalThen != ApprovalActs):
		return "mode is approve by now"
	case c.rescued:
		return "it had failed by then, or was to end"
	case c.own() && away.Abs() > s.rules.awayFor():
		return fmt.Sprintf("the last of it was %s: what edgewatch began by itself is decided anew", ago(away))
	case !c.progress.Touched() && age.Abs() > untouchedFor:
		return fmt.Sprintf("it was ordered %s and nothing was touched: too old to be begun", ago(age))
	case age.Abs() > s.rules.ResumeWithin:
		return fmt.Sprintf("it began %s and is not known to have moved its route: too old to be carried on", ago(age))
	}
	return ""
}

// unseen: the last move was not carried on, and nobody could see whether it had
// moved federation.
func (f *fold) unseen() bool { return f.failedChain() && f.chain.outcome.Unsure }

// dismiss ends a chain that no process runs, as people said that what it left
// was put right: its federation was not configured then.
func (f *fold) dismiss(at time.Time) {
	c := f.chain
	c.outcome = &actions.Outcome{Step: cmp.Or(c.at, actions.Preflight), RouteMoved: c.happened(), Error: "put right by hand"}
	c.endedAt, f.over, f.undone, f.aborting = at, c.ID, "", ""
	delete(f.owed, c.To)
}

// own: edgewatch began the move by itself, or a person said yes to its question.
func (c *chainFold) own() bool { return c.Trigger == TriggerAuto || c.Asked }

// happened: federation was seen moved, or may have been as far as an earlier run
// of the chain could see.
func (c *chainFold) happened() bool {
	return c.moved || c.progress.Changed(actions.SetRoute) || c.progress.Changed(actions.DNSRecords)
}

// moot: edgewatch began the move by itself, or a person said yes to its question,
// and whatever ran it ended before anything was touched. What was known when it
// began is no reason to carry it on: the guards are to be asked again. What
// a person ordered, and what was stopped for a failover, is not left lying; that
// services were started for a failback is no harm.
func (f *fold) moot() bool {
	if !f.running() || f.aborting != "" || !f.chain.own() {
		return false
	}
	return !f.chain.progress.Touched() || f.chain.Kind == actions.Failback && !f.chain.progress.Moved(actions.Failback)
}
